"""Bytes to lines: line ends, limits and the telnet filter, whatever pieces the bytes come in."""

from typing import Final

from msgspec import Struct

START: Final = 16
"""As many bytes as it takes to recognise a dialect or a foreign protocol."""

SE, SB, WILL, WONT, DO, DONT, IAC = 0xF0, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF
MAX_SUBNEGOTIATION: Final = 1024


class TooLong(Struct, frozen=True):
    """Stands where an over-long line was; the line itself is gone."""


TOO_LONG: Final = TooLong()


class Undecodable(Exception):
    """Nothing sensible can follow: the connection is to end. `text` says why, in one line for a person."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Lines:
    """Feed it bytes, take lines. Lines that came before trouble are handed out before the trouble is raised."""

    __slots__ = ("_after_cr", "_max_line", "_max_unended", "_ready", "_ready_bytes", "_tail", "_tail_length",
                 "_telnet", "_trouble")  # fmt: skip

    def __init__(self, max_line: int = 8192, max_unended: int = 65536) -> None:
        """Both in bytes; a `max_line` of 0 leaves only the other limit."""
        self._max_line = max_line or max_unended
        self._max_unended = max(max_unended, self._max_line)
        self._ready: list[bytes] = []  # the next one last: a deque would be the half of an idle connection's memory
        self._ready_bytes = 0
        self._tail = bytearray()  # the unfinished line: at most _max_line bytes of it are kept ...
        self._tail_length = 0  # ... and all are counted
        self._after_cr = False
        self._telnet = Telnet()
        self._trouble: str | None = None

    @property
    def pending(self) -> int:
        """Bytes held: lines not taken yet, their ends included, and the unfinished one."""
        return self._ready_bytes + len(self._tail)

    def feed(self, data: bytes) -> None:
        """Never raises; after trouble it keeps nothing more."""
        if self._trouble is not None:
            return
        data = self._telnet.filter(data)
        if data:
            data = self._with_newlines(data)
            for at in range(0, len(data), self._max_unended):
                self._split(data[at : at + self._max_unended])
        if self._telnet.trouble is not None and self._trouble is None:
            self._give_up(self._telnet.trouble)

    def next(self) -> bytes | TooLong | None:
        """The next line without its end, or None: there is none yet. Raises Undecodable, from then on always."""
        if self._ready:
            line = self._ready.pop()
            self._ready_bytes -= len(line) + 1
            return self._bare(line)
        if self._trouble is not None:
            raise Undecodable(self._trouble)
        return None

    def finish(self) -> bytes | TooLong | None:
        """At the end of input, when `next` has no more: the last line, if it lacked only its end."""
        if self._trouble is not None:
            return None
        return self._bare(self._take_tail()) or None

    def start(self) -> bytes:
        """The first bytes of what is pending, at most 16, so that a client is known before its first line ends."""
        start = b""
        for line in reversed(self._ready):
            start += line[:START] + b"\n"
            if len(start) >= START:
                break
        return (start + self._tail[:START])[:START]

    def replies(self) -> bytes:
        """What telnet clients are to be told. Taken: the next call has only what is new."""
        return self._telnet.replies()

    def _with_newlines(self, data: bytes) -> bytes:
        """Makes a newline of the NUL in telnet's CR NUL; the count of bytes stays."""
        if 0 in data:  # seldom
            if self._after_cr and data[0] == 0:
                data = b"\n" + data[1:]
            data = data.replace(b"\r\0", b"\r\n")
        self._after_cr = data.endswith(b"\r")
        return data

    def _split(self, data: bytes) -> None:
        """`data` is no longer than the unended limit, so only the line that began earlier can exceed that."""
        if self._trouble is not None:
            return
        lines = data.split(b"\n")  # once for the whole chunk: a burst of short lines is cheap
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
            self._give_up(f"{self._max_unended} bytes without the end of a line.")
        elif len(self._tail) < self._max_line:
            self._tail += piece[: self._max_line - len(self._tail)]

    def _give_up(self, trouble: str) -> None:
        self._tail.clear()
        self._trouble = trouble

    def _take_tail(self) -> bytes:
        line = bytes(self._tail)
        self._tail.clear()
        self._tail_length = 0
        return line

    def _bare(self, line: bytes) -> bytes | TooLong:
        """Without its CR. A line was cut at `max_line`, so one that reaches it is over-long, with its newline."""
        if len(line) >= self._max_line:
            return TOO_LONG
        return line.removesuffix(b"\r")


class Telnet:
    """Takes telnet's commands out of a stream, and refuses every option. It never asks for one."""

    __slots__ = ("_pending", "_refused", "_replies", "_sub_length", "trouble")

    def __init__(self) -> None:
        self._pending = b""  # the command begun: IAC, IAC verb, or IAC SB [IAC] without what lies between
        self._sub_length = 0
        self._replies = b""
        self._refused = NO_OPTIONS
        self.trouble: str | None = None

    def replies(self) -> bytes:
        replies, self._replies = self._replies, b""
        return replies

    def filter(self, data: bytes) -> bytes:
        """What is not telnet. After `trouble` nothing is to be trusted any more."""
        if not self._pending and IAC not in data:  # all but a client's first chunk
            return data
        kept = []
        at = 0
        while at < len(data) and self.trouble is None:
            if self._pending in (b"", SUBNEGOTIATION):
                iac = data.find(IAC, at)
                end = len(data) if iac < 0 else iac
                if self._pending:
                    self._skip(end - at)
                else:
                    kept.append(data[at:end])
                if iac >= 0:
                    self._pending += IAC_BYTE
                at = end + 1
            else:
                kept.append(self._command(data[at]))
                at += 1
        return b"".join(kept)

    def _command(self, byte: int) -> bytes:
        """One byte after an IAC, or after IAC and a verb. Returns what of it is data."""
        begun, self._pending = self._pending, b""
        if begun == IAC_BYTE:
            if byte == IAC:
                return IAC_BYTE
            if byte == SB:
                self._sub_length = 0
            if byte in (SB, WILL, WONT, DO, DONT):
                self._pending = bytes((IAC, byte))
        elif begun.startswith(SUBNEGOTIATION):
            if byte != SE:
                self._pending = SUBNEGOTIATION
                self._skip(2)
        elif begun[1] in REFUSALS:
            self._refuse(bytes((IAC, REFUSALS[begun[1]], byte)))
        return b""

    def _skip(self, count: int) -> None:
        self._sub_length += count
        if self._sub_length > MAX_SUBNEGOTIATION:
            self.trouble = "A telnet subnegotiation without an end."

    def _refuse(self, reply: bytes) -> None:
        """Once an option: a client that asks again and again gets, and costs, nothing."""
        if reply not in self._refused:
            self._refused |= {reply}
            self._replies += reply


NO_OPTIONS: Final[frozenset[bytes]] = frozenset()  # one for all: an empty set takes 216 bytes
IAC_BYTE: Final = bytes((IAC,))
SUBNEGOTIATION: Final = bytes((IAC, SB))
REFUSALS: Final = {DO: WONT, WILL: DONT}
