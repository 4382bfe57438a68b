"""Members of a room: who they are, their roles, and up to where they have read."""

from sqlalchemy import Connection, func, select, update

from chatserver.answers import MemberLine
from chatserver.events import MEMBER, OWNER, Person, Role, RoomFacts
from chatserver.store.schema import AccountRow, MembershipRow
from chatserver.store.visibility import RoomAccess, open_membership


def listing(db: Connection, facts: RoomFacts, online: frozenset[int]) -> list[MemberLine]:
    """Who is in a room, by name."""
    if facts.pair is not None:
        return [MemberLine(name, MEMBER, id in online) for id, name in sorted(facts.pair, key=lambda p: p[1].lower())]
    rows = db.execute(
        select(AccountRow.id, AccountRow.name, MembershipRow.role)
        .join(MembershipRow, MembershipRow.account_id == AccountRow.id)
        .where(MembershipRow.room_id == facts.id, MembershipRow.left_seq.is_(None))
        .order_by(AccountRow.name_key)
    )
    return [MemberLine(row.name, row.role, row.id in online) for row in rows]


def count(db: Connection, room_id: int) -> int:
    inside = (MembershipRow.room_id == room_id, MembershipRow.left_seq.is_(None))
    return db.scalar(select(func.count()).select_from(MembershipRow).where(*inside)) or 0


def names(db: Connection, room_id: int, but: int, limit: int) -> list[str]:
    """The names of up to `limit` members other than the account `but`, longest-standing first."""
    return list(
        db.scalars(
            select(AccountRow.name)
            .join(MembershipRow, MembershipRow.account_id == AccountRow.id)
            .where(MembershipRow.room_id == room_id, MembershipRow.left_seq.is_(None), AccountRow.id != but)
            .order_by(MembershipRow.joined_seq, AccountRow.id)
            .limit(limit)
        )
    )


def role_of(db: Connection, access: RoomAccess, account_id: int) -> Role | None:
    """An account's role in a room; None if it is not in it."""
    return db.scalar(select(MembershipRow.role).where(open_membership(account_id, access.facts.id)))


def owner_count(db: Connection, access: RoomAccess) -> int:
    owners = (MembershipRow.room_id == access.facts.id, MembershipRow.left_seq.is_(None), MembershipRow.role == OWNER)
    return db.scalar(select(func.count()).select_from(MembershipRow).where(*owners)) or 0


def read_before(db: Connection, who: Person, room_id: int) -> int:
    """Up to where a person had read a room when they last left it; 0 if they were never in it."""
    theirs = (MembershipRow.room_id == room_id, MembershipRow.account_id == who.id)
    return db.scalar(select(func.max(MembershipRow.read_seq)).where(*theirs)) or 0


def mark_read(db: Connection, who: Person, access: RoomAccess, seq: int) -> int:
    """Moves a read mark forward, never beyond the room's last entry. Returns where it is then."""
    mark = min(seq, access.seq)
    if access.facts.id and mark > access.read:
        mine = open_membership(who.id, access.facts.id)
        db.execute(update(MembershipRow).where(mine, MembershipRow.read_seq < mark).values(read_seq=mark))
    return max(mark, access.read)
