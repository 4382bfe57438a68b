"""Whether the index of words has the words of every message, and no others.

The words of each message up to the mark of its room are compared with those of its text; what is newer need not be in
the index. PostgreSQL itself keeps its index in step with the table of words; SQLite's is compared with its own table.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection, Engine, inspect

from chatserver.store.copies import rows
from chatserver.store.copies.backup import Progress
from chatserver.store.wanted import indexed
from chatserver.store.words import SEQ_BITS

AT_ONCE: Final = 5000
"""Number of messages that are read at a time."""

Problem = tuple[str, int]
"""A description, and the number of times."""


@contextmanager
def prepared(engine: Engine) -> Iterator[None]:
    """A block before which `problems` can be called, on the one connection of this engine."""
    if engine.dialect.name == "sqlite":
        connection = engine.raw_connection()
        connection.cursor().execute("PRAGMA temp_store = MEMORY")  # texts are nobody else's business
        connection.close()
    yield


_ROWS: Final = """
SELECT e.room_id, e.seq, e.author_id, e.target_seq, e.text, m.language, {words}
FROM entry AS e JOIN search_mark AS m ON m.room_id = e.room_id AND e.seq <= m.seq LEFT JOIN entry_search AS w ON {place}
WHERE e.kind = 'message' AND e.state IS DISTINCT FROM 'erased' ORDER BY e.room_id, e.seq
"""
_LEFT_OVER: Final = """
SELECT {room}, {seq} FROM entry_search AS w LEFT JOIN entry AS e ON {entry}
WHERE e.seq IS NULL OR e.kind <> 'message' OR (e.state = 'erased' AND {any_words})
"""
_PARTS: Final = {
    "postgresql": {
        "words": "array_to_string(tsvector_to_array(w.words), ' ')",
        "place": "w.room_id = e.room_id AND w.seq = e.seq",
        "entry": "e.room_id = w.room_id AND e.seq = w.seq",
        "room": "w.room_id",
        "seq": "w.seq",
        "any_words": "w.words <> ''",
    },
    "sqlite": {
        "words": "w.words",
        "place": f"w.rowid = (e.room_id << {SEQ_BITS} | e.seq)",
        "entry": f"e.room_id = w.rowid >> {SEQ_BITS} AND e.seq = w.rowid & {(1 << SEQ_BITS) - 1}",
        "room": f"w.rowid >> {SEQ_BITS}",
        "seq": f"w.rowid & {(1 << SEQ_BITS) - 1}",
        "any_words": "w.words <> ''",
    },
}
_VOCABULARY: Final = "CREATE VIRTUAL TABLE temp.verify_old USING fts5vocab(main, entry_search, instance)"
_SUMS: Final = "SELECT term, count(*), sum(doc % 2147483647) FROM temp.verify_old GROUP BY term"
_CONTENT: Final = "SELECT rowid, words FROM entry_search"


def problems(db: Connection, progress: Progress) -> Iterator[Problem]:
    present = inspect(db).get_table_names()
    if "search_mark" not in present or not _has_index(db):
        return  # found as a part of the schema
    parts = _PARTS[db.dialect.name]
    told = progress("Checking words", db.exec_driver_sql("SELECT count(*) FROM entry").scalar() or 0)
    with rows.streaming(db, "words") as cursor:
        cursor.execute(_ROWS.format(**parts).replace("IS DISTINCT FROM", _UNLIKE[db.dialect.name]))
        while page := cursor.fetchmany(AT_ONCE):
            for room_id, seq, author_id, of, text, language, found in page:
                if set((found or "").split()) != set(indexed(author_id, of, text, language)):
                    yield f"{_named(room_id, seq)} has other words in the index than in its text", 1
            told(len(page))
    for room_id, seq in db.exec_driver_sql(_LEFT_OVER.format(**parts)):
        yield f"{_named(room_id, seq)} is in the index, but is no message, or was erased", 1
    if db.dialect.name == "sqlite" and not _is_whole(db):
        yield "the index has other words than it is said to have", 1


_UNLIKE: Final = {"postgresql": "IS DISTINCT FROM", "sqlite": "IS NOT"}


def _has_index(db: Connection) -> bool:
    if db.dialect.name == "sqlite":
        return db.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'entry_search'").first() is not None
    return db.exec_driver_sql("SELECT to_regclass('entry_search')").scalar() is not None


def _is_whole(db: Connection) -> bool:
    """Whether SQLite's index has exactly the words of its own table: compared by sums, which are hardly ever equal
    otherwise."""
    db.exec_driver_sql(_VOCABULARY)
    have = wanted = 0
    for term, times, places in db.exec_driver_sql(_SUMS):
        have += _hash(term.encode("utf-8", "surrogateescape")) * (places + times)
    for rowid, found in db.exec_driver_sql(_CONTENT):
        for term in set(found.split()):
            wanted += _hash(term.encode()) * (rowid % 2147483647 + 1)
    db.exec_driver_sql("DROP TABLE temp.verify_old")
    return have == wanted


@lru_cache(65_536)
def _hash(term: bytes) -> int:
    return int.from_bytes(blake2b(term, digest_size=8).digest(), "big")


def _named(room_id: int, seq: int) -> str:
    return f"entry {seq} of room {room_id}"
