"""The base class of all doors: Twisted's hooks, passed on to the connection.

A door turns a connection's bytes into lines and lines into bytes, and does nothing else. It is a subclass of `Door`
with its framing: a sans-IO splitter for what comes in, a `Framing` for what goes out.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from twisted.internet import protocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from chatserver.net.connection.connection import Connection
from chatserver.net.limits.intake import Intake
from chatserver.settings.tables import Settings
from chatserver.values.stages import PeerState, Stage
from chatserver.wire.dialect import Dialect, Framing
from chatserver.wire.framing.lines import TooLong


class Splitter(Protocol):
    """Takes bytes in any pieces, and returns lines. See `wire/framing/lines.py` for each method."""

    @property
    def pending(self) -> int: ...

    def feed(self, data: bytes) -> None: ...

    def next(self) -> bytes | TooLong | None: ...

    def finish(self) -> bytes | TooLong | None: ...

    def replies(self) -> bytes: ...


@implementer(IHalfCloseableProtocol)
class Door(protocol.Protocol):
    """Twisted's side of a connection. A subclass sets its `splitter` in its constructor."""

    framing: Framing
    splitter: Splitter
    prefix = ""
    dialect: Dialect | None = None
    serves_pages = False
    cost = 1.0
    """How much of an arrival a new connection counts before it has sent anything. See `doors/visit.py`."""
    _backlog = b""  # received, and not split yet
    _discards = False

    def __init__(self, settings: Settings) -> None:
        self.connection: Connection

    @classmethod
    def prepare(cls) -> None:
        """Called before the first connection, while it does not matter that something takes time."""

    @classmethod
    def visit(cls, factory: Any, address: str, encrypted: bool | None, counted: float) -> Any:
        """The protocol that a new connection has until it comes to the door; None: it comes at once. `counted`: how
        much of its arrival was counted before. See `doors/visit.py`."""
        return None

    # For the connection: see `net/door.py`

    @property
    def opened(self) -> bool:
        return True

    @property
    def pending(self) -> int:
        return self.splitter.pending + len(self._backlog)

    def lines(self, intake: Intake) -> Iterator[bytes | TooLong]:
        splitter = self.splitter
        while intake.left > 0 and intake.bytes > 0 and not self._discards:
            line = splitter.next()
            if line is None and not self._backlog:
                # A line that a lost connection cut off does not count.
                line = splitter.finish() if self.connection.peer is PeerState.HALF_CLOSED else None
                if line is None:
                    return
            if line is not None:
                intake.left -= 1
                self._line_ended()
                yield line
            else:
                self._split(intake)

    def _split(self, intake: Intake) -> None:
        """Splits a piece of the backlog."""
        data, most = self._backlog, intake.piece
        if len(data) > most:
            data, self._backlog = data[:most], data[most:]
        else:
            self._backlog = b""
        self._feed(data)
        intake.bytes -= len(data)
        intake.left -= self._controls()
        if not self._discards and self.dialect is None and self.connection.session.stage is Stage.NEW:
            self.connection.begins(self._start())

    def discard(self) -> None:
        self._backlog = b""
        self._discards = True

    def conceal(self, secret: bool) -> None:
        pass

    @property
    def editor(self) -> str:
        return ""

    def refusal(self, text: str) -> bytes:
        raise NotImplementedError

    def farewell(self, reason: str) -> bytes:
        return b""

    def forget(self) -> None:
        del self.connection

    # For subclasses

    def _feed(self, data: bytes) -> None:
        """Gives bytes to the splitter, and sends the replies of the framing itself."""
        self.splitter.feed(data)
        self._send_replies()

    def _send_replies(self) -> None:
        replies = self.splitter.replies()
        if replies:
            self.connection.write(replies)

    def _line_ended(self) -> None:
        """Called before each line is handed over."""

    def _controls(self) -> int:
        """Number of items since the last call that took time and did not end a line, such as pings."""
        return 0

    def _start(self) -> bytes:
        """The first bytes of what is split, enough to recognize a dialect."""
        return b""

    # Twisted's hooks

    def connectionMade(self) -> None:
        self.connection.made()
        self.connection.opened()

    def dataReceived(self, data: bytes) -> None:
        if not self._discards:
            self._backlog = self._backlog + data if self._backlog else data
        self.connection.received(data)

    def readConnectionLost(self) -> None:
        self.connection.half_closed()

    def writeConnectionLost(self) -> None:
        self.connection.flushed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connection.lost()
