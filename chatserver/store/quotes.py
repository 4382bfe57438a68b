"""Quotes: the beginning of the message that an entry answers or is about. People are shown it, and programs that ask
for it with replies.

Readers without access see no quote; neither does anyone after the message was erased or removed.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from msgspec import structs
from sqlalchemy import Connection, and_, bindparam, exists, func, or_, select, tuple_
from sqlalchemy.orm import aliased

from chatserver.store import entries, replies
from chatserver.store.db.schema import AccountRow, EntryRow, MembershipRow, RoomRow
from chatserver.store.entries import DISPLAY_THEN, NAME_THEN
from chatserver.store.visibility import IS_PAST_OPEN, is_entry_readable, open_membership
from chatserver.values.events import ERASED, LEAVING, MESSAGE, PRIVATE, QUOTING, Entry, Person, Quote, RoomFacts
from chatserver.wire.hygiene.text import beginning

CHARACTERS: Final = 200
"""Maximum number of quoted characters: more than fits on a line."""

READ: Final = CHARACTERS + 1
"""Number of characters that are read, to know whether the last quoted one stands alone."""

Place = tuple[int, int]
"""The room and the seq of an entry."""


def quoted(db: Connection, who: Person, room_id: int, page: Sequence[Entry]) -> list[Entry]:
    """Entries of a room, with the quotes that this person may read. No statement if there are none."""
    answered = {(room_id, entry.of) for entry in page if _has_quote(entry)}
    found = _for_reader(db, who, answered)
    return [_with_quote(entry, found.get((room_id, entry.of))) for entry in page]


def quoted_for_all(db: Connection, room_id: int, page: Sequence[Entry]) -> list[Entry] | None:
    """As `quoted`, for everybody who is sent entries of this room; None if not all of them may read what is quoted."""
    answered = [entry.of for entry in page if _has_quote(entry)]
    if not answered:
        return list(page)
    if not db.scalar(select(IS_PAST_OPEN).where(RoomRow.id == room_id)):
        return None
    there = and_(EntryRow.room_id == room_id, EntryRow.seq.in_(answered), EntryRow.seq >= RoomRow.first_seq)
    found = _read(db.execute(_QUOTE.where(there)))
    return [_with_quote(entry, found.get((room_id, entry.of))) for entry in page]


def follow(
    db: Connection, room_id: int, seq: int, limit: int, characters: int
) -> tuple[list[Entry], bool, list[Entry] | None]:
    """As `replies.follow`, and the same entries as `quoted_for_all`."""
    found, more = replies.follow(db, room_id, seq, limit, characters)
    return found, more, quoted_for_all(db, room_id, found)


def follow_all(
    db: Connection, positions: Sequence[Place], limit: int, characters: int
) -> list[tuple[list[Entry], bool]]:
    """As `entries.follow_all`, with quotes as of `for_all`."""
    pages = entries.follow_all(db, positions, limit, characters)
    return [
        (with_quotes_for_all(db, room_id, page), more)
        for (room_id, _), (page, more) in zip(positions, pages, strict=True)
    ]


def with_quotes_for_all(db: Connection, room_id: int, page: list[Entry]) -> list[Entry]:
    """Entries of a room, with quotes as of `for_all`."""
    quoting = [entry for entry in page if _has_quote(entry)]
    if not quoting:
        return page
    known = for_all(db, room_id, {entry.of for entry in quoting}, quoting[0].seq)
    return [_with_quote(entry, known.get(entry.of)) for entry in page]


def quoted_found(
    db: Connection, who: Person, found: Sequence[tuple[RoomFacts, Entry]]
) -> list[tuple[RoomFacts, Entry]]:
    """For entries of several rooms."""
    known = _for_reader(db, who, {(facts.id, entry.of) for facts, entry in found if _has_quote(entry)})
    return [(facts, _with_quote(entry, known.get((facts.id, entry.of)))) for facts, entry in found]


def for_all(db: Connection, room_id: int, seqs: Collection[int], first: int) -> dict[int, Quote]:
    """The quotes of these messages, hidden where a subscriber of the room may not read the message.

    `first`: the first entry that is to quote one of them. An account that leaves the room after it still receives it,
    and counts as one that may not read the message.
    """
    asked = {"room": room_id, "seqs": list(seqs), "first": first}
    rows = db.execute(_FOR_ALL, asked).all()
    quotes = _read(row[:-1] for row in rows)
    return {
        row.seq: quotes[room_id, row.seq] if row.for_all else Quote("", "", "", row.author_id or 0, hidden=True)
        for row in rows
    }


def _has_quote(entry: Entry) -> bool:
    return entry.kind in QUOTING and entry.of > 0 and entry.state != ERASED


def _with_quote(entry: Entry, quote: Quote | None) -> Entry:
    return structs.replace(entry, quote=quote) if quote is not None and _has_quote(entry) else entry


_QUOTE: Final = (
    select(
        EntryRow.room_id,
        EntryRow.seq,
        EntryRow.author_id,
        NAME_THEN,
        DISPLAY_THEN,
        func.substr(EntryRow.text, 1, READ),
    )
    .select_from(EntryRow)
    .outerjoin(AccountRow, AccountRow.id == EntryRow.author_id)
    .join(RoomRow, and_(RoomRow.id == EntryRow.room_id, EntryRow.kind == MESSAGE))
)


_hearer: Final = aliased(MembershipRow)
_later: Final = aliased(EntryRow)
# Made once: on the way of a message, putting a query together takes longer than the query.
_FOR_ALL: Final = _QUOTE.add_columns(
    or_(
        RoomRow.kind != PRIVATE,
        RoomRow.past_open,
        ~(
            exists().where(
                _hearer.room_id == bindparam("room"), _hearer.left_seq.is_(None), _hearer.joined_seq > EntryRow.seq
            )
            | exists().where(
                _later.room_id == bindparam("room"), _later.seq > bindparam("first"), _later.kind.in_(LEAVING)
            )
        ),
    ).label("for_all")
).where(EntryRow.room_id == bindparam("room"), EntryRow.seq.in_(bindparam("seqs", expanding=True)))


def _for_reader(db: Connection, who: Person, places: Collection[Place]) -> dict[Place, Quote]:
    if not places:
        return {}
    rooms = {room_id for room_id, _ in places}
    if len(rooms) == 1:
        there = and_(EntryRow.room_id == rooms.pop(), EntryRow.seq.in_([seq for _, seq in places]))
    else:
        there = tuple_(EntryRow.room_id, EntryRow.seq).in_(list(places))
    mine = _QUOTE.outerjoin(MembershipRow, open_membership(who.id))
    return _read(db.execute(mine.where(is_entry_readable(who), there)))


def _read(rows: Any) -> dict[Place, Quote]:
    return {
        (room_id, seq): Quote(author or "", display or "", beginning(text, CHARACTERS), author_id or 0)
        for room_id, seq, author_id, author, display, text in rows
    }
