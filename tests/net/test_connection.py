"""The life of a connection, from the first byte to the last, on a clock that the test moves."""

import gc
import json
import re
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from chatserver.net.connection.connection import SLOWED_SECONDS, STRIKE_SECONDS, Connection
from chatserver.net.connection.lingering import DISCARDED_BYTES, LINGER_SECONDS
from chatserver.net.connection.outbox import Outbox
from chatserver.net.doors.factory import FAREWELL_SECONDS
from chatserver.net.doors.line import LineDoor
from chatserver.net.doors.websocket import WebSocketDoor
from chatserver.session.link import FULL_BYTES, collected
from chatserver.session.session import Session
from chatserver.settings.tables import Limits, Settings
from chatserver.store.moderation import NetworkBan
from chatserver.values.events import Entry, RoomFacts
from chatserver.values.stages import PeerState, Stage
from chatserver.wire.dialect import PLAIN, Form, Rendered
from chatserver.wire.jsonl import JSONL, JsonLines
from chatserver.wire.text import TEXT
from tests.net.conftest import OpenHall
from tests.support.hall import PASSWORD, QUIET, Client, Hall
from tests.support.sentences import written

NOBODY = b'{"cmd":"ping","tag":1}\n'
REGISTER = f'{{"cmd":"register","name":"ana","password":"{PASSWORD}","tag":1}}\n'.encode()


def limits(**changes: Any) -> dict[str, Any]:
    """The keyword of a hall for limits that differ from QUIET."""
    return {"limits": structs.replace(QUIET, **changes)}


@pytest.fixture
def offences(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that are blamed for something."""
    blamed: list[str] = []
    monkeypatch.setattr(hall.connections.admission, "offence", blamed.append)
    return blamed


# Recognizing dialects


@pytest.mark.parametrize(
    ("data", "dialect", "answer"),
    [
        (NOBODY, JSONL, '{"ok":true,"tag":1,"cmd":"ping"}'),
        (b"\xff\xfb\x1f" + NOBODY, JSONL, '{"ok":true,"tag":1,"cmd":"ping"}'),  # telnet's IAC WILL NAWS
        (b"/rooms\r\n", TEXT, "! "),
        (b"G\r\n", TEXT, "* "),
    ],
)
def test_recognizing_a_dialect(data: bytes, dialect: Any, answer: str, hall: Hall) -> None:
    """Wherever the bytes are cut, the first of them decide which dialect a client speaks, and it is answered in
    that."""
    for cut in range(len(data) + 1):
        client = hall.client()
        assert client.lines[0].startswith("* Welcome")
        for piece in (data[:cut], data[cut:]):
            if piece:
                client.send(piece)
        assert client.session.dialect is dialect
        line = re.sub(rb"\xff\xfd.", b"", client.wire.taken, flags=re.DOTALL).decode().splitlines()[1]
        assert line.startswith(answer), (cut, line)


def test_silence(hall: Hall) -> None:
    """Before the first byte there is a greeting, and no dialect is known; an empty line is a person's."""
    client = hall.client()
    assert (client.session.stage, len(client.lines)) == (Stage.NEW, 1)
    client.send(b"\r\n")
    assert (client.session.stage, client.session.dialect) == (Stage.GREETING, TEXT)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"EHLO mail.example\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x05\x01\x00",
        b"GET / HTTP/1.1\r\nHost: chat\r\n\r\n",
        b"Host: chat\r\n",
    ],
)
def test_foreign_protocols(data: bytes, hall: Hall, offences: list[str], audited: list[str]) -> None:
    """A client of another protocol is told what this is, and the connection ends; the address is blamed for it."""
    client = hall.client()
    client.send(data)
    assert "chat server" in client.lines[-1]
    assert client.session.stage is Stage.ENDING
    assert offences == ["local"]
    [_, offence, end] = audited
    assert offence == "offence address=local what=foreign"
    assert end.startswith("ended address=local reason=foreign session=")


def test_http_is_told_by_its_whole_line(hall: Hall) -> None:
    """`GET` may be a person's name: only the whole line of an HTTP request tells."""
    client = hall.client()
    stages = [client.send(piece).session.stage for piece in (b"GET / HTTP/1.", b"1\r\n")]
    assert stages == [Stage.NEW, Stage.ENDING]
    assert hall.client().type("GET").session.stage is Stage.CONFIRM


# Before logging in


def test_deadline_before_login(open_hall: OpenHall) -> None:
    """A client that does not log in in time is told so and cut off, whatever it does meanwhile; one that does has all
    the time."""
    hall = open_hall(**limits(handshake_seconds=5, typing_seconds=5))
    silent, busy, ana = hall.client(), hall.client(), hall.client()
    ana.send(REGISTER)
    for _ in range(4):
        busy.send(NOBODY)
        hall.passes(1)
    assert not silent.wire.write_closed
    hall.passes(1.1)
    assert "log in" in silent.lines[-1]
    assert busy.closing == ["handshake"]
    hall.passes(100)
    assert (silent.wire.lost, busy.wire.lost, ana.wire.lost) == (True, True, False)
    assert hall.left == []


def test_a_login_that_takes_long(open_hall: OpenHall) -> None:
    """A login that is being checked when the time is over may end first; where it fails, the connection is cut off."""
    hall = open_hall(**limits(handshake_seconds=5))
    hall.inline.hold()
    ana, nobody = hall.client().send(REGISTER), hall.client().post("login", name="nobody", password=PASSWORD)
    hall.passes(7)
    assert (ana.session.stage, nobody.session.stage) == (Stage.BUSY, Stage.BUSY)
    hall.inline.release()
    hall.passes(1.1)
    assert ana.session.stage is Stage.IN
    assert nobody.closing == ["handshake"]


def test_who_sends_on_after_the_end(open_hall: OpenHall) -> None:
    """Bytes that come after the end are discarded, so that the last words arrive; but not without limit."""
    hall = open_hall(**limits(stalled_seconds=300))
    ana = hall.client().send(REGISTER).post("quit")
    for _ in range(DISCARDED_BYTES // 65_536):
        ana.send(b"x" * 65_536)
    assert not ana.wire.lost
    ana.send(b"x")
    assert ana.wire.lost


def test_bytes_before_login(open_hall: OpenHall) -> None:
    """A client that sends too much before logging in is cut off, in whatever portions; logged in, nothing is
    counted."""
    hall = open_hall(**limits(handshake_bytes=300))
    ana = hall.client().send(REGISTER)
    for _ in range(20):
        ana.send(NOBODY)
    assert len(ana.answers) == 21
    whole, small = hall.client(), hall.client()
    whole.send(b"x" * 301)
    for _ in range(20):
        small.send(NOBODY)
    assert "too much" in whole.lines[-1].lower()
    assert small.closing == ["handshake"]
    assert len(small.answers) == 300 // len(NOBODY) + 1


def test_a_busy_login_is_not_read(hall: Hall) -> None:
    """While a login is being checked nothing is read: the next line is understood once its author is known."""
    client = hall.client()
    hall.inline.hold()
    client.send(REGISTER)
    assert (client.session.stage, client.wire.reading) == (Stage.BUSY, False)
    client.wire.come(b'{"cmd":"say","room":"general","text":"at once","tag":2}\n')
    assert client.wire.unread
    hall.inline.release()
    hall.settle()
    assert [answer["tag"] for answer in client.answers] == [1, 2]
    assert client.said == ["at once"]
    assert client.wire.reading


def test_lines_behind_a_login(hall: Hall) -> None:
    """Lines that come in one piece with the login wait in the door until it is done."""
    client = hall.client()
    client.send(REGISTER + b'{"cmd":"say","room":"general","text":"at once","tag":2}\n')
    assert [answer["tag"] for answer in client.answers] == [1, 2]


# Lines that cannot be read


def test_too_long_lines(open_hall: OpenHall) -> None:
    """A line over the limit is refused in its place, without blame, and the next one is read as usual."""
    hall = open_hall(**limits(max_line_bytes=200, strikes=1))
    ana = hall.program("ana")
    long = b'{"cmd":"say","room":"general","text":"' + b"x" * 200 + b'"}\n'
    ana.send(b'{"cmd":"ping","tag":1}\n' + long + b'{"cmd":"ping","tag":2}\n')
    assert [answer.get("tag", answer.get("error")) for answer in ana.answers[1:]] == [1, "line-too-long", 2]
    assert ana.session.stage is Stage.IN


@pytest.mark.parametrize("door", ["program", "browser"])
def test_what_is_too_long_is_refused_with_its_tag(open_hall: OpenHall, door: str) -> None:
    """A message whose tag can be read is refused with it, over TCP and in a WebSocket message of one frame or several,
    with other commands beside it; the connection stays."""
    hall = open_hall(**limits(strikes=1))
    ana: Any = hall.program("ana") if door == "program" else hall.browser().upgrade().come_in("ana")
    before = len(ana.answers)
    long = json.dumps(
        {"cmd": "say", "room": "general", "text": "漢" * 20_000, "tag": "k7"}, ensure_ascii=False
    ).encode()
    first = json.dumps({"tag": 8, "cmd": "edit", "room": "general", "seq": 1, "text": "x" * 60_000}).encode()
    ping = b'{"cmd":"ping","tag":9}'
    if door == "program":
        ana.send(long + b"\n" + first + b"\n" + ping + b"\n")
    else:
        half = len(long) // 2
        ana.raw(message(1, long[:half], fin=False) + message(0, long[half:]) + message(1, first + b"\n" + ping))
    hall.settle()
    told = [(answer["tag"], answer["cmd"], answer.get("error")) for answer in ana.answers[before:]]
    assert told == [("k7", "say", "line-too-long"), (8, "edit", "line-too-long"), (9, "ping", None)]
    assert ana.session.stage is Stage.IN


def message(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A client's frame of any size, with a mask of zeros."""
    return bytes([fin << 7 | opcode, 0xFF]) + len(payload).to_bytes(8, "big") + bytes(4) + payload


def test_a_typed_line_has_a_limit_of_its_own(open_hall: OpenHall) -> None:
    """A person's longest message fits in a line, and a line of keys that takes long to edit does not."""
    hall = open_hall()
    ana = hall.client().type("/register ana s3cret-words")
    ana.type("\U0001f600" * 4096)
    ana.type("\b" * 20_480)
    assert "! A line can have at most 20480 bytes; yours was dropped." in ana.lines
    assert sum(line.count("too long") for line in ana.lines) == 0


def test_too_long_lines_before_login(open_hall: OpenHall) -> None:
    """Lines over the limit count fully towards the bytes that may be sent before logging in."""
    hall = open_hall(**limits(max_line_bytes=200, handshake_bytes=1000))
    client = hall.client()
    for _ in range(5):
        client.send(b"{" + b"x" * 300 + b"\n")
    assert [answer["error"] for answer in client.answers] == ["line-too-long"] * 5
    assert client.closing == []
    client.send(b"{" + b"x" * 300 + b"\n")
    assert client.closing == ["handshake"]


@pytest.mark.parametrize("bad", [b"{broken\n", b"\xff\xfa" + b"x" * 2000])
def test_undecodable(bad: bytes, hall: Hall, offences: list[str], audited: list[str]) -> None:
    """Undecodable input ends the connection, behind the answers to all that came before it."""
    ana, bob = hall.program("ana"), hall.program("bob")
    hall.inline.hold()
    ana.send(b'{"cmd":"say","room":"general","text":"stored","tag":1}\n' + bad + b'{"cmd":"ping","tag":2}\n')
    assert len(ana.answers) == 1
    hall.inline.release()
    hall.settle()
    assert [answer.get("tag", answer.get("error")) for answer in ana.answers[1:]] == [1, "undecodable"]
    assert bob.said == ["stored"]
    assert hall.left == [("ana", "undecodable")]
    assert offences == ["local"]
    assert audited[-2] == "offence address=local what=undecodable"
    assert audited[-1].startswith("ended address=local name=ana reason=undecodable session=")


def test_undecodable_before_login(hall: Hall) -> None:
    """Before logging in the same rule holds."""
    client = hall.client().send(NOBODY + b"{broken\n" + NOBODY)
    assert [answer.get("tag", answer.get("error")) for answer in client.answers] == [1, "undecodable"]
    assert client.session.stage is Stage.ENDING


def test_strikes(open_hall: OpenHall) -> None:
    """A client that is refused too often within a minute is cut off; older refusals are forgotten."""
    hall = open_hall(**limits(strikes=3))
    ana = hall.program("ana")
    for _ in range(2):
        ana.say("", tag=1)
    hall.passes(STRIKE_SECONDS + 1)
    for _ in range(2):
        ana.say("", tag=2)
    assert ana.session.stage is Stage.IN
    ana.say("", tag=3).say("too late", tag=4)
    assert ana.closing == ["strikes"]
    assert ana.answers[-1]["tag"] == 3
    assert hall.left == [("ana", "strikes")]


def test_people_are_slowed(open_hall: OpenHall) -> None:
    """A person who is refused as often is not cut off: each further line waits, and none is lost."""
    hall = open_hall(**limits(strikes=3))
    ana, bob = hall.client().type(f"/register ana {PASSWORD}"), hall.program("bob")
    ana.type("/x", "/x", "/x").type("hello").type("hello again")
    assert bob.said == []
    hall.passes(SLOWED_SECONDS + 1)
    assert bob.said == ["hello", "hello again"]
    ana.type("/x").type("one more")
    hall.passes(SLOWED_SECONDS - 1)
    assert bob.said[2:] == []
    hall.passes(2)
    assert bob.said[2:] == ["one more"]
    assert hall.left == []


# Back-pressure


def test_a_full_inbox(open_hall: OpenHall) -> None:
    """Once the window is full of commands, no more is read; with every one that is done, reading goes on."""
    hall = open_hall(**limits(window=3))
    ana = hall.program("ana")
    hall.inline.hold()
    for tag in range(10):
        ana.say(f"{tag}", tag=tag)
    assert not ana.wire.reading
    assert len(ana.session.inbox) <= 3
    assert ana.wire.unread
    hall.inline.release()
    hall.settle()
    assert ana.wire.reading
    assert ana.said == [f"{tag}" for tag in range(10)]
    assert [answer["tag"] for answer in ana.answers[1:]] == list(range(10))


def test_a_burst_in_one_piece(open_hall: OpenHall) -> None:
    """Lines of one piece beyond the window wait in the door, and none of them is lost."""
    hall = open_hall(**limits(window=3))
    ana = hall.program("ana")
    hall.inline.hold()
    ana.send(b"".join(b'{"cmd":"say","room":"general","text":"%d"}\n' % n for n in range(100)))
    assert len(ana.session.inbox) <= 3
    assert ana.door.pending > 0
    hall.inline.release()
    hall.settle()
    assert ana.said == [f"{n}" for n in range(100)]
    assert (ana.door.pending, ana.wire.reading) == (0, True)


def test_a_full_link(hall: Hall) -> None:
    """A client that does not take its answers is neither read nor served; once it does, both go on."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.wire.room = 0
    for _ in range(200):
        bob.say("x" * 200)
    assert not ana.connection.writable
    ana.say("not yet", tag=1)  # the first bytes after the link is full may still be read
    ana.say("nor this", tag=2)
    assert not ana.wire.reading
    assert "not yet" not in bob.said
    waiting = len(ana.wire.queue)
    assert waiting < 3 * FULL_BYTES
    ana.read()
    assert bob.said[-2:] == ["not yet", "nor this"]
    assert ana.heard() == list(range(2, 205))
    assert [answer["tag"] for answer in ana.answers[1:]] == [1, 2]
    assert ana.wire.reading


def test_a_link_that_takes_nothing(open_hall: OpenHall) -> None:
    """A full link that takes nothing for too long is cut; meanwhile nobody else waits."""
    hall = open_hall(**limits(stalled_seconds=10))
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.wire.room = 0
    for _ in range(200):
        bob.say("x" * 200)
    hall.passes(9)
    assert not ana.wire.lost
    hall.passes(1.1)
    assert ana.wire.aborted
    assert hall.left == [("ana", "stalled")]
    assert bob.heard() == list(range(3, 203))


# The client's end


def test_half_close(hall: Hall) -> None:
    """A client that ends its side is answered all that it sent, the last line even without its end; then the connection
    ends."""
    ana, bob = hall.program("ana"), hall.program("bob")
    hall.inline.hold()
    ana.send(
        b'{"cmd":"say","room":"general","text":"one","tag":1}\n{"cmd":"say","room":"general","text":"two","tag":2}'
    )
    ana.half_close()
    assert (ana.connection.peer, ana.wire.lost) == (PeerState.HALF_CLOSED, False)
    hall.inline.release()
    hall.settle()
    assert [answer["tag"] for answer in ana.answers[1:]] == [1, 2]
    assert bob.said == ["one", "two"]
    assert ana.wire.lost
    assert hall.left == [("ana", "eof")]


def test_half_close_behind_a_full_window(open_hall: OpenHall) -> None:
    """The server notices the end of a client's side while its lines still wait, and does all of them first."""
    hall = open_hall(**limits(window=2))
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.wire.come(b"".join(b'{"cmd":"say","room":"general","text":"%d"}\n' % n for n in range(50)))
    ana.half_close()
    assert bob.said == [f"{n}" for n in range(50)]
    assert len(ana.answers) == 51
    assert ana.wire.lost


def test_half_close_during_the_login(hall: Hall) -> None:
    """A client that ends its side right behind its login is logged in and answered."""
    client = hall.client()
    hall.inline.hold()
    client.send(REGISTER + b'{"cmd":"say","room":"general","text":"hi","tag":2}\n')
    client.half_close()
    hall.inline.release()
    hall.settle()
    assert [answer["tag"] for answer in client.answers] == [1, 2]
    assert (client.wire.lost, hall.left) == (True, [("ana", "eof")])


def test_half_close_without_a_word(hall: Hall) -> None:
    """A client that sends nothing at all is let go."""
    client = hall.client()
    client.half_close()
    assert client.wire.lost
    assert hall.connections.open == set()


def test_lost_with_commands_under_way(hall: Hall) -> None:
    """Messages that have arrived on a connection that is lost are still stored; a line that was cut off is not."""
    ana, bob = hall.program("ana"), hall.program("bob")
    hall.inline.hold()
    ana.send(b"".join(b'{"cmd":"say","room":"general","text":"%d"}\n' % n for n in range(40)))
    ana.send(b'{"cmd":"say","room":"general","text":"half"}')
    ana.cut()
    stages = [ana.session.stage]
    hall.inline.release()
    hall.settle()
    assert bob.said == [f"{n}" for n in range(40)]
    assert [*stages, ana.session.stage] == [Stage.IN, Stage.ENDING]
    assert hall.left == [("ana", "lost")]
    assert hall.connections.open == {bob.connection}


def test_lost_with_other_commands_under_way(hall: Hall) -> None:
    """Once a connection is lost, nothing is done for it any more from the first command on that is no message: neither
    in a lane, nor in the inbox, nor among the lines that are not read yet."""
    ana, bob, cai = hall.program("ana"), hall.program("bob"), hall.program("cai")
    ana.post("create", room="den")
    cai.post("join", room="den")
    told = len(cai.lines)
    hall.inline.hold()
    ana.say("one").say("two").post("topic", room="den", text="new").say("three")
    ana.send(b'{"cmd":"say","room":"general","text":"later"}\n' * 40)
    bob.post("leave", room="general").say("four")
    for client in (ana, bob):
        client.cut()
    hall.inline.release()
    hall.settle()
    assert (cai.said, len(cai.lines) - told) == (["one", "two"], 2)
    assert hall.connections.open == {cai.connection}


@pytest.mark.parametrize("logged_in", [True, False])
def test_lost_within_a_line(logged_in: bool, hall: Hall) -> None:
    """A connection that is lost in the middle of a line is at its end, and the line is not done."""
    client, bob = hall.client(), hall.program("bob")
    if logged_in:
        client.come_in("ana")
    client.send(b'{"cmd":"say","room":"general","text":"half"}')
    assert client.door.pending
    client.cut()
    assert client.session.stage is Stage.ENDING
    assert bob.said == []
    assert hall.connections.open == {bob.connection}


def test_lost_during_the_login(hall: Hall) -> None:
    """A connection that is lost while its login is checked is not logged in."""
    client = hall.client()
    hall.inline.hold()
    client.send(REGISTER)
    client.cut()
    hall.inline.release()
    hall.settle()
    assert (client.session.stage, hall.left, hall.roster.all_sessions()) == (Stage.ENDING, [], [])


# The server's end


def test_hanging_up(hall: Hall) -> None:
    """A client is told once why it is cut off, behind everything that it was sent. The server discards what it sends
    then."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.wire.room = 0
    bob.say("the last")
    for reason in ("kicked", "banned"):
        ana.session.link.hang_up(reason, written("Go away."), 7)
    ana.say("discarded")
    assert not ana.wire.write_closed
    ana.read()
    assert ana.said == ["the last"]
    assert ana.lines[-1] == '{"event":"closing","reason":"kicked","text":"Go away.","retry":7}'
    assert ana.wire.write_closed
    assert bob.said == ["the last"]
    assert hall.left == [("ana", "kicked")]


def test_hanging_up_on_a_client_that_is_not_read(open_hall: OpenHall) -> None:
    """The server discards what a client has sent and it had not read yet: closing a socket with unread bytes would make
    the kernel reset the connection, and destroy the last words on their way."""
    hall = open_hall(**limits(window=2))
    ana = hall.program("ana")
    hall.inline.hold()
    for n in range(5):
        ana.say(f"{n}")
    assert ana.wire.unread
    ana.session.link.hang_up("kicked", written("Go away."))
    hall.settle()
    assert (ana.wire.unread, ana.closing) == ([], ["kicked"])
    hall.inline.release()
    hall.settle()
    assert ana.said == []


def test_the_peer_closes_too(hall: Hall) -> None:
    """Once the client has closed its side too, the connection is gone at once."""
    ana = hall.program("ana")
    ana.post("quit", tag=1)
    assert (ana.answers[-1]["tag"], ana.wire.write_closed, ana.wire.lost) == (1, True, False)
    ana.half_close()
    assert ana.wire.lost
    assert not ana.wire.aborted


def test_lingering(hall: Hall) -> None:
    """A client that goes on sending has a moment to read the last words, and then the connection is closed."""
    ana = hall.program("ana")
    ana.post("quit")
    hall.passes(LINGER_SECONDS - 0.5)
    ana.say("discarded")
    assert (ana.wire.reading, ana.wire.unread, ana.wire.lost) == (True, [], False)
    hall.passes(1)
    assert ana.wire.lost


@pytest.mark.parametrize(
    ("logged_in", "stopping", "seconds"), [(False, False, LINGER_SECONDS), (True, False, 10), (True, True, 5)]
)
def test_patience(logged_in: bool, stopping: bool, seconds: float, open_hall: OpenHall) -> None:
    """A client that does not take its last words has some time for that: least where it never logged in, less than
    usual where the server is stopping."""
    hall = open_hall(**limits(stalled_seconds=10))
    client = hall.program("ana") if logged_in else hall.client().send(NOBODY)
    client.wire.room = 0
    hall.connections.parting.closing = stopping
    client.session.link.hang_up("shutdown", written("Restart."))
    hall.passes(seconds - 0.5)
    assert not client.wire.lost
    hall.passes(1)
    assert client.wire.aborted


def test_stopping(hall: Hall) -> None:
    """When the server stops it reads nothing more, does and answers what has arrived, and then nobody is busy."""
    ana, bob = hall.program("ana"), hall.program("bob")
    hall.inline.hold()
    ana.say("arrived", tag=1)
    hall.connections.parting.stop_reading()
    for connection in hall.connections.open:
        connection.advance()
    assert not ana.wire.reading
    assert not bob.wire.reading
    assert hall.connections.busy
    bob.say("too late")
    hall.inline.release()
    hall.settle()
    assert not hall.connections.busy
    assert bob.said == ["arrived"]
    assert ana.answers[-1]["tag"] == 1
    assert hall.factory().buildProtocol(None) is None


def test_stopping_does_not_wait_for_who_does_not_read(hall: Hall) -> None:
    """A client whose link is full does not keep the server from stopping, though it has commands that wait."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.wire.room = 0
    for _ in range(200):
        bob.say("x" * 200)
    ana.say("waits")
    assert ana.session.inbox
    assert not hall.connections.busy


def test_refused_connections(hall: Hall) -> None:
    """A connection that is refused is told why, and is closed even if it does not read."""
    hall.connections.admission.refusal = lambda address: written("Go away.")  # type: ignore[method-assign]
    client, stubborn = hall.client(), hall.client(room=0)
    assert client.lines == ["! Go away.", "* Press Enter to leave."]
    assert client.wire.lost
    assert not stubborn.wire.lost
    hall.passes(FAREWELL_SECONDS + 0.5)
    assert stubborn.wire.aborted


def test_new_bans(hall: Hall) -> None:
    """A client connected from an address that is banned now is told so and cut off, logged in or not."""
    address: Any = SimpleNamespace(host="192.0.2.1")
    ana, stranger, bob = hall.client(address=address).come_in("ana"), hall.client(address=address), hall.program("bob")
    hall.connections.set_bans([NetworkBan(ip_network("192.0.2.0/24"), None, "spam")])
    hall.settle()
    assert (ana.closing, bob.closing) == (["banned"], [])
    assert stranger.session.stage is Stage.ENDING
    assert "spam" in hall.client(address=address).lines[0]


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (lambda client: client.post("quit"), "quit"),
        (lambda client: client.half_close(), "eof"),
        (lambda client: client.cut(), "lost"),
        (lambda client: client.session.link.hang_up("kicked", written("Go away.")), "kicked"),
        (lambda client: client.say("one").cut(), "lost"),
    ],
)
@pytest.mark.parametrize("logged_in", [True, False])
def test_ends_in_the_audit_log(
    logged_in: bool, way: Callable[[Client], None], reason: str, hall: Hall, audited: list[str]
) -> None:
    """However a connection ends, the audit log has one line with its address, its name and the reason."""
    client = hall.program("ana") if logged_in else hall.client().send(NOBODY)
    if logged_in:
        hall.inline.hold()
    way(client)
    if logged_in:
        hall.inline.release()
    hall.passes(5)
    client.cut()
    name = " name=ana" if logged_in else ""
    [end] = [line for line in audited if line.startswith("ended")]
    assert end.startswith(f"ended address=local{name} reason={reason} session=")


# Scopes


def test_collected(hall: Hall) -> None:
    """Data written within the scope goes out in one piece at its end; an inner scope ends nothing."""
    ana = hall.program("ana")
    before, sends = len(ana.lines), ana.wire.sends
    with collected([ana.session.link]):
        ana.session.notice("one")
        with collected([ana.session.link]):
            ana.session.notice("two")
        ana.session.notice("three")
        assert len(ana.lines) == before
    assert ana.lines[before:] == [f'{{"event":"notice","text":"{word}"}}' for word in ("one", "two", "three")]
    assert ana.wire.sends == sends + 1


def test_collected_and_an_exception(hall: Hall) -> None:
    """An exception leaves nothing held, and data written before it goes out."""
    ana = hall.program("ana")
    before = len(ana.lines)

    def fails() -> None:
        with collected([ana.session.link]):
            ana.session.notice("one")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    ana.session.notice("two")
    assert len(ana.lines) == before + 2


def test_collected_and_the_end(hall: Hall) -> None:
    """A connection that ends within the scope has sent all of it before its last words."""
    ana = hall.program("ana")
    with collected([ana.session.link]):
        ana.session.notice("one")
        ana.session.link.hang_up("kicked", written("Go away."))
        ana.session.notice("discarded")
    assert [event["event"] for event in ana.events[-2:]] == ["notice", "closing"]


class Faulty(JsonLines):
    """JSON Lines whose next batch of entries cannot be rendered."""

    broken = True

    def entries(self, facts: RoomFacts, entries: Sequence[Entry], form: Form) -> Rendered:
        if self.broken:
            self.broken = False
            raise ZeroDivisionError
        return JSONL.entries(facts, entries, form)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_exception_while_a_take_is_announced(failing: int, hall: Hall) -> None:
    """Whatever raises while a take is announced, the position of each subscriber is what was written to it: none misses
    an entry or receives one twice, and a subscriber that missed the take reads on from the store."""
    clients = [hall.program(name) for name in ("ana", "bob", "cai")]
    room = clients[0].session.room_called("general")
    assert room is not None
    hall.inline.hold()
    clients[0].say("two messages")
    clients[1].say("in one take")
    clients[failing].session.speak(Faulty(), PLAIN)
    hall.inline.release()
    hall.settle()
    for client in clients:
        assert room.position(client.session) == (client.heard() or [3])[-1], client.session.who.name
    clients[2].say("and on")
    hall.passes(5)
    for client in clients:
        heard = client.heard()
        assert heard == list(range(heard[0], room.head + 1)), client.session.who.name
    assert clients[2].said == ["two messages", "in one take", "and on"]


# What is left of a connection


def quits(client: Client) -> None:
    client.post("quit")
    client.half_close()


def is_hung_up_on(client: Client) -> None:
    client.session.link.hang_up("kicked", written("Go away."))
    client.hall.passes(LINGER_SECONDS + 1)


def never_reads(client: Client) -> None:
    client.wire.room = 0
    for _ in range(60):
        client.session.notice("x" * 500)
    client.session.link.hang_up("kicked", written("Go away."))
    client.hall.passes(20)


def is_cut_with_commands_under_way(client: Client) -> None:
    client.hall.inline.hold()
    client.say("one").say("two")
    client.cut()
    client.hall.inline.release()
    client.hall.settle()


def is_cut_while_it_joins(client: Client) -> None:
    client.post("create", room="den").post("leave", room="den")
    client.hall.inline.hold()
    client.say("one").post("join", room="den", since=0)
    client.cut()
    client.hall.inline.release()
    client.hall.settle()


def is_cut_within_a_line(client: Client) -> None:
    client.wire.come(client.frame(b'{"cmd":"say"')[:-2])
    client.cut()


def sends_rubbish(client: Client) -> None:
    client.send(b"{rubbish\n")
    client.hall.passes(20)


def is_silent(client: Client) -> None:
    client.hall.passes(160)


WAYS: list[Callable[[Client], None]] = [
    quits, Client.half_close, Client.cut, is_hung_up_on, never_reads, is_cut_with_commands_under_way,
    is_cut_while_it_joins, is_cut_within_a_line, sends_rubbish, is_silent,
]  # fmt: skip


@pytest.mark.parametrize("door", ["line", "websocket"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_is_left(way: Callable[[Client], None], door: str, open_hall: OpenHall) -> None:
    """However a connection ends, its memory is free at once, without the garbage collector."""
    gc.freeze()  # get_objects() leaves out what is there now, which is most of what the tests have loaded
    gc.disable()
    try:
        hall = open_hall(settings=Settings(limits=Limits(stalled_seconds=10)))
        kinds = (Connection, Session, Outbox, LineDoor, WebSocketDoor)
        bob = hall.program("bob")
        before = sum(type(one) in kinds for one in gc.get_objects())
        client: Client = hall.client() if door == "line" else hall.browser().upgrade()
        client.come_in("ana")
        way(client)
        assert client.wire.lost
        hall.passes(5)
        bob.say("The processor has somebody else to serve.")
        del client
        assert sum(type(one) in kinds for one in gc.get_objects()) == before
    finally:
        gc.enable()
        gc.unfreeze()
