"""Members of a room, their roles, and their read marks."""

from sqlalchemy import Connection, func, select, update

from chatserver.store.db.schema import AccountRow, MembershipRow, RoomRow
from chatserver.store.visibility import (
    FIRST_ALLOWED,
    FIRST_READABLE,
    RoomAccess,
    facts_of,
    is_apart,
    is_only,
    open_membership,
)
from chatserver.values.answers import MemberLine
from chatserver.values.events import BOT, DIRECT, MEMBER, OWNER, Membership, Person, Role, RoomFacts
from chatserver.values.seen import as_seen

_IS_BOT = AccountRow.kind == BOT


def listing(db: Connection, facts: RoomFacts, online: frozenset[int]) -> list[MemberLine]:
    """All members of a room, by name."""
    return page(db, facts, online, "", None)[0]


def page(
    db: Connection, facts: RoomFacts, online: frozenset[int], after: str, limit: int | None
) -> tuple[list[MemberLine], int]:
    """Members of a room whose names follow `after`, by name, and the number of members after these."""
    if facts.pair is not None:
        both = sorted((name.lower(), id, name) for id, name in facts.pair)
        known = select(AccountRow.id, _IS_BOT.label("bot"), AccountRow.display_name)
        more = {row.id: row for row in db.execute(known.where(AccountRow.id.in_(dict(facts.pair))))}
        lines = [
            MemberLine(name, MEMBER, id in online, more[id].bot, more[id].display_name or "")
            for key, id, name in both
            if key > after.lower()
        ]
        return lines[:limit], len(lines[limit or len(lines) :])
    rows = db.execute(
        select(
            AccountRow.id,
            AccountRow.name,
            MembershipRow.role,
            _IS_BOT.label("bot"),
            AccountRow.display_name,
            func.count().over().label("all"),
        )
        .join(MembershipRow, MembershipRow.account_id == AccountRow.id)
        .where(MembershipRow.room_id == facts.id, MembershipRow.left_seq.is_(None), AccountRow.name_key > after.lower())
        .order_by(AccountRow.name_key)
        .limit(limit)
    ).all()
    lines = [MemberLine(row.name, row.role, row.id in online, row.bot, row.display_name or "") for row in rows]
    return lines, rows[0].all - len(rows) if rows else 0


def standings(db: Connection, who: Person, after: str, limit: int, *, unread: bool, only: int = 0) -> list[Membership]:
    """Up to `limit` rooms that a person is in behind the label `after`, in the order of `by_label`; with `unread` only
    those with entries behind the read mark that were not removed. `only`: see `visibility.is_only`.

    Direct rooms, whose labels are not in their rows, are read all; of other rooms, no more than requested.
    """
    query = (
        select(
            RoomRow.id,
            RoomRow.name,
            RoomRow.kind,
            RoomRow.last_seq,
            MembershipRow.read_seq,
            MembershipRow.seen,
            MembershipRow.role,
            FIRST_READABLE.label("floor"),
            FIRST_ALLOWED.label("allowed"),
        )
        .join(MembershipRow, MembershipRow.room_id == RoomRow.id)
        .where(MembershipRow.account_id == who.id, MembershipRow.left_seq.is_(None), RoomRow.deleted_at.is_(None))
        .where(is_only(only))
    )
    if unread:
        query = query.where(RoomRow.last_seq > MembershipRow.read_seq, RoomRow.last_seq >= RoomRow.first_seq)
    name = RoomRow.name if db.dialect.name == "sqlite" else RoomRow.name.collate("C")
    named = query.where(RoomRow.kind != DIRECT, name > after.lower()).order_by(name).limit(limit)
    rows = [*db.execute(query.where(RoomRow.kind == DIRECT)), *db.execute(named)]
    direct = {row.id for row in rows if row.kind == DIRECT}
    facts = facts_of(db, who, direct) if direct else {}
    found = [
        Membership(
            facts.get(row.id) or RoomFacts(row.id, row.name, row.kind),
            *(row.last_seq, seen.mark, row.role),
            floor=row.floor,
            allowed=row.allowed,
            runs=seen.runs,
        )
        for row in rows
        for seen in [as_seen(row.read_seq, row.seen)]
    ]
    return sorted(
        (one for one in found if by_label(one.facts.label(who.id)) > by_label(after)),
        key=lambda one: by_label(one.facts.label(who.id)),
    )[:limit]


def by_label(label: str) -> str:
    """The sort key of an account's own rooms, compared code point by code point."""
    return label.lower()


def accounts(db: Connection, room_id: int) -> set[int]:
    """The ids of all members of a room."""
    inside = (MembershipRow.room_id == room_id, MembershipRow.left_seq.is_(None))
    return set(db.scalars(select(MembershipRow.account_id).where(*inside)))


def count(db: Connection, room_id: int) -> int:
    inside = (MembershipRow.room_id == room_id, MembershipRow.left_seq.is_(None))
    return db.scalar(select(func.count()).select_from(MembershipRow).where(*inside)) or 0


def names(db: Connection, room_id: int, but: int, limit: int) -> list[str]:
    """The names of up to `limit` members other than the account `but` and those apart from it, longest-standing
    first."""
    seen = (AccountRow.id != but, ~is_apart(AccountRow.id, but))
    return list(
        db.scalars(
            select(AccountRow.name)
            .join(MembershipRow, MembershipRow.account_id == AccountRow.id)
            .where(MembershipRow.room_id == room_id, MembershipRow.left_seq.is_(None), *seen)
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
    """A person's read mark in a room when they last left it; 0 if they were never in it."""
    theirs = (MembershipRow.room_id == room_id, MembershipRow.account_id == who.id)
    return db.scalar(select(func.max(MembershipRow.read_seq)).where(*theirs)) or 0


def mark_read(db: Connection, who: Person, access: RoomAccess, seq: int) -> int:
    """Moves a read mark forward, never beyond the room's last entry. Returns its position."""
    mark = min(seq, access.seq)
    if access.facts.id and mark > access.read:
        mine = open_membership(who.id, access.facts.id)
        db.execute(update(MembershipRow).where(mine, MembershipRow.read_seq < mark).values(read_seq=mark))
    return max(mark, access.read)
