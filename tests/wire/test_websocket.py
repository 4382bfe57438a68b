"""The WebSocket door: upgrade requests and frames to lines, and lines to frames."""

import gc
import itertools
import re
from bisect import bisect_right
from struct import pack, unpack
from types import FunctionType, ModuleType
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from chatserver.wire.dialect import Rendered
from chatserver.wire.framing.lines import TooLong, Undecodable
from chatserver.wire.framing.pages import Pages, normal_origin
from chatserver.wire.framing.websocket import (
    FRAME_BYTES,
    MAX_CONTROL_BYTES,
    MAX_REQUEST_BYTES,
    TEXT_FRAMES,
    WebSocket,
)

MAX_MESSAGE = 65536
URI = parse_uri("ws://chat.example:4080/")
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

HEADERS = {
    "Host": "chat.example:4080",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
}


def request(line: str = "GET /some/where?x=y HTTP/1.1", **changes: str | None) -> bytes:
    """An upgrade request with some headers changed, added or, with None, left out."""
    headers = HEADERS | {name.replace("_", "-"): value for name, value in changes.items()}
    head = [line, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join([*head, "", ""]).encode("latin-1")


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """As a client sends it, made without the help of any library."""
    length = len(payload)
    mask = 0x80 if masked else 0
    head = bytes([fin << 7 | reserved << 4 | opcode])
    if length < 126:
        head += bytes([mask | length])
    else:
        head += bytes([mask | 126]) + pack("!H", length) if length < 65536 else bytes([mask | 127]) + pack("!Q", length)
    if not masked:
        return head + payload
    key = b"\x01\xff\x80\x37"
    return head + key + bytes(a ^ b for a, b in zip(payload, itertools.cycle(key)))


def text(payload: bytes) -> bytes:
    return frame(TEXT, payload)


def pong(payload: bytes) -> bytes:
    return bytes([0x8A, len(payload)]) + payload


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, pack("!H", code) + reason)


class Seen(NamedTuple):
    """The results of one connection."""

    lines: list[bytes | TooLong]
    violation: str | None
    replies: bytes
    state: tuple[bool, bool, bool]
    code: int | None

    @property
    def ended(self) -> bool:
        return self.state[1]


def drained(door: WebSocket) -> tuple[list[bytes | TooLong], str | None]:
    lines = []
    try:
        while (line := door.next()) is not None:
            lines.append(line)
    except Undecodable as error:
        return lines, error.text
    return lines, None


def close_code(data: bytes) -> int | None:
    """The code of an unmasked close frame; 1005 for a frame without one."""
    if not data:
        return None
    assert data[0] == 0x88
    assert data[1] == len(data) - 2 <= MAX_CONTROL_BYTES
    return unpack("!H", data[2:4])[0] if data[1] else 1005


def converse(data: bytes, size: int, *, drain: bool = True) -> Seen:
    door = WebSocket(MAX_MESSAGE + 1, max_message=MAX_MESSAGE)
    lines: list[bytes | TooLong] = []
    violation: str | None = None
    replies = b""
    for at in range(0, len(data), size):
        door.feed(data[at : at + size])
        if drain:
            more, violation = drained(door)
            lines += more
            replies += door.replies()
    more, violation = drained(door)
    lines += more
    replies += door.replies()
    assert drained(door) == ([], violation)
    assert door.finish() is None
    replies = re.sub(rb"Date: [^\r]*\r\n", b"", replies)
    state = (door.opened, door.ended, door.refused)
    code = close_code(door.close("eof"))
    assert door.close("eof") == b""
    return Seen(lines, violation, replies, state, code)


def seen(data: bytes) -> Seen:
    """The same, whether the bytes come at once or one by one, and whenever lines are taken."""
    whole = converse(data, len(data) or 1)
    assert converse(data, 1) == whole
    assert converse(data, 1, drain=False) == whole
    return whole


ACCEPTED = seen(request()).replies


def after_upgrade(data: bytes) -> Seen:
    """`replies` without the HTTP response."""
    whole = seen(request() + data)
    assert whole.replies.startswith(ACCEPTED)
    return whole._replace(replies=whole.replies.removeprefix(ACCEPTED))


# The request


def test_upgrade() -> None:
    """The accept key is RFC 6455's own example, no extension is agreed on, and the path does not matter."""
    accepted = seen(request())
    assert accepted.replies.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in accepted.replies
    assert b"Extensions" not in accepted.replies
    assert accepted.state == (True, False, False)
    assert accepted.code == 1000


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n", 426),
        (b"GET / HTTP/1.0\r\n\r\n", 426),
        (request(Upgrade="h2c"), 426),
        (request(Connection="keep-alive"), 426),
        (request("GET / HTTP/1.0"), 426),
        (request("POST / HTTP/1.1"), 405),
        (request("HEAD / HTTP/1.1"), 405),
        (b"PUT / HTTP/1.1\r\n", 405),
        (request("GET / HTTP/2.0"), 400),
        (request("GET /\xe9 HTTP/1.1"), 400),
        (request("GET  / HTTP/1.1"), 400),
        (request(Sec_WebSocket_Key=None), 400),
        (request(Sec_WebSocket_Key="short"), 400),
        (request(Sec_WebSocket_Version=None), 400),
        (request(Sec_WebSocket_Version="8"), 400),
        (request(Host=None), 400),
        (request(host="other.example"), 400),
        (request(Origin="http://chat.example", origin="http://chat.example"), 400),
        (request(Content_Length="5"), 400),
        (request(Transfer_Encoding="chunked"), 400),
        (request(Bad=" value\0"), 400),
        (request(**{"Bad Name": "x"}), 400),
        (request().replace(b"Upgrade: websocket\r", b"Upgrade: websocket"), 400),
        (request(X="y" * 8192), 431),
        (request(**{f"X-{number}": "y" for number in range(128)}), 431),
        (request(**{f"X-{number}": "y" * 8000 for number in range(3)}), 431),
        (b"GET /" + b"x" * MAX_REQUEST_BYTES, 431),
        (b'{"cmd":"ping"}\n', 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 400),
        (b"EHLO there\r\n", 400),
        (b"GET / HTTP/1.1\nHost: chat.example\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: chat.example\n", 400),
        (b"\n", 400),
        (b" ", 400),
        (b"hello", 400),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", 400),
        (b"\x81\x80\0\0\0\0", 400),
    ],
)
def test_other_requests(data: bytes, status: int) -> None:
    """Whatever is no valid upgrade is answered with a page, at once, and nothing is read any more."""
    answered = seen(data)
    assert answered == seen(data + request() + text(b"a\n"))
    assert answered.replies.startswith(b"HTTP/1.1 %d " % status)
    assert answered.state == (False, True, True)
    assert (answered.lines, answered.violation, answered.code) == ([], None, None)
    head, _, body = answered.replies.partition(b"\r\n\r\n")
    headers = head.split(b"\r\n")
    assert b"X-Content-Type-Options: nosniff" in headers
    assert b"Content-Security-Policy: default-src 'none'" in headers
    assert b"Content-Type: text/html; charset=utf-8" in headers
    assert b"Content-Length: %d" % len(body) in headers
    assert (b"Connection: close" if status != 426 else b"Connection: close, Upgrade") in headers
    assert (b"Upgrade: websocket" in headers) is (status == 426)
    assert (b"Allow: GET" in headers) is (status == 405)
    assert b"WebSocket door of a chat server" in body


@pytest.mark.parametrize(
    "data",
    [
        request("GET /MARK HTTP/1.1", Upgrade="MARK"),
        request("MARK / HTTP/1.1"),
        request("GET / MARK/1.1"),
        request(Origin="http://MARK.example"),
        request(Sec_WebSocket_Version="MARK", Host="MARK"),
        request(MARK="MARK", Upgrade=None),
        b"MARK\r\n",
    ],
)
def test_no_reflection(data: bytes) -> None:
    """Nothing that a client sends appears in a page."""
    answered = seen(data)
    assert answered.state == (False, True, True)
    assert b"MARK" not in answered.replies


def test_largest_request() -> None:
    """A request is taken up to its limit, with frames right behind it, and refused one byte above."""
    room = MAX_REQUEST_BYTES - len(request(X="", Y=""))
    largest = request(X="x" * (room // 2), Y="y" * (room - room // 2))
    assert len(largest) == MAX_REQUEST_BYTES
    assert seen(largest + text(b"a" * 20000)).lines == [b"a" * 20000]
    assert seen(largest.replace(b"X: x", b"X: xx")).replies.startswith(b"HTTP/1.1 431 ")


def test_unfinished_request() -> None:
    """A client that is slow with its request is neither opened nor ended; what it sent is pending."""
    door = WebSocket(MAX_MESSAGE + 1, max_message=MAX_MESSAGE)
    assert door.pending == 0
    door.feed(b"")
    door.feed(request()[:-1])
    assert door.pending == len(request()) - 1
    assert (door.opened, door.ended, door.refused, door.next(), door.replies()) == (False, False, False, None, b"")
    assert door.close("shutdown") == b""
    assert door.ended
    assert door.pending == 0


ORIGINS = ["https://web.example", "http://localhost:8080", "http://[::1]:3000"]


@pytest.mark.parametrize(
    ("origin", "host", "origins", "taken"),
    [
        ("http://chat.example", "chat.example:4080", [], True),
        ("https://CHAT.example:8443", "chat.Example", [], True),
        ("http://127.0.0.1:8000", "127.0.0.1:4080", [], True),
        ("http://[::1]:8000", "[0:0:0:0:0:0:0:1]:4080", [], True),
        ("http://localhost:8000", "localhost:4080", [], True),
        ("http://chat.localhost", "chat.localhost", [], True),
        ("http://evil.example", "evil.example", [], False),
        ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example:4080", [], False),
        ("http://localhost:8000", "127.0.0.1:4080", [], False),
        ("http://evil.example", "evil.example", ["http://evil.example"], True),
        ("http://[::1]", "[::2]:4080", [], False),
        ("http://[::1", "[::1", [], False),
        ("http://[1:2]", "[1:2]", [], False),
        ("http://evil.example", "chat.example:4080", [], False),
        ("http://chat.example.evil.example", "chat.example", [], False),
        ("http://chat.example@evil.example", "chat.example", [], False),
        ("http://evil.example/chat.example", "evil.example", [], False),
        ("null", "null", [], False),
        ("", "", [], False),
        ("http://", "", [], False),
        ("http://chat.example", "", [], False),
        ("https://web.example", "chat.example", ORIGINS, True),
        ("HTTPS://web.EXAMPLE:443", "chat.example", ORIGINS, True),
        ("http://web.example", "chat.example", ORIGINS, False),
        ("https://web.example:8443", "chat.example", ORIGINS, False),
        ("http://localhost:8080", "chat.example", ORIGINS, True),
        ("http://localhost", "chat.example", ORIGINS, False),
        ("http://[0::1]:3000", "chat.example", ORIGINS, True),
        ("http://chat.example", "chat.example", ORIGINS, False),
        ("null", "chat.example", ["null", "no origin"], False),
        ("null", "chat.example", ["*"], True),
        ("http://evil.example", "chat.example", [*ORIGINS, "*"], True),
    ],
)
def test_origins(origin: str, host: str, origins: list[str], taken: bool) -> None:
    """A page may come from the server's own host, or from the origins that the operator lists."""
    pages = Pages(origins, ["chat.example", "Chat Server"])
    assert bool(pages.refusal(origin, host)) is not taken
    door = WebSocket(MAX_MESSAGE, pages)
    door.feed(request(Origin=origin, Host=host))
    assert door.replies().startswith(b"HTTP/1.1 101 " if taken else b"HTTP/1.1 403 ")
    assert (door.opened, door.ended, door.refused) == (taken, not taken, not taken)


def test_why_a_page_is_refused() -> None:
    """The log names the origin and the setting."""
    for origin, host, origins, why in (
        ("null", "localhost", [], "'null' is no origin of a web server: with server.origins = [\"*\"], every page"),
        ("http://localhost:80", "127.0.0.1:4080", [], "'http://localhost' is of another host than '127.0.0.1:4080'"),
        ("http://web.example", "localhost", ORIGINS, "'http://web.example' is not in server.origins. Add it"),
        ("http://evil.example", "evil.example", [], "'evil.example' is not known as a name of this server. Add it"),
        ("http://" + "x" * 5000, "a", [], "'http://" + "x" * 193 + "' is of"),
        ("x'\x9b", "a", [], "\"x'\\x9b\" is no origin"),
    ):  # fmt: skip
        door = WebSocket(MAX_MESSAGE, Pages(origins))
        assert Pages(origins).refusal(origin, host).startswith(why)
        door.feed(request(Origin=origin, Host=host))
        assert door.why.startswith(why) or not origin.isascii()


def test_no_origin() -> None:
    """A program sends no Origin header and may come, whatever origins are listed."""
    door = WebSocket(MAX_MESSAGE, Pages(ORIGINS))
    door.feed(request())
    assert door.opened


def test_normal_origins() -> None:
    """The settings can tell an origin from something else."""
    assert normal_origin("HTTP://Web.Example:80") == "http://web.example"
    assert normal_origin("http://[::0001]:443") == "http://[::1]:443"
    assert [normal_origin(bad) for bad in ("web.example", "https://web.example/", "*", "http://[::1")] == [None] * 4


def test_refusal() -> None:
    """A client that is not taken at all gets an HTTP response with the reason."""
    client = ClientProtocol(URI)
    client.send_request(client.connect())
    client.receive_data(WebSocket.refusal("Too many connections from your address."))
    client.receive_eof()
    (response,) = client.events_received()
    assert isinstance(response, Response)
    assert (response.status_code, bytes(response.body)) == (503, b"Too many connections from your address.\n")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Connection"] == "close"


# Messages to lines


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\r\n", [b"a"]),
        (b"a\nb\r\nc", [b"a", b"b", b"c"]),
        (b"\n", [b""]),
        (b"a\n\nb\n", [b"a", b"", b"b"]),
        (b"a\rb\r\r\n", [b"a\rb\r"]),
        (b"\xe2\x80\xa8\x0b\x0c\xc2\x85\0\n", [b"\xe2\x80\xa8\x0b\x0c\xc2\x85\0"]),
    ],
)
def test_lines(message: bytes, lines: list[bytes]) -> None:
    """LF and CRLF end a line and nothing else does; the last line of a message needs no end."""
    assert after_upgrade(text(message) + text(b"next")).lines == [*lines, b"next"]
    fragments = frame(TEXT, message[:1], fin=False) + frame(CONT, message[1:])
    assert after_upgrade(fragments + text(b"next")).lines == [*lines, b"next"]


def test_pending() -> None:
    """Bytes are counted until they are taken."""
    door = WebSocket(MAX_MESSAGE + 1, max_message=MAX_MESSAGE)
    door.feed(request() + text(b"ab\ncd") + frame(TEXT, b"ef", fin=False) + frame(CONT, b"g")[:3])
    assert 6 + 2 <= door.pending <= 6 + 2 + 3
    assert (door.next(), door.next(), door.next()) == (b"ab", b"cd", None)
    assert 2 <= door.pending <= 2 + 3
    assert door.finish() is None
    door.feed(frame(BINARY))
    assert door.pending <= 2 + 3 + 6


def test_pending_is_bounded() -> None:
    """A message that never ends occupies little more than the limit, and nothing once it is over."""
    door = WebSocket(2000, max_message=1000)
    door.feed(request())
    most = 0
    for _ in range(40):
        for byte in frame(TEXT if not most else CONT, b"x" * 99, fin=False) + frame(PING, b"p" * 125):
            door.feed(bytes([byte]))
            most = max(most, door.pending)
    assert 1000 < most <= 1000 + MAX_CONTROL_BYTES + 14
    assert drained(door) == ([], "A message has more than 1000 bytes.")
    assert door.pending == 0


def test_ended_after_the_violation_was_raised() -> None:
    """What came before a violation is still served; the end is the raised violation."""
    door = WebSocket(MAX_MESSAGE + 1, max_message=MAX_MESSAGE)
    door.feed(request() + text(b"a") + frame(BINARY, b"b") + text(b"c"))
    assert door.next() == b"a"
    assert not door.ended
    with pytest.raises(Undecodable):
        door.next()
    assert door.ended
    assert close_code(door.close("protocol")) == 1003


# The fuzzing cases of the Autobahn test suite, restated for a server of text messages. The numbers are its own.

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536])
def test_framing(size: int) -> None:
    """1.1: text messages of all the sizes at which the header changes."""
    assert after_upgrade(text(b"*" * size)).lines == ([b"*" * size] if size else [])


@pytest.mark.parametrize(
    ("data", "replies"),
    [
        (frame(PING), pong(b"")),
        (frame(PING, b"hello"), pong(b"hello")),
        (frame(PING, b"\0\xff\xfe\xfd\xfc\xfb\0\xff"), pong(b"\0\xff\xfe\xfd\xfc\xfb\0\xff")),
        *[(frame(PING, bytes(range(size))), pong(bytes(range(size)))) for size in range(0, 126, 5)],
        (frame(PONG), b""),
        (frame(PONG, b"unsolicited"), b""),
        (frame(PONG, b"unsolicited") + frame(PING, b"a"), pong(b"a")),
        (b"".join(frame(PING, b"%d" % n) for n in range(10)), b"".join(pong(b"%d" % n) for n in range(10))),
    ],
)
def test_pings(data: bytes, replies: bytes) -> None:
    """2: every ping is answered, in order; a pong that nobody asked for is not."""
    told = after_upgrade(data + text(b"still there"))
    assert (told.replies, told.lines, told.violation) == (replies, [b"still there"], None)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(frame(PING, b"x" * 126), id="2.5: a ping of 126 bytes"),
        pytest.param(frame(PONG, b"x" * 126), id="a pong of 126 bytes"),
        pytest.param(frame(CLOSE, b"\x03\xe8" + b"x" * 124), id="7.3.6: a close frame of 126 bytes"),
        *[pytest.param(frame(TEXT, b"x", reserved=bits), id=f"3: reserved bits {bits}") for bits in range(1, 8)],
        *[pytest.param(frame(PING, b"x", reserved=bits), id=f"3.6: ping, reserved {bits}") for bits in range(1, 8)],
        *[pytest.param(frame(CLOSE, reserved=bits), id=f"3.7: close, reserved {bits}") for bits in range(1, 8)],
        *[
            pytest.param(frame(opcode, payload), id=f"4: opcode {opcode}, {len(payload)} bytes")
            for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
            for payload in (b"", b"reserved")
        ],
        pytest.param(frame(PING, b"x", fin=False) + frame(CONT, b"y"), id="5.1: a ping in fragments"),
        pytest.param(frame(PONG, b"x", fin=False) + frame(CONT, b"y"), id="5.2: a pong in fragments"),
        pytest.param(frame(CLOSE, fin=False), id="a close frame in fragments"),
        pytest.param(frame(CONT, b"x"), id="5.9: a last fragment without a first"),
        pytest.param(frame(CONT, b"x", fin=False) + text(b"y"), id="5.12: a fragment without a first"),
        pytest.param(frame(TEXT, b"x", fin=False) + text(b"y"), id="5.18: two first fragments"),
        pytest.param(frame(TEXT, b"x", fin=False) + frame(BINARY, b"y"), id="binary within a fragmented message"),
        pytest.param(frame(TEXT, b"x", masked=False), id="a frame without a mask"),
        pytest.param(frame(PING, masked=False), id="a ping without a mask"),
        pytest.param(frame(CLOSE, b"x"), id="7.3.2: a close frame of one byte"),
        *[
            pytest.param(closing(code), id=f"7.9, 7.13: close code {code}")
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
        ],
    ],
)
def test_protocol_errors(bad: bytes) -> None:
    """2 to 5 and 7: what breaks the protocol ends the connection with 1002, after what came before it."""
    told = after_upgrade(text(b"before") + frame(PING, b"before") + bad + text(b"after") + frame(PING, b"after"))
    assert told.lines == [b"before"]
    assert told.replies == pong(b"before")
    assert told.code == 1002
    assert told.ended
    assert told.violation is not None
    assert re.fullmatch(r"WebSocket protocol error: [a-z0-9 ]+\.", told.violation)


PING_X = frame(PING, b"x")


@pytest.mark.parametrize(
    ("data", "lines", "pings"),
    [
        pytest.param(frame(TEXT, b"ab", fin=False) + frame(CONT, b"cd"), [b"abcd"], 0, id="5.3"),
        pytest.param(frame(TEXT, b"ab", fin=False) + PING_X + frame(CONT, b"cd"), [b"abcd"], 1, id="5.6"),
        pytest.param(
            frame(TEXT, b"a", fin=False)
            + frame(CONT, b"bc", fin=False)
            + PING_X
            + frame(CONT, b"d", fin=False)
            + PING_X
            + frame(CONT, b"e"),
            [b"abcde"],
            2,
            id="5.19",
        ),
        pytest.param(b"".join([frame(TEXT, fin=False), frame(CONT, fin=False), frame(CONT)]), [], 0, id="6.1.2"),
        pytest.param(
            b"".join([frame(TEXT, fin=False), frame(CONT, b"middle", fin=False), frame(CONT)]),
            [b"middle"],
            0,
            id="6.1.3",
        ),
        pytest.param(
            frame(TEXT, b"a\nb\r", fin=False) + frame(CONT, b"\nc") + text(b"d"),
            [b"a", b"b", b"c", b"d"],
            0,
            id="lines",
        ),
    ],
)
def test_fragmentation(data: bytes, lines: list[bytes], pings: int) -> None:
    """5 and 6.1: fragments make one message, and a ping between them is answered before they are complete."""
    told = after_upgrade(data)
    assert (told.lines, told.replies, told.violation, told.code) == (lines, pong(b"x") * pings, None, 1000)


VALID_UTF8 = [
    "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "κόσμε".encode(),
    *[
        chr(point).encode()
        for point in (0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF, 0xD7FF, 0xE000, 0xFFFD, 0xFFFE, 0x1FFFE)
    ],
]
INVALID_OCTETS = """
    cebae1bdb9cf83cebcceb5eda080656469746564 80 bf 80bf 80bf80bf c0 e0 f0 f8 fc fe ff c320 e1a020 f0908020
    c3 e0a0 ef bf efbf f0808080 f7bfbfbf f888808080 fc8480808080 fefeffff c0af e080af f08080af f8808080af c1bf e09fbf
    f08fbfbf c080 e08080 f0808080 eda080 edbfbf edad bf eda080edb080 f4908080 f5808080 ce
"""
INVALID_UTF8 = sorted({bytes.fromhex(octets) for octets in INVALID_OCTETS.split()})


@pytest.mark.parametrize("valid", VALID_UTF8)
def test_valid_utf8(valid: bytes) -> None:
    """6.2, 6.5 to 6.23: every valid sequence is taken, also cut within a code point."""
    data = text(valid)
    for at in range(len(valid) + 1):
        data += frame(TEXT, valid[:at], fin=False) + frame(PING) + frame(CONT, valid[at:])
    told = after_upgrade(data)
    assert told.violation is None
    assert told.lines == [valid] * (len(valid) + 2)


@pytest.mark.parametrize("invalid", INVALID_UTF8, ids=bytes.hex)
def test_invalid_utf8(invalid: bytes) -> None:
    """6.3, 6.4, 6.6 to 6.21: an invalid message ends the connection with 1007, and none of its lines is taken."""
    for at in range(len(invalid) + 1):
        bad = frame(TEXT, b"first\n" + invalid[:at], fin=False) + frame(CONT, invalid[at:] + b"\nlast")
        told = after_upgrade(text(b"before") + bad + text(b"after"))
        assert (told.lines, told.code, told.violation) == ([b"before"], 1007, "A text message is not valid UTF-8.")
    assert after_upgrade(text(invalid)).code == 1007


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(closing(1000), 1000, id="7.1.1"),
        pytest.param(closing(1000) + closing(1001), 1000, id="7.1.2: two close frames"),
        pytest.param(closing(1000) + frame(PING), 1000, id="7.1.3: a ping after it"),
        pytest.param(closing(1000) + text(b"late"), 1000, id="7.1.4: text after it"),
        pytest.param(
            frame(TEXT, b"early", fin=False) + closing(1000) + frame(CONT, b"late"), 1000, id="7.1.5: within a message"
        ),
        pytest.param(closing(1000) + b"\xff" * 300, 1000, id="rubbish after it"),
        pytest.param(frame(CLOSE), 1005, id="7.3.1: no code"),
        pytest.param(closing(1000, "Goodbye ü".encode()), 1000, id="7.3.4: a reason"),
        pytest.param(closing(1000, b"x" * 123), 1000, id="7.3.5: the longest reason"),
        *[
            pytest.param(closing(code), code, id=f"7.7: code {code}")
            for code in (1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999)
        ],
    ],
)
def test_close(data: bytes, code: int) -> None:
    """7: a close frame is the end of input, whatever follows it; the answer has its code and waits for `close`."""
    told = after_upgrade(text(b"before") + frame(PING, b"before") + data)
    assert told == Seen([b"before"], None, pong(b"before"), (True, True, False), code)


def test_close_with_an_invalid_reason() -> None:
    """7.5.1: the reason of a close frame is text, too."""
    told = after_upgrade(text(b"before") + closing(1000, b"\xce\xba\xed\xa0\x80"))
    assert (told.lines, told.code, told.ended) == ([b"before"], 1007, True)
    assert told.violation == "The reason of a close frame is not valid UTF-8."


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(text(b"x" * (MAX_MESSAGE + 1)), id="one byte more"),
        pytest.param(text(b"x" * (MAX_MESSAGE + MAX_CONTROL_BYTES)), id="as many more as a control frame has"),
        pytest.param(text(b"x" * (MAX_MESSAGE + MAX_CONTROL_BYTES + 1)), id="and one"),
        pytest.param(b"\x81\xff" + pack("!Q", MIB), id="9.1: announced, not sent"),
        pytest.param(b"\x81\xff" + pack("!Q", (1 << 63) - 1), id="the largest size that there is"),
        pytest.param(b"\x82\xff" + pack("!Q", MIB), id="9.2: announced, binary"),
        pytest.param(
            frame(TEXT, b"x" * 40000, fin=False) + frame(CONT, b"x" * 40000, fin=False), id="9.3: in fragments"
        ),
        pytest.param(frame(TEXT, b"x" * MAX_MESSAGE, fin=False) + frame(CONT, b"x"), id="the last fragment"),
        pytest.param(b"\x89\xff" + pack("!Q", MIB), id="a ping longer than a message"),
    ],
)
def test_too_big(bad: bytes) -> None:
    """9: a message has at most so many bytes, its fragments together; more ends the connection with 1009."""
    told = after_upgrade(text(b"before") + bad)
    assert (told.lines, told.code, told.ended) == ([b"before"], 1009, True)
    assert told.violation == "A message has more than 65536 bytes."


def test_largest_message() -> None:
    """9.4: exactly the limit is taken, with pings between the fragments, and the next message counts anew."""
    halves = frame(TEXT, b"x" * 30000, fin=False) + frame(CONT, b"x" * (MAX_MESSAGE - 30000), fin=False)
    told = after_upgrade((halves + frame(PING, b"p" * 125) + frame(CONT)) * 2)
    assert told.lines == [b"x" * MAX_MESSAGE] * 2
    assert told.replies == pong(b"p" * 125) * 2


@pytest.mark.parametrize("bad", [frame(BINARY), frame(BINARY, b"\xff"), frame(BINARY, b"{", fin=False) + frame(CONT)])
def test_binary(bad: bytes) -> None:
    """1.2: JSON Lines are text; a binary message ends the connection with 1003."""
    told = after_upgrade(text(b"before") + bad + frame(PING) + text(b"after") + closing(1000))
    assert (told.lines, told.replies, told.code) == ([b"before"], b"", 1003)
    assert told.violation == "Send text messages, not binary ones."


# The server's close frame


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("logout", 1000),
        ("quit", 1000),
        ("eof", 1000),
        ("shutdown", 1012),
        ("banned", 1008),
        ("strikes", 1008),
        ("whatever-comes-later", 1008),
    ],
)
def test_close_codes(reason: str, code: int) -> None:
    """A client can tell from the close frame whether it may come again; the reason is that of `closing`."""
    door = WebSocket(MAX_MESSAGE + 1, max_message=MAX_MESSAGE)
    door.feed(request() + text(b"a"))
    assert door.close(reason) == bytes([0x88, 2 + len(reason)]) + pack("!H", code) + reason.encode()
    assert (door.opened, door.ended, door.refused) == (False, True, False)
    door.feed(text(b"b"))
    assert drained(door) == ([b"a"], None)


def test_with_a_client() -> None:
    """A client of `websockets` and the door understand each other, from the upgrade to the end."""
    door, client = WebSocket(MAX_MESSAGE + 1, max_message=MAX_MESSAGE), ClientProtocol(URI)
    client.send_request(client.connect())
    door.feed(b"".join(client.data_to_send()))
    client.receive_data(door.replies())
    assert client.state.name == "OPEN"

    client.send_text('{"cmd":"ping"}\n{"cmd":"naïve"}'.encode())
    client.send_ping(b"are you there")
    client.send_close(1001)
    door.feed(b"".join(client.data_to_send()))
    assert drained(door) == ([b'{"cmd":"ping"}', '{"cmd":"naïve"}'.encode()], None)
    assert door.ended

    client.receive_data(door.replies() + TEXT_FRAMES.lines(b'{"ok":true}\n') + door.close("eof"))
    client.receive_eof()
    received = [event for event in client.events_received() if isinstance(event, Frame)]
    assert [bytes(event.data) for event in received[:2]] == [b"are you there", b'{"ok":true}\n']
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == 1001
    assert client.state.name == "CLOSED"


@given(st.data())
def test_any_messages_in_any_pieces(data: st.DataObject) -> None:
    """Valid messages give the same lines, however they are fragmented and however the bytes are cut."""
    words = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=30)
    sent = b""
    expected: list[bytes] = []
    for _ in range(data.draw(st.integers(0, 6))):
        lines = [line.encode() for line in data.draw(st.lists(words, max_size=4))]
        end = data.draw(st.sampled_from([b"\n", b"\r\n"]))
        message = end.join(lines) + (end if lines and (not lines[-1] or data.draw(st.booleans())) else b"")
        expected += lines
        cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=4)))
        pieces = [message[start:stop] for start, stop in itertools.pairwise([0, *cuts, len(message)])]
        for number, piece in enumerate(pieces):
            sent += frame(CONT if number else TEXT, piece, fin=number == len(pieces) - 1)
            if data.draw(st.booleans()):
                sent += frame(data.draw(st.sampled_from([PING, PONG])), b"x")
    sizes = data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=20))
    door = WebSocket(MAX_MESSAGE + 1, max_message=MAX_MESSAGE)
    stream = request() + sent
    heard: list[bytes | TooLong] = []
    for size in itertools.cycle(sizes):
        door.feed(stream[:size])
        stream = stream[size:]
        if size % 2:
            heard += drained(door)[0]
        if not stream:
            break
    assert (heard + drained(door)[0], door.next(), door.pending) == (expected, None, 0)


# Secrets


def reachable(start: object) -> list[object]:
    """Everything that an object holds on to, local variables of suspended generators included."""
    found: dict[int, object] = {}
    todo = [start]
    while todo:
        one = todo.pop()
        if id(one) not in found and not isinstance(one, type | ModuleType | FunctionType):
            found[id(one)] = one
            todo += gc.get_referents(one)
    return list(found.values())


def test_nothing_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the request nor a message is kept or logged: there are cookies and passwords in them."""
    door = WebSocket(MAX_MESSAGE + 1, max_message=MAX_MESSAGE)
    with caplog.at_level("DEBUG"):
        door.feed(request(Cookie="session=hunter2") + text(b'{"cmd":"login","password":"hunter2"}'))
        assert door.next() is not None
        door.replies()
    assert caplog.records == []
    held = reachable(door)
    assert any(isinstance(one, bytearray) for one in held)
    assert not [one for one in held if isinstance(one, str | bytes | bytearray) and "hunter2" in str(one)]


# Lines to frames


def readable(data: bytes) -> tuple[bytes, list[int]]:
    """What a client can read of these bytes, and the sizes of the frames."""
    client = ClientProtocol(URI, state=State.OPEN, max_size=None)
    client.receive_data(data)
    frames = [event for event in client.events_received() if isinstance(event, Frame)]
    assert all(one.opcode == TEXT and one.fin for one in frames)
    return b"".join(bytes(one.data) for one in frames), [len(one.data) for one in frames]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200000])
def test_one_frame(size: int) -> None:
    """Lines go in one frame that is not masked; nothing needs none."""
    data = (b"x" * (size - 1) + b"\n") if size else b""
    framed = TEXT_FRAMES.lines(data)
    assert readable(framed) == (data, [size] if size else [])
    assert not framed or framed[1] & 0x80 == 0


@pytest.mark.parametrize(
    ("sizes", "ends", "frames"),
    [
        ([], [], []),
        ([0, 0], [0, 0], []),
        ([10], [12], [10]),
        ([0, 10, 0, 20, 0], [0, 32, 32, 32, 32], [30]),
        ([8192, 8192, 1], [16388, 16388, 16388 + 3], [16384, 1]),
        ([8192, 8193, 0, 1], [8196, 8196 + 8198, 8196 + 8198, 8196 + 8198], [8192, 8194]),
        ([1, 0, 70000, 0, 1], [3, 3, 3 + 70010, 3 + 70010, 3 + 70010 + 3], [1, 70000, 1]),
    ],
)
def test_batches(sizes: list[int], ends: list[int], frames: list[int]) -> None:
    """Entries share frames of at most 16384 bytes; one that is larger has a frame of its own."""
    framed = TEXT_FRAMES.batch(Rendered(b"".join(b"x" * size for size in sizes), list(itertools.accumulate(sizes))))
    assert list(framed.ends) == ends
    assert readable(framed.data)[1] == frames


SIZES = st.sampled_from([0, 0, 1, 60, 125, 126, 1000, 4000, 8192, 16383, 16384, 16385, 65535, 65536])


@given(st.lists(SIZES, max_size=30), st.integers(0, 3), st.data())
def test_ends_of_a_batch(sizes: list[int], trailing: int, data: st.DataObject) -> None:
    """After any number of bytes, the ends say exactly which entries the client can read."""
    plain = Rendered(
        b"".join(bytes([65 + number % 26]) * size for number, size in enumerate(sizes)) + b"\n" * trailing,
        list(itertools.accumulate(sizes)),
    )
    framed = TEXT_FRAMES.batch(plain)
    whole, frames = readable(framed.data)
    assert whole == plain.data
    assert all(size <= FRAME_BYTES or size in sizes for size in frames)
    assert len(framed.ends) == len(plain.ends)
    offsets = {0, len(framed.data), *framed.ends, *data.draw(st.lists(st.integers(0, len(framed.data)), max_size=5))}
    for sent in sorted(offsets | {max(0, offset - 1) for offset in offsets}):
        heard, _ = readable(framed.data[:sent])
        assert plain.data.startswith(heard)
        assert framed.whole(sent) == bisect_right(plain.ends, len(heard))
        assert sent <= framed.boundary(sent) <= len(framed.data)
        assert len(readable(framed.data[: framed.boundary(sent)])[0]) >= len(heard)
