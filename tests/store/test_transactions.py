"""Connections that are kept between calls, and connections that are lost."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from chatserver.store import messages
from chatserver.store.db.engine import open_statements
from chatserver.store.db.faults import Conflict
from chatserver.store.db.transactions import Statements, transact
from chatserver.store.messages import Draft
from chatserver.values.errors import Unavailable
from tests.store.conftest import AT, Tables

# SQLite has no connections to lose.
pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)

END_OTHERS = text(
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def backend(db: Connection) -> int:
    """The id of the server process behind a connection."""
    return int(db.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


@pytest.fixture
def statements(tables: Tables) -> Iterator[Statements]:
    engine = open_statements(tables.engine, 2)
    assert engine is not None
    kept = Statements(engine)
    yield kept
    kept.close()
    engine.dispose()


def test_lost_connections(tables: Tables, statements: Statements) -> None:
    """If the database ends all connections, the call in progress fails and every later one succeeds, also if they
    ended between two calls."""
    ana = tables.person("ana")
    books = tables.room("books", ana)

    def backends() -> set[int]:
        return statements.run(lambda one: {backend(one), statements.run(backend)})

    def end_all() -> None:
        tables(lambda db: db.execute(END_OTHERS))

    def append(db: Connection) -> str:
        return messages.append(db, [Draft(books.id, ana.id, "hello", "k1")], AT)[0].outcome

    def lose(db: Connection) -> str:
        end_all()
        return append(db)

    before = backends()
    assert len(before) == 2
    with pytest.raises(Unavailable):
        statements.run(lose)
    assert [statements.run(append) for _ in range(2)] == ["stored", "dup"]
    later = backends()
    assert not before & later
    end_all()
    assert statements.run(append) == "dup"
    assert not later & backends()


def test_a_conflict_costs_no_connection(tables: Tables, statements: Statements) -> None:
    """Storing an id at the same moment as another transaction, in another room, is a conflict, and the connection is
    used again."""
    ana = tables.person("ana")
    books, chess = tables.room("books", ana), tables.room("chess", ana)

    def append() -> str:
        return statements.run(lambda db: messages.append(db, [Draft(chess.id, ana.id, "hello", "k1")], AT))[0].outcome

    before = statements.run(backend)
    with tables.engine.begin() as db, tables.meanwhile(append) as result:
        assert messages.append(db, [Draft(books.id, ana.id, "hello", "k1")], AT)[0].outcome == "stored"
    with pytest.raises(Conflict):
        result()
    assert append() == "id-conflict"
    assert statements.run(backend) == before


def test_a_connection_lost_within_a_transaction(tables: Tables) -> None:
    """If the connection is lost in a transaction, storing a message in it fails as the rest of it does."""
    ana = tables.person("ana")
    books = tables.room("books", ana)

    def say(db: Connection) -> str:
        return messages.append(db, [Draft(books.id, ana.id, "hello", "k1")], AT)[0].outcome

    def lose(db: Connection) -> str:
        backend(db)
        tables(lambda other: other.execute(END_OTHERS))
        return say(db)

    with pytest.raises(Unavailable):
        transact(tables.engine, lose)
    assert [transact(tables.engine, say) for _ in range(2)] == ["stored", "dup"]
