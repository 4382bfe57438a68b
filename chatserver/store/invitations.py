"""Invitations: permission to join a room, until it is used, withdrawn, or the account is banned."""

from collections.abc import Collection
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, exists, func, insert, or_, select

from chatserver.store.db.schema import AccountRow, InvitationRow, RoomRow
from chatserver.store.visibility import RoomAccess, open_membership
from chatserver.values.events import Invited, Person


def create(db: Connection, who: Person, access: RoomAccess, target: Person, at: datetime) -> None:
    """Invites `target`. A second invitation to the same room replaces the first."""
    mine = (InvitationRow.room_id == access.facts.id, InvitationRow.account_id == target.id)
    db.execute(delete(InvitationRow).where(*mine))
    db.execute(insert(InvitationRow).values(room_id=access.facts.id, account_id=target.id, invited_by=who.id, at=at))


class Pending(Struct, frozen=True):
    """Numbers of pending invitations: that an account has `sent` to rooms that it is in, and could withdraw; that
    another has `received`; and that are from the one to the other."""

    sent: int
    received: int
    between: int


def counted(db: Connection, who: Person, access: RoomAccess, target: Person) -> Pending:
    """The pending invitations besides that of `target` to this room, which a new one replaces."""
    other = or_(InvitationRow.room_id != access.facts.id, InvitationRow.account_id != target.id)
    by, to = InvitationRow.invited_by == who.id, InvitationRow.account_id == target.id
    known = exists().where(AccountRow.id == InvitationRow.account_id, AccountRow.disabled_at.is_(None))
    inside = exists().where(open_membership(who.id, InvitationRow.room_id))
    count = select(func.count()).select_from(InvitationRow).where(other)
    counts = [count.where(*which).scalar_subquery() for which in ((by, known, inside), (to,), (by, to))]
    return Pending(*db.execute(select(*counts)).one())


def withdraw(db: Connection, access: RoomAccess, target: Person, by: int | None) -> bool:
    """Withdraws an invitation; with `by`, only if this account gave it. Returns whether there was one."""
    mine = [InvitationRow.room_id == access.facts.id, InvitationRow.account_id == target.id]
    if by is not None:
        mine.append(InvitationRow.invited_by == by)
    return bool(db.execute(delete(InvitationRow).where(*mine)).rowcount)


def given(db: Connection, who: Person, since: datetime) -> list[tuple[int, Invited]]:
    """The pending invitations that an account has given since then, each with the account that is invited."""
    rows = db.execute(
        select(InvitationRow.account_id, RoomRow.name)
        .join(RoomRow, RoomRow.id == InvitationRow.room_id)
        .where(InvitationRow.invited_by == who.id, InvitationRow.at >= since, RoomRow.deleted_at.is_(None))
    )
    return [(account_id, Invited(name, who.name)) for account_id, name in rows]


_INVITATIONS = (
    select(InvitationRow.account_id, RoomRow.name, AccountRow.name)
    .join(RoomRow, RoomRow.id == InvitationRow.room_id)
    .join(AccountRow, AccountRow.id == InvitationRow.invited_by)
    .where(InvitationRow.account_id.in_(bindparam("ids", expanding=True)), RoomRow.deleted_at.is_(None))
    .order_by(RoomRow.name)
)


def pending(db: Connection, account_ids: Collection[int]) -> dict[int, list[Invited]]:
    """For each of these accounts the rooms that it is invited to, by name."""
    found: dict[int, list[Invited]] = {id: [] for id in account_ids}
    if not found:
        return {}
    for account_id, room, by in db.execute(_INVITATIONS, {"ids": list(found)}):
        found[account_id].append(Invited(room, by))
    return found
