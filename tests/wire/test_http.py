"""HTTP requests in bytes, split in any way, and hostile ones."""

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.wire.framing.http import MAX_HEAD_BYTES, Content, Fault, Request, Requests, forwarded, response

GET = b"GET /a?b=%41 HTTP/1.1\r\nHost: chat.example\r\n\r\n"
POST = b"POST /session HTTP/1.1\r\nHost: chat.example\r\nContent-Length: 5\r\n\r\nHello"
HOST = b"Host: a\r\n"


def read(*pieces: bytes) -> list[Request | HTTPStatus]:
    """The requests in these pieces, and the fault at their end if there is one."""
    requests, found = Requests(), list[Request | HTTPStatus]()
    for piece in pieces:
        requests.feed(piece)
        try:
            while (request := requests.next()) is not None:
                found.append(request)
        except Fault as fault:
            return [*found, fault.status]
    return found


def test_every_split() -> None:
    """Requests that follow each other mean the same wherever the bytes are cut."""
    whole = GET + POST + GET
    expected = read(whole)
    paths = [(one.path, one.body) for one in expected if isinstance(one, Request)]
    assert paths == [("/a", b""), ("/session", b"Hello"), ("/a", b"")]
    for cut in range(len(whole)):
        assert read(whole[:cut], whole[cut:]) == expected
    assert read(*(whole[at : at + 1] for at in range(len(whole)))) == expected


HOSTILE = {
    b"GET / HTTP/1.1\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n": 400,
    b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx": 400,
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\nx": 400,
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: \r\n\r\n": 400,
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4097\r\n\r\n": 413,
    b"POST / HTTP/1.1\r\n" + HOST + b"\r\n": 411,
    b"DELETE / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\n": 400,
    b"GET http://chat.example/ HTTP/1.1\r\n" + HOST + b"\r\n": 400,
    b"GET * HTTP/1.1\r\n" + HOST + b"\r\n": 400,
    b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n": 400,
    b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n": 400,
    b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n": 400,
    b"GET /#a HTTP/1.1\r\n" + HOST + b"\r\n": 400,
    b"GET / HTTP/2.0\r\n" + HOST + b"\r\n": 400,
    b"GET / HTTP/1.1\n" + HOST + b"\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n": 400,
    b"\x16\x03\x01": 400,
    b"login ana": 400,
    b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 200 + b"\r\n": 431,
    b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_HEAD_BYTES: 431,
    b"GET /" + b"b" * MAX_HEAD_BYTES: 431,
}


@pytest.mark.parametrize("request_bytes", HOSTILE)
def test_hostile(request_bytes: bytes) -> None:
    """What readers may understand differently is refused, with the same status wherever it is cut."""
    status = HTTPStatus(HOSTILE[request_bytes])
    assert read(GET + request_bytes)[1:] == [status]
    cuts = range(len(request_bytes)) if len(request_bytes) < 500 else range(0, len(request_bytes), 997)
    for cut in cuts:
        assert read(request_bytes[:cut], request_bytes[cut:]) == [status]


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_any_bytes(pieces: list[bytes]) -> None:
    """No bytes raise anything but a Fault."""
    read(*pieces)
    read(b"GET / HTTP/1.1\r\n", *pieces, b"\r\n\r\n")


def test_facts_of_a_request() -> None:
    """A request says whether the connection goes on, whether it is for a WebSocket, and which cookie it brings, unless
    there are two of a name; its repr shows no secret."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    (one,) = read(head + b"Cookie: a=b; chat=secret\r\n\r\n")
    (two,) = read(head + b"Cookie: chat=secret\r\nCookie: chat=other\r\n\r\n")
    (old,) = read(b"GET / HTTP/1.0\r\n\r\n")
    (last,) = read(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n")
    assert isinstance(one, Request)
    assert isinstance(two, Request)
    assert isinstance(old, Request)
    assert isinstance(last, Request)
    assert (one.upgrades, one.lasting, one.cookie("chat"), one.cookie("none")) == (True, True, "secret", "")
    assert "secret" not in repr(one)
    assert two.cookie("chat") == ""
    assert (old.lasting, last.lasting, last.upgrades) == (False, False, False)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (b"", ("10.0.0.1", False)),
        (b"X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\nX-Forwarded-Proto: http, https\r\n", ("192.0.2.7", True)),
        (b"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: [2001:db8::1]\r\n", ("2001:db8::1", False)),
        (b"X-Forwarded-For: unknown\r\nX-Forwarded-Proto: http\r\n", ("10.0.0.1", False)),
    ],
)
def test_forwarded(headers: bytes, expected: tuple[str, bool]) -> None:
    """Only the last item of each header counts, which the proxy itself has added."""
    (request,) = read(b"GET / HTTP/1.0\r\n" + headers + b"\r\n")
    assert isinstance(request, Request)
    assert forwarded(request, "10.0.0.1") == expected


def test_responses() -> None:
    """HEAD gets the length without the body; 204 and 304 have no length; the last response says so."""
    content = Content(("Content-Type: text/plain",), b"Hello")
    assert response(HTTPStatus.OK, content).endswith(b"\r\nContent-Length: 5\r\n\r\nHello")
    assert response(HTTPStatus.OK, content, bare=True, last=True).endswith(b": 5\r\nConnection: close\r\n\r\n")
    assert b"Content-Length" not in response(HTTPStatus.NO_CONTENT, Content(()))
