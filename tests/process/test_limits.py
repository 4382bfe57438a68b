"""How much is too much: every limit ends in a line that says so."""

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, query
from tests.support.client import JsonClient, Raw, TextClient
from tests.support.process import wait_until


def test_the_handshake_deadline(server: StartServer, connect: Connect) -> None:
    """Whoever has not logged in in time is told so and cut off; who has, stays."""
    one = server(config=QUICK + "[limits]\nhandshake_seconds = 0.5\n")
    ana, silent, chatty = connect(one, JsonClient), connect(one, Raw), connect(one, JsonClient)
    ana.register("ana")
    chatty.ok("ping")
    assert silent.eof().endswith(b"* You did not log in in time. Connect again, and log in at once.\r\n")
    assert chatty.wait_closing()["reason"] == "handshake"
    ana.ok("ping")


@pytest.mark.parametrize("data", [b"x" * 300, b"/help\n" * 60, b"y" * 150 + b"\n" + b"y" * 150 + b"\n"])
def test_the_size_of_a_handshake(server: StartServer, connect: Connect, data: bytes) -> None:
    """So many bytes before logging in, and no more: in one line or in many."""
    one = server(config=QUICK + "[limits]\nhandshake_bytes = 256\nstrikes = 0\n")
    client = connect(one, Raw)
    client.send(data)
    assert client.eof().endswith(b"* Too much was sent before logging in. Connect again, and log in first.\r\n")
    ana = connect(one, TextClient)
    ana.register("ana")
    ana.type("z" * 500)
    ana.type("/ping")
    ana.expect("is here")


def test_failed_logins(server: StartServer, connect: Connect) -> None:
    """The third wrong password ends the connection; a name that nobody has is told no otherwise."""
    one = server(config=QUICK)
    connect(one, JsonClient).register("ana")
    client = connect(one, JsonClient)
    answers = [client.cmd("login", name=name, password="wrong-words") for name in ("ana", "nobody")]
    assert [answer.pop("tag") for answer in answers] == [1, 2]
    assert answers[0] == answers[1]
    assert answers[0]["error"] == "bad-credentials"
    assert client.refused("login", name="ana", password="wrong-words") == "bad-credentials"
    assert client.wait_closing()["reason"] == "failed-logins"
    person = connect(one, TextClient)
    for _ in range(3):
        person.type("ana")
        person.expect("* Hello ana. Type your password")
        person.type("wrong-words")
        person.expect("! Name or password is wrong.")
        person.type("")
    assert "* Too many failed logins." in person.rest()


def test_strikes(server: StartServer, connect: Connect) -> None:
    """Twenty refused commands in a minute end the connection, in the place of the twentieth; over-long lines do not."""
    one = server(config=QUICK)
    ana = connect(one, JsonClient)
    ana.register("ana")
    ana.send(b"x" * 9000 + b"\n")
    for _ in range(19):
        ana.post("say", room="nowhere", text="hi")
    ana.ok("ping")
    last = ana.post("leave", room="nowhere")
    ana.post("ping")
    assert ana.wait_closing()["reason"] == "strikes"
    assert ana.order[-1] == last


def test_a_row_of_says_that_are_refused(server: StartServer, connect: Connect) -> None:
    """Messages refused in one go count one by one: who floods with them hears no more than twenty answers."""
    one = server(config=QUICK)
    ana = connect(one, JsonClient)
    ana.register("ana")
    ana.say("general", "first", "k1")
    for n in range(30):
        ana.post("say", room="general", text=f"{n}", id="k1")
    assert ana.wait_closing()["reason"] == "strikes"
    assert len(ana.order) == 2 + 20


@pytest.mark.parametrize("limit", ["pending_per_address", "pending_connections"])
def test_too_many_strangers(server: StartServer, connect: Connect, limit: str) -> None:
    """So many may be connected without having logged in; the next is told why, and a place is free again later."""
    one = server(config=QUICK + f"[limits]\n{limit} = 2\n")
    ana = connect(one, JsonClient)
    ana.register("ana")
    strangers = [connect(one, Raw) for _ in range(2)]
    for stranger in strangers:
        stranger.read_line()
    assert connect(one, Raw).eof().endswith(b" Try again in a moment. (too-many-connections)\r\n")
    strangers[0].close()

    def accepted() -> bool:
        return connect(one, Raw).read_line().startswith(b"* Welcome")

    wait_until(accepted, what="another one is taken")
    ana.ok("ping")


@pytest.mark.parametrize("limit", ["connections_per_address", "connections"])
def test_too_many_connections(server: StartServer, connect: Connect, limit: str) -> None:
    """Logged in or not, there are so many, and no more."""
    one = server(config=QUICK + f"[limits]\n{limit} = 2\n")
    clients = [connect(one, JsonClient) for _ in range(2)]
    clients[0].register("ana")
    clients[1].register("bob")
    assert connect(one, Raw).eof().startswith(b"! ")
    clients[1].ok("quit")
    clients[1].close()
    wait_until(lambda: connect(one, Raw).read_line().startswith(b"* Welcome"), what="another one is taken")


def test_an_address_that_gives_trouble(server: StartServer, connect: Connect) -> None:
    """Whoever tries other protocols again and again is refused for a while; who is in stays in."""
    one = server(config=QUICK + "[limits]\noffences_per_address = 3\n")
    ana = connect(one, JsonClient)
    ana.register("ana")
    for _ in range(3):
        client = connect(one, Raw)
        client.send(b"GET / HTTP/1.1\r\n")
        client.eof()
    assert b"too much trouble" in connect(one, Raw).eof()
    ana.ok("ping")


def test_speed_is_no_offence(server: StartServer, connect: Connect) -> None:
    """Above the rate commands are slowed: all are answered, in order, at that rate."""
    one = server(config=QUICK + "[limits]\ncommands_per_second = 50\ncommand_burst = 5\n")
    ana = connect(one, JsonClient)
    ana.register("ana")
    tags = [ana.post("say", room="general", text=f"{n}") for n in range(30)]
    stamps = [ana.answer(tag)["at"] for tag in tags]
    assert ana.order[1:] == tags
    assert len(set(stamps)) > 10  # one by one, and not all together


def test_quiet_programs(server: StartServer, connect: Connect) -> None:
    """A program that says nothing is asked, and cut off where it does not answer; a person is neither."""
    one = server(config=QUICK + "[limits]\nping_seconds = 0.2\npong_seconds = 0.6\n")
    person, alive, dead = connect(one, TextClient), connect(one, JsonClient), connect(one, JsonClient)
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


def test_links_that_take_nothing(server: StartServer, connect: Connect) -> None:
    """A client whose side takes nothing at all for too long is cut off, with that reason."""
    one = server(config=QUICK + "[limits]\nstalled_seconds = 0.5\n")
    ana, stuck = connect(one, JsonClient), connect(one, JsonClient, receive_buffer=4096)
    ana.register("ana")
    stuck.register("stuck")
    for seq in range(200, 601, 200):  # and reads in between
        for _ in range(200):
            ana.post("say", room="general", text="x" * 7000)
        ana.wait_seq("general", seq, 30)
    gone = ana.wait_event(lambda event: event["event"] == "presence" and not event["online"], 20)
    assert gone["name"] == "stuck"
    wait_until(lambda: query(one.database, "SELECT reason FROM session WHERE reason IS NOT NULL") == [("stalled",)])
