"""Entries of a room's log: adding those that are not messages, reading any of them in pages, and where logs begin and
end."""

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    case,
    column,
    func,
    insert,
    outerjoin,
    select,
    text,
    true,
    update,
    values,
)
from sqlalchemy.orm import aliased

from chatserver.store.db.schema import AccountRow, EntryRow, FormerNameRow, MembershipRow, MessageState, RoomRow
from chatserver.store.visibility import facts_of, memberships
from chatserver.values.events import BOT, GAP, REACTING, AccountKind, Entry, EntryKind, Person

PAGE_CHARACTERS = 1 << 20
"""Maximum length of the texts of a page, which ends early then, so that no answer can exhaust the memory."""


def append_event(
    db: Connection,
    room_id: int,
    kind: EntryKind,
    who: Person,
    at: datetime,
    said: str = "",
    *,
    target: Person | None = None,
    of: int | None = None,
    reactions: tuple[tuple[str, int], ...] = (),
) -> Entry:
    """Adds an entry that is not a message, and locks the room until the transaction ends.

    Its time is `at`, or that of the room's last entry if that is later: another process may have written that one, or
    this one may have waited for the lock.

    `target` is the person it was done to, `of` the seq of the message that it changes. `reactions`: see `Entry`.
    """
    seq, stamp = db.execute(
        update(RoomRow)
        .where(RoomRow.id == room_id)
        .values(last_seq=RoomRow.last_seq + 1, last_at=case((RoomRow.last_at > at, RoomRow.last_at), else_=at))
        .returning(RoomRow.last_seq, RoomRow.last_at)
    ).one()
    assert stamp is not None
    target_id = target.id if target else None
    db.execute(
        insert(EntryRow).values(
            room_id=room_id,
            seq=seq,
            kind=kind,
            author_id=who.id or None,
            text=said,
            target_id=target_id,
            target_seq=of,
            at=stamp,
        )
    )
    target_name = target.name if target else ""
    return Entry(
        seq, kind, who.id, who.name, stamp, said, target_id=target_id or 0, target=target_name, of=of or 0,
        display=who.display, bot=who.kind == BOT, reactions=reactions,
    )  # fmt: skip


_TARGET = aliased(AccountRow)


def _then(account: Any, now: Any, former: Any) -> Any:
    """The name of an account at the time of an entry: nearly always its present one."""
    known = (FormerNameRow.account_id == account.id, FormerNameRow.until > EntryRow.at)
    earlier = select(former).where(*known).order_by(FormerNameRow.until).limit(1).scalar_subquery()
    return case((account.renamed_at > EntryRow.at, earlier), else_=now)


def _name_then(account: Any) -> Any:
    return _then(account, account.name, FormerNameRow.name)


NAME_THEN = _name_then(AccountRow)
DISPLAY_THEN = _then(AccountRow, AccountRow.display_name, FormerNameRow.display_name)
"""The display name of an entry's author at the time of the entry."""

_message = aliased(EntryRow)
_SUMS_OF_MESSAGE = (
    select(func.coalesce(_message.reactions, "{}"))
    .where(_message.room_id == EntryRow.room_id, _message.seq == EntryRow.target_seq)
    .correlate(EntryRow)
    .scalar_subquery()
)

ENTRY_COLUMNS = (
    EntryRow.seq,
    EntryRow.kind,
    EntryRow.author_id,
    NAME_THEN,
    EntryRow.at,
    EntryRow.text,
    EntryRow.client_id,
    EntryRow.target_id,
    _name_then(_TARGET),
    EntryRow.target_seq,
    EntryRow.state,
    DISPLAY_THEN,
    AccountRow.kind,
    # Of an entry about a reaction, those of its message: what is read later than an entry says how things stand then.
    case((EntryRow.kind.in_(REACTING), _SUMS_OF_MESSAGE), else_=EntryRow.reactions).label("reactions"),
)
"""The columns that `as_entry` expects, in this order; select them from `ENTRY_JOINS`."""

AS_OF = select(RoomRow.last_seq).where(RoomRow.id == EntryRow.room_id).correlate(EntryRow).scalar_subquery()
"""A further column for `as_entry`: the room's last entry, in the same snapshot as the message."""

ENTRY_JOINS = outerjoin(EntryRow, AccountRow, AccountRow.id == EntryRow.author_id).outerjoin(
    _TARGET, _TARGET.id == EntryRow.target_id
)
_ENTRY = select(*ENTRY_COLUMNS).select_from(ENTRY_JOINS)


def after(
    db: Connection, room_id: int, seq: int, limit: int, characters: int = PAGE_CHARACTERS
) -> tuple[list[Entry], bool]:
    """The entries above `seq`, in ascending order, and whether there are more."""
    query = _of_room(room_id).where(EntryRow.seq > seq)
    return _page(db.execute(query.order_by(EntryRow.seq).limit(limit + 1)), limit, characters)


def _of_room(room_id: int) -> Any:
    """The query for entries of a room, with `as_of`, which is looked up once for all of them."""
    as_of = select(RoomRow.last_seq).where(RoomRow.id == room_id).scalar_subquery()
    return _ENTRY.add_columns(as_of).where(EntryRow.room_id == room_id)


def follow(
    db: Connection, room_id: int, seq: int, limit: int, characters: int = PAGE_CHARACTERS
) -> tuple[list[Entry], bool]:
    """As `after`, for somebody who was given everything up to `seq`. If the entries that come next were removed, the
    page begins with a `gap` that stands for them."""
    return _with_gaps(db, [(room_id, seq)], [after(db, room_id, seq, limit, characters)])[0]


def follow_all(
    db: Connection, positions: Sequence[tuple[int, int]], limit: int, characters: int = PAGE_CHARACTERS
) -> list[tuple[list[Entry], bool]]:
    """As `follow`, for several rooms: a page for each of these (room id, seq). On PostgreSQL that is one statement, and
    another one only where entries were removed."""
    if db.dialect.name == "sqlite":  # it has no round trips that could be saved
        return _with_gaps(db, positions, [after(db, *position, limit, characters) for position in positions])
    asked = values(
        column("place", Integer), column("room_id", BigInteger), column("seq", BigInteger), name="asked"
    ).data([(place, *position) for place, position in enumerate(positions)])
    # For each room the same as `after` does, whatever the planner assumes about the tables.
    one = _ENTRY.where(EntryRow.room_id == asked.c.room_id, EntryRow.seq > asked.c.seq)
    page = one.order_by(EntryRow.seq).limit(limit + 1).lateral("page")
    query = select(asked.c.place, *page.c).select_from(asked.join(page, true()))
    found = db.execute(query.order_by(asked.c.place, page.c.seq))
    pages: list[tuple[list[Entry], bool]] = [([], False)] * len(positions)
    for place, rows in groupby(found, lambda row: row[0]):
        pages[place] = _page((row[1:] for row in rows), limit, characters)
    return _with_gaps(db, positions, pages)


def _with_gaps(
    db: Connection, positions: Sequence[tuple[int, int]], pages: list[tuple[list[Entry], bool]]
) -> list[tuple[list[Entry], bool]]:
    """The pages, each beginning with a `gap` if the entries behind its position were removed."""
    missing = {
        place for place, (page, _) in enumerate(pages) if not page or page[0].seq != positions[place][1] + 1
    }  # fmt: skip
    if not missing:
        return pages
    room_ids = {positions[place][0] for place in missing}
    found = db.execute(select(RoomRow.id, RoomRow.first_seq, RoomRow.last_at).where(RoomRow.id.in_(room_ids)))
    rooms = {room_id: (first_seq, last_at) for room_id, first_seq, last_at in found}
    for place in missing:
        (room_id, seq), (page, more) = positions[place], pages[place]
        first_seq, last_at = rooms.get(room_id, (0, None))
        # More may have been removed since the page was read: what the page has is given all the same.
        first = page[0].seq if page else first_seq
        if seq + 1 < first <= first_seq:
            at = page[0].at if page else last_at
            assert at is not None
            pages[place] = [Entry(first - 1, GAP, 0, "", at, of=seq + 1), *page], more
    return pages


def newest_at(db: Connection) -> datetime | None:
    """The time of the newest entry of all rooms; None if there is none. Reads all rooms. A deleted room gets no more
    entries and does not count."""
    return db.scalar(select(func.max(RoomRow.last_at)).where(RoomRow.deleted_at.is_(None)))


def before(db: Connection, room_id: int, seq: int | None, floor: int, limit: int) -> tuple[list[Entry], bool]:
    """The last entries below `seq` (None: of all), from `floor` on, in ascending order, and whether there are more."""
    query = _of_room(room_id).where(EntryRow.seq >= floor)
    if seq is not None:
        query = query.where(EntryRow.seq < seq)
    entries, more = _page(db.execute(query.order_by(EntryRow.seq.desc()).limit(limit + 1)), limit, PAGE_CHARACTERS)
    return entries[::-1], more


PROBES = 64
"""Number of entries that are looked up at once in the search for a time: a million entries take four statements."""


def before_time(db: Connection, room_id: int, at: datetime, floor: int, last: int) -> int:
    """The seq of the last entry from `floor` to `last` that was written before this time; `floor` - 1 if there is none.

    The times of a room's entries never fall, so a search by halves, or rather by PROBES, needs no index of times.
    """
    low, high = floor - 1, last + 1
    while high - low > 1:
        step = max((high - low) // (PROBES + 1), 1)
        seqs = range(low + step, high, step)[: 2 * PROBES]
        found = db.execute(
            select(EntryRow.seq, EntryRow.at).where(EntryRow.room_id == room_id, EntryRow.seq.in_(seqs))
        ).all()
        if not found:  # removed in the meantime
            low = seqs[-1]
            continue
        low = max([low, *(row.seq for row in found if row.at < at)])
        high = min([high, *(row.seq for row in found if row.at >= at)])
    return low


def _page(rows: Any, limit: int, characters: int) -> tuple[list[Entry], bool]:
    entries: list[Entry] = []
    size = 0
    for row in rows:
        if len(entries) == limit or size > characters:
            return entries, True
        entry = as_entry(*row)
        size += len(entry.text)
        entries.append(entry)
    return entries, False


def as_entry(
    seq: int,
    kind: EntryKind,
    author_id: int | None,
    author: str | None,
    at: datetime,
    said: str,
    client_id: str | None,
    target_id: int | None,
    target: str | None,
    of: int | None,
    state: MessageState | None,
    display: str | None,
    author_kind: AccountKind | None,
    reactions: str | None,
    as_of: int = 0,
) -> Entry:
    """The entry of a row of `ENTRY_COLUMNS`."""
    sums: dict[str, int] = msgspec.json.decode(reactions, type=dict[str, int]) if reactions else {}
    if reactions and kind in REACTING:
        sums = {said: sums.get(said, 0)} if said else {}
    return Entry(
        seq, kind, author_id or 0, author or "", at, said, client_id, target_id or 0, target or "", of or 0,
        state or "", display or "", author_kind == BOT, tuple(sums.items()), as_of=as_of,
    )  # fmt: skip


# One JSON text instead of a parameter for each of perhaps thousands of rooms.
_HEADS = {
    "postgresql": text(
        "SELECT id, last_seq FROM room WHERE id IN "
        "(SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:ids AS json)))"
    ),
    "sqlite": text("SELECT id, last_seq FROM room WHERE id IN (SELECT value FROM json_each(:ids))"),
}


def heads(db: Connection, room_ids: Collection[int]) -> dict[int, int]:
    """By room id, the seq of the last entry. Rooms that the database does not have are left out."""
    rows = db.execute(_HEADS[db.dialect.name], {"ids": msgspec.json.encode(list(room_ids)).decode()})
    return {row.id: row.last_seq for row in rows}


def removed_before(db: Connection, who: Person) -> dict[str, int]:
    """By label, the first entry left of each room that a person is in, if they could have read one before it."""
    return {one.facts.label(who.id): one.floor for one in memberships(db, who) if one.allowed < one.floor}


def removed_before_own(db: Connection, who: Person) -> dict[str, int]:
    """By label, the first entry left of each room that an account is or was in, if it could have written one before
    it."""
    rows = db.execute(
        select(RoomRow.id, RoomRow.name, RoomRow.first_seq)
        .join(MembershipRow, MembershipRow.room_id == RoomRow.id)
        .where(MembershipRow.account_id == who.id, RoomRow.first_seq > 1, MembershipRow.joined_seq < RoomRow.first_seq)
        .distinct()
        .order_by(RoomRow.name, RoomRow.id)
    ).all()
    facts = facts_of(db, who, {row.id for row in rows})
    return {facts[row.id].label(who.id): row.first_seq for row in rows}
