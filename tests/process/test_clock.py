"""A real server on a host whose wall clock is stepped while it runs, by libfaketime."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from chatserver.store import accounts, moderation
from chatserver.store.db.engine import open_ready, parse_url
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient
from tests.support.wallclock import WallClock, library

HOUR = 3600

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(library() is None, reason="libfaketime is not installed (apt-get install faketime)"),
]


@pytest.fixture
def wall(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path)


def in_order(ats: Sequence[str]) -> bool:
    return list(ats) == sorted(set(ats))


def ban(database: str, name: str) -> None:
    """Bans an account from the server, as `chatctl ban` does on another host."""
    engine = open_ready(parse_url(database))

    def work(db: Connection) -> None:
        account = accounts.find(db, name)
        assert account is not None
        moderation.ban_from_server(db, None, account.person, None, None, "spam", datetime.now(UTC))

    with engine.begin() as db:
        work(db)
    engine.dispose()


def test_steps(wall: WallClock, server_url: str, server: StartServer, connect: Connect) -> None:
    """While the clock is stepped by hours, back and forth, messages are answered at once, the times of a room's entries
    rise, also after a restart, and nobody is hung up on."""
    chat = server(server_url, env=wall.env, config=QUICK)
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    ats = []
    for n, step in enumerate((0, -HOUR, HOUR, -HOUR, 0)):
        wall.step(step)
        began = time.monotonic()
        ats.append(ana.say("general", f"hello {n}")["at"])
        bob.hears(f"hello {n}")
        assert time.monotonic() - began < 3.0
        time.sleep(0.2)
    assert in_order(ats)
    assert datetime.now(UTC) + timedelta(minutes=59) < datetime.fromisoformat(ats[-1])  # it has been an hour ahead
    assert chat.stop() == 0
    chat.start()
    ana = connect(chat, JsonClient)
    ana.login("ana")
    ats.append(ana.say("general", "again")["at"])
    assert in_order(ats)


def test_nodes_whose_clocks_differ(wall: WallClock, postgres_url: str, server: StartServer, connect: Connect) -> None:
    """The times of entries are the database's on every node: one whose wall clock is a minute ahead, and is stepped by
    hours, gives the same times as one whose clock is right."""
    config = QUICK + '\n[bus]\nurl = "postgres"\n'
    wall.step(60)
    ahead = server(postgres_url, env=wall.env | {"CHATSERVER_NODE": "ahead"}, config=config)
    right = server(postgres_url, env={"CHATSERVER_NODE": "right"}, config=config)
    ana, bob = connect(ahead, JsonClient), connect(right, JsonClient)
    ana.register("ana")
    bob.register("bob")
    ats = []
    for n, step in enumerate((60, HOUR, -HOUR, 60)):
        wall.step(step)
        for who in (ana, bob):
            sent = datetime.now(UTC)
            ats.append(who.say("general", f"hello {n}")["at"])
            second = timedelta(seconds=1)
            assert sent - second < datetime.fromisoformat(ats[-1]) < datetime.now(UTC) + second
    assert in_order(ats)


def test_a_ban_after_a_step(wall: WallClock, server_url: str, server: StartServer, connect: Connect) -> None:
    """After a step back by an hour the server still notices within seconds what another process has changed."""
    chat = server(server_url, env=wall.env, config=QUICK)
    bob = connect(chat, JsonClient)
    bob.register("bob")
    time.sleep(0.2)
    wall.step(-HOUR)
    ban(server_url, "bob")
    assert bob.wait_closing(5.0)["reason"] == "banned"


def test_a_mute_and_steps(wall: WallClock, postgres_url: str, server: StartServer, connect: Connect) -> None:
    """A mute lasts as long as the database's clock says, whatever the server's clock does. (SQLite has no clock of its
    own.)"""
    chat = server(postgres_url, env=wall.env, config=QUICK)
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    ana.ok("create", room="books")
    bob.ok("join", room="books")
    wall.step(-HOUR)
    ana.ok("mute", room="books", name="bob", seconds=HOUR)
    for step in (-HOUR, 0, 2 * HOUR):
        wall.step(step)
        assert bob.refused("say", room="books", text="hi") == "muted"
    ana.ok("unmute", room="books", name="bob")
    wall.step(HOUR)
    ana.ok("mute", room="books", name="bob", seconds=1)
    wall.step(-HOUR)
    time.sleep(1.1)
    bob.say("books", "hi")
