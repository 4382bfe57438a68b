"""HTTP/1.1 for a server that serves few paths: requests in any pieces of bytes, and responses (RFC 9112, RFC 9110).

A request has one meaning or is refused: whatever two readers might understand differently is a fault, after which the
connection ends.
"""

import re
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from msgspec import Struct

from chatserver.wire.addresses import canonical

MAX_HEAD_BYTES: Final = 16_384
"""Maximum size of a request line with all headers: enough for a browser's cookies."""
MAX_HEADERS: Final = 128
MAX_BODY_BYTES: Final = 4096
"""Maximum size of a body: a short JSON object."""

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'none'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types worker"
)
PART_HEADERS: Final = ("X-Content-Type-Options: nosniff", "Cross-Origin-Resource-Policy: same-origin")
"""What browsers are told with every file: it is of its type, and for the pages of this server."""
SECURITY_HEADERS: Final = (
    *PART_HEADERS,
    f"Content-Security-Policy: {CONTENT_POLICY}",
    "Referrer-Policy: no-referrer",
    "Cross-Origin-Opener-Policy: same-origin",
    "Permissions-Policy: camera=(), microphone=(), geolocation=()",
)
"""What they are told with everything but the parts of a page: it runs scripts of this server only, makes no HTML of
texts, is shown in no frame, and tells other servers nothing."""

STRICT_TRANSPORT: Final = "Strict-Transport-Security: max-age=31536000"
"""Browsers are to use TLS only for this host, for a year."""


class Fault(Exception):
    """The request cannot be served, and nothing behind it can be read."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


class Request(Struct, frozen=True):
    """A complete request. `path` is without its query. `headers`: by name in lower case, the values in order. `head`:
    the bytes of the request line and the headers."""

    method: str
    path: str
    headers: Mapping[str, list[str]]
    lasting: bool
    """Whether the client may send another request on the connection."""
    head: bytes
    body: bytes = b""

    def __repr__(self) -> str:  # cookies and bodies are secrets
        return f"Request({self.method!r}, {self.path!r})"

    def header(self, name: str) -> str:
        """The value of a header that may occur once; "" if it is missing."""
        return self.headers.get(name, [""])[0]

    def listed(self, name: str) -> list[str]:
        """See `items`."""
        return items(self.headers, name)

    @property
    def upgrades(self) -> bool:
        """Whether it asks for a WebSocket. Whether it does so correctly is another question."""
        return "upgrade" in self.listed("connection") and "websocket" in self.listed("upgrade")

    def cookie(self, name: str) -> str:
        """The value of a cookie; "" if there is none, or more than one of this name."""
        pairs = [pair.strip().partition("=") for value in self.headers.get("cookie", ()) for pair in value.split(";")]
        values = [value for key, _, value in pairs if key == name]
        return values[0] if len(values) == 1 else ""


class Requests:
    """Takes bytes with `feed` and returns requests with `next`. Finds the same faults in the same order, however the
    bytes are split."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._checked = 0  # bytes of the unfinished head in which there is no fault
        self._awaiting: tuple[Request, int] | None = None  # a request, and the size of its body

    def __len__(self) -> int:
        """Number of bytes that are not taken yet."""
        return len(self._data)

    def feed(self, data: bytes) -> None:
        self._data += data

    def rest(self) -> bytes:
        """Takes all bytes behind the last request."""
        rest = bytes(self._data)
        self._data.clear()
        return rest

    def next(self) -> Request | None:
        """The next request; None if there is none yet. Raises Fault."""
        if self._awaiting is None and self._data:
            self._receive_head()
        if self._awaiting is None:
            return None
        request, size = self._awaiting
        if len(self._data) < size:
            return None
        self._awaiting = None
        if not size:
            return request
        body = bytes(self._data[:size])
        del self._data[:size]
        return Request(request.method, request.path, request.headers, request.lasting, request.head, body)

    def _receive_head(self) -> None:
        data = self._data
        end = data.find(b"\r\n\r\n", max(0, self._checked - 3), MAX_HEAD_BYTES) + 4
        head = bytes(data[: end if end >= 4 else MAX_HEAD_BYTES])
        _check_beginning(head, self._checked)
        if end >= 4:
            del data[:end]
            self._checked = 0
            self._awaiting = _parsed(head)
            return
        self._checked = len(head)
        if len(data) >= MAX_HEAD_BYTES:
            raise Fault(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


_REQUEST_LINE: Final = re.compile(r"([A-Z]{1,20}) ([!-~]+) HTTP/1\.([01])")
_BEGUN: Final = re.compile(rb"[A-Z]{1,20}(?: [!-~]*(?: [!-~]{0,8}\r?)?)?")
_PATH: Final = re.compile(r"(/(?:[!$&-;=@-Z_a-z~]|%[0-9A-Fa-f]{2})*)(?:\?(?:[!$&-;=?@-Z_a-z~]|%[0-9A-Fa-f]{2})*)?")
"""A path and its query, as RFC 3986 has them: no other form of a target, no bad escape, no fragment."""
_HEADER: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\0")
"""A line end that some readers take for one and others do not, or a NUL."""
_LENGTH: Final = re.compile(r"[0-9]{1,10}")
_ONCE: Final = ("host", "origin", "content-length", "content-type", "sec-fetch-site")
"""Headers that must not occur twice."""


def _check_beginning(head: bytes, checked: int) -> None:
    """Recognizes at once what is not HTTP: such a client may be waiting for an answer. The first `checked` bytes have
    passed before. Raises Fault."""
    line, newline, _ = head.partition(b"\n")
    known = _REQUEST_LINE.fullmatch(line.decode("latin-1").removesuffix("\r")) if newline else _BEGUN.fullmatch(line)
    if known is None or _BARE.search(head, max(0, checked - 1)) is not None:
        raise Fault(HTTPStatus.BAD_REQUEST)


def _parsed(head: bytes) -> tuple[Request, int]:
    """The request of a complete head, and the size of its body. Raises Fault."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    request_line = _REQUEST_LINE.fullmatch(first)
    assert request_line is not None  # it was checked
    method, target, minor = request_line.groups()
    path = _PATH.fullmatch(target)
    headers = _headers(lines)
    hosts = headers.get("host", [])
    if path is None or "%00" in target or (minor == "1" and not hosts):
        raise Fault(HTTPStatus.BAD_REQUEST)
    size = _body_size(method, headers)
    lasting = minor == "1" and "close" not in items(headers, "connection")
    return Request(method, path[1], headers, lasting, head), size


def items(headers: Mapping[str, list[str]], name: str) -> list[str]:
    """The items of a header that is a list, in lower case."""
    return [item.strip() for value in headers.get(name, ()) for item in value.lower().split(",")]


def _headers(lines: Iterable[str]) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for number, line in enumerate(lines):
        header = _HEADER.fullmatch(line)
        if header is None:
            raise Fault(HTTPStatus.BAD_REQUEST)
        if number >= MAX_HEADERS:
            raise Fault(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        headers.setdefault(header[1].lower(), []).append(header[2])
    if any(len(headers.get(name, ())) > 1 for name in _ONCE):
        raise Fault(HTTPStatus.BAD_REQUEST)
    return headers


def _body_size(method: str, headers: Mapping[str, list[str]]) -> int:
    """Only POST has a body, and it says how long that is. Raises Fault."""
    if "transfer-encoding" in headers:
        raise Fault(HTTPStatus.BAD_REQUEST)
    length = headers.get("content-length", [""])[0]
    if not length and "content-length" not in headers:
        if method == "POST":
            raise Fault(HTTPStatus.LENGTH_REQUIRED)
        return 0
    if _LENGTH.fullmatch(length) is None or method in ("GET", "HEAD") or (method != "POST" and int(length)):
        raise Fault(HTTPStatus.BAD_REQUEST)
    if int(length) > MAX_BODY_BYTES:
        raise Fault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(length)


def forwarded(request: Request, proxy: str) -> tuple[str, bool]:
    """The address of the client for whom a trusted proxy has sent this request, and whether they speak TLS with each
    other. Only what the proxy itself has added counts: the last item. Without a usable address it is `proxy`."""
    last = ([proxy, *items(request.headers, "x-forwarded-for")])[-1].strip('"')
    try:
        address = str(canonical(ip_address(last.strip("[]"))))
    except ValueError:
        address = proxy
    return address, ["", *items(request.headers, "x-forwarded-proto")][-1] == "https"


# Responses


class Content(Struct, frozen=True):
    """What a path has, in one encoding. `headers`: all that describe it. `part`: it is a part of a page, which has said
    what counts for all of its parts."""

    headers: tuple[str, ...]
    body: bytes = b""
    part: bool = False


def response(
    status: HTTPStatus, content: Content, *, bare: bool = False, last: bool = False, strict: bool = False
) -> bytes:
    """A whole response. `bare`: without the body, for HEAD. `last`: the connection ends with it. `strict`: the client
    is to use TLS only from now on."""
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {formatdate(usegmt=True)}",
        *(PART_HEADERS if content.part else SECURITY_HEADERS),
        *content.headers,
    ]
    if status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):  # these have no body, whatever it says
        lines.append(f"Content-Length: {len(content.body)}")
    if strict:
        lines.append(STRICT_TRANSPORT)
    if last:
        lines.append("Connection: close")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if bare else head + content.body


def page(status: HTTPStatus, sentence: str) -> Content:
    """A short page for people, of one sentence that never quotes a client."""
    text = f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Chat server: {status.phrase}</title>
<h1>{status.phrase}</h1>
<p>{sentence}</p>
<p><a href="/">To the chat</a></p>
</html>
"""
    return Content(("Content-Type: text/html; charset=utf-8", "Cache-Control: no-store"), text.encode())
