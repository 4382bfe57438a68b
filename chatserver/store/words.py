"""The index of words, which follows the logs: a job adds messages to it, some time after they were stored.

For each room, `SearchMarkRow` says up to which entry its messages are in the index, and with the stems of which
language; a search looks at the messages behind the mark itself. A room whose mark has another language than the
settings is indexed anew. Editing and erasing change the index in their own transaction: triggers drop the old words,
and `reindex` adds the new ones.

On PostgreSQL the index is a table, where a message that was changed keeps a row, if without words: the job never
replaces one, so that a text that it read before the change is not indexed after it. On SQLite it is a table of FTS5,
and nobody else writes meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Connection, bindparam, case, select, text

from chatserver.store.db.schema import EntryRow, RoomRow, SearchMarkRow
from chatserver.store.wanted import indexed
from chatserver.values.events import ERASED, MESSAGE

SEQ_BITS: Final = 36
"""Number of bits for the seq in the one number that a message has in SQLite's index; before them is its room."""

STEP_ENTRIES: Final = 200
STEP_CHARACTERS: Final = 50_000
"""Maximum number of entries in a step, and of characters, but for the last entry: some hundredths of a second."""

STEP_ROOMS: Final = 50

_ONE_NODE: Final = text("SELECT pg_try_advisory_xact_lock(4002)")

_ADD: Final = {
    "postgresql": text(
        "INSERT INTO entry_search (room_id, seq, words) "
        "SELECT CAST(r AS bigint), CAST(s AS bigint), CAST(w AS tsvector) "
        "FROM unnest(CAST(:rooms AS text[]), CAST(:seqs AS text[]), CAST(:words AS text[])) AS one (r, s, w) "
        "ON CONFLICT (room_id, seq) DO NOTHING"
    ),
    "sqlite": text("INSERT OR REPLACE INTO entry_search (rowid, words) VALUES (:id, :words)"),
}
_REPLACE: Final = {
    "postgresql": text(
        "INSERT INTO entry_search (room_id, seq, words) VALUES (:room, :seq, CAST(:words AS tsvector)) "
        "ON CONFLICT (room_id, seq) DO UPDATE SET words = excluded.words"
    ),
    "sqlite": _ADD["sqlite"],
}
_CLEAR: Final = text("DELETE FROM entry_search WHERE room_id = :room AND seq > :low AND seq <= :high")
"""What an index with the stems of another language has left, on PostgreSQL; on SQLite it is replaced."""

_MARK: Final = text(
    "INSERT INTO search_mark (room_id, seq, language) VALUES (:room, :seq, :language) "
    "ON CONFLICT (room_id) DO UPDATE SET seq = excluded.seq, language = excluded.language"
)
_MARK_OF: Final = select(SearchMarkRow.seq, SearchMarkRow.language).where(SearchMarkRow.room_id == bindparam("in_room"))


class Step(Struct, frozen=True):
    """One transaction: how many entries it looked at, how many are left, and whether another node does this now."""

    done: int = 0
    behind: int = 0
    busy: bool = False


def marked(language: str) -> Any:
    """For queries over rooms with their marks: up to which entry the index has a room."""
    return case((SearchMarkRow.language == language, SearchMarkRow.seq), else_=0)


def step(db: Connection, language: str, since: datetime | None) -> Step:
    """Adds the next messages to the index. `since`: only in rooms that have an entry from then on."""
    if db.dialect.name == "postgresql" and not db.scalar(_ONE_NODE):
        return Step(busy=True)
    rooms = _rooms_behind(db, language, since)
    done = characters = 0
    for room in rooms[:STEP_ROOMS]:
        count, characters = _room(db, room, language, STEP_ENTRIES - done, characters)
        done += count
        if done >= STEP_ENTRIES or characters >= STEP_CHARACTERS:
            break
    return Step(done, max(_count(rooms) - done, 0))


def behind(db: Connection, language: str, since: datetime | None) -> int:
    """The number of entries that are not in the index."""
    return _count(_rooms_behind(db, language, since))


def _rooms_behind(db: Connection, language: str, since: datetime | None) -> Sequence[Any]:
    known = marked(language)
    columns = RoomRow.id, RoomRow.last_seq, RoomRow.first_seq, known.label("known")
    query = select(*columns).outerjoin(SearchMarkRow, SearchMarkRow.room_id == RoomRow.id)
    query = query.where(RoomRow.last_seq > known)
    if since is not None:
        query = query.where(RoomRow.last_at >= since)
    return db.execute(query.order_by(RoomRow.last_at.desc())).all()


def _count(rooms: Sequence[Any]) -> int:
    return sum(room.last_seq - max(room.known, room.first_seq - 1) for room in rooms)


def _room(db: Connection, room: Any, language: str, most: int, characters: int) -> tuple[int, int]:
    """Goes on in one room. Returns how many entries it looked at, and the characters so far."""
    low = max(room.known, room.first_seq - 1)
    high = min(room.last_seq, low + most)
    if db.dialect.name == "postgresql":  # before the texts are read: see above
        db.execute(_CLEAR, {"room": room.id, "low": low, "high": high})
    columns = EntryRow.seq, EntryRow.author_id, EntryRow.text, EntryRow.target_seq
    here = (EntryRow.room_id == room.id, EntryRow.seq > low, EntryRow.seq <= high)
    messages = (EntryRow.kind == MESSAGE, EntryRow.state.is_distinct_from(ERASED))
    taken: list[tuple[int, Any]] = []
    for row in db.execute(select(*columns).where(*here, *messages).order_by(EntryRow.seq)).all():
        if taken and characters >= STEP_CHARACTERS:
            high = row.seq - 1
            break
        characters += len(row.text)
        taken.append((room.id, row))
    add(db, taken, language)
    db.execute(_MARK, {"room": room.id, "seq": high, "language": language})
    return high - low, characters


def add(db: Connection, rows: Sequence[tuple[int, Any]], language: str) -> None:
    """Adds messages to the index: pairs of a room and a row of `entry`."""
    found = [(room_id, row.seq, _words(db, row, language)) for room_id, row in rows]
    if not found:
        return
    if db.dialect.name == "sqlite":
        db.execute(_ADD["sqlite"], [{"id": room_id << SEQ_BITS | seq, "words": said} for room_id, seq, said in found])
    else:
        rooms, seqs, said = zip(*found, strict=True)
        db.execute(
            _ADD["postgresql"], {"rooms": list(map(str, rooms)), "seqs": list(map(str, seqs)), "words": list(said)}
        )


def reindex(db: Connection, room_id: int, seq: int) -> None:
    """Adds the new words of a message that was edited. The room must be locked."""
    mark = db.execute(_MARK_OF, {"in_room": room_id}).one_or_none()
    columns = EntryRow.seq, EntryRow.author_id, EntryRow.text, EntryRow.target_seq
    row = db.execute(select(*columns).where(EntryRow.room_id == room_id, EntryRow.seq == seq)).one()
    said = _words(db, row, mark.language if mark is not None else "")
    name = db.dialect.name
    place = {"room": room_id, "seq": seq} if name == "postgresql" else {"id": room_id << SEQ_BITS | seq}
    db.execute(_REPLACE[name], {**place, "words": said})


def _words(db: Connection, row: Any, language: str) -> str:
    return in_index(db.dialect.name, indexed(row.author_id, row.target_seq, row.text, language))


def in_index(dialect: str, found: Sequence[str]) -> str:
    """Words in the form in which an index is given them."""
    return " ".join(f"'{word}'" for word in found) if dialect == "postgresql" else " ".join(found)
