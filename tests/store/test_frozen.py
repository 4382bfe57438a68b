"""A process that is stopped in the middle of a transaction, or that vanishes: PostgreSQL ends the transaction."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2.errors
import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import InternalError

from chatserver.store import messages
from chatserver.store.copies.snapshot import writing
from chatserver.store.db.engine import IDLE_MILLISECONDS, open_engine, parse_url
from chatserver.store.db.faults import IDLE, Errors
from chatserver.store.db.transactions import transact
from chatserver.store.messages import Draft
from chatserver.values.errors import Unavailable
from chatserver.values.events import MESSAGE, TOPIC
from tests.store.conftest import AT, Tables
from tests.support.process import die_with_parent, wait_until

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)

OTHER = """
import sys
from chatserver.values.errors import Unavailable
from chatserver.values.events import TOPIC, Person
from chatserver.store import entries
from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.faults import IDLE, Errors
from chatserver.store.db.transactions import transact
from tests.store.conftest import AT

engine = open_engine(parse_url(sys.argv[1]), 1)
room_id, who = int(sys.argv[2]), Person(int(sys.argv[3]), "ana", "person")

def change(db, topic, *, hold):
    entries.append_event(db, room_id, TOPIC, who, AT, topic)
    if hold:
        print("held", flush=True)
        sys.stdin.readline()
    entries.append_event(db, room_id, TOPIC, who, AT, topic)

try:
    transact(engine, lambda db: change(db, "lost", hold=True))
    print("stored", flush=True)
except Unavailable:
    print("unavailable", flush=True)
transact(engine, lambda db: change(db, "kept", hold=False))
print("recovered", flush=True)
"""


@pytest.fixture
def other(database_url: str) -> Iterator[Any]:
    """Starts another process, which begins to write to a room, and stops in the middle."""
    begun: list[subprocess.Popen[str]] = []

    def start(room_id: int, account_id: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER, database_url, str(room_id), str(account_id)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
            preexec_fn=die_with_parent(signal.SIGKILL),
        )  # fmt: skip
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_node_that_freezes_while_it_holds_a_room(tables: Tables, other: Any) -> None:
    """Another node stores in that room within seconds. Nothing of the frozen one's transaction is kept: it finds out
    when it continues, and its next transaction has a new connection."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    process = other(books.id, ana.id)
    os.kill(process.pid, signal.SIGSTOP)
    began = time.monotonic()
    verdicts = transact(tables.engine, lambda db: messages.append(db, [Draft(books.id, ana.id, "hi", None)], AT))
    assert [one.outcome for one in verdicts] == ["stored"]
    assert time.monotonic() - began < IDLE_MILLISECONDS / 1000 + 2
    os.kill(process.pid, signal.SIGCONT)
    told, _ = process.communicate("\n", timeout=20)
    assert told.splitlines() == ["unavailable", "recovered"]
    said = [(entry.seq, entry.kind, entry.text) for entry in tables.log(books)[1:]]
    assert said == [(2, MESSAGE, "hi"), (3, TOPIC, "kept"), (4, TOPIC, "kept")]


def test_a_node_that_dies_while_it_holds_a_room(tables: Tables, other: Any) -> None:
    """The room is free at once."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    process = other(books.id, ana.id)
    process.kill()
    wait_until(lambda: not tables(messages.locked, {books.id}), 5, "the room is free")
    assert len(tables.log(books)) == 1


def idle_end(db: Connection) -> None:
    """The database ends the connection as it does when the transaction is left alone."""
    db.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '20ms'")
    time.sleep(0.2)


def test_a_transaction_that_was_left_alone(tables: Tables) -> None:
    """Whether another statement or the commit finds it out, even in the moment in which the database ends the
    connection, the call fails as unavailable, and the next one works."""

    def one(db: Connection) -> int:
        return int(db.exec_driver_sql("SELECT 1").scalar_one())

    def late(db: Connection) -> int:
        idle_end(db)
        return one(db)

    with pytest.raises(Unavailable):
        transact(tables.engine, late)
    with pytest.raises(Unavailable):
        transact(tables.engine, idle_end)

    class Ended(psycopg2.errors.IdleInTransactionSessionTimeout):  # type: ignore[misc]
        pgcode = IDLE

    with pytest.raises(Unavailable), Errors(tables.engine):
        raise InternalError("SELECT", None, Ended())
    assert transact(tables.engine, one) == 1


def test_what_the_database_is_told_about_its_clients(database_url: str) -> None:
    """It finds out within seconds if a client's host has vanished, and ends transactions that are left alone; not those
    of a copy or a backup, which may wait for a disk or a network."""
    engine = open_engine(parse_url(database_url), 1)
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")

    def show(db: Connection, name: str) -> str:
        return str(db.exec_driver_sql(f"SHOW {name}").scalar())

    over_tcp = transact(engine, lambda db: db.exec_driver_sql("SELECT inet_client_addr() IS NOT NULL").scalar())
    if over_tcp:
        found = transact(engine, lambda db: [show(db, name) for name in names])
        assert found == ["5", "2", "3", "10000"]
    assert transact(engine, lambda db: show(db, "idle_in_transaction_session_timeout")) == "5s"
    with writing(engine) as db:
        assert show(db, "idle_in_transaction_session_timeout") == "0"
    engine.dispose()
