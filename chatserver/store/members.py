"""Members of a room, their roles, and their read marks."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, func, select, true, update

from chatserver.store import abouts
from chatserver.store.db.schema import AccountRow, MembershipRow, RoomRow
from chatserver.store.names import begins_with
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
from chatserver.values.events import BOT, DIRECT, MEMBER, OWNER, Membership, Notify, Person, Role, RoomFacts
from chatserver.values.seen import Seen, as_seen

_IS_BOT = AccountRow.kind == BOT


def listing(db: Connection, facts: RoomFacts, online: frozenset[int]) -> list[MemberLine]:
    """All members of a room, by name."""
    return page(db, facts, online, "", None)[0]


def page(
    db: Connection, facts: RoomFacts, online: frozenset[int], after: str, limit: int | None, prefix: str = ""
) -> tuple[list[MemberLine], int]:
    """Members of a room whose names follow `after` and begin with `prefix`, in lower case, by name, and the number of
    such members after these."""
    if facts.pair is not None:
        both = sorted((name.lower(), id, name) for id, name in facts.pair)
        known = select(AccountRow.id, _IS_BOT.label("bot"), AccountRow.display_name)
        more = {row.id: row for row in db.execute(known.where(AccountRow.id.in_(dict(facts.pair))))}
        lines = [
            MemberLine(name, MEMBER, id in online, more[id].bot, more[id].display_name or "")
            for key, id, name in both
            if key > after.lower() and key.startswith(prefix)
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
        .where(MembershipRow.room_id == facts.id, MembershipRow.left_seq.is_(None))
        .where(AccountRow.name_key > after.lower(), begins_with(AccountRow.name_key, prefix))
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
            MembershipRow.read_era,
            MembershipRow.seen,
            MembershipRow.role,
            MembershipRow.notify,
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
            notify=row.notify,
            era=seen.era,
        )
        for row in rows
        for seen in [as_seen(row.read_seq, row.seen, row.read_era)]
    ]
    return sorted(
        (one for one in found if by_label(one.facts.label(who.id)) > by_label(after)),
        key=lambda one: by_label(one.facts.label(who.id)),
    )[:limit]


def with_about(db: Connection, who: Person, rooms: Sequence[Membership]) -> list[Membership]:
    """These rooms of a person, with what a list of them shows."""
    columns = abouts.columns(RoomRow, who.id, FIRST_READABLE, true())
    query = (
        select(RoomRow.id, *columns)
        .join(MembershipRow, open_membership(who.id))
        .where(RoomRow.id.in_([one.facts.id for one in rooms]))
    )
    known = {row.id: abouts.about(row) for row in db.execute(query)} if rooms else {}
    return [replace(one, about=known.get(one.facts.id)) for one in rooms]


def notify(db: Connection, account_id: int, room_id: int) -> Notify | None:
    """What an account wants to be notified of in a room; None: the default, or it is not in it."""
    chosen: Notify | None = db.scalar(select(MembershipRow.notify).where(open_membership(account_id, room_id)))
    return chosen


def set_notify(db: Connection, account_id: int, room_id: int, notify: Notify | None) -> None:
    db.execute(update(MembershipRow).where(open_membership(account_id, room_id)).values(notify=notify))


def chosen_notify(db: Connection, who: Person, most: int) -> list[str]:
    """For at most `most` rooms that a person is in, by name, what they want to be notified of, as `LABEL:VALUE`."""
    rows = db.execute(
        select(RoomRow.id, MembershipRow.notify)
        .join(MembershipRow, open_membership(who.id))
        .where(MembershipRow.notify.is_not(None), RoomRow.deleted_at.is_(None))
        .order_by(RoomRow.name)
        .limit(most)
    ).all()
    facts = facts_of(db, who, {row.id for row in rows}) if rows else {}
    return [f"{facts[row.id].label(who.id)}:{row.notify}" for row in rows]


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


class Before(Struct, frozen=True):
    """What a person's last membership of a room leaves to the next one: the read mark, its era, and a mute."""

    read: int = 0
    era: int = 1
    muted_until: datetime | None = None


def before(db: Connection, who: Person, room_id: int) -> Before:
    theirs = (MembershipRow.room_id == room_id, MembershipRow.account_id == who.id)
    left = select(MembershipRow.read_seq, MembershipRow.read_era, MembershipRow.muted_until)
    row = db.execute(left.where(*theirs).order_by(MembershipRow.id.desc()).limit(1)).one_or_none()
    return Before() if row is None else Before(*row)


def mark_read(db: Connection, who: Person, access: RoomAccess, seq: int) -> int:
    """Moves a read mark forward, never beyond the room's last entry. Returns its position."""
    mark = min(seq, access.seq)
    if access.facts.id and mark > access.read:
        mine = open_membership(who.id, access.facts.id)
        db.execute(update(MembershipRow).where(mine, MembershipRow.read_seq < mark).values(read_seq=mark))
    return max(mark, access.read)


def move_mark_back(db: Connection, who: Person, access: RoomAccess, seq: int) -> Seen:
    """Moves a read mark to this entry, wherever it was, and forgets what was seen behind it, as far as the person may
    read. Returns the mark, in its new era: nothing that was seen before counts any more, not even what a server has not
    stored yet. The caller has locked the room."""
    seen = Seen(min(max(seq, access.allowed - 1), access.seq), (), access.era + 1)
    values = {"read_seq": seen.mark, "read_era": seen.era, "seen": None}
    db.execute(update(MembershipRow).where(open_membership(who.id, access.facts.id)).values(values))
    return seen
