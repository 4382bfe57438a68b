"""The telnet filter: removes telnet commands (RFC 854) from the bytes of a client."""

from typing import Final

SE, SB, WILL, WONT, DO, DONT, IAC = 0xF0, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF
MAX_SUBNEGOTIATION: Final = 1024
"""In bytes. A longer one breaks the stream: otherwise a client could send forever without sending a line."""

NO_OPTIONS: Final[frozenset[bytes]] = frozenset()  # shared, since an empty set takes 216 bytes
IAC_BYTE: Final = bytes((IAC,))
SUBNEGOTIATION: Final = bytes((IAC, SB))
REFUSALS: Final = {DO: WONT, WILL: DONT}


class Telnet:
    """Removes telnet commands from a stream and refuses every option. It never asks for one itself."""

    __slots__ = ("_pending", "_refused", "_replies", "_sub_length", "trouble")

    def __init__(self) -> None:
        self._pending = b""  # an unfinished command: IAC, IAC verb, or IAC SB [IAC] without the bytes in between
        self._sub_length = 0
        self._replies = b""
        self._refused = NO_OPTIONS
        self.trouble: str | None = None
        """Why the stream cannot be read any further."""

    def replies(self) -> bytes:
        """Bytes to send to the client. Each call returns only what is new since the last one."""
        replies, self._replies = self._replies, b""
        return replies

    def filter(self, data: bytes) -> bytes:
        """The bytes that are not telnet. Once there is `trouble`, ignore the rest of the stream."""
        if not self._pending and IAC not in data:  # true except for the first chunk of a telnet client
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
        """Handles a byte after IAC, or after IAC and a verb. Returns the data byte that it stands for, if any."""
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
            self.trouble = "You sent a telnet subnegotiation without an end."

    def _refuse(self, reply: bytes) -> None:
        """Once per option: a client that keeps asking gets no further reply, so that replies cannot pile up."""
        if reply not in self._refused:
            self._refused |= {reply}
            self._replies += reply
