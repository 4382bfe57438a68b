"""One node alone: it does what it did before there were clusters, and nothing more."""

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.client import JsonClient
from tests.support.postgres import PostgresServer
from tests.support.process import ChatServer, migrate, wait_until

CONFIG = "[passwords]\nmemory_kib = 8\ntime_cost = 1\n[limits]\npresence_seconds = 60\n"

TRACE = """
import sys, threading
from sqlalchemy import event
from sqlalchemy.engine import Engine

run = threading.Thread.run

def told(thread):
    print("THREAD:", thread.name, file=sys.stderr)
    run(thread)

threading.Thread.run = told

@event.listens_for(Engine, "connect")
def trace(raw, _):
    if hasattr(raw, "set_trace_callback"):
        raw.set_trace_callback(lambda text: print("LOG:  statement:", " ".join(text.split()), file=sys.stderr))
"""
"""Python runs this when the server's process starts: SQLite tells of each statement, as PostgreSQL does by itself."""

LOGGED = {"fsync": "off", "log_statement": "all", "log_line_prefix": ""}

_STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)")
_SHAPE = re.compile(
    r"(EXECUTE \w+|UPDATE \w+|\w+)(?:.*?\b(?:FROM|INTO|UPDATE) \"?(?!json|unnest)([a-z]\w*))?", re.DOTALL
)
_NO_WORK = re.compile(
    r"BEGIN|COMMIT|ROLLBACK|PREPARE|PRAGMA|SHOW|SET|DISCARD|SELECT pg_catalog|SELECT current_schema|SELECT t.oid",
    re.IGNORECASE,
)
"""Statements that mark a transaction, or are sent once for a connection."""


def shapes(log: str) -> Counter[str]:
    """The verbs of the statements in a log, each with the first table that it names."""
    found: Counter[str] = Counter()
    for statement in _STATEMENT.findall(log):
        statement = " ".join(statement.split())
        words = _SHAPE.match(statement)
        if words is not None and not _NO_WORK.match(statement):
            found[" ".join(filter(None, words.groups()))] += 1
    return found


BEATS = 4
"""How long the idle server is watched."""
IDLE = {
    *("SELECT change", "SELECT node", "UPDATE node", "SELECT room", "SELECT erasure", "SELECT", "NOTIFY"),
    *("SELECT epoch", "SAVEPOINT", "SELECT pg_control_system", "RELEASE"),
    *("SELECT account", "SELECT unscanned"),
}
"""Periodic statements: changes are read, the lease is kept, heads are compared for a while, applications learn of new
entries, and where the database is, is compared with its epoch. New names are read, and whether there are messages whose
mentions are still to be found."""
INDEXING = {"SELECT entry", "INSERT search_mark", "DELETE entry_search", "INSERT entry_search"}
"""The words of a message follow it: in one transaction or in several."""
WORK = {
    "INSERT session": 1, "UPDATE session": 1, "SELECT ban": 2, "SELECT membership": 2,
    "UPDATE account": 1, "INSERT membership": 1, "DELETE invitation": 1,
}  # fmt: skip
"""A login, a message, a join and a goodbye, besides what is done again and again."""
SQLITE = Counter(WORK) + Counter({"WITH input": 1, "INSERT entry": 2, "UPDATE room": 2})
POSTGRES = Counter(WORK) + Counter({"EXECUTE append_one": 1, "INSERT entry": 1, "UPDATE room": 1})
THREADS = {"PoolThread-passwords", "readers", "writers", "start"}


@pytest.mark.slow
def test_on_sqlite(server: StartServer, tmp_path: Path) -> None:
    """On SQLite, no statement and no thread has come with the cluster, and nothing of it is imported."""
    one = served(server, tmp_path, f"sqlite:///{tmp_path / 'chatserver.db'}")
    look(one, lambda: one.log, SQLITE)


@pytest.mark.slow
def test_on_postgres(server: StartServer, tmp_path: Path) -> None:
    """Nor on PostgreSQL, as long as no bus is set."""
    with PostgresServer(LOGGED) as postgres:
        url = postgres.create_database()
        migrate(url)
        one = served(server, tmp_path, url)
        look(one, lambda: postgres.log, POSTGRES)


def served(server: StartServer, folder: Path, database: str) -> ChatServer:
    (folder / "sitecustomize.py").write_text(TRACE, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return server(database, config=CONFIG, env={"PYTHONPATH": path, "PYTHONPROFILEIMPORTTIME": "1"})


def look(one: ChatServer, log: Callable[[], str], expected: Counter[str]) -> None:
    with JsonClient(one.address) as ana, JsonClient(one.address) as bob:
        ana.register("ana")
        ana.ok("create", room="books")
        bob.register("bob")
        rest(log, len(log()))
        begin = len(log())
        with JsonClient(one.address) as again:
            again.login("bob")
            again.ok("quit")
        ana.ok("say", room="general", text="hello", id="1")
        bob.ok("join", room="books")
        rest(log, len(log()))  # also until the marks and the row of the session are written
        done = shapes(log()[begin:])
        begin = len(log())
        rest(log, begin)
        idle = shapes(log()[begin:])
    assert {what: count for what, count in done.items() if what not in IDLE | INDEXING} == expected
    assert set(idle) <= IDLE
    assert abs(idle["SELECT node"] - idle["UPDATE node"]) <= 1, "only the lease has to do with nodes"
    assert {name.rstrip("-0123456789") for name in re.findall(r"THREAD: (\S+)", one.log)} <= THREADS
    assert "| chatserver.delivery.registry" in re.sub(r"\| +", "| ", one.log)
    assert "chatserver.cluster" not in one.log


def rest(log: Callable[[], str], begin: int) -> None:
    """A few seconds pass."""
    wait_until(lambda: shapes(log()[begin:])["UPDATE node"] >= BEATS, 30.0)
