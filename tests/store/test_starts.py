"""Nodes that start at the same moment: each finds the database as it should be, and none fails because of another."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select

from chatserver.store.db.database_clock import now
from chatserver.store.db.engine import check_schema, open_engine, open_ready, parse_url
from chatserver.store.db.schema import NodeRow, RoomRow
from chatserver.store.db.threads import Store
from chatserver.store.nodes.lease import Claim, this_process
from chatserver.store.starting import prepare
from chatserver.util import times
from chatserver.util.clock import Clock
from tests.store.conftest import Tables

NODES = 4

MIGRATE = """
import sys
from chatserver.store.db import engine
print("ready", flush=True)
sys.stdin.readline()
engine.open_ready(engine.parse_url(sys.argv[1]), migrate=True).dispose()
print("migrated", flush=True)
"""


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_nodes_that_start_at_once(tables: Tables) -> None:
    """Several nodes take their leases and prepare the database at the same moment. The default rooms are created
    once."""
    barrier = Barrier(NODES)
    rounds = [[f"room{n}", f"other{n}"] for n in range(5)]

    def start(name: str) -> None:
        engine = open_ready(parse_url(tables.engine.url.render_as_string(hide_password=False)))
        reactor: Any = None
        store = Store(engine, reactor, 1, 1)
        me = replace(this_process(name, bus=True), host=name, machine=name)
        barrier.wait(20)
        assert isinstance(store.run(Claim(me)), int)
        for names in rounds:
            barrier.wait(20)
            prepare(store, me, names, Clock(), together=True)
        store.stop()

    tables.at_once(*(lambda name=f"node{n}": start(name) for n in range(NODES)))
    found = tables(lambda db: db.scalars(select(RoomRow.name).order_by(RoomRow.name)).all())
    assert found == sorted(name for names in rounds for name in names)
    assert tables(lambda db: db.scalar(select(func.count()).select_from(NodeRow).where(NodeRow.boot != ""))) == NODES


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_whose_time_it_is(tables: Tables, together: bool) -> None:
    """A node among others has the database's time before it writes anything, whatever its own clock says. A server
    alone has its own."""
    ahead = timedelta(hours=1)
    reactor: Any = None
    clock = Clock(lambda: times.now() + ahead)
    store = Store(tables.engine, reactor, 1, 1)
    prepare(store, this_process("main"), ["general"], clock, together=together)
    created = tables(lambda db: db.scalar(select(RoomRow.created_at)))
    assert created is not None
    for at in (created, clock()):
        assert abs(at - tables(now) - (timedelta() if together else ahead)) < timedelta(minutes=1)
    store.stop()


def test_migrations_at_once(empty_postgres_url: str) -> None:
    """Several servers that start with --migrate on an empty database migrate it once, and all go on."""
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, empty_postgres_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=Path(__file__).parents[2],
        )
        for _ in range(3)
    ]  # fmt: skip
    try:
        for server in servers:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        for server in servers:
            assert server.stdin is not None
            server.stdin.write("\n")
            server.stdin.flush()
        assert [server.communicate(timeout=60)[0] for server in servers] == ["migrated\n"] * 3
    finally:
        for server in servers:
            server.kill()
    engine = open_engine(parse_url(empty_postgres_url), 1)
    assert check_schema(engine) == "current"
    engine.dispose()
