"""People, as others see them: finding them by name, when they were last online, and blocks between two of them."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, or_, select, true, update
from sqlalchemy.orm import aliased

from chatserver.store import accounts
from chatserver.store.db.database_clock import NOW
from chatserver.store.db.schema import AccountRow, BlockRow, InvitationRow, MembershipRow, RoomRow
from chatserver.store.names import unknown
from chatserver.store.visibility import direct_name, is_called, open_membership
from chatserver.values.answers import UserLine
from chatserver.values.errors import no_such_user
from chatserver.values.events import BOT, Person


def find_person(db: Connection, who: Person, name: str) -> Person:
    """The person with this name, in any case. Raises Refused(no-such-user), also if they are disabled or erased; for a
    former name it contains the present one, if `who` may know that."""
    account = accounts.find(db, name)
    if account is None:
        raise unknown(db, name, who)
    if account.disabled:
        raise no_such_user(name)
    return account.person


def last_seen(
    db: Connection,
    who: Person,
    name: str,
    online: frozenset[int],
    away: dict[int, str],
    apart: frozenset[int],
    *,
    only: int = 0,
) -> UserLine | None:
    """The facts about the person with this name that `who` may see; None if there is no such person. `only`: the id
    of a room whose members are the only people that exist for them; 0: all people exist.

    For the accounts in `apart` the line says neither whether nor when they were online. Somebody who is muted in all
    rooms that they share with `who` has no away text.
    """
    row = db.execute(
        select(AccountRow.id, AccountRow.name, AccountRow.last_seen_at, AccountRow.kind, AccountRow.display_name).where(
            AccountRow.name_key == name.lower(),
            AccountRow.erased_at.is_(None),
            exists().where(open_membership(AccountRow.id, only)) if only else true(),
        )
    ).one_or_none()
    if row is None:
        return None
    if row.id in apart:
        blocked = has_blocked(db, who.id, row.id)
        return UserLine(row.name, False, bot=row.kind == BOT, display=row.display_name or "", blocked=blocked)
    text = away.get(row.id, "")
    if text and row.id != who.id and _is_muted_before(db, row.id, who.id):
        text = ""
    return UserLine(row.name, row.id in online, row.last_seen_at, text, row.kind == BOT, row.display_name or "")


def _is_muted_before(db: Connection, account_id: int, viewer_id: int) -> bool:
    """Whether an account shares rooms with another one, and is muted in all of them."""
    theirs, mine = aliased(MembershipRow), aliased(MembershipRow)
    is_muted = func.coalesce(theirs.muted_until > NOW, False)
    shared = (
        select(is_muted)
        .join(mine, mine.room_id == theirs.room_id)
        .where(
            theirs.account_id == account_id,
            theirs.left_seq.is_(None),
            mine.account_id == viewer_id,
            mine.left_seq.is_(None),
        )
    )
    found = db.scalars(shared).all()
    return bool(found) and all(found)


def mutes(db: Connection, account_ids: Collection[int]) -> dict[int, frozenset[int]]:
    """For each of these accounts the rooms in which it is muted now, also those that it has left: it is muted there as
    soon as it is back."""
    muted_in: dict[int, set[int]] = {id: set() for id in account_ids}
    rows = db.execute(
        select(MembershipRow.account_id, MembershipRow.room_id).where(
            MembershipRow.account_id.in_(muted_in), MembershipRow.muted_until > NOW
        )
    )
    for account_id, room_id in rows:
        muted_in[account_id].add(room_id)
    return {id: frozenset(rooms) for id, rooms in muted_in.items()}


def hold_pair(db: Connection, one: int, other: int) -> None:
    """Locks a pair of accounts until the transaction ends: nobody else can open their direct room, or block one for the
    other.

    The direct room records who is blocked, but before it exists there is no row to lock. SQLite has one writer anyway.
    """
    if db.dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(direct_name(one, other), 0))))


def has_blocked(db: Connection, account_id: int, other_id: int) -> bool:
    """Whether the first account has blocked the second."""
    return bool(db.scalar(select(exists().where(BlockRow.account_id == account_id, BlockRow.blocked_id == other_id))))


def blocked_besides(db: Connection, who: Person, target: Person) -> int:
    """Number of accounts that a person has blocked, besides `target`."""
    theirs = (BlockRow.account_id == who.id, BlockRow.blocked_id != target.id)
    return db.scalar(select(func.count()).select_from(BlockRow).where(*theirs)) or 0


def block(db: Connection, who: Person, target: Person, at: datetime) -> None:
    """Blocks `target` for `who`, and deletes invitations of `who` by `target`. Does nothing if it is done already."""
    hold_pair(db, who.id, target.id)
    known = db.scalar(select(BlockRow.at).where(BlockRow.account_id == who.id, BlockRow.blocked_id == target.id))
    if known is None:
        db.execute(insert(BlockRow).values(account_id=who.id, blocked_id=target.id, at=at))
    _mark_blocked(db, who, target, blocked=True)
    theirs = select(InvitationRow.room_id).where(
        InvitationRow.account_id == who.id, InvitationRow.invited_by == target.id
    )
    db.execute(delete(InvitationRow).where(InvitationRow.account_id == who.id, InvitationRow.room_id.in_(theirs)))


def unblock(db: Connection, who: Person, target: Person) -> None:
    hold_pair(db, who.id, target.id)
    db.execute(delete(BlockRow).where(BlockRow.account_id == who.id, BlockRow.blocked_id == target.id))
    _mark_blocked(db, who, target, blocked=False)


def _mark_blocked(db: Connection, who: Person, target: Person, *, blocked: bool) -> None:
    """Records the block in their direct room too, where storing a message checks it."""
    room = select(RoomRow.id).where(is_called(direct_name(who.id, target.id))).scalar_subquery()
    db.execute(update(MembershipRow).where(open_membership(target.id, room)).values(blocked=blocked))


_BLOCKS = select(BlockRow.account_id, BlockRow.blocked_id).where(
    or_(
        BlockRow.account_id.in_(bindparam("ids", expanding=True)),
        BlockRow.blocked_id.in_(bindparam("ids", expanding=True)),
    )
)


def blocks(db: Connection, account_ids: Collection[int]) -> dict[int, frozenset[int]]:
    """For each of these accounts, those that it has blocked or that have blocked it: neither sees the other's
    presence."""
    apart: dict[int, set[int]] = {id: set() for id in account_ids}
    if not apart:
        return {}
    for one, other in db.execute(_BLOCKS, {"ids": list(apart)}):
        for id, blocked in ((one, other), (other, one)):
            if id in apart:
                apart[id].add(blocked)
    return {id: frozenset(others) for id, others in apart.items()}
