"""Hostile input gets a clear answer or ends its connection, and does not affect other clients."""

import json
import random
from collections.abc import Iterator

import pytest
from msgspec import structs

from chatserver.wire.framing.lines import HARD_LIMIT
from chatserver.wire.jsonl.parse import BY_CMD
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient, Raw
from tests.support.process import ChatServer, wait_until

MEGABYTE = 1 << 20
LENIENT = "[limits]\nstrikes = 0\noffences_per_address = 0\n"
SORRY = b"! This is a chat server, but your client speaks another protocol. Use nc or telnet.\r\n"


class Bystander:
    """A client that sends messages during the test and must not be affected."""

    def __init__(self, chat: ChatServer, client: JsonClient) -> None:
        self.server = chat
        self.client = client
        client.register("bystander")
        self.memory = chat.rss_bytes()

    def check(self, most: int = 5 * MEGABYTE) -> None:
        assert self.client.say("general", "still here")["ok"] is True
        assert all(event["event"] in ("message", "joined", "presence") for event in self.client.events)
        assert self.server.rss_bytes() - self.memory < most


@pytest.fixture
def bystander(server: StartServer, connect: Connect) -> Iterator[Bystander]:
    chat = server(config=QUICK + LENIENT)
    talker = Bystander(chat, connect(chat, JsonClient))
    yield talker
    talker.check()


LEAVING = b"\xff\xec"
"""Telnet's EOF, which ends a connection without a word."""


def test_random_bytes(bystander: Bystander, connect: Connect) -> None:
    """Random bytes end the connection with one line that says why, and to a person one more."""
    chance = random.Random(8)
    for turn in range(60):
        client = connect(bystander.server, Raw)
        client.read_line()
        start = b"" if turn % 3 else b"{"
        client.send(start + b"\0" + chance.randbytes(chance.randrange(1, 5000)).replace(LEAVING, b"") + b"\n")
        output = client.eof()
        why = b'{"ok":false,"error":"undecodable"' if start else b"! "
        assert why in output, output
        assert output.count(b"\r\n") <= 2 + output.count(b"\xff"), output  # not counting answers to telnet commands


def test_much_without_a_newline(bystander: Bystander, connect: Connect) -> None:
    """Who is not logged in may send little; later 256 KiB without a newline end the connection. The server does not
    buffer ten megabytes of it."""
    client = connect(bystander.server, Raw)
    client.read_line()
    for _ in range(1000):
        client.send(b"x" * 10240)
    assert client.eof().startswith(b"* You sent too much before logging in. Press Enter, then connect again ")
    loud = connect(bystander.server, JsonClient)
    loud.register("loud")
    loud.send(b"y" * (HARD_LIMIT - 1))
    loud.send(b"y" * 10)
    loud.drain()
    assert [answer["error"] for answer in loud.untagged] == ["undecodable"]


FOREIGN = {
    "http": b"GET /s3cret HTTP/1.1\r\nHost: chat\r\n\r\n",
    "http post": b"POST / HTTP/1.0\r\n\r\n",
    "header": b"User-Agent: s3cret\r\n",
    "tls": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(200),
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "smtp": b"EHLO s3cret\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "socks": b"\x05\x01\0",
    "rdp": b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
}


def test_other_protocols(bystander: Bystander, connect: Connect) -> None:
    """A client of another protocol receives one fixed line, never its own bytes, and is disconnected."""
    for protocol, first in FOREIGN.items():
        client = connect(bystander.server, Raw)
        client.read_line()
        client.send(first)
        assert client.eof() == SORRY, protocol


def fields() -> Iterator[tuple[str, dict[str, object], str]]:
    """Every text field of every command, with an otherwise valid command."""
    texts = {"room": "general", "text": "hi", "name": "bystander", "password": "s3cret-words", "old": "s3cret-words",
             "new": "s3cret-words"}  # fmt: skip
    for cmd, kind in sorted(BY_CMD.items()):
        known = structs.fields(kind)
        good: dict[str, object] = {field.name: texts.get(field.name, 1) for field in known if field.required}
        if cmd in ("login", "register"):
            good |= {"name": "bystander", "password": "s3cret-words"}
        for field in known:
            if field.type is not bool and "int" not in str(field.type).replace("int | str", "").replace(
                "str | int", ""
            ):
                yield cmd, good, field.name


def test_control_characters_in_every_field(bystander: Bystander, connect: Connect) -> None:
    """Every text field of every command refuses control characters, and the answer contains none."""
    mallory = connect(bystander.server, JsonClient)
    mallory.register("mallory")
    controls = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
    for cmd, good, field in fields():
        tags: list[int | str] = []
        for number, control in enumerate(controls):
            if control == "\t" or (control in "\n\r" and field == "text" and cmd in ("say", "edit")):
                continue
            words = {"cmd": cmd, "tag": f"{field} {number}", **good, field: f"x{control}y"}
            mallory.send(json.dumps(words).encode() + b"\n")
            if field != "tag":
                tags.append(f"{field} {number}")
        answers = [mallory.answer(tag) for tag in tags]
        assert mallory.ok("ping")
        if field == "tag":
            answers, mallory.untagged = mallory.untagged, []
            assert len(answers) == len(controls) - 1
        for answer in answers:
            assert answer["ok"] is False, (cmd, field, answer)
            assert answer["text"].isprintable()
    history = bystander.client.ok("history", room="general")["entries"]
    assert [entry["event"] for entry in history] == ["joined", "joined"]


@pytest.mark.parametrize(
    "text", ["'\"`;-- %s %(x)s %n :x {x} \\ \\u0041 $1 ${x}", "\u05d0\u0e01 a\u0301 \U0001f600 \u4e2d"]
)
def test_quotes_and_percents(bystander: Bystander, connect: Connect, text: str) -> None:
    """Characters that are special to SQL, shells or terminals are plain text, and come back unchanged (but for NFC)."""
    mallory = connect(bystander.server, JsonClient)
    mallory.ok("register", name="mallory", password=f"long {text}")
    mallory.ok("create", room="books", topic=text)
    mallory.ok("say", room="books", text=text, id=text[:60])
    mallory.ok("topic", room="books", text=text + ".")
    mallory.ok("password", old=f"long {text}", new=f"longer {text}")
    again = connect(bystander.server, JsonClient)
    again.ok("login", name="mallory", password=f"longer {text}")
    created, said, topic = again.ok("history", room="books")["entries"]
    nfc = text.replace("a\u0301", "\u00e1")
    assert (created["text"], said["text"], said["id"], topic["text"]) == (nfc, nfc, nfc[:60], nfc + ".")
    [line] = [line for line in again.ok("rooms")["rooms"] if line["room"] == "books"]
    assert line["topic"] == nfc + "."
    for cmd, names in (("join", {"room": text}), ("who", {"name": text}), ("login", {"name": text, "password": "x"})):
        assert again.refused(cmd, **names) in ("bad-name", "bad-command")


def test_half_made_connections(bystander: Bystander, connect: Connect) -> None:
    """Many clients that connect and send nothing, or vanish, do not affect others, and need little memory."""
    idle = []
    for _ in range(300):
        idle.append(connect(bystander.server, Raw))
        idle[-1].read_line()
    for client in idle[::2]:
        client.abort()
    bystander.check(8 * MEGABYTE)
    newcomer = connect(bystander.server, JsonClient)
    newcomer.register("newcomer")


def test_telnet_tricks(bystander: Bystander, connect: Connect) -> None:
    """An endless subnegotiation ends the connection; an option is answered as often as it is asked for, no oftener."""
    client = connect(bystander.server, Raw)
    client.read_line()
    client.send(b"\xff\xfd\x01" * 1000 + b"\xff\xfa" + b"x" * 2000)
    output = client.eof()
    assert output.count(b"\xff\xfc\x01") == 1000
    assert b"\xff\xfd\x00! You sent a telnet subnegotiation" in output


def test_an_abrupt_end(bystander: Bystander, connect: Connect) -> None:
    """Clients that reset the connection, at any moment, leave no session behind."""
    connections = len(bystander.client.ok("who")["users"])
    for turn in range(40):
        client = connect(bystander.server, JsonClient)
        client.post("register" if turn == 0 else "login", name="mallory", password="s3cret-words")
        for n in range(turn):
            client.post("say", room="general", text=f"{turn} {n}")
        client.abort()
    wait_until(lambda: len(bystander.client.ok("who")["users"]) == connections, what="mallory has gone")
