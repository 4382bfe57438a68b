"""A real server on a host whose wall clock is stepped while it runs, by libfaketime."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from chatserver.store import accounts, moderation
from chatserver.store.database import open_ready, parse_url
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient

FOLDERS = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime")
HOUR = 3600


def library() -> Path | None:
    found = [path for folder in FOLDERS for path in Path("/").glob(f"{folder[1:]}/libfaketimeMT.so.1")]
    return found[0] if found else None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(library() is None, reason="libfaketime is not installed (apt-get install faketime)"),
]


class WallClock:
    """The wall clock of a server, in whose environment are the variables `env`. The monotonic clock is the real one."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "faketime"
        self.step(0)
        self.env = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: int) -> None:
        """Sets the clock so many seconds before or after the right time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", encoding="utf-8")
        new.replace(self._file)


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
