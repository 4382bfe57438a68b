"""The messages that answer a message: listing and counting them.

A reply is stored behind the message that it answers. Who may read the message may therefore read all replies to it.
Erased ones neither count nor are listed.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import structs
from sqlalchemy import ColumnElement, Connection, literal_column, select, text

from chatserver.store import entries
from chatserver.store.db.schema import EntryRow, is_reply
from chatserver.store.entries import AS_OF, ENTRY_COLUMNS, ENTRY_JOINS, as_entry
from chatserver.values.events import MESSAGE, Entry, RoomFacts

MOST_COUNTED: Final = 10_000
"""Maximum number of replies to a message that are counted: at some hundred thousand a page would take too long."""

LAST: Final = 2**53
"""Maximum number of an entry: with it, all are counted."""

_IS_REPLY: Final[ColumnElement[bool]] = literal_column(is_reply("entry."))
# As of an entry: of replies that were erased since, the entries about that are still to come.
_COUNTS: Final = {
    dialect: text(f"""
        SELECT s.room_id, s.seq, (
            SELECT count(*) FROM entry AS e JOIN entry AS a ON a.room_id = e.room_id AND a.seq = e.target_seq
            WHERE e.room_id = s.room_id AND e.seq > s.as_of AND e.kind = 'erased' AND a.target_seq = s.seq
            AND a.kind = 'message' AND a.state = 'erased' AND a.seq <= s.as_of
        ) + (SELECT count(*) FROM (
            SELECT 1 FROM entry AS a WHERE a.room_id = s.room_id AND a.target_seq = s.seq AND a.seq <= s.as_of
            AND {is_reply("a.")}
            LIMIT {MOST_COUNTED}) AS anon_counted)
        FROM (SELECT CAST(v ->> 0 AS bigint) AS room_id, CAST(v ->> 1 AS bigint) AS seq,
              CAST(v ->> 2 AS bigint) AS as_of FROM {places}) AS s
    """)
    for dialect, places in (
        ("postgresql", "json_array_elements(CAST(:places AS json)) AS t(v)"),
        ("sqlite", "(SELECT value AS v FROM json_each(:places)) AS t"),
    )
}

Place = tuple[int, int]
"""The room and the seq of a message."""


def page(db: Connection, room_id: int, seq: int, after: int, limit: int) -> tuple[list[Entry], bool]:
    """The replies to a message that come after this number, oldest first, and whether there are more."""
    answers = (EntryRow.room_id == room_id, EntryRow.target_seq == seq, EntryRow.seq > after, _IS_REPLY)
    query = select(*ENTRY_COLUMNS, AS_OF).select_from(ENTRY_JOINS).where(*answers)
    rows = db.execute(query.order_by(EntryRow.seq).limit(limit + 1)).all()
    return [as_entry(*row) for row in rows[:limit]], len(rows) > limit


def counted(db: Connection, found: Sequence[tuple[RoomFacts, Entry]]) -> list[tuple[RoomFacts, Entry]]:
    """Entries with their rooms, in which messages say how many replies they have. No statement if there are none."""
    counts = _counts(db, [(facts.id, entry) for facts, entry in found])
    return [(facts, _with_count(entry, counts.get((facts.id, entry.seq)))) for facts, entry in found]


def counted_page(db: Connection, room_id: int, page: Sequence[Entry]) -> list[Entry]:
    """As `counted`, for entries of a room."""
    counts = _counts(db, [(room_id, entry) for entry in page])
    return [_with_count(entry, counts.get((room_id, entry.seq))) for entry in page]


def follow(db: Connection, room_id: int, seq: int, limit: int, characters: int) -> tuple[list[Entry], bool]:
    """As `entries.follow`; messages say how many replies they have."""
    found, more = entries.follow(db, room_id, seq, limit, characters)
    return counted_page(db, room_id, found), more


def _with_count(entry: Entry, count: int | None) -> Entry:
    return structs.replace(entry, replies=count) if count and entry.kind == MESSAGE else entry


def _counts(db: Connection, found: Sequence[tuple[int, Entry]]) -> dict[Place, int]:
    places = [(room_id, one.seq, one.as_of or LAST) for room_id, one in found if one.kind == MESSAGE]
    if not places:
        return {}
    asked = {"places": msgspec.json.encode(places).decode()}
    rows = db.execute(_COUNTS[db.dialect.name], asked)
    return {(room_id, seq): count for room_id, seq, count in rows if count}
