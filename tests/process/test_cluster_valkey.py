"""Nodes whose bus is Valkey, as processes."""

import time
from collections.abc import Iterator

import pytest

from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient, Raw
from tests.support.monitor import Monitor
from tests.support.process import LOOPBACK, ChatServer, run_chatserver, wait_until
from tests.support.valkey import Valkey, needs_valkey

pytestmark = [pytest.mark.slow, needs_valkey]

LAST_SECONDS = 1.2
"""How long the last message may take, whatever becomes of the bus."""
BETWEEN_SECONDS = 0.2
"""How long a message over the bus may take: less than the interval of the database's checks."""


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with Valkey("s3cret-bus") as valkey:
        yield valkey


def start(server: StartServer, database: str, valkey: Valkey, node: str, more: str = "") -> ChatServer:
    config = f"[server]\nnode = '{node}'\n[bus]\nurl = '{valkey.url}'\n{more}"
    return server(database, config=config, options=("--metrics", LOOPBACK))


def test_a_conversation(server: StartServer, connect: Connect, postgres_url: str, valkey: Valkey) -> None:
    """People at two nodes talk as at one: what they say comes over the bus, also in a room that was just made. A Valkey
    that does not answer delays it by a second, and one that is gone or comes back loses nothing. No log has the
    password."""
    one, two = (start(server, postgres_url, valkey, node) for node in ("one", "two"))
    monitor = Monitor(two)
    ana, bob = connect(one, JsonClient), connect(two, JsonClient)
    ana.register("ana")
    bob.register("bob")
    wait_until(lambda: monitor.numbers().of("chatserver_other_nodes") == 1, what="the nodes know each other")
    ana.ok("create", room="books")
    bob.ok("join", room="books")
    before = monitor.numbers().of("chatserver_bus_entries_total", way="bus")
    started = time.monotonic()
    for number in range(20):
        ana.say("books", f"question {number}")
        bob.hears(f"question {number}")
        bob.say("books", f"answer {number}")
        ana.hears(f"answer {number}")
    assert time.monotonic() - started < 40 * BETWEEN_SECONDS
    assert monitor.numbers().of("chatserver_bus_entries_total", way="bus") - before >= 20

    valkey.freeze()
    said(ana, bob, "frozen")
    wait_until(lambda: "Connecting anew" in two.log, what="the silence is noticed")
    said(ana, bob, "still frozen")
    valkey.thaw()
    wait_until(lambda: connected(one) and connected(two), what="the bus is back")

    valkey.kill()
    said(ana, bob, "killed")
    valkey.start()
    wait_until(lambda: connected(one) and connected(two), what="the bus is back")
    before = monitor.numbers().of("chatserver_bus_entries_total", way="bus")
    said(ana, bob, "back")
    assert monitor.numbers().of("chatserver_bus_entries_total", way="bus") > before
    entries = ana.ok("history", room="books", limit=100)["entries"]
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    for chat in (one, two):
        assert "s3cret-bus" not in chat.log


def said(ana: JsonClient, bob: JsonClient, text: str) -> None:
    """Somebody says the last message for now, and the other hears it."""
    ana.say("books", text)
    started = time.monotonic()
    bob.hears(text)
    assert time.monotonic() - started < LAST_SECONDS


def connected(chat: ChatServer) -> bool:
    return Monitor(chat).numbers().of("chatserver_bus_connected") == 1


def test_an_address_at_two_nodes(server: StartServer, connect: Connect, postgres_url: str, valkey: Valkey) -> None:
    """The limits of an address are shared by the nodes, and free again once the other node is dead."""
    limits = "[limits]\nconnections_per_address = 4\n"
    one, two = (start(server, postgres_url, valkey, node, limits) for node in ("one", "two"))
    for number in range(4):
        connect(one, JsonClient).register(f"user{number}")

    def refused() -> bool:
        with Raw(two.address) as client:
            return b"too many connections from your address" in client.read_until(b"\n")

    wait_until(refused, what="the other node counts them, too")
    one.kill()
    wait_until(lambda: not refused(), what="they count no more")


def test_without_valkey(server: StartServer, connect: Connect, postgres_url: str, valkey: Valkey) -> None:
    """A node starts and serves although Valkey is not there, and says so."""
    valkey.kill()
    chat = start(server, postgres_url, valkey, "one")
    chat.wait_log(r"The bus has no connection to Valkey at 127\.0\.0\.1:\d+\. Trying again\.")
    ana = connect(chat, JsonClient)
    ana.register("ana")
    ana.say("general", "hello")
    ana.hears("hello")
    valkey.start()
    chat.wait_log("The bus is connected again.")
    assert chat.stop() == 0


@pytest.mark.parametrize(
    "url", ["valkey://127.0.0.1", "valkey://127.0.0.1:70000", "valkey://s3cret-bus@127.0.0.1:6379"]
)
def test_a_wrong_url(url: str, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A URL that names no Valkey is one line at the start, without the password."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "chatserver.toml").write_text(f"[bus]\nurl = '{url}'\n")
    done = run_chatserver("--database", postgres_url, "--config", "chatserver.toml", cwd=folder)
    assert done.returncode == 78
    assert "bus.url must be" in done.stdout
    assert "s3cret-bus" not in done.stdout
    assert "Traceback" not in done.stdout
