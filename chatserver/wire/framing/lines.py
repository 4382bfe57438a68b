"""Bytes to lines, however the bytes are split into chunks: line ends, limits and the telnet filter."""

import re
from typing import Final

from msgspec import Struct

from chatserver.wire.framing.telnet import IAC, Telnet

START: Final = 16
"""Number of bytes that are enough to recognize a dialect or a foreign protocol."""


CTRL_D: Final = 0x04
_END: Final = re.compile(rb"[\n\x03\x15]\x04")
"""Ctrl-D at the beginning of a line, or behind what cleared it: Ctrl-C or Ctrl-U."""


END: Final = 512
"""Number of bytes at the beginning and at the end of a line over the limit that are kept, to read its tag from."""

HARD_LIMIT: Final = 262_144
"""Maximum size of a line, or of a WebSocket message, that is only discarded: more ends the connection."""


class TooLong(Struct, frozen=True):
    """Takes the place of a line over the limit, which itself is discarded. `most`: the limit, in bytes. `start` and
    `end`: up to END bytes of the line."""

    most: int
    start: bytes = b""
    end: bytes = b""


def bare(line: bytes, most: int) -> bytes | TooLong:
    """The line without its CR, or what takes its place if it is longer than `most` with its newline."""
    if len(line) >= most:
        return TooLong(most, line[: min(END, most)], line[-END:])
    return line.removesuffix(b"\r")


class Undecodable(Exception):
    """The rest of the stream is unreadable: the connection must end. `text`: the reason, in one line for a person."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Lines:
    """Takes bytes with `feed` and returns lines with `next`: if the stream breaks, first the lines before the break."""

    __slots__ = ("_commands", "_filtered", "_max_line", "_max_unended", "_ready", "_ready_bytes", "_tail",
                 "_tail_length", "_trouble", "ended", "telnet", "typed")  # fmt: skip

    def __init__(self, max_line: int = 8192, max_unended: int = HARD_LIMIT) -> None:
        """Both in bytes; a `max_line` of 0 leaves only the other limit."""
        self._max_line = max_line or max_unended
        self._max_unended = max(max_unended, self._max_line)
        self._ready: list[bytes] = []  # the next one last; a deque would be half the memory of an idle connection
        self._ready_bytes = 0
        self._tail = bytearray()  # the unfinished line: of a long one _max_line bytes and the last END are stored ...
        self._tail_length = 0  # ... and all bytes are counted
        self.telnet = Telnet()
        self._filtered = False  # telnet's filter has begun, and sees all further bytes
        self._commands = 0  # of telnet, since they were last asked for
        self._trouble: str | None = None
        self.typed = False
        """Whether a person types the lines, so that a Ctrl-D at the beginning of one is the end of the input."""
        self.ended = False
        """There was such an end. Later bytes are discarded."""

    @property
    def pending(self) -> int:
        """Bytes in memory: lines not taken yet, including their ends, and the unfinished line."""
        return self._ready_bytes + len(self._tail)

    def feed(self, data: bytes) -> None:
        """Never raises. Once the stream is broken, it discards everything."""
        if self._trouble is not None or self.ended:
            return
        if self._filtered or IAC in data or 0 in data or data[-1:] == b"\r":  # rare: nothing else is telnet's
            self._filtered = True
            self._commands += data.count(IAC)
            data = self.telnet.filter(data)
        if CTRL_D in data and self.typed:  # rare
            data = self._up_to_the_end(data)
        if data:
            for at in range(0, len(data), self._max_unended):
                self._split(data[at : at + self._max_unended])
        if self.ended:
            self._take_tail()  # it was cleared
        if self.telnet.trouble is not None and self._trouble is None:
            self._give_up(self.telnet.trouble)

    def next(self) -> bytes | TooLong | None:
        """The next line without its end, or None if there is none yet. Raises Undecodable, and then always again."""
        if self._ready:
            line = self._ready.pop()
            self._ready_bytes -= len(line) + 1
            return bare(line, self._max_line)
        if self._trouble is not None:
            raise Undecodable(self._trouble)
        return None

    def finish(self) -> bytes | TooLong | None:
        """The last line, if only its end was missing. Call it at the end of input, when `next` has nothing more."""
        if self._trouble is not None:
            return None
        return bare(self._take_tail(), self._max_line) or None

    def start(self) -> bytes:
        """At most the first 16 pending bytes, so that a client can be recognized before its first line ends."""
        start = b""
        for line in reversed(self._ready):
            start += line[:START] + b"\n"
            if len(start) >= START:
                break
        return (start + self._tail[:START])[:START]

    def controls(self) -> int:
        """Returns the number of telnet commands since the last call."""
        commands, self._commands = self._commands, 0
        return commands

    def replies(self) -> bytes:
        """Bytes to send to a telnet client. Each call returns only what is new since the last one."""
        return self.telnet.replies() if self.telnet.negotiation is not None else b""

    def _up_to_the_end(self, data: bytes) -> bytes:
        """Returns the bytes before a Ctrl-D at the beginning of a line."""
        before = bytes(self._tail[-1:]) or b"\n"
        found = _END.search(before + data)
        if found is None:
            return data
        self.ended = True
        return data[: found.start()]

    def _split(self, data: bytes) -> None:
        """`data` is at most `_max_unended` bytes long, so only a line that began earlier can exceed that limit."""
        if self._trouble is not None:
            return
        lines = data.split(b"\n")  # one split per chunk, so that a burst of short lines is cheap
        rest = lines.pop()
        if lines:
            self._extend_tail(lines[0])
            if self._trouble is not None:
                return
            self._ready_bytes += len(data) - len(rest) - len(lines[0]) + len(self._tail)
            lines[0] = self._take_tail()
            self._ready[:0] = reversed(lines)
        self._extend_tail(rest)

    def _extend_tail(self, piece: bytes) -> None:
        self._tail_length += len(piece)
        if self._tail_length >= self._max_unended:
            self._give_up(f"You sent {self._max_unended} bytes without a line end.")
            return
        self._tail += piece
        if len(self._tail) > self._max_line + END:
            del self._tail[self._max_line : -END]

    def _give_up(self, trouble: str) -> None:
        self._tail.clear()
        self._trouble = trouble

    def _take_tail(self) -> bytes:
        line = bytes(self._tail)
        self._tail.clear()
        self._tail_length = 0
        return line


SIGNATURES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("TLS", re.compile(rb"\x16\x03")),
    ("SSH", re.compile(rb"SSH-")),
    ("SMTP", re.compile(rb"(EHLO|HELO) ")),
    ("Redis", re.compile(rb"\*[0-9]+\r?(\n|$)")),
    ("SOCKS", re.compile(rb"\x04[\x01\x02]|\x05[\x01-\xff]")),
    ("RDP", re.compile(rb"\x03\x00")),
    ("HTTP", re.compile(rb"[A-Z]+ \S+ HTTP/[0-9]")),
    ("HTTP", re.compile(rb"[A-Za-z][A-Za-z0-9-]*: ")),  # a header, for a request whose first line was lost
)


def foreign(first: bytes) -> str | None:
    """The protocol of a client that is not a chat client, or None. `first`: its first line or the beginning of it.

    Use it only before login, where no legitimate line matches: names contain neither blanks nor colons.
    """
    for protocol, signature in SIGNATURES:
        if signature.match(first):
            return protocol
    return None
