"""Bytes in any pieces, and ends of all kinds, as plain clients send them."""

import json
import re

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, lines, stored
from tests.support.client import JsonClient, Raw, TextClient
from tests.support.process import wait_until

PROMPTS = "ana\ns3cret-words\nhello\n/me waves\n/members\n/ping\n/quit\n"


def talk(client: Raw, data: bytes, size: int) -> bytes:
    """What the server says to these bytes, sent in pieces of that size."""
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
    return client.eof()


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_pieces_of_a_conversation(server: StartServer, connect: Connect, size: int) -> None:
    """A person's lines and a program's are understood alike byte for byte, in pieces, and all at once."""
    one = server(config=QUICK)
    told = re.sub(r"\d\d:\d\d", "10:02", talk(connect(one, Raw), PROMPTS.encode(), size).decode()).split("\r\n")
    assert told == [
        "* Welcome to chatserver. Type your name to come in, or /help.",
        "* Nobody is called ana yet. Choose a password to register, or press Enter to pick another name.",
        "* Hello ana. You are in general. Type to talk; /help for the rest.",
        "[general] 10:02 -- ana joined",
        "* general, 1 here: ana",
        "* The server is here.",
        "",
    ]
    program = lines(
        {"cmd": "login", "name": "ana", "password": "s3cret-words", "tag": "é"},
        {"cmd": "history", "room": "general", "after": 1, "tag": 2},
        {"cmd": "quit", "tag": 3},
    )
    _, *answers = [json.loads(line) for line in talk(connect(one, Raw), program, size).splitlines() if line[:1] == b"{"]
    assert [(answer["ok"], answer["tag"]) for answer in answers] == [(True, 2), (True, 3)]
    assert [entry["text"] for entry in answers[0]["entries"]] == ["hello", "/me waves"]


def test_a_megabyte_at_once(server: StartServer, connect: Connect) -> None:
    """A burst is stored and answered whole, in order."""
    one = server(config=QUICK)
    ana = connect(one, JsonClient)
    texts = [f"{n} {'x' * 1000}" for n in range(1000)]
    burst = lines(
        {"cmd": "register", "name": "ana", "password": "s3cret-words", "tag": "in"},
        *({"cmd": "say", "room": "general", "text": text, "tag": n} for n, text in enumerate(texts)),
    )
    assert len(burst) > 1 << 20
    ana.send(burst)
    assert ana.answer(999, 30)["ok"] is True
    assert ana.order == ["in", *range(1000)]
    assert [entry["text"] for entry in ana.rooms["general"]] == texts


SCRIPTS = {
    "lf": "/login deploy s3cret-words\n/say ops release 1.4 is out\n",
    "crlf": "/login deploy s3cret-words\r\n/say ops release 1.4 is out\r\n",
    "cr nul": "/login deploy s3cret-words\r\0/say ops release 1.4 is out\r\0",
    "unended": "/login deploy s3cret-words\n/say ops release 1.4 is out",
    "prompts": "deploy\ns3cret-words\n/join ops\nrelease 1.4 is out",
    "json": '{"cmd":"login","name":"deploy","password":"s3cret-words"}\n'
    '{"cmd":"say","room":"ops","text":"release 1.4 is out"}',
}


def test_scripts(server: StartServer, connect: Connect) -> None:
    """`printf ... | nc -N`: all is done and answered before the end, and the end means that it is stored."""
    one = server(config=QUICK + '[server]\ndefault_rooms = ["ops"]\n')
    connect(one, JsonClient).register("deploy")
    for number, (kind, said) in enumerate(SCRIPTS.items(), 1):
        script = connect(one, Raw)
        script.send(said.encode())
        script.half_close()
        told = script.eof()
        messages = [text for _, kind, text, _ in stored(one.database)["ops"] if kind == "message"]
        assert messages == ["release 1.4 is out"] * number, kind
        assert b"!" not in told, kind
        assert told.count(b'"ok":true') == (2 if kind == "json" else 0)


def test_a_script_that_fails(server: StartServer, connect: Connect) -> None:
    """It is told why: with a wrong password nothing that follows is done, and an unknown room is an error."""
    one = server(config=QUICK)
    connect(one, JsonClient).register("deploy")
    script = connect(one, Raw)
    script.send(b"/login deploy wrong-words\n/say general it is out\n")
    script.half_close()
    told = script.eof().decode().splitlines()[1:]
    assert told == [
        "! Name or password is wrong. Try again.",
        "! Come in first: type your name, or /login NAME PASSWORD. Nothing was sent.",
    ]
    script = connect(one, Raw)
    script.send(b"/login deploy s3cret-words\n/say nowhere it is out\n")
    script.half_close()
    assert script.eof().endswith(b"! There is no room nowhere. The command rooms lists those there are.\r\n")
    assert [row[1] for row in stored(one.database)["general"]] == ["joined"]


def test_half_closing_in_the_middle(server: StartServer, connect: Connect) -> None:
    """A client that ends its side while a thousand commands are under way gets every answer, then the end."""
    one = server(config=QUICK)
    ana = connect(one, JsonClient)
    ana.register("ana")
    tags = [ana.post("say", room="general", text=f"{n}") for n in range(1000)]
    ana.half_close()
    ana.drain(30)
    assert ana.order[1:] == tags
    assert len(ana.rooms["general"]) == 1000


def test_vanishing_in_the_middle(server: StartServer, connect: Connect) -> None:
    """What arrived of a client that is cut off is done; a line without its end is not."""
    one = server(config=QUICK)
    ana = connect(one, JsonClient)
    ana.register("ana")
    ana.send(lines(*({"cmd": "say", "room": "general", "text": f"{n}"} for n in range(20))))
    ana.send(b'{"cmd":"say","room":"general","te')
    ana.wait_seq("general", 2)
    ana.abort()

    def said() -> list[str]:
        return [text for _, kind, text, _ in stored(one.database)["general"] if kind == "message"]

    wait_until(lambda: len(said()) >= 20, what="all whole lines are stored")
    assert said() == [f"{n}" for n in range(20)]


def test_telnet(server: StartServer, connect: Connect) -> None:
    """A telnet client's own bytes are answered with refusals, and never taken for text."""
    one = server(config=QUICK)
    ana = connect(one, TextClient)
    assert ana.line() == "* Welcome to chatserver. Type your name to come in, or /help."
    ana.send(b"\xff\xfb\x1f\xff\xfd\x03\xff\xfa\x1f\0\x50\0\x18\xff\xf0an\xff\xf1a\r\0")
    assert ana.read_until(b"\x03") == b"\xff\xfe\x1f\xff\xfc\x03"
    ana.expect("* Nobody is called ana yet.")


def test_lines_that_are_too_long(server: StartServer, connect: Connect) -> None:
    """They are dropped and answered in their place, and the connection stays, in and out, in both dialects."""
    one = server(config=QUICK + "[limits]\nmax_line_bytes = 200\nhandshake_bytes = 1000\n")
    long = b"x" * 1000 + b"\n"
    ana = connect(one, JsonClient)
    ana.register("ana")
    first = ana.post("ping")
    ana.send(long)
    last = ana.post("ping")
    assert ana.answer(last)["ok"] is True
    assert ana.order[-2:] == [first, last]
    [refusal] = ana.untagged
    assert (refusal["ok"], refusal["error"]) == (False, "line-too-long")
    bob = connect(one, TextClient)
    bob.send(long + b"/register bob s3cret-words\n" + long + b"/ping\n")
    for line in ("! A line has 200 bytes", "* Hello bob", "! A line has 200 bytes", "* The server is here."):
        bob.expect(line)
    bob.send(b"a" * 200 + b"\n")  # with its end, 201
    bob.expect("! A line has 200 bytes")
    bob.send(b"b" * 199 + b"\n")
    assert ana.hears("b" * 199)["from"] == "bob"
