"""How the server reads bytes: in chunks of any size, with every kind of line end, and up to every kind of end."""

import json
import re

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, lines, stored
from tests.support.client import JsonClient, Raw, TextClient
from tests.support.process import wait_until

PROMPTS = "ana\ny\ns3cret-words\ns3cret-words\nhello\n/me waves\n/members\n/ping\n/quit\n"


def talk(client: Raw, data: bytes, size: int) -> bytes:
    """The server's answer to these bytes, sent in chunks of that size."""
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
    return client.eof()


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_pieces_of_a_conversation(server: StartServer, connect: Connect, size: int) -> None:
    """Text lines and JSON Lines give the same result whether they arrive byte by byte, in chunks or all at once."""
    chat = server(config=QUICK)
    output = re.sub(r"\d\d:\d\d", "10:02", talk(connect(chat, Raw), PROMPTS.encode(), size).decode()).split("\r\n")
    assert output == [
        "* Welcome to chatserver. Type your name to log in, or /help.",
        "* ana is new here. Register it? (yes/no)",
        "* Choose a password of at least 8 characters:",
        "* Type it again:",
        "* Hello ana. You are in general. Type to talk; /help for the rest.",
        "* Times are in UTC.",
        "[general] 10:02 -- ana joined",
        "* general, 1 here: ana",
        "* The server is here.",
        "* Goodbye. Press Enter to leave.",
        "",
    ]
    program = lines(
        {"cmd": "login", "name": "ana", "password": "s3cret-words", "tag": "é"},
        {"cmd": "history", "room": "general", "after": 1, "tag": 2},
        {"cmd": "quit", "tag": 3},
    )
    _, *answers = [
        json.loads(line) for line in talk(connect(chat, Raw), program, size).splitlines() if line[:1] == b"{"
    ]
    assert [(answer["ok"], answer["tag"]) for answer in answers] == [(True, 2), (True, 3)]
    assert [entry["text"] for entry in answers[0]["entries"]] == ["hello", "/me waves"]


def test_a_megabyte_at_once(server: StartServer, connect: Connect) -> None:
    """A burst is stored and answered completely, in order."""
    chat = server(config=QUICK)
    ana = connect(chat, JsonClient)
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
    """`printf ... | nc -N` works: every line is executed and answered before the connection ends, and everything is
    stored when it ends."""
    chat = server(config=QUICK + '[server]\ndefault_rooms = ["ops"]\n')
    connect(chat, JsonClient).register("deploy")
    for number, (kind, said) in enumerate(SCRIPTS.items(), 1):
        script = connect(chat, Raw)
        script.send(said.encode())
        script.half_close()
        output = script.eof()
        messages = [text for _, kind, text, _ in stored(chat.database)["ops"] if kind == "message"]
        assert messages == ["release 1.4 is out"] * number, kind
        assert b"!" not in output, kind
        assert output.count(b'"ok":true') == (2 if kind == "json" else 0)


def test_a_script_that_fails(server: StartServer, connect: Connect) -> None:
    """A script learns why it failed: after a wrong password nothing else is done, and an unknown room is an error."""
    chat = server(config=QUICK)
    connect(chat, JsonClient).register("deploy")
    script = connect(chat, Raw)
    script.send(b"/login deploy wrong-words\n/say general it is out\n")
    script.half_close()
    output = script.eof().decode().splitlines()[1:]
    assert output == [
        "! Wrong name or password. Try again.",
        "! Log in first: type your name, or /login NAME PASSWORD. Nothing was sent.",
    ]
    script = connect(chat, Raw)
    script.send(b"/login deploy s3cret-words\n/say nowhere it is out\n")
    script.half_close()
    assert script.eof().endswith(b"! There is no room nowhere. For a list, use /rooms.\r\n")
    assert [row[1] for row in stored(chat.database)["general"]] == ["joined"]


def test_half_closing_in_the_middle(server: StartServer, connect: Connect) -> None:
    """A client that half-closes while a thousand commands are pending receives every answer, then the end."""
    chat = server(config=QUICK)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    tags = [ana.post("say", room="general", text=f"{n}") for n in range(1000)]
    ana.half_close()
    ana.drain(30)
    assert ana.order[1:] == tags
    assert len(ana.rooms["general"]) == 1000


def test_vanishing_in_the_middle(server: StartServer, connect: Connect) -> None:
    """Complete lines of a client that vanishes are executed; an incomplete line is not."""
    chat = server(config=QUICK)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    ana.send(lines(*({"cmd": "say", "room": "general", "text": f"{n}"} for n in range(20))))
    ana.send(b'{"cmd":"say","room":"general","te')
    ana.wait_seq("general", 2)
    ana.abort()

    def said() -> list[str]:
        return [text for _, kind, text, _ in stored(chat.database)["general"] if kind == "message"]

    wait_until(lambda: len(said()) >= 20, what="all complete lines are stored")
    assert said() == [f"{n}" for n in range(20)]


def test_telnet(server: StartServer, connect: Connect) -> None:
    """Telnet's options are answered, and its commands never become part of the text."""
    chat = server(config=QUICK)
    ana = connect(chat, TextClient)
    assert ana.line() == "* Welcome to chatserver. Type your name to log in, or /help."
    ana.send(b"\xff\xfb\x1f\xff\xfd\x03\xff\xfa\x1f\0\x50\0\x18\xff\xf0an\xff\xf1a\r\0")
    assert ana.read_until(b"\x03") == b"\xff\xfd\x1f\xff\xfc\x03"
    ana.expect("* ana is new here.")


def test_lines_that_are_too_long(server: StartServer, connect: Connect) -> None:
    """A line that is too long is dropped and answered in order, and the connection stays open, before and after login,
    in both dialects."""
    chat = server(config=QUICK + "[limits]\nmax_line_bytes = 200\nhandshake_bytes = 1000\n")
    long = b"x" * 1000 + b"\n"
    ana = connect(chat, JsonClient)
    ana.register("ana")
    first = ana.post("ping")
    ana.send(long)
    last = ana.post("ping")
    assert ana.answer(last)["ok"] is True
    assert ana.order[-2:] == [first, last]
    [refusal] = ana.untagged
    assert (refusal["ok"], refusal["error"]) == (False, "line-too-long")
    bob = connect(chat, TextClient)
    bob.send(long + b"/register bob s3cret-words\n" + long + b"/ping\n")
    for line in (
        "! A line can have at most 200 bytes",
        "* Hello bob",
        "! A line can have at most 200 bytes",
        "* The server is here.",
    ):
        bob.expect(line)
    bob.send(b"a" * 200 + b"\n")  # 201 with the newline
    bob.expect("! A line can have at most 200 bytes")
    bob.send(b"b" * 199 + b"\n")
    assert ana.hears("b" * 199)["from"] == "bob"
