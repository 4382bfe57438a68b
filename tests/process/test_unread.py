"""After networks are cut, servers are killed and scripts have run, everything is unread that was not on a screen."""

import socket
from pathlib import Path

import pytest
from sqlalchemy import text

from chatserver.store.db.engine import open_engine, parse_url
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, TextClient
from tests.support.process import ChatServer, wait_until

WORDS = "s3cret-words"
LOGIN = f"/login ana {WORDS}"


def unread(program: JsonClient) -> int:
    """How much of general Ana has not read."""
    rooms = {line["room"]: line["unread"] for line in program.ok("unread")["rooms"]}
    return int(rooms["general"])


def read_mark(chat: ChatServer) -> int:
    """Ana's read mark in the database: she is the first account."""
    engine = open_engine(parse_url(chat.database))
    with engine.connect() as db:
        mark = db.execute(text("SELECT read_seq FROM membership WHERE account_id = 1")).scalar_one()
    engine.dispose()
    return int(mark)


def test_scripts(server: StartServer, connect: Connect) -> None:
    """`nc -N` has a quiet session: its output is the result of each line, and it reads nothing."""
    chat = server(config=QUICK)
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    bob.say("general", "hello")
    script = connect(chat, TextClient)
    script.send(f"{LOGIN}\n/history\n/say general built\n".encode())
    script.half_close()
    shown = script.rest().split("\n")
    assert shown[1] == "* Hello ana."
    assert shown[-2] == "* Stored as general #4."
    assert unread(ana) == 2


@pytest.mark.slow
def test_the_server_is_killed(server: StartServer, connect: Connect) -> None:
    """Messages that were shown some seconds before are read."""
    chat = server(config=QUICK)
    ana = connect(chat, TextClient)
    ana.register("ana")
    bob = connect(chat, JsonClient)
    bob.register("bob")
    for n in range(3):
        bob.say("general", f"text {n}")
    ana.expect("text 2")
    wait_until(lambda: read_mark(chat) == 5)
    chat.kill()
    chat.start()
    assert unread(_program(connect, chat)) == 0


def test_a_cut_network(server: StartServer, connect: Connect) -> None:
    """Lines that have not reached the client's host before the connection breaks are unread, exactly."""
    chat = server(config=QUICK)
    connect(chat, JsonClient).register("ana")
    person = connect(chat, TextClient, receive_buffer=4096)
    person.login("ana")
    bob = connect(chat, JsonClient)
    bob.register("bob")
    person.expect("bob is here")
    for n in range(300):
        bob.post("say", room="general", text=f"text {n} " + "x" * 300)
    bob.wait_seq("general", 302)
    program = _program(connect, chat)

    def whole() -> int:
        """Lines of Bob that have reached Ana's host."""
        there = person.received + person.socket.recv(1 << 20, socket.MSG_PEEK)
        return there.count(b"bob: text") - (not there.endswith(b"\r\n"))

    wait_until(lambda: unread(program) == 300 - whole())  # acknowledgements take their time
    assert 0 < whole() < 200
    seen = whole()
    person.abort()
    bob.say("general", "over")
    assert unread(program) == 301 - seen


def test_a_cut_network_over_tls(server: StartServer, connect: Connect, tmp_path: Path) -> None:
    """Over TLS, too, what may not have arrived is unread; what was taken before an orderly end is read."""
    key, certificate = write_certificate(tmp_path)
    listen = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    chat = server(config=QUICK, listen=[listen])
    bob, program = connect(chat, JsonClient, tls=True), connect(chat, JsonClient, tls=True)
    program.register("ana")
    person = connect(chat, TextClient, tls=True)
    person.login("ana")
    bob.register("bob")
    bob.say("general", "hello")
    person.expect("hello")
    person.type("/quit")
    person.rest()
    assert unread(program) == 0
    stalled = connect(chat, TextClient, receive_buffer=4096, tls=True)
    stalled.login("ana")
    for n in range(300):
        bob.post("say", room="general", text=f"text {n} " + "x" * 300)
    bob.wait_seq("general", 303)
    stalled.abort()
    wait_until(lambda: unread(program) >= 100)
    assert unread(program) <= 300


def _program(connect: Connect, chat: ChatServer) -> JsonClient:
    program = connect(chat, JsonClient)
    program.login("ana")
    return program
