"""The doors: clients that connect with plain lines, and with a WebSocket."""

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from chatserver.net.connection.lingering import LINGER_SECONDS
from chatserver.net.doors import table
from chatserver.net.doors import websocket as websocket_door
from chatserver.net.doors.line import LineDoor
from chatserver.net.doors.websocket import WebSocketDoor
from chatserver.session.link import FULL_BYTES
from chatserver.settings.tables import NO_LIMITS, Limits, Server, Settings
from chatserver.values.stages import Stage
from chatserver.wire.framing import websocket
from tests.net.conftest import OpenHall
from tests.support.hall import PASSWORD, QUIET, Hall, WebSocketClient
from tests.support.sentences import written

REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
PEOPLE = 50
SOMEWHERE: Any = SimpleNamespace(host="192.0.2.1")


def limits(**changes: Any) -> dict[str, Any]:
    """The keyword of a hall for limits that differ from QUIET."""
    return {"limits": structs.replace(QUIET, **changes)}


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame, with a mask of zeros; at most 125 bytes."""
    return bytes((fin << 7 | opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload


# The table of doors


@pytest.mark.parametrize(
    ("description", "door", "endpoint"),
    [
        ("tcp:4000", LineDoor, "tcp:4000"),
        ("ws:tcp:4080:interface=127.0.0.1", WebSocketDoor, "tcp:4080:interface=127.0.0.1"),
        ("ws:ssl:4443:privateKey=key.pem", WebSocketDoor, "ssl:4443:privateKey=key.pem"),
        ("unix:/run/chat:mode=660", LineDoor, "unix:/run/chat:mode=660"),
        ("wss:tcp:4080", LineDoor, "wss:tcp:4080"),
        ("ws", WebSocketDoor, ""),
        ("", LineDoor, ""),
        (":tcp:4000", LineDoor, ":tcp:4000"),
    ],
)
def test_prefixes(description: str, door: Any, endpoint: str) -> None:
    """A prefix of the table names a door and is taken off; every other endpoint is left alone, for Twisted to judge."""
    assert table.split(description) == (door, endpoint)


# Refused connections


def test_refused_connections(open_hall: OpenHall) -> None:
    """A connection too many is told why in the language of its door, and is not counted."""
    hall = open_hall(**limits(connections_per_address=1))
    ana = hall.client(address=SOMEWHERE).come_in("ana")
    refused, page = hall.client(address=SOMEWHERE), hall.browser(address=SOMEWHERE)
    line, leave = refused.lines
    assert line.startswith("! There are too many connections from your address.")
    assert line.endswith("(too-many-connections)")
    assert leave == "* Press Enter to leave."
    assert page.wire.taken.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"too many connections from your address" in page.wire.taken
    assert refused.wire.lost
    assert page.wire.lost
    ana.cut()
    hall.browser(address=SOMEWHERE).upgrade()


# The upgrade


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_upgrading(size: int, hall: Hall) -> None:
    """The request may come in any pieces, with the first message right behind it. There is no greeting, and every
    frame of the server holds whole lines."""
    client = hall.browser()
    client.protocol.send_request(client.protocol.connect())
    data = b"".join(client.protocol.data_to_send())
    assert client.wire.taken == b""
    command = f'{{"cmd":"register","name":"ana","password":"{PASSWORD}","tag":1}}'.encode()
    data += masked(1, command)
    for at in range(0, len(data), size):
        client.raw(data[at : at + size])
    client.parse()
    client.say("hello", tag=2)
    assert [message.get("tag", message.get("event")) for message in client.messages] == [1, "message", 2]
    assert client.frames
    assert all(bytes(frame.data).endswith(b"\n") and frame.fin for frame in client.frames)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n", 426),
        (b"POST / HTTP/1.1\r\nHost: chat.example\r\n\r\n", 405),
        (b'{"cmd":"ping"}\n', 400),
        (REQUEST.replace(b"13", b"8") + b"\r\n", 400),
        (REQUEST + b"Origin: https://evil.example\r\n\r\n", 403),
        (REQUEST + b"Cookie: " + b"x" * 17000 + b"\r\n\r\n", 431),
    ],
)
def test_other_requests(request_head: bytes, status: int, hall: Hall) -> None:
    """A request that is no acceptable upgrade is answered with a page, and the connection is closed."""
    client = hall.browser().raw(request_head)
    assert client.wire.taken.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"X-Content-Type-Options: nosniff\r\n" in client.wire.taken
    assert b"<h1>This is the WebSocket door of a chat server</h1>" in client.wire.taken
    assert client.wire.write_closed
    hall.passes(LINGER_SECONDS + 0.5)
    assert client.wire.lost


@pytest.mark.parametrize(
    ("origin", "origins", "accepted"),
    [
        (b"", (), True),
        (b"Origin: http://chat.example\r\n", (), True),
        (b"Origin: http://chat.example:8080\r\n", (), True),
        (b"Origin: https://www.example\r\n", (), False),
        (b"Origin: https://www.example\r\n", ("https://www.example",), True),
        (b"Origin: http://chat.example\r\n", ("https://www.example",), False),
        (b"Origin: null\r\n", ("*",), True),
    ],
)
def test_origins(origin: bytes, origins: tuple[str, ...], accepted: bool, open_hall: OpenHall) -> None:
    """A page may connect if it is of the same host, or if `server.origins` has its origin; a program always may."""
    hall = open_hall(settings=Settings(Server(origins=list(origins), hosts=["chat.example"]), limits=QUIET))
    client = hall.browser().raw(REQUEST + origin + b"\r\n")
    assert client.wire.taken.startswith(b"HTTP/1.1 101 " if accepted else b"HTTP/1.1 403 ")
    assert client.wire.write_closed is not accepted


@pytest.mark.parametrize("name", ["", "server.name", "server.hosts", "machine"])
def test_a_name_that_was_pointed_here(name: str, open_hall: OpenHall, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page whose name leads to the server, but which the server does not know, may not connect: DNS rebinding."""
    server = Server(
        name="Chat.Example" if name == "server.name" else "a server",
        hosts=["CHAT.example"] if name == "server.hosts" else [],
    )
    monkeypatch.setattr(websocket_door, "THIS_MACHINE", "chat.example" if name == "machine" else "host")
    hall = open_hall(settings=Settings(server, limits=QUIET))
    client = hall.browser().raw(REQUEST + b"Origin: http://chat.example\r\n\r\n")
    assert client.wire.taken.startswith(b"HTTP/1.1 101 " if name else b"HTTP/1.1 403 ")


# Messages


def test_messages_of_many_lines(hall: Hall) -> None:
    """A message holds one line or several, each a command; the end of the last one may be missing."""
    ana, bob = hall.browser().upgrade().come_in("ana"), hall.program("bob")
    ana.send(
        b'{"cmd":"say","room":"general","text":"one","tag":1}\r\n{"cmd":"say","room":"general","text":"two","tag":2}'
    )
    assert bob.said == ana.said == ["one", "two"]
    assert [answer["tag"] for answer in ana.answers[1:]] == [1, 2]


def test_fragments(hall: Hall) -> None:
    """A message may come in fragments, with pings between them, cut anywhere."""
    ana = hall.browser().upgrade().come_in("ana")
    line = b'{"cmd":"say","room":"general","text":"\xe2\x82\xac"}'
    data = masked(1, line[:40], fin=False) + masked(9, b"?") + masked(0, line[40:41], fin=False) + masked(0, line[41:])
    for at in range(len(data)):
        ana.raw(data[at : at + 1])
    assert ana.said == ["€"]
    assert b"\x8a\x01?" in ana.wire.taken


def test_unfinished_messages(hall: Hall) -> None:
    """A message that is cut off is no command, neither by a lost connection nor by a half-close."""
    ana, bob, cai = hall.browser().upgrade(), hall.browser().upgrade(), hall.program("cai")
    for client, name in ((ana, "ana"), (bob, "bob")):
        client.come_in(name)
        client.raw(masked(1, b'{"cmd":"say","room":"general","text":"half"}', fin=False))
    ana.cut()
    bob.half_close()
    assert cai.said == []
    assert hall.left == [("ana", "lost"), ("bob", "eof")]


def test_a_frame_partly_written_is_finished_first(hall: Hall) -> None:
    """A pong, a close frame and further news wait behind a frame that the socket took only in part."""
    ana, bob = hall.browser().upgrade().come_in("ana"), hall.program("bob")
    ana.parse()
    before = len(ana.frames)
    ana.wire.room = 20
    bob.say("in two pieces")
    assert ana.wire.room == 0
    ana.raw(masked(9, b"are you there?"))
    bob.say("behind it")
    ana.session.link.hang_up("kicked", written("Go away."))
    ana.read()
    ana.parse()
    kinds = [frame.opcode.name for frame in ana.frames[before:]]
    assert kinds == ["TEXT", "PONG", "TEXT", "TEXT", "CLOSE"]
    assert ana.said == ["in two pieces", "behind it"]
    assert ana.closing == ["kicked"]


def test_an_exact_position(hall: Hall) -> None:
    """However much of a batch the socket takes, and whenever the link is full, every entry arrives once, in order. The
    batches are single entries, and takes so large that they fill several frames."""
    ana, bob = hall.browser().upgrade().come_in("ana"), hall.program("bob")
    room = ana.session.room_called("general")
    assert room is not None
    line = b'{"cmd":"say","room":"general","text":"%s"}\n' % (b"x" * 3000)
    for takes in [*range(0, 400, 19), *range(FULL_BYTES - 8, 4 * FULL_BYTES, 3001)]:
        ana.wire.room = takes
        bob.say("x" * 300)
        bob.send(line * 30)
        bob.say("y" * 300)
        assert not ana.connection.writable
        ana.read(takes // 2)
        ana.read()
        assert ana.heard() == list(range(2, room.head + 1)), takes


# The end


def test_the_close_frame(hall: Hall) -> None:
    """The close frame comes behind the answers and the event `closing`, and nothing comes behind it."""
    ana = hall.browser().upgrade().come_in("ana")
    ana.send(b'{"cmd":"quit","tag":1}\n{"cmd":"ping","tag":2}')
    assert (ana.answers[-1]["tag"], ana.close_code) == (1, 1000)
    assert ana.wire.taken.endswith(b"\x03\xe8quit")
    assert ana.wire.write_closed
    taken = ana.wire.taken
    ana.raw(masked(9, b"?") + masked(8, b"\x03\xe8"))
    ana.raw(masked(9, b"?"))
    assert not ana.wire.lost  # more may be on its way, and closing now would reset the connection
    ana.half_close()
    assert ana.wire.taken == taken
    assert ana.wire.lost


@pytest.mark.parametrize(
    ("reason", "code"), [("shutdown", 1012), ("strikes", 1008), ("kicked", 1008), ("logout", 1000)]
)
def test_close_codes(reason: str, code: int, hall: Hall) -> None:
    """The code of the close frame says whether reconnecting makes sense."""
    ana = hall.browser().upgrade().come_in("ana")
    ana.session.link.hang_up(reason, written("So it is."))
    assert (ana.closing, ana.close_code) == ([reason], code)


def test_the_clients_close_frame(hall: Hall) -> None:
    """A client's close frame is its half-close: the commands before it are done and answered, what follows it is not
    read, and the server's close frame ends it."""
    ana, bob = hall.browser().upgrade().come_in("ana"), hall.program("bob")
    hall.inline.hold()
    line = b'{"cmd":"say","room":"general","text":"%s","tag":1}'
    ana.raw(masked(1, line % b"before") + masked(8, b"\x03\xe8bye") + masked(1, line % b"behind"))
    assert ana.close_code is None
    hall.inline.release()
    hall.settle()
    assert bob.said == ["before"]
    assert ana.answers[-1]["tag"] == 1
    assert ana.close_code == 1000
    assert ana.wire.lost
    assert hall.left == [("ana", "eof")]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"\x81\x02{}", 1002),  # without a mask
        (masked(0, b"{}"), 1002),  # the rest of no message
        (b"\xf1\x80\0\0\0\0", 1002),  # reserved bits
        (masked(3), 1002),  # no opcode
        (masked(2, b"{}"), 1003),  # binary
        (masked(1, b"\xff"), 1007),  # no UTF-8
        (b"\x81\xff\0\0\0\0\0\x10\0\0\0\0\0\0", 1009),  # 1 MiB announced
        (masked(1, b'{"cmd":'), 1008),  # a text frame without fault, whose line is no JSON
    ],
)
def test_violations(bad: bytes, code: int, open_hall: OpenHall) -> None:
    """Violations of RFC 6455 end the connection with their code, behind the answers to all that came before and one
    more that says why; the address is blamed for it."""
    hall = open_hall(**limits(offences_per_address=1))
    ana, bob = hall.browser().upgrade().come_in("ana"), hall.program("bob")
    hall.inline.hold()
    ana.raw(masked(1, b'{"cmd":"say","room":"general","text":"before","tag":1}') + bad + masked(1, b'{"cmd":"ping"}'))
    assert len(ana.answers) == 1
    hall.inline.release()
    hall.settle()
    assert [answer.get("tag", answer.get("error")) for answer in ana.answers[1:]] == [1, "undecodable"]
    assert bob.said == ["before"]
    assert ana.close_code == code
    assert hall.left == [("ana", "undecodable")]
    assert hall.connections.admission.delay("local") > 0


# Limits and deadlines, as for the other door


def test_pending_bytes_are_bounded(open_hall: OpenHall) -> None:
    """Bytes beyond those that are done wait in the kernel, or else count against a limit: the server holds no more than
    one chunk of a client."""
    hall = open_hall(**limits(window=4, max_line_bytes=1000))
    ana = hall.browser().upgrade().come_in("ana")
    hall.inline.hold()
    line = b'{"cmd":"say","room":"general","text":"%s"}' % (b"x" * 60)
    for _ in range(1000):
        ana.wire.come(masked(1, line))
        hall.settle()
    assert not ana.wire.reading
    assert ana.door.pending <= len(line) + 6
    assert len(ana.wire.unread) > 900
    hall.inline.release()
    hall.settle()
    assert len(ana.said) == 1000


def test_deadline_of_the_upgrade(open_hall: OpenHall) -> None:
    """A client that sends no request, or half of one, or upgrades and does not log in, is cut off in time: before the
    upgrade with a page of plain text, after it with an event and a close frame."""
    hall = open_hall(**limits(handshake_seconds=5))
    silent, slow, stranger = hall.browser(), hall.browser().raw(REQUEST), hall.browser().upgrade()
    hall.passes(5.1)
    for client in (silent, slow):
        assert client.wire.taken.startswith(b"HTTP/1.1 503 ")
        assert b"log in" in client.wire.taken
        assert client.wire.write_closed
    assert (stranger.closing, stranger.close_code) == (["handshake"], 1008)
    hall.passes(LINGER_SECONDS + 0.5)
    assert hall.connections.open == set()


def test_bytes_before_login(open_hall: OpenHall) -> None:
    """The request does not count towards the bytes that may be sent before logging in; messages do."""
    hall = open_hall(**limits(handshake_bytes=300))
    client = hall.browser().raw(REQUEST + b"Cookie: " + b"x" * 4000).raw(b"\r\n\r\n")
    for _ in range(20):
        client.raw(masked(1, b'{"cmd":"ping","tag":1}'))
    assert b'"reason":"handshake"' in client.wire.taken
    assert client.session.stage is Stage.ENDING
    assert client.wire.taken.count(b'"tag":1') == 300 // 23 + 1


def test_strikes(open_hall: OpenHall) -> None:
    """Refusals count at this door too."""
    hall = open_hall(**limits(strikes=3))
    ana = hall.browser().upgrade().come_in("ana")
    for tag in range(5):
        ana.say("", tag=tag)
    assert (ana.closing, ana.close_code) == (["strikes"], 1008)
    assert len(ana.answers) == 4


def test_no_text_dialect(hall: Hall) -> None:
    """There is one dialect at this door: a person's words are not understood."""
    client = hall.browser().upgrade().send(b"ana")
    assert [answer["error"] for answer in client.answers] == ["undecodable"]
    assert client.close_code == 1008


def test_motd_is_an_event(open_hall: OpenHall) -> None:
    """The message of the day is a line of JSON as well."""
    hall = open_hall(settings=Settings(Server(motd="Be kind."), limits=QUIET))
    ana = hall.browser().upgrade().come_in("ana")
    assert ana.events == [{"event": "notice", "text": "Be kind."}]


# The cost of a message


@pytest.mark.parametrize("messages", [1, 20])
def test_one_system_call_for_each(messages: int, open_hall: OpenHall, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many messages a take has, each recipient costs one `send`, and so does the sender with its answers. The
    batch is framed once for all of them."""
    calm = Limits(handshake_seconds=0, typing_seconds=0, ping_seconds=0, **NO_LIMITS)
    hall = open_hall(settings=Settings(limits=calm))
    everybody: list[WebSocketClient] = []
    for number in range(PEOPLE):
        everybody.append(hall.browser().upgrade().come_in(f"user{number}"))
    batches: list[int] = []
    batch = websocket.TextFrames.batch

    def counted(self: Any, rendered: Any) -> Any:
        batches.append(len(rendered.ends))
        return batch(self, rendered)

    monkeypatch.setattr(websocket.TextFrames, "batch", counted)
    for client in everybody:
        client.wire.sends = client.wire.writes = 0
    line = b'{"cmd":"say","room":"general","text":"hello"}'
    everybody[0].raw(b"".join(masked(1, line) for _ in range(messages)))
    assert [len(client.said) for client in everybody] == [messages] * PEOPLE
    assert [client.wire.sends for client in everybody] == [1] * PEOPLE
    assert [client.wire.writes for client in everybody] == [0] * PEOPLE
    assert batches == [messages]
