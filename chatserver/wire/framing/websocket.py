"""The WebSocket door: bytes to lines and lines to text frames (RFC 6455), with no sockets anywhere.

A text message of the client holds whole lines, and so does every text frame of the server. `websockets` reads the
upgrade request and the frames; this module decides which requests and messages are accepted, and how to close.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from logging import CRITICAL, Logger
from struct import pack
from typing import Final

from websockets.exceptions import PayloadTooBig, ProtocolError, SecurityError
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from chatserver.wire.dialect import Rendered
from chatserver.wire.framing.lines import HARD_LIMIT, TooLong, Undecodable, bare
from chatserver.wire.framing.pages import Pages

MAX_REQUEST_BYTES: Final = 16384
"""Maximum size of the upgrade request with all its headers: enough for a browser's cookies. The limits of `websockets`,
8192 bytes a line and 128 headers, apply, too; alone they would allow 1 MiB."""

MAX_CONTROL_BYTES: Final = 125
"""Maximum size of the payload of a ping, pong or close frame (RFC 6455, section 5.5)."""

FRAME_BYTES: Final = 16384
"""Maximum size of a frame that entries share: a client sees none of a frame's entries before it has the whole frame."""

NO_PAGES: Final = Pages()

CLOSE_CODES: Final = {
    "logout": CloseCode.NORMAL_CLOSURE,
    "quit": CloseCode.NORMAL_CLOSURE,
    "eof": CloseCode.NORMAL_CLOSURE,
    "shutdown": CloseCode.SERVICE_RESTART,  # registered with IANA; a client may connect again after a random delay
    "moving": CloseCode.SERVICE_RESTART,
}
"""Codes for the reasons of the event `closing`. The others mean that the client is unwelcome: 1008."""


class WebSocket:
    """Feed it bytes, take lines. Lines before a violation are returned before the violation is raised."""

    __slots__ = ("_code", "_controls", "_head", "_max_line", "_max_message", "_message", "_pages", "_protocol",
                 "_ready", "_ready_bytes", "_replies", "_violation", "ended", "opened", "refused", "why")  # fmt: skip

    def __init__(self, max_line: int, pages: Pages = NO_PAGES, max_message: int = HARD_LIMIT) -> None:
        """`max_line`: bytes of a line with its end, be there one or not; longer ones are discarded. `max_message`:
        bytes of one message, its fragments together; more breaks the protocol. `pages`: which may connect."""
        self._max_line = max_line
        self._max_message = max_message
        self._pages = pages
        self._head: bytearray | None = bytearray()  # the request so far; None after it
        self._protocol: Protocol | None = None  # only while frames are read
        self._message: bytearray | None = None  # the fragments of an unfinished message
        self._ready: list[bytes] = []  # the next one last: a deque would take as much memory as all the rest
        self._ready_bytes = 0
        self._controls = 0  # frames without the end of a line, since they were last asked for
        self._replies = b""
        self._code: int | None = None  # of the close frame that the client's behaviour asks for
        self._violation: str | None = None
        self.opened = False
        """The upgrade was accepted and `close` not called: lines may be sent."""
        self.ended = False
        """Nothing more will come: a close frame came, the request was refused, or `next` has raised."""
        self.refused = False
        """The request was answered with a page: close the connection after `replies`."""
        self.why = ""
        """Why a web page was refused, for the log: see `Pages`."""

    @property
    def pending(self) -> int:
        """Bytes held: lines not taken yet, and the unfinished message or request.

        The unfinished part takes at most `max_message` bytes, a control frame between its fragments, and one header.
        """
        unfinished = len(self._head or b"") + len(self._message or b"")
        if self._protocol is not None:
            unfinished += len(self._protocol.reader.buffer)
        return self._ready_bytes + unfinished

    def feed(self, data: bytes) -> None:
        """Never raises; what comes after the end or after a violation is ignored."""
        if not data or self.ended or self._violation is not None:
            return
        if self._head is not None:
            data = self._receive_head(data)
        if data and self._protocol is not None:
            self._receive_frames(self._protocol, data)

    def next(self) -> bytes | TooLong | None:
        """The next line without its end, or None if there is none yet. Raises Undecodable, and then always again."""
        if self._ready:
            line = self._ready.pop()
            self._ready_bytes -= len(line) + 1
            return bare(line, self._max_line)
        if self._violation is not None:
            self.ended = True
            raise Undecodable(self._violation)
        return None

    def finish(self) -> bytes | None:
        """Call it at the end of input, when `next` has no more. Always None: an unfinished message holds no line."""
        self._discard_unfinished()
        return None

    def controls(self) -> int:
        """Returns the number of frames since the last call that did not end a line: pings, fragments, empty ones."""
        controls, self._controls = self._controls, 0
        return controls

    def replies(self) -> bytes:
        """The HTTP response and the pongs that are due. Each call returns only what is new since the last one."""
        replies, self._replies = self._replies, b""
        return replies

    def close(self, reason: str) -> bytes:
        """The close frame, the last bytes to send; nothing if there was no upgrade, or on a second call.

        `reason` is that of the event `closing`. A violation or the client's own close frame overrides it.
        """
        opened, self.opened = self.opened, False
        self.ended = True
        self._discard_unfinished()
        if not opened:
            return b""
        if self._code is None:
            close = Close(CLOSE_CODES.get(reason, CloseCode.POLICY_VIOLATION), reason)
        else:
            close = Close(self._code, self._violation or "")
        payload = b"" if close.code == CloseCode.NO_STATUS_RCVD else close.serialize()
        return Frame(Opcode.CLOSE, payload).serialize(mask=False)

    @staticmethod
    def refusal(text: str) -> bytes:
        """The HTTP response, with this one line, for a connection that the server does not accept at all."""
        return _response(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{text}\n")

    def _receive_head(self, data: bytes) -> bytes:
        """Returns what follows the request. Finds the same faults in the same order, however the bytes are split."""
        head = self._head
        assert head is not None
        before = len(head)
        head += data
        end = head.find(b"\r\n\r\n", max(0, before - 3)) + 4
        complete = 4 <= end <= MAX_REQUEST_BYTES
        request = bytes(head[: end if complete else MAX_REQUEST_BYTES])
        try:
            _check_beginning(request, before)
            if complete:
                self._upgrade(request)
                self._head = None
                return bytes(head[end:])
            if len(head) > MAX_REQUEST_BYTES:
                raise _NotAccepted(TOO_LARGE)
        except _NotAccepted as fault:
            self.refused = self.ended = True
            self._head = None
            self._replies = _page(fault.status)
        return b""

    def _upgrade(self, head: bytes) -> None:
        protocol = ServerProtocol(logger=SILENT)
        protocol.receive_data(head)
        events = protocol.events_received()
        if not events:
            error = protocol.handshake_exc
            too_large = isinstance(error, SecurityError) or isinstance(error and error.__cause__, SecurityError)
            raise _NotAccepted(TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST)
        request = events[0]
        assert isinstance(request, Request)
        response = protocol.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            raise _NotAccepted(HTTPStatus(response.status_code))
        hosts = request.headers.get_all("Host")
        origins = request.headers.get_all("Origin")
        if len(hosts) != 1 or len(origins) > 1:
            raise _NotAccepted(HTTPStatus.BAD_REQUEST)
        if origins:
            self.why = self._pages.refusal(origins[0], hosts[0])
            if self.why:
                raise _NotAccepted(HTTPStatus.FORBIDDEN)
        protocol.send_response(response)
        self._replies = b"".join(protocol.data_to_send())
        # A second one reads the frames, since the first holds the request with its cookies for as long as it lives:
        # 3.5 KiB. Between fragments the limit minus what has come applies to control frames too, hence the allowance.
        max_size = self._max_message + MAX_CONTROL_BYTES
        self._protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=max_size, logger=SILENT)
        self.opened = True

    def _receive_frames(self, protocol: Protocol, data: bytes) -> None:
        protocol.receive_data(data)
        pongs = []
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            before = self._ready_bytes
            if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.CONT:
                self._receive_text(frame)
            elif frame.opcode is Opcode.PING:
                pongs.append(Frame(Opcode.PONG, frame.data).serialize(mask=False))
            elif frame.opcode is Opcode.BINARY:
                self._give_up(CloseCode.UNSUPPORTED_DATA, "Send text messages, not binary ones.")
            if self._ready_bytes == before:
                self._controls += 1
            if self._violation is not None:
                break
        # `websockets` queues pongs and close frames of its own, which are not used: it would answer a ping that follows
        # a message refused here, and close before the commands that came first are answered.
        if protocol.data_to_send() or pongs:
            self._replies += b"".join(pongs)
            self._receive_end(protocol)

    def _receive_text(self, frame: Frame) -> None:
        data = bytes(frame.data)
        frame.data = b""  # `websockets` keeps the last frame, and it may hold a password
        if self._is_too_big(len(data) + len(self._message or b"")):
            return
        if self._message is not None or not frame.fin:
            self._message = self._message or bytearray()
            self._message += data
            if not frame.fin:
                return
            data, self._message = bytes(self._message), None
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError:
                self._give_up(CloseCode.INVALID_DATA, "A text message is not valid UTF-8.")
                return
        lines = data.removesuffix(b"\n").split(b"\n") if data else []
        self._ready_bytes += sum(map(len, lines)) + len(lines)
        self._ready[:0] = reversed(lines)

    def _receive_end(self, protocol: Protocol) -> None:
        """Notes a close frame, or a violation that `websockets` found, behind the frames of a chunk."""
        if self._violation is not None:
            return
        error = protocol.parser_exc
        if protocol.close_rcvd is not None:  # first: between fragments, where it is legal, `websockets` has an error
            self._code = protocol.close_rcvd.code
            self.ended = True
            self._discard_unfinished()
        elif isinstance(error, PayloadTooBig):
            self._is_too_big(self._max_message + 1)
        elif isinstance(error, UnicodeDecodeError):
            self._give_up(CloseCode.INVALID_DATA, "The reason of a close frame is not valid UTF-8.")
        elif isinstance(error, ProtocolError):
            self._give_up(CloseCode.PROTOCOL_ERROR, f"WebSocket protocol error: {error}.")
        elif error is not None:
            self._give_up(CloseCode.INTERNAL_ERROR, "A frame could not be read.")

    def _is_too_big(self, size: int) -> bool:
        if size <= self._max_message:
            return False
        self._give_up(CloseCode.MESSAGE_TOO_BIG, f"A message has more than {self._max_message} bytes.")
        return True

    def _give_up(self, code: CloseCode, text: str) -> None:
        self._code = code
        self._violation = text
        self._discard_unfinished()

    def _discard_unfinished(self) -> None:
        self._head = self._message = self._protocol = None


class TextFrames:
    """Whole lines in text frames. A server does not mask them, so the same bytes go to every WebSocket client."""

    def lines(self, data: bytes) -> bytes:
        return _frame_header(len(data)) + data if data else b""

    def batch(self, rendered: Rendered) -> Rendered:
        """Frames of whole entries. An entry ends with its frame: a client sees nothing of an unfinished frame."""
        data, ends = rendered.data, rendered.ends
        pieces: list[bytes] = []
        start = offset = 0
        entries = bisect_right(ends, 0)  # hidden ones in front of the first frame
        framed_ends = [0] * entries
        while start < len(data):
            cut = self._cut(data, ends, start)
            header = _frame_header(cut - start)
            pieces += (header, data[start:cut])
            offset += len(header) + cut - start
            before, entries = entries, bisect_right(ends, cut)
            framed_ends += [offset] * (entries - before)
            start = cut
        return Rendered(b"".join(pieces), framed_ends)

    def _cut(self, data: bytes, ends: Sequence[int], start: int) -> int:
        """The end of the frame from `start` on: as late as FRAME_BYTES allows, but not inside its first entry."""
        limit = start + FRAME_BYTES
        if len(data) <= limit:
            return len(data)
        behind = bisect_right(ends, limit)
        if behind and ends[behind - 1] > start:
            return ends[behind - 1]
        return ends[behind] if behind < len(ends) else len(data)


TEXT_FRAMES: Final = TextFrames()


def _frame_header(length: int) -> bytes:
    if length < 126:
        return pack("!BB", 0x81, length)  # FIN and the opcode for text
    return pack("!BBH", 0x81, 126, length) if length < 65536 else pack("!BBQ", 0x81, 127, length)


class _NotAccepted(Exception):
    """The request is answered with a page of this status."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,20}) [!-~]+ HTTP/1\.([01])\r")
_REQUEST_LINE_BEGUN: Final = re.compile(rb"[A-Z]{1,20}(?: [!-~]*(?: [!-~]{0,8}\r?)?)?")
_BARE_NEWLINE: Final = re.compile(rb"(?<!\r)\n")


def _check_beginning(head: bytes, checked: int) -> None:
    """Recognizes at once what is not HTTP: such a client may be waiting for an answer.

    The first `checked` bytes have passed before. Raises _NotAccepted.
    """
    line, newline, _ = head.partition(b"\n")
    if not newline:
        if _REQUEST_LINE_BEGUN.fullmatch(line) is None:
            raise _NotAccepted(HTTPStatus.BAD_REQUEST)
        return
    request_line = _REQUEST_LINE.fullmatch(line)
    if request_line is None:
        raise _NotAccepted(HTTPStatus.BAD_REQUEST)
    if request_line[1] != b"GET":
        raise _NotAccepted(HTTPStatus.METHOD_NOT_ALLOWED)
    if request_line[2] == b"0":  # has no upgrades (RFC 9110, section 7.8)
        raise _NotAccepted(HTTPStatus.UPGRADE_REQUIRED)
    if _BARE_NEWLINE.search(head, checked) is not None:
        raise _NotAccepted(HTTPStatus.BAD_REQUEST)


TOO_LARGE: Final = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
FAULTS: Final = {
    HTTPStatus.FORBIDDEN: "Pages of your origin may not connect to this server. Its log says why, to its operator.",
    HTTPStatus.METHOD_NOT_ALLOWED: "A WebSocket connection begins with a GET request.",
    TOO_LARGE: "The request is too large. Cookies are not needed here.",
    HTTPStatus.UPGRADE_REQUIRED: "There is no page here: this address takes WebSocket connections only.",
}
"""The first sentence of a page, by status. It never quotes a client."""


def _page(status: HTTPStatus) -> bytes:
    fault = FAULTS.get(status, "Your client did not send a valid WebSocket request.")
    return _response(
        status,
        "text/html",
        f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Chat server: {status.phrase}</title>
<h1>This is the WebSocket door of a chat server</h1>
<p>{fault}</p>
<p>Programs connect here, for example with <code>new WebSocket(url)</code> in a browser. They send and receive text
messages that hold JSON Lines: one JSON object on each line. The server's documentation describes the protocol.</p>
</html>
""",
    )


def _response(status: HTTPStatus, content_type: str, text: str) -> bytes:
    body = text.encode()
    headers = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Type: {content_type}; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Content-Security-Policy: default-src 'none'",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Sec-WebSocket-Version: 13",
    ]
    if status is HTTPStatus.UPGRADE_REQUIRED:
        headers += ["Upgrade: websocket", "Connection: close, Upgrade"]
    else:
        headers += ["Connection: close"]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers += ["Allow: GET"]
    return "\r\n".join([*headers, "", ""]).encode("ascii") + body


SILENT: Final = Logger("chatserver.wire.framing.websocket", CRITICAL + 1)
"""At debug level, `websockets` logs headers and messages, passwords included. No setting can enable this logger."""
