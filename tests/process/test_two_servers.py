"""One server, one database, unless it is meant: a second server, a crash, and a server that was stopped for a while."""

import re
import signal
import time
from pathlib import Path

import pytest

from chatserver.store.nodes.lease import LAPSE_SECONDS
from tests.conftest import Connect, StartServer
from tests.process.load import query
from tests.support.client import JsonClient
from tests.support.process import LOOPBACK, ChatServer, run_chatserver

pytestmark = pytest.mark.slow

SECOND = "[server]\nnode = 'second'\nguests = true\n"
GUESTS = "[server]\nguests = true\n"


def refusal(database: str, cwd: Path, config: str = "") -> str:
    """The one line with which a server refuses to start on this database."""
    path = cwd / "second.toml"
    path.write_text(config)
    done = run_chatserver("--database", database, "--listen", LOOPBACK, "--config", str(path), cwd=cwd)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    [message] = re.findall(r"^(?:\S+ \[stderr#error\] )?chatserver: (.+)$", done.stdout, re.MULTILINE)
    return str(message)


def test_a_second_server(database_url: str, server: StartServer, connect: Connect, tmp_path: Path) -> None:
    """A second server of the same node is refused with one line that names the first; the first notices nothing."""
    chat = server(database_url, config=GUESTS)
    guest, ana = connect(chat, JsonClient), connect(chat, JsonClient)
    guest.ok("guest")
    ana.register("ana")
    message = refusal(database_url, tmp_path)
    assert f"node main (process {chat.pid} on " in message
    assert ("server.node" in message) == (not database_url.startswith("sqlite"))
    ana.say("general", "still here")
    assert guest.hears("still here")


def test_any_second_server_on_a_file(server: StartServer, tmp_path: Path) -> None:
    """On a SQLite file, a second server is refused even if it is another node."""
    chat = server()
    assert f"SQLite file as node main (process {chat.pid} on " in refusal(chat.database, tmp_path, SECOND)


@pytest.mark.parametrize("bus", ["", '[bus]\nurl = "postgres"\n'])
def test_nodes_that_cannot_hear_each_other(bus: str, postgres_url: str, server: StartServer, tmp_path: Path) -> None:
    """On PostgreSQL, a server without a bus does not start beside another one, nor another one beside it: one line says
    what to do."""
    first = server(postgres_url, config=bus)
    message = refusal(postgres_url, tmp_path, SECOND)
    assert f"(process {first.pid} on " in message
    assert ("set bus.url here as it is there" if bus else "set bus.url for both") in message
    if not bus:
        with_bus = SECOND + '[bus]\nurl = "postgres"\n'
        assert refusal(postgres_url, tmp_path, with_bus).endswith("or set bus.url there, too.")


def test_a_start_after_a_crash(database_url: str, server: StartServer, connect: Connect) -> None:
    """After a crash the next start takes over at once, and dismisses the guests of the crashed process."""
    chat = server(database_url, config=GUESTS)
    ana, guest = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    name = guest.ok("guest")["name"]
    chat.kill()
    before = time.monotonic()
    chat.start()
    assert time.monotonic() - before < LAPSE_SECONDS
    again = connect(chat, JsonClient)
    again.login("ana")
    assert name not in str(again.ok("members", room="general"))


def test_a_start_after_a_stop(server_url: str, server: StartServer) -> None:
    """A server that stops releases its lease."""
    chat = server(server_url)
    assert chat.stop() == 0
    assert query(server_url, "SELECT boot FROM node") == [("",)]
    chat.start()
    assert chat.stop() == 0


def stopped_for(chat: ChatServer, seconds: float) -> None:
    chat.signal(signal.SIGSTOP)
    time.sleep(seconds)


def test_a_server_that_was_stopped(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """A server that was stopped for longer than its lease lasts serves no command that came meanwhile: it ends all
    connections with a reason, and goes on with a new boot."""
    chat = server(postgres_url)
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    ana.say("general", "before")
    [(boot,)] = query(postgres_url, "SELECT boot FROM node")
    stopped_for(chat, LAPSE_SECONDS + 2)
    for n in range(5):
        ana.post("say", room="general", text=f"meanwhile {n}")
    chat.signal(signal.SIGCONT)
    for client in (ana, bob):
        assert client.wait_closing()["reason"] == "fenced"
    chat.wait_log("has the lease again")  # until then, nobody is served
    again = connect(chat, JsonClient)
    again.login("ana")
    assert again.say("general", "after")["seq"] == len(again.ok("history", room="general")["entries"])
    entries = again.ok("history", room="general")["entries"]
    assert [entry["text"] for entry in entries if entry["event"] == "message"] == ["before", "after"]
    assert query(postgres_url, "SELECT boot FROM node") != [(boot,)]
    assert chat.stop() == 0


def test_a_short_stop(server: StartServer, connect: Connect) -> None:
    """A server that was stopped for less than that goes on as if nothing had happened."""
    chat = server()
    ana = connect(chat, JsonClient)
    ana.register("ana")
    stopped_for(chat, LAPSE_SECONDS - 3)
    chat.signal(signal.SIGCONT)
    assert ana.say("general", "hello")
    assert chat.stop() == 0


def test_a_server_that_was_replaced(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """If another server takes over while the first is stopped, the first ends with status 1 when it runs again."""
    first = server(postgres_url)
    ana = connect(first, JsonClient)
    ana.register("ana")
    first.signal(signal.SIGSTOP)
    second = server(postgres_url, config=SECOND if postgres_url.startswith("sqlite") else "")
    first.signal(signal.SIGCONT)
    assert ana.wait_closing()["reason"] == "fenced"
    assert first.wait() == 1
    assert "Another server is running on this" in first.log
    again = connect(second, JsonClient)
    again.login("ana")
    assert again.say("general", "hello")
