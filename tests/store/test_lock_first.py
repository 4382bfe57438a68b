"""Several nodes write to the same rooms: after they have met, they lock the rooms before they judge."""

from collections.abc import Iterator
from typing import Any

import psycopg2.extensions
import pytest
from sqlalchemy import Connection

from chatserver.store import messages
from chatserver.store.db.engine import open_statements
from chatserver.store.db.faults import Locked
from chatserver.store.db.transactions import Statements
from chatserver.store.messages import Draft, Verdict
from chatserver.store.saying import LOCK_FIRST
from tests.store.conftest import AT, Tables, seqs

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite has one server


class Node:
    """Another node: a connection of its own, which waits for locks as long as the test likes. `sent`: each of its
    round trips."""

    def __init__(self, db: Connection) -> None:
        self.sent: list[str] = []
        self._db = db
        driver: Any = db.connection.dbapi_connection
        sent = self.sent

        class Observed(psycopg2.extensions.cursor):  # type: ignore[misc]
            def execute(self, query: Any, parameters: Any = None) -> None:
                sent.append(str(query))
                super().execute(query, parameters)

        driver.cursor_factory = Observed

    def append(self, *drafts: Draft) -> list[Verdict]:
        return messages.append(self._db, drafts, AT)

    @property
    def locks(self) -> list[bool]:
        """For each statement since the last call, whether it locked first."""
        found = ["EXECUTE lock_" in query for query in self.sent if not query.startswith("PREPARE")]
        self.sent.clear()
        return found


@pytest.fixture
def node(tables: Tables) -> Iterator[Node]:
    with tables.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        yield Node(db)


@pytest.mark.parametrize("size", [1, 3])
def test_nodes_that_meet(tables: Tables, node: Node, size: int) -> None:
    """A node that meets another one in a room judges anew, which takes a second round trip. Each of its next LOCK_FIRST
    statements takes one, whoever it meets; then it tries without a lock again. It prepares them once."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    drafts = [Draft(books.id, ana.id, f"{n}", None) for n in range(size)]

    def meet() -> list[Verdict]:
        with tables.engine.begin() as db, tables.meanwhile(lambda: node.append(*drafts)) as waiting:
            messages.append(db, [Draft(books.id, ana.id, "hi", None)], AT)
        verdicts = waiting()
        assert {one.outcome for one in verdicts} == {"stored"}
        return verdicts

    assert node.append(*drafts)[0].seq == 2
    assert [query.startswith("PREPARE") for query in node.sent] == [True, False]
    assert node.locks == [False]
    head = len(tables.log(books))
    assert meet()[0].seq == head + 2
    assert node.locks == ([False, True] if size == 1 else [False, False])
    assert meet()[0].seq == head + 2 + size + 1
    assert node.locks == [True]
    for _ in range(LOCK_FIRST):
        node.append(*drafts)
    assert node.locks == [True] * (LOCK_FIRST - 1) + [False]
    assert not any(query.startswith("PREPARE") for query in node.sent)
    assert seqs(tables.log(books)) == list(range(1, len(tables.log(books)) + 1))


def test_several_rooms(tables: Tables, node: Node) -> None:
    """A take for several rooms locks them first, in the order of their ids."""
    ana = tables.person("ana")
    rooms = [tables.room(name, ana) for name in ("books", "chess")]
    drafts = [Draft(room.id, ana.id, "hello", None) for room in reversed(rooms)]
    with tables.engine.begin() as db, tables.meanwhile(lambda: node.append(*drafts)) as waiting:
        messages.append(db, [Draft(rooms[0].id, ana.id, "hi", None)], AT)
        assert tables(messages.locked, {room.id for room in rooms}) == {rooms[0].id}
    assert [one.seq for one in waiting()] == [2, 3]
    assert node.locks == [True]


def test_a_lock_that_lasts(tables: Tables) -> None:
    """A node that locks first does not wait for long for a room that somebody else holds: it stores nothing, nor in the
    other rooms of the take, and its connection is as good as before."""
    ana = tables.person("ana")
    books, chess = tables.room("books", ana), tables.room("chess", ana)
    engine = open_statements(tables.engine, 1)
    assert engine is not None
    statements = Statements(engine)

    def append(db: Connection) -> list[str]:
        db.info["lock_first"] = 1
        drafts = [Draft(room.id, ana.id, "hello", f"in {room.name}") for room in (chess, books)]
        return [one.outcome for one in messages.append(db, drafts, AT)]

    def backend(db: Connection) -> object:
        return db.exec_driver_sql("SELECT pg_backend_pid()").scalar()

    before = statements.run(backend)
    with tables.engine.begin() as db:
        messages.append(db, [Draft(books.id, ana.id, "hi", None)], AT)
        with pytest.raises(Locked):
            statements.run(append)
        assert tables(messages.locked, {books.id, chess.id}) == {books.id}
    assert statements.run(append) == ["stored", "stored"]
    assert statements.run(backend) == before
    statements.close()
    engine.dispose()


def test_a_table_that_is_held(tables: Tables) -> None:
    """Messages that name nobody are stored while somebody holds the table of accounts. The others wait their time, and
    are stored on the same connection when it is free, although their statement could not be prepared before."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, bob)
    engine = open_statements(tables.engine, 1)
    assert engine is not None
    statements = Statements(engine)

    def say(*names: str) -> list[str]:
        drafts = [Draft(books.id, ana.id, f"hello {n}", None, names=names) for n in range(2)]
        return [one.outcome for one in statements.run(lambda db: messages.append(db, drafts, AT))]

    with tables.engine.begin() as db:
        db.exec_driver_sql("LOCK TABLE account IN ACCESS EXCLUSIVE MODE")
        assert say() == ["stored", "stored"]
        with pytest.raises(Locked):
            say("bob")
        assert say() == ["stored", "stored"]
    assert say("bob") == ["stored", "stored"]
    statements.close()
    engine.dispose()
