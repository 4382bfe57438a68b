"""Telnet (RFC 854) without sockets: takes a client's commands out of its bytes, and answers them.

Options are negotiated as RFC 1143 says (`Option`), so that neither side can draw the other into a loop. No answer is
waited for: a client that gives none has no options.

A command that edits a line becomes the key that does so, in its place in the line: see `KEYS`, `line_editing.py`.
"""

from enum import Enum, auto
from typing import Final

EOF, SE, NOP, DM, BRK, IP, AO, AYT, EC, EL, GA = 0xEC, 0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9
SB, WILL, WONT, DO, DONT, IAC = 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF
BINARY, ECHO, SGA, TIMING_MARK, NAWS = 0, 1, 3, 6, 31

KEYS: Final = {EC: b"\x7f", EL: b"\x15", IP: b"\x03", EOF: b"\x15\x04"}
"""Backspace, Ctrl-U, Ctrl-C; and Ctrl-D behind a Ctrl-U, since it ends the input only at the beginning of a line."""
MAX_SUBNEGOTIATION: Final = 1024
"""Maximum size in bytes. A longer one breaks the stream: otherwise a client could send forever without a line."""
KEPT_BYTES: Final = 8
"""Number of bytes of a subnegotiation that are kept. A window's size takes five, and nothing else is read."""

IAC_BYTE: Final = bytes((IAC,))
SUBNEGOTIATION: Final = bytes((IAC, SB))
VERBS: Final = (SB, WILL, WONT, DO, DONT)


class Ending(Enum):
    """The state of a line end: not begun, a CR that may be its first byte, or a CR that was one by itself."""

    NONE = auto()
    BEGUN = auto()
    DONE = auto()


class State(Enum):
    """The state of an option of one side. WANT_YES, WANT_NO: turning it on or off was requested, and not answered
    yet."""

    NO = auto()
    YES = auto()
    WANT_YES = auto()
    WANT_NO = auto()


class Option:
    """One option of one side, by the "Q method" of RFC 1143. `allowed`: whether the client may turn it on.

    Each method returns the verb to send, or None.
    """

    __slots__ = ("_no", "_opposite", "_yes", "allowed", "state")

    def __init__(self, yes: int, no: int, *, allowed: bool) -> None:
        self._yes, self._no = yes, no
        self._opposite = False  # the opposite is to be requested after the answer
        self.allowed = allowed
        self.state = State.NO

    def heard(self, on: bool) -> int | None:
        """The client turns it on or off, or answers."""
        before, opposite = self.state, self._opposite
        self._opposite = False
        match before, on:
            case State.NO, True:
                self.state = State.YES if self.allowed else State.NO
                return self._yes if self.allowed else self._no
            case State.YES, False:
                self.state = State.NO
                return self._no
            case State.WANT_YES, True if opposite:
                self.state = State.WANT_NO
                return self._no
            case State.WANT_NO, False if opposite:
                self.state = State.WANT_YES
                return self._yes
            case State.WANT_YES, _:
                self.state = State.YES if on else State.NO
            case State.WANT_NO, _:  # a wrong answer, which is believed if the option is wanted again
                self.state = State.YES if on and opposite else State.NO
        return None

    def want(self, on: bool) -> int | None:
        """The server turns it on or off, once earlier questions are answered."""
        match self.state:
            case State.NO if on:
                self.state = State.WANT_YES
                return self._yes
            case State.YES if not on:
                self.state = State.WANT_NO
                return self._no
            case State.WANT_YES:
                self._opposite = not on
            case State.WANT_NO:
                self._opposite = on
        return None


class Negotiation:
    """The options agreed with a telnet client. `columns`: of its window, as last reported, 0 if the client does not
    know; None: nothing new was reported."""

    __slots__ = ("asked", "begun", "client", "columns", "interrupted", "replies", "server")

    def __init__(self) -> None:
        self.server = {
            BINARY: Option(WILL, WONT, allowed=True),
            ECHO: Option(WILL, WONT, allowed=False),
            SGA: Option(WILL, WONT, allowed=False),
        }
        self.client = {code: Option(DO, DONT, allowed=True) for code in (BINARY, SGA, NAWS)}
        self.columns: int | None = None
        self.begun = False
        self.replies = bytearray()
        self.asked = False  # by AYT: "Are You There"
        self.interrupted = False

    def send(self, verb: int | None, code: int) -> None:
        if verb is not None:
            self.replies += bytes((IAC, verb, code))

    def negotiate(self, verb: int, code: int) -> None:
        """The client sends WILL, WONT, DO or DONT. Every option that is not in the tables is refused."""
        on = verb in (WILL, DO)
        if verb == DO and code == TIMING_MARK:
            # RFC 860: each is answered, or the client waits. After an interrupt it shows nothing until then, and its
            # cursor is in the middle of a line.
            self.send(WILL, code)
            if self.interrupted:
                self.interrupted = False
                self.replies += b"\r\n"
            return
        option = (self.server if verb in (DO, DONT) else self.client).get(code)
        if option is not None:
            self.send(option.heard(on), code)
            if verb == DO and code == SGA:
                # Clients that edit lines themselves request it on connecting, but would then send every key as it is,
                # and show Enter as ^M. A second request is meant.
                option.allowed = True
        elif on:
            self.send(WONT if verb == DO else DONT, code)

    def want(self, options: dict[int, Option], code: int, on: bool) -> None:
        self.send(options[code].want(on), code)

    def resized(self, data: bytes) -> None:
        """RFC 1073: width and height, of two bytes each."""
        if len(data) == 5 and data[0] == NAWS:
            self.columns = int.from_bytes(data[1:3])


class Telnet:
    """Takes telnet's commands out of a stream. Until the first one comes, it costs next to nothing."""

    __slots__ = ("_ending", "_pending", "_sub", "_sub_length", "negotiation", "trouble")

    def __init__(self) -> None:
        self._pending = b""  # an unfinished command: IAC, IAC verb, or IAC SB [IAC] without the bytes in between
        self._sub = b""  # the beginning of a subnegotiation ...
        self._sub_length = 0  # ... all of whose bytes are counted
        self._ending = Ending.NONE
        self.negotiation: Negotiation | None = None
        """None: the client has not shown that it speaks telnet, and was not asked."""
        self.trouble: str | None = None
        """Reason why reading the stream ends."""

    def begin(self) -> None:
        """Asks the client, once, for the options that the server wants and does not know yet.

        UTF-8 needs BINARY of the client, which changes only how it sends Enter. The server does not offer it: clients
        then show Enter without returning to the first column. Nor SGA: clients then stop editing lines.
        """
        if self.negotiation is None:
            self.negotiation = Negotiation()
        negotiation = self.negotiation
        if not negotiation.begun:
            negotiation.begun = True
            negotiation.want(negotiation.client, NAWS, True)
            negotiation.want(negotiation.client, BINARY, True)

    def conceal(self, secret: bool) -> None:
        """Hides typed text from now on, or shows it again."""
        if self.negotiation is not None:
            self.negotiation.want(self.negotiation.server, ECHO, secret)

    @property
    def sends_keys(self) -> bool:
        """Whether the client sends every key as it is, and no whole lines."""
        return self.negotiation is not None and self.negotiation.server[SGA].state is State.YES

    def line_end(self) -> bytes:
        """Returns the bytes that end the line on the client's screen, which may not have shown the Enter itself."""
        if self.negotiation is None:
            return b""
        server = self.negotiation.server
        if server[ECHO].state in (State.YES, State.WANT_NO) or self.sends_keys:
            return b"\r\n"
        return b"\r" if server[BINARY].state is State.YES else b""

    def replies(self) -> bytes:
        """Bytes to send to the client. Each call returns only what is new since the last one."""
        if self.negotiation is None or not self.negotiation.replies:
            return b""
        replies = bytes(self.negotiation.replies)
        self.negotiation.replies.clear()
        return replies

    def filter(self, data: bytes) -> bytes:
        """The bytes that are not telnet, with all its line ends as LF or CR LF. Once there is `trouble`, ignore the
        rest of the stream."""
        if not self._pending and IAC not in data:  # almost always
            return self._text(data)
        kept = []
        at = 0
        while at < len(data) and self.trouble is None:
            if self._pending in (b"", SUBNEGOTIATION):
                iac = data.find(IAC, at)
                end = len(data) if iac < 0 else iac
                if self._pending:
                    self._skip(data[at:end])
                else:
                    kept.append(self._text(data[at:end]))
                if iac >= 0:
                    self._pending += IAC_BYTE
                at = end + 1
            else:
                kept.append(self._command(data[at]))
                at += 1
        return b"".join(kept)

    def _text(self, data: bytes) -> bytes:
        """Turns telnet's CR NUL into CR LF. In binary mode, where clients send Enter in any form, a CR alone is a line
        end, too."""
        if self._ending is not Ending.NONE and data:
            if self._ending is Ending.DONE and data[0] in b"\n\0":
                data = data[1:]
            elif data[0] == 0:
                data = b"\n" + data[1:]
            self._ending = Ending.NONE
        if self.negotiation is not None and self.negotiation.client[BINARY].state is State.YES:
            if b"\r" in data:
                if data[-1:] == b"\r":
                    self._ending = Ending.DONE
                data = data.replace(b"\r\n", b"\n").replace(b"\r\0", b"\n").replace(b"\r", b"\n")
            return data
        if data[-1:] == b"\r":
            self._ending = Ending.BEGUN
        return data.replace(b"\r\0", b"\r\n") if 0 in data else data

    def _command(self, byte: int) -> bytes:
        """Handles a byte after IAC, or after IAC and a verb. Returns the bytes that it stands for in the line."""
        begun, self._pending = self._pending, b""
        if begun == IAC_BYTE:
            if byte == IAC:
                return self._text(IAC_BYTE)
            if byte < EOF:  # the DM of a "Synch", which is sent as urgent data, was lost on the way
                return self._text(bytes((byte,)))
            if self.negotiation is None:
                self.negotiation = Negotiation()
            if byte in VERBS:
                self._pending = bytes((IAC, byte))
                self._sub, self._sub_length = b"", 0
            elif byte == AYT:
                self.negotiation.asked = True
            elif byte in KEYS:
                self.negotiation.interrupted = byte == IP
                return self._text(KEYS[byte])
        elif begun.startswith(SUBNEGOTIATION):
            if byte == SE and self.negotiation is not None:
                self.negotiation.resized(self._sub)
            else:
                self._pending = SUBNEGOTIATION
                self._skip(IAC_BYTE if byte == IAC else bytes((IAC, byte)))
                self._sub_length += byte == IAC
        elif self.negotiation is not None:
            self.negotiation.negotiate(begun[1], byte)
        return b""

    def _skip(self, data: bytes) -> None:
        self._sub = (self._sub + data)[:KEPT_BYTES]
        self._sub_length += len(data)
        if self._sub_length > MAX_SUBNEGOTIATION:
            self.trouble = "You sent a telnet subnegotiation without an end."
