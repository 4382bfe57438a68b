"""Values that the database refuses are the client's fault: no outage, no lost connection, no bug."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from chatserver.store import accounts, entries, export, messages, search, sessions
from chatserver.store.db.engine import open_statements
from chatserver.store.db.faults import Conflict
from chatserver.store.db.transactions import Statements, transact
from chatserver.store.messages import Draft
from chatserver.store.sessions import Opened
from chatserver.store.wanted import exactly
from chatserver.values.errors import Unstorable
from tests.store.conftest import AT, Tables

HUGE = 10**30

Work = Callable[[Connection], Any]
Run = Callable[[Work], Any]


@pytest.fixture
def run(tables: Tables) -> Iterator[Run]:
    """Runs work as `Store.append` does."""
    engine = open_statements(tables.engine, 1)
    if engine is None:
        yield lambda work: transact(tables.engine, work)
        return
    kept = Statements(engine)
    yield kept.run
    kept.close()
    engine.dispose()


def connection(db: Connection) -> int:
    return id(db.connection.dbapi_connection)


MESSAGES: dict[str, list[tuple[int, int, str, str | None]]] = {
    "NUL": [(0, 0, "a\0b", None)],
    "NUL in a batch": [(0, 0, "a\0b", None), (0, 0, "good", None)],
    "a long id": [(0, 0, "hello", "x" * 65)],
    "a long id in a batch": [(0, 0, "hello", "x" * 65), (0, 0, "good", None)],
    "half a character": [(0, 0, "\ud800", None)],
    "a huge number": [(HUGE, 0, "hello", None)],
    "a huge number in a batch": [(HUGE, 0, "hello", None), (0, 0, "good", None)],
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(tables: Tables, run: Run, name: str) -> None:
    """A batch with a value that the database refuses is refused as a whole, with `bad-command`, and the same connection
    stores what follows. SQLite takes some of these values."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    drafts = [Draft(room or books.id, author or ana.id, said, id) for room, author, said, id in MESSAGES[name]]
    before = run(connection)
    try:
        run(lambda db: messages.append(db, drafts, AT))
    except Unstorable:
        [good] = run(lambda db: messages.append(db, [Draft(books.id, ana.id, "better", None)], AT))
        assert good.outcome == "stored"
    else:
        assert not tables.postgres
    assert run(connection) == before


ASKED: dict[str, Work] = {
    "history": lambda db: entries.before(db, 1, HUGE, 1, 5),
    "history after": lambda db: entries.after(db, 1, HUGE, 5),
    "a long name": lambda db: accounts.create(db, "x" * 100, "hash", AT),
    "a name with NUL": lambda db: accounts.find(db, "a\0b"),
    "half a name": lambda db: accounts.find(db, "\ud800"),
    "an account": lambda db: accounts.get(db, HUGE),
    "an unknown account": lambda db: sessions.record(db, [Opened("s", 10**15, "main", "", AT)]),
    "a long address": lambda db: sessions.record(db, [Opened("s", 1, "main", "x" * 100, AT)]),
}


@pytest.mark.parametrize("name", ASKED)
def test_other_commands(tables: Tables, name: str) -> None:
    """So does every other statement: it is answered or refused, and never a fault of the server."""
    tables.person("ana")
    try:
        transact(tables.engine, ASKED[name])
    except Unstorable:
        pass
    assert transact(tables.engine, lambda db: accounts.find(db, "ana")) is not None


def test_far_pages(tables: Tables) -> None:
    """A search or an export that is asked for a page beyond all others has nothing, or is refused."""
    ana = tables.person("ana")
    tables.room("books", ana)
    for access in (None, tables.find(ana, "books")):
        for before in (HUGE, 2**53, 0):
            try:
                found = tables(search.search, ana, access, exactly("x"), before, 5)
            except Unstorable:
                continue
            assert found == ([], None)
    assert transact(tables.engine, lambda db: export.page(db, ana, f"{'9' * 18}:{'9' * 18}", 5))[0] == []


def test_conflicts_are_no_such_values(tables: Tables) -> None:
    """A row that another transaction has inserted is a conflict, which a retry may solve."""
    tables.person("ana")

    def again(db: Connection) -> None:
        db.exec_driver_sql(
            "INSERT INTO account (name, name_key, created_at) SELECT name, name_key, created_at FROM account"
        )

    with pytest.raises(Conflict):
        transact(tables.engine, again)
