"""Invitations: permission to join a room, until it is used, withdrawn, or the account is banned."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, and_, bindparam, delete, exists, func, insert, select

from chatserver.store.db.schema import AccountRow, InvitationRow, RoomRow, SessionRow
from chatserver.store.visibility import RoomAccess, open_membership
from chatserver.values.events import Invited, Person
from chatserver.wire.addresses import counted, neighbourhood


def is_invited(db: Connection, access: RoomAccess, target: Person) -> bool:
    """Whether somebody has invited `target` to this room."""
    mine = (InvitationRow.room_id == access.facts.id, InvitationRow.account_id == target.id)
    return bool(db.scalar(select(exists().where(*mine))))


def create(db: Connection, who: Person, access: RoomAccess, target: Person, at: datetime) -> None:
    """Invites `target`, who must not be invited to this room yet."""
    db.execute(insert(InvitationRow).values(room_id=access.facts.id, account_id=target.id, invited_by=who.id, at=at))


def make_way(db: Connection, who: Person, target: Person) -> bool:
    """Withdraws one of the invitations to `target` in favour of another one by `who`, and returns whether there was
    one.

    It is the oldest one of the network that has given the most, or else of the address in the network of `who`, or the
    account at their address, if that has given at least two more. Accounts are where their last session was.
    """
    rows = db.execute(
        select(InvitationRow.room_id, InvitationRow.invited_by)
        .where(InvitationRow.account_id == target.id)
        .order_by(InvitationRow.at)
    ).all()
    places = _places(db, {who.id, *(row.invited_by for row in rows)})
    mine, left = places[who.id], [(row.room_id, places[row.invited_by]) for row in rows]
    for level, own in enumerate(mine):
        most, count = Counter(place[level] for _, place in left).most_common(1)[0]
        if count > sum(place[level] == own for _, place in left) + 1:
            for deeper in range(level, len(mine)):
                most = Counter(place[deeper] for _, place in left).most_common(1)[0][0]
                left = [one for one in left if one[1][deeper] == most]
            oldest = left[0][0]
            db.execute(
                delete(InvitationRow).where(InvitationRow.room_id == oldest, InvitationRow.account_id == target.id)
            )
            return True
        left = [one for one in left if one[1][level] == own]
        if not left:
            return False
    return False


Place = tuple[str, str, str]
"""The network, the address and the id of an account."""


def _places(db: Connection, account_ids: Collection[int]) -> dict[int, Place]:
    """Where the last session of each account is, or was."""
    theirs = SessionRow.account_id.in_(account_ids)
    last = select(SessionRow.account_id, func.max(SessionRow.connected_at).label("at")).where(theirs)
    lasts = last.group_by(SessionRow.account_id).subquery()
    known = select(SessionRow.account_id, SessionRow.address).join(
        lasts, and_(lasts.c.account_id == SessionRow.account_id, lasts.c.at == SessionRow.connected_at)
    )
    found: dict[int, Place] = {id: (f"#{id}", f"#{id}", str(id)) for id in account_ids}
    for account_id, address in db.execute(known):
        key = counted(address)
        found[account_id] = neighbourhood(key), key, str(account_id)
    return found


class Pending(Struct, frozen=True):
    """Numbers of pending invitations: that an account has `sent` to rooms that it is in, and could withdraw; that
    another has `received`; and that are from the one to the other."""

    sent: int
    received: int
    between: int


def count(db: Connection, who: Person, target: Person) -> Pending:
    """The pending invitations before another one of `target`."""
    by, to = InvitationRow.invited_by == who.id, InvitationRow.account_id == target.id
    known = exists().where(AccountRow.id == InvitationRow.account_id, AccountRow.disabled_at.is_(None))
    inside = exists().where(open_membership(who.id, InvitationRow.room_id))
    all = select(func.count()).select_from(InvitationRow)
    counts = [all.where(*which).scalar_subquery() for which in ((by, known, inside), (to,), (by, to))]
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
        select(InvitationRow.account_id, RoomRow.name, RoomRow.id)
        .join(RoomRow, RoomRow.id == InvitationRow.room_id)
        .where(InvitationRow.invited_by == who.id, InvitationRow.at >= since, RoomRow.deleted_at.is_(None))
    )
    return [(account_id, Invited(name, who.name, id)) for account_id, name, id in rows]


_INVITATIONS = (
    select(InvitationRow.account_id, RoomRow.name, AccountRow.name, RoomRow.id)
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
    for account_id, room, by, room_id in db.execute(_INVITATIONS, {"ids": list(found)}):
        found[account_id].append(Invited(room, by, room_id))
    return found
