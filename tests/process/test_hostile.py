"""Whatever comes, it is answered clearly or cut off, and nobody else notices."""

import json
import random
from collections.abc import Iterator

import pytest
from msgspec import structs

from chatserver.wire.jsonlparse import BY_CMD
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient, Raw
from tests.support.process import ChatServer, wait_until

MEGABYTE = 1 << 20
LENIENT = "[limits]\nstrikes = 0\noffences_per_address = 0\n"
SORRY = b"! This is a chat server, which your client does not speak. Try a plain one: nc, or telnet.\r\n"


class Bystander:
    """Somebody who talks all along, and must not be disturbed."""

    def __init__(self, one: ChatServer, client: JsonClient) -> None:
        self.server = one
        self.client = client
        client.register("bystander")
        self.memory = one.rss_bytes()

    def check(self, most: int = 5 * MEGABYTE) -> None:
        assert self.client.say("general", "still here")["ok"] is True
        assert all(event["event"] in ("message", "joined", "presence") for event in self.client.events)
        assert self.server.rss_bytes() - self.memory < most


@pytest.fixture
def bystander(server: StartServer, connect: Connect) -> Iterator[Bystander]:
    one = server(config=QUICK + LENIENT)
    somebody = Bystander(one, connect(one, JsonClient))
    yield somebody
    somebody.check()


def test_random_bytes(bystander: Bystander, connect: Connect) -> None:
    """Noise ends its connection with one line that says why."""
    chance = random.Random(8)
    for turn in range(60):
        client = connect(bystander.server, Raw)
        client.read_line()
        start = b"" if turn % 3 else b"{"
        client.send(start + b"\x01" + chance.randbytes(chance.randrange(1, 5000)) + b"\n")
        told = client.eof()
        why = b'{"ok":false,"error":"undecodable"' if start else b"! "
        assert why in told, told
        assert told.count(b"\r\n") <= 1 + told.count(b"\xff"), told  # beside telnet's refusals


def test_much_without_a_newline(bystander: Bystander, connect: Connect) -> None:
    """64 KiB without a newline end the connection; ten megabytes are not kept."""
    client = connect(bystander.server, Raw)
    client.read_line()
    for _ in range(1000):
        client.send(b"x" * 10240)
    assert client.eof() == b"! 65536 bytes without the end of a line.\r\n"
    loud = connect(bystander.server, JsonClient)
    loud.register("loud")
    loud.send(b"y" * 65535)
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
    """A client of another protocol gets one fixed line, never its own bytes, and the end."""
    for protocol, first in FOREIGN.items():
        client = connect(bystander.server, Raw)
        client.read_line()
        client.send(first)
        assert client.eof() == SORRY, protocol


def fields() -> Iterator[tuple[str, dict[str, object], str]]:
    """Every text of every command, in a command that is otherwise right."""
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
    """No control character passes through any field of any command; the answer says so, and shows none."""
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
    "text", ["'\"`;-- %s %(x)s %n :x {x} \\ \\u0041 $1 ${x}", "\u202e\u2066 a\u0301 \U0001f600 \ufeff"]
)
def test_quotes_and_percents(bystander: Bystander, connect: Connect, text: str) -> None:
    """What means something elsewhere is only text here: it comes out as it went in."""
    mallory = connect(bystander.server, JsonClient)
    mallory.ok("register", name="mallory", password=f"long {text}")
    mallory.ok("create", room="books", topic=text)
    mallory.ok("say", room="books", text=text, id=text[:60])
    mallory.ok("topic", room="books", text=text + ".")
    mallory.ok("password", old=f"long {text}", new=f"longer {text}")
    again = connect(bystander.server, JsonClient)
    again.ok("login", name="mallory", password=f"longer {text}")
    created, said, topic = again.ok("history", room="books")["entries"]
    kept = text.replace("a\u0301", "\u00e1")  # NFC
    assert (created["text"], said["text"], said["id"], topic["text"]) == (kept, kept, kept[:60], kept + ".")
    [line] = [line for line in again.ok("rooms")["rooms"] if line["room"] == "books"]
    assert line["topic"] == kept + "."
    for cmd, names in (("join", {"room": text}), ("who", {"name": text}), ("login", {"name": text, "password": "x"})):
        assert again.refused(cmd, **names) in ("bad-name", "bad-command")


def test_half_made_connections(bystander: Bystander, connect: Connect) -> None:
    """Many that connect and say nothing, or vanish, keep nobody from talking, and cost little."""
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
    """Endless subnegotiations are cut off; endless options are answered once."""
    client = connect(bystander.server, Raw)
    client.read_line()
    client.send(b"\xff\xfd\x01" * 1000 + b"\xff\xfa" + b"x" * 2000)
    told = client.eof()
    assert told.startswith(b"\xff\xfc\x01! ")
    assert told.count(b"\xff\xfc\x01") == 1


def test_an_abrupt_end(bystander: Bystander, connect: Connect) -> None:
    """Clients that reset the connection at any moment leave nothing behind."""
    connections = len(bystander.client.ok("who")["users"])
    for turn in range(40):
        client = connect(bystander.server, JsonClient)
        client.post("register" if turn == 0 else "login", name="mallory", password="s3cret-words")
        for n in range(turn):
            client.post("say", room="general", text=f"{turn} {n}")
        client.abort()
    wait_until(lambda: len(bystander.client.ok("who")["users"]) == connections, what="mallory has gone")
