"""Limits: a client that exceeds one gets an answer that says so."""

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, query
from tests.support.client import JsonClient, Raw, TextClient
from tests.support.process import wait_until


def test_the_handshake_deadline(server: StartServer, connect: Connect) -> None:
    """A client that misses the login deadline is told so and disconnected; one that has logged in stays."""
    chat = server(config=QUICK + "[limits]\nhandshake_seconds = 0.5\ntyping_seconds = 0.5\n")
    ana, silent, chatty = connect(chat, JsonClient), connect(chat, Raw), connect(chat, JsonClient)
    ana.register("ana")
    chatty.ok("ping")
    end = b"Press Enter, then connect again and log in right away.\r\n"
    assert silent.eof().endswith(b"* You did not log in in time. " + end)
    assert chatty.wait_closing()["reason"] == "handshake"
    ana.ok("ping")


@pytest.mark.parametrize("data", [b"x" * 300, b"/help\n" * 60, b"y" * 150 + b"\n" + b"y" * 150 + b"\n"])
def test_the_size_of_a_handshake(server: StartServer, connect: Connect, data: bytes) -> None:
    """`handshake_bytes` limits what a client may send before it logs in, in one line or in many."""
    chat = server(config=QUICK + "[limits]\nhandshake_bytes = 256\nstrikes = 0\n")
    client = connect(chat, Raw)
    client.send(data)
    end = b"Press Enter, then connect again and log in right away.\r\n"
    shown = client.eof().replace(b"\r\n   | ", b" ")
    assert shown.endswith(b"* You sent too much before logging in. " + end)
    ana = connect(chat, TextClient)
    ana.register("ana")
    ana.type("z" * 500)
    ana.type("/ping")
    ana.expect("is here")


def test_failed_logins(server: StartServer, connect: Connect) -> None:
    """The third failed login ends the connection; an unknown name gets the same answer as a wrong password."""
    chat = server(config=QUICK)
    connect(chat, JsonClient).register("ana")
    client = connect(chat, JsonClient)
    answers = [client.cmd("login", name=name, password="wrong-words") for name in ("ana", "nobody")]
    assert [answer.pop("tag") for answer in answers] == [1, 2]
    assert answers[0] == answers[1]
    assert answers[0]["error"] == "bad-credentials"
    assert client.refused("login", name="ana", password="wrong-words") == "bad-credentials"
    assert client.wait_closing()["reason"] == "failed-logins"
    person = connect(chat, TextClient)
    for _ in range(3):
        person.type("ana")
        person.expect("* Hello ana. Type your password")
        person.type("wrong-words")
        person.expect("! Wrong name or password.")
        person.type("")
    assert "* Too many failed logins." in person.rest()


def test_strikes(server: StartServer, connect: Connect) -> None:
    """Twenty refused commands in a minute end the connection right after the twentieth; lines that are too long do not
    count."""
    chat = server(config=QUICK)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    ana.send(b"x" * 60_000 + b"\n")
    for _ in range(19):
        ana.post("say", room="nowhere", text="hi")
    ana.ok("ping")
    last = ana.post("leave", room="nowhere")
    ana.post("ping")
    assert ana.wait_closing()["reason"] == "strikes"
    assert ana.order[-1] == last


def test_a_batch_of_refused_messages(server: StartServer, connect: Connect) -> None:
    """Messages refused in one batch count one by one: a client that floods gets no more than twenty answers."""
    chat = server(config=QUICK)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    ana.say("general", "first", "k1")
    for n in range(30):
        ana.post("say", room="general", text=f"{n}", id="k1")
    assert ana.wait_closing()["reason"] == "strikes"
    assert len(ana.order) == 2 + 20


def test_speed_is_no_offence(server: StartServer, connect: Connect) -> None:
    """Commands above the rate limit are delayed, not refused: all are answered, in order, at that rate."""
    chat = server(config=QUICK + "[limits]\ncommands_per_second = 50\ncommand_burst = 5\n")
    ana = connect(chat, JsonClient)
    ana.register("ana")
    tags = [ana.post("say", room="general", text=f"{n}") for n in range(30)]
    stamps = [ana.answer(tag)["at"] for tag in tags]
    assert ana.order[1:] == tags
    assert len(set(stamps)) > 10  # one by one, not all at once


def test_quiet_programs(server: StartServer, connect: Connect) -> None:
    """A silent program is pinged, and disconnected if it does not answer; a silent person is left alone."""
    chat = server(config=QUICK + "[limits]\nping_seconds = 0.2\npong_seconds = 0.6\n")
    person, alive, dead = connect(chat, TextClient), connect(chat, JsonClient), connect(chat, JsonClient)
    person.register("person")
    alive.register("alive")
    dead.register("dead")
    for _ in range(2):
        alive.wait_event("ping")
        alive.ok("ping")
    assert dead.wait_closing()["reason"] == "timeout"
    alive.ok("ping")
    person.type("/ping")
    person.expect("is here")


@pytest.mark.slow
def test_stalled_connections(server: StartServer, connect: Connect) -> None:
    """A client that reads nothing at all for too long is disconnected, with the reason `stalled`."""
    chat = server(config=QUICK + "[limits]\nstalled_seconds = 0.5\n")
    ana, stuck = connect(chat, JsonClient), connect(chat, JsonClient, receive_buffer=4096)
    ana.register("ana")
    stuck.register("stuck")
    for seq in range(200, 601, 200):  # ana reads in between
        for _ in range(200):
            ana.post("say", room="general", text="x" * 4000)
        ana.wait_seq("general", seq, 30)
    gone = ana.wait_event(lambda event: event["event"] == "presence" and not event["online"], 20)
    assert gone["name"] == "stuck"
    wait_until(lambda: query(chat.database, "SELECT reason FROM session WHERE reason IS NOT NULL") == [("stalled",)])
