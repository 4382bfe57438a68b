"""Whether the index of words has the words of every message, and no others.

On PostgreSQL the column `search` is compared with the texts; the database itself keeps the index in step with it.

SQLite's index has no contents of its own, so it is compared with new ones of the same texts, a part at a time, in
memory: each message must have as many words there as here, and all words together must be at the same places.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection, Engine

from chatserver.store.copies import rows
from chatserver.store.copies.backup import Progress
from chatserver.store.search_walk import SEQ_BITS

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


def problems(db: Connection, progress: Progress) -> Iterator[Problem]:
    return _postgres(db, progress) if db.dialect.name == "postgresql" else _sqlite(db, progress)


_DIFFERENT: Final = """
SELECT room_id, seq, search IS DISTINCT FROM CASE WHEN kind = 'message' THEN to_tsvector('simple', text) END
FROM entry ORDER BY room_id, seq
"""


def _postgres(db: Connection, progress: Progress) -> Iterator[Problem]:
    has_column = "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('entry') AND attname = 'search'"
    if db.exec_driver_sql(has_column).first() is None:
        return  # found as a part of the index
    told = progress("Checking words", db.exec_driver_sql("SELECT count(*) FROM entry").scalar() or 0)
    with rows.streaming(db, "words") as cursor:
        cursor.execute(_DIFFERENT)
        while page := cursor.fetchmany(AT_ONCE):
            for room_id, seq, different in page:
                if different:
                    yield f"the words of entry {seq} of room {room_id} are not those of its text", 1
            told(len(page))


_NEXT: Final = f"""
INSERT INTO temp.verify_text (id, text) SELECT (room_id << {SEQ_BITS}) | seq, text FROM entry
WHERE kind = 'message' AND (room_id, seq) > (?, ?) ORDER BY room_id, seq LIMIT {{at_once}}
"""
_OTHER_SIZE: Final = """
SELECT d.id FROM temp.verify_words_docsize AS d LEFT JOIN entry_search_docsize AS m ON m.id = d.id
WHERE m.sz IS NOT d.sz ORDER BY d.id
"""
_NO_MESSAGE: Final = f"""
SELECT id FROM entry_search_docsize AS d WHERE NOT EXISTS (SELECT 1 FROM entry
WHERE room_id = d.id >> {SEQ_BITS} AND seq = d.id & {(1 << SEQ_BITS) - 1} AND kind = 'message')
"""
_SUMS: Final = """
SELECT term, count(*), sum((doc % 2147483647) * (2 * offset + 1) % 2147483647) FROM temp.{0} GROUP BY term ORDER BY term
"""
"""For each word, how often it occurs, and a number that depends on where."""

_TABLES: Final = {
    "verify_text": "TABLE temp.verify_text (id INTEGER PRIMARY KEY, text TEXT)",
    "verify_new": "VIRTUAL TABLE temp.verify_new USING fts5vocab(temp, verify_words, instance)",
    "verify_old": "VIRTUAL TABLE temp.verify_old USING fts5vocab(main, entry_search, instance)",
}


class _Sum:
    """The sum of an index, or of several that have different messages: equal if they have the same words at the same
    places, and hardly ever otherwise."""

    def __init__(self) -> None:
        self.words = 0
        self.value = 0

    def add(self, db: Connection, table: str) -> None:
        for term, times, places in db.exec_driver_sql(_SUMS.format(table)):
            self.words += times
            known = blake2b(term.encode("utf-8", "surrogateescape"), digest_size=8).digest()
            self.value = (self.value + int.from_bytes(known, "big") * (places + times)) % (1 << 61)


def _sqlite(db: Connection, progress: Progress) -> Iterator[Problem]:
    run = db.exec_driver_sql
    definition = run("SELECT sql FROM sqlite_master WHERE name = 'entry_search'").scalar()
    if definition is None:
        return  # found as a part of the index
    run(definition.replace("entry_search", "temp.verify_words", 1))
    for create in _TABLES.values():
        run(f"CREATE {create}")
    told = progress("Checking words", run("SELECT count(*) FROM entry WHERE kind = 'message'").scalar() or 0)
    wanted, have = _Sum(), _Sum()
    place = (-1, -1)
    good = True
    while run(_NEXT.format(at_once=AT_ONCE), place).rowcount:
        run("INSERT INTO temp.verify_words (rowid, text) SELECT id, text FROM temp.verify_text")
        for (id,) in run(_OTHER_SIZE):
            good = False
            yield f"{_named(id)} has other words in the index than in its text", 1
        wanted.add(db, "verify_new")
        last, done = run("SELECT max(id), count(*) FROM temp.verify_text").one()
        place = (last >> SEQ_BITS, last & ((1 << SEQ_BITS) - 1))
        run("DELETE FROM temp.verify_text")
        run("INSERT INTO temp.verify_words (verify_words) VALUES ('delete-all')")
        told(done)
    for (id,) in run(_NO_MESSAGE):
        good = False
        yield f"{_named(id)} is in the index, but is no message", 1
    have.add(db, "verify_old")
    if have.words > wanted.words:
        yield f"the index has {have.words - wanted.words:,} words that are in no message", 1
    elif good and (have.words, have.value) != (wanted.words, wanted.value):
        yield "the index has other words than the messages", 1
    for name in (*reversed(_TABLES), "verify_words"):
        run(f"DROP TABLE temp.{name}")


def _named(id: int) -> str:
    return f"entry {id & ((1 << SEQ_BITS) - 1)} of room {id >> SEQ_BITS}"
