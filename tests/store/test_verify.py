"""`verify`: finds nothing in a good database, and names each thing that is broken in a bad one."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from sqlalchemy import Connection, Engine

from chatserver.store import retention, words
from chatserver.store.copies import rows, verify_words
from chatserver.store.copies import verify as verifying
from chatserver.store.copies.snapshot import snapshot
from chatserver.store.copies.verify import REPAIRS, verify
from chatserver.store.db.engine import open_ready, parse_url
from tests.support.contents import fill

ROW: Final = "(1 << 36) | {0}"
CLOSED: Final = "UPDATE session SET disconnected_at = connected_at, reason = 'quit' WHERE disconnected_at IS NULL"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_ready(parse_url(database_url), migrate=True)
    yield engine
    engine.dispose()


@pytest.fixture
def filled(engine: Engine) -> Engine:
    with engine.begin() as db:
        fill(db)
        db.exec_driver_sql(CLOSED)
    return engine


def wrong(engine: Engine) -> dict[str, str]:
    """The text of each item that is not ok."""
    return {finding.item: finding.text for finding in verify(engine.url) if not finding.ok}


def everything(engine: Engine) -> dict[str, list[rows.Row]]:
    with snapshot(engine) as db:
        return {table.name: [row for page in rows.read(db, table) for row in page] for table in rows.tables(db)}


def without_keys(db: Connection) -> None:
    """Foreign keys are not enforced from now on."""
    if db.dialect.name == "postgresql":
        db.exec_driver_sql("SET session_replication_role = replica")


def break_it(engine: Engine, *statements: str) -> None:
    if engine.dialect.name == "sqlite":
        connection = engine.raw_connection()
        connection.cursor().execute("PRAGMA foreign_keys = OFF")
        connection.close()
    with engine.begin() as db:
        without_keys(db)
        for statement in statements:
            db.exec_driver_sql(statement)
    engine.dispose()


def test_nothing_is_wrong(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty database is right, and so is one with something of everything, in however many pages it is read."""
    assert wrong(engine) == {}
    with engine.begin() as db:
        fill(db)
        db.exec_driver_sql(CLOSED)
    assert wrong(engine) == {}
    monkeypatch.setattr(rows, "PAGE", 2)
    monkeypatch.setattr(verify_words, "AT_ONCE", 2)
    assert wrong(engine) == {}
    assert [finding.item for finding in verify(engine.url)] == [
        "schema", "numbers", "heads", "references", "reactions", "words", "ids", "sessions",
    ]  # fmt: skip


def read(engine: Engine, query: str) -> Iterator[tuple[Any, ...]]:
    with snapshot(engine) as db:
        return iter([tuple(row) for row in db.exec_driver_sql(query)])


SEEN: Final = "UPDATE membership SET read_seq = 2, seen = '{}' WHERE room_id = 1 AND account_id = 1"


def test_what_was_seen(filled: Engine) -> None:
    """Entries seen behind a read mark are stored as separate stretches, in order, of entries that are there."""
    wanted = {
        "[[4,4]]": True,
        "[[4,5],[7,9]]": True,
        "[[2,5]]": True,  # `read` has moved the mark
    }
    cannot_be = ["[]", "[[4,5],[6,7]]", "[[7,9],[4,5]]", "[[5,4]]", "[[-3,4]]", "[[4,99]]", "[[4]]", "4-5"]
    for seen, right in {**wanted, **dict.fromkeys(cannot_be, False)}.items():
        with filled.begin() as db:
            db.exec_driver_sql(SEEN.format(seen))
        with snapshot(filled) as db:
            found = list(verifying.seen_problems(db))
        assert found == ([] if right else ["what account 1 has seen of room general (id 1) cannot be"]), seen


def test_removed_entries(filled: Engine) -> None:
    """A room whose oldest entries retention has removed is right."""
    with filled.begin() as db:
        retention.remove(db, 1, 1, 16)
    assert wrong(filled) == {}
    with filled.begin() as db:
        retention.remove(db, 1, 16, 22)
    assert wrong(filled) == {}


def test_it_changes_nothing(filled: Engine) -> None:
    """It reads only: on a database that refuses every write, too."""
    if filled.dialect.name == "postgresql":
        with filled.begin() as db:
            db.exec_driver_sql(f'ALTER DATABASE "{filled.url.database}" SET default_transaction_read_only = on')
        filled.dispose()
    before = everything(filled)
    assert wrong(filled) == {}
    assert everything(filled) == before


BROKEN: Final = {
    "numbers and heads": [
        ("numbers", "general (id 1) has no entry 7", "DELETE FROM entry WHERE room_id = 1 AND seq = 7"),
        ("numbers", "general (id 1) has no entry 9 to 11",
         "DELETE FROM entry WHERE room_id = 1 AND seq BETWEEN 9 AND 11"),
        ("numbers", "books (id 3) has no entry 4 to 5", "DELETE FROM entry WHERE room_id = 3 AND seq >= 4"),
        ("numbers", "old (id 4) has entry 1 below its first number 2", "UPDATE room SET first_seq = 2 WHERE id = 4"),
        ("numbers", "empty (id 2) has no entry 1", "UPDATE room SET last_seq = 1 WHERE id = 2"),
        ("numbers", "is of no known kind", "UPDATE entry SET kind = 'what' WHERE room_id = 1 AND seq = 1"),
        ("heads", "(id 6) has entry 2 above its last number 1", "UPDATE room SET last_seq = 1 WHERE id = 6"),
        ("heads", "old (id 5) has another time", "UPDATE room SET last_at = '2020-01-01 00:00:00.000000' WHERE id = 5"),
        ("heads", "general (id 1) goes back in time at entry 4",
         "UPDATE entry SET at = '2020-01-01 00:00:00.000000' WHERE room_id = 1 AND seq = 4"),
        ("heads", "the membership of account 1 in room books (id 3) does not fit its log",
         "UPDATE membership SET joined_seq = 90 WHERE room_id = 3 AND account_id = 1"),
        ("heads", "what account 1 has seen of room books (id 3) cannot be",
         "UPDATE membership SET seen = '[[3,6]]' WHERE room_id = 3 AND account_id = 1"),
    ],
    "references": [
        ("references", "the author of entry 4 of room general (id 1) is not there",
         "UPDATE entry SET author_id = 99 WHERE room_id = 1 AND seq = 4"),
        ("references", "the account that entry 5 of room general (id 1) names is not there",
         "UPDATE entry SET target_id = 99 WHERE room_id = 1 AND seq = 5"),
        ("references", "the message that entry 6 of room general (id 1) is about is not there",
         "UPDATE entry SET target_seq = 99 WHERE room_id = 1 AND seq = 6"),
        ("references", "room 3, which membership.room_id names, is not there", "DELETE FROM room WHERE id = 3"),
        ("references", "entry 1 is in room 3, which is not there", "DELETE FROM room WHERE id = 3"),
        ("references", "account 4, which membership.account_id names", "DELETE FROM account WHERE id = 4"),
        ("references", "the id that is kept of entry 2 of room 1 is wrong",
         "INSERT INTO entry (room_id, seq, kind, author_id, text, at) VALUES (-1, 2, 'spent', 1, '', '2026-01-01')"),
        ("references", "a mention in entry 99 of room 1 is of no message that is there",
         "INSERT INTO mention (account_id, room_id, seq, author_id, at) VALUES (1, 1, 99, 2, '2026-01-01')"),
        ("references", "room 99, which token.room_id names", "UPDATE token SET room_id = 99 WHERE id = 2"),
    ],
    "reactions": [
        ("reactions", "the sums of entry 1 of room 6 are not those of its reactions",
         """UPDATE entry SET reactions = '{"+1":1}' WHERE room_id = 6 AND seq = 1"""),
        ("reactions", "the sums of entry 2 of room 6 are not those of its reactions",
         "UPDATE entry SET reactions = NULL WHERE room_id = 6 AND seq = 2"),
        ("reactions", "the sums of entry 3 of room 6 are not those of its reactions",
         "UPDATE entry SET reactions = 'what' WHERE room_id = 6 AND seq = 3"),
        ("reactions", "entry 4 of room 6 has reactions or is pinned, but is no message that is there",
         "UPDATE entry SET pinned = true WHERE room_id = 6 AND seq = 4"),
    ],
    "the rest": [
        ("words", "is erased, but has its text", "UPDATE entry SET text = 'x' WHERE room_id = 1 AND state = 'erased'"),
        ("schema", "uq_entry_author_id_client_id is missing", "DROP INDEX uq_entry_author_id_client_id"),
        ("ids", "entry has 2 rows with author_id 1, client_id id-2",
         "UPDATE entry SET client_id = 'id-2' WHERE room_id = 1 AND client_id = 'id-3'"),
        ("schema", "uq_room_name_kept is missing", "DROP INDEX uq_room_name_kept"),
        ("ids", "room has 2 rows with name general", "UPDATE room SET name = 'general' WHERE id = 3"),
        ("sessions", "1 of node main are open, but no server runs as that node",
         "UPDATE session SET disconnected_at = NULL WHERE id > 'f'"),
        ("schema", "column room.keep_days is missing", "ALTER TABLE room DROP COLUMN keep_days"),
    ],
}  # fmt: skip
"""Damage to a database, the item of the report that names it, and its text."""


@pytest.mark.parametrize("group", BROKEN)
def test_something_is_wrong(filled: Engine, group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thing that is broken is named, with what to do about it."""
    monkeypatch.setattr(verifying, "SHOWN", 100)
    break_it(filled, *dict.fromkeys(statement for _, _, statement in BROKEN[group]))
    found = wrong(filled)
    assert set(found) == {item for item, _, _ in BROKEN[group]}
    for item, text, _ in BROKEN[group]:
        assert text in found[item]
        assert found[item].endswith(REPAIRS[item])


POSTGRES_WORDS: Final = {
    "no index": ("ix_entry_search is missing", ["DROP INDEX ix_entry_search"]),
    "another text": (
        "entry 6 of room 1 has other words",
        ["UPDATE entry_search SET words = $$'other'$$ WHERE room_id = 1 AND seq = 6"],
    ),
    "not found": ("entry 6 of room 1 has other words", ["DELETE FROM entry_search WHERE room_id = 1 AND seq = 6"]),
    "no trigger": ("entry_search_changed, a part of the", ["DROP TRIGGER entry_search_changed ON entry"]),
    "remains": (
        "entry 99 of room 1 is in the index, but is no message",
        ["INSERT INTO entry_search (room_id, seq, words) VALUES (1, 99, 'secret')"],
    ),
}


@pytest.mark.parametrize("what", POSTGRES_WORDS)
def test_words_on_postgres(postgres_url: str, what: str) -> None:
    """PostgreSQL's index of words is missing, or its column is not what the texts give."""
    check_words(postgres_url, *POSTGRES_WORDS[what])


SQLITE_WORDS: Final = {
    "not found": ("entry 15 of room 1 has other words", [f"DELETE FROM entry_search WHERE rowid = {ROW.format(15)}"]),
    "not deleted": (
        "entry 15 of room 1 has other words",
        ["DROP TRIGGER entry_search_changed", "UPDATE entry SET text = '' WHERE room_id = 1 AND seq = 15"],
    ),
    "no trigger": ("entry_search_changed, a part of the", ["DROP TRIGGER entry_search_changed"]),
    "no such entry": (
        "entry 99 of room 1 is in the index, but is no message",
        [f"INSERT INTO entry_search (rowid, words) VALUES ({ROW.format(99)}, 'secret')"],
    ),
    "remains": (
        "the index has other words than it is said to have",
        [
            f"INSERT INTO entry_search (rowid, words) VALUES ({ROW.format(99)}, 'secret')",
            f"DELETE FROM entry_search_content WHERE id = {ROW.format(99)}",
        ],
    ),
    "no index": ("entry_search, a part of the index of words, is missing", ["DROP TABLE entry_search"]),
}  # fmt: skip


@pytest.mark.parametrize("what", SQLITE_WORDS)
def test_words_on_sqlite(sqlite_url: str, what: str) -> None:
    """SQLite's index lacks words of a message, or has some that are none."""
    check_words(sqlite_url, *SQLITE_WORDS[what])


def check_words(url: str, text: str, statements: list[str]) -> None:
    engine = open_ready(parse_url(url), migrate=True)
    with engine.begin() as db:
        fill(db)
        db.exec_driver_sql(CLOSED)
        while words.step(db, "", None).behind:
            pass
    assert wrong(engine) == {}
    break_it(engine, *statements)
    assert text in wrong(engine)["words"]
    engine.dispose()


def test_many_problems(filled: Engine) -> None:
    """The first few problems are named, and the others are counted."""
    break_it(filled, "UPDATE entry SET author_id = 99")
    assert "; and 39 more. " in wrong(filled)["references"]


def test_an_older_schema(filled: Engine) -> None:
    """Nothing else is looked at in a database that another version has made."""
    break_it(filled, "UPDATE alembic_version SET version_num = '0001'")
    assert list(wrong(filled)) == ["schema"]
    assert "chatctl migrate" in wrong(filled)["schema"]
