"""What all doors have in common: Twisted's hooks, passed on to the connection.

A door turns a connection's bytes into lines and lines into bytes, and does nothing else. It is a subclass of `Door`
with its framing: a sans-IO splitter for what comes in, a `Framing` for what goes out.
"""

from typing import Any, Protocol

from twisted.internet import protocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from chatserver.net.connection.connection import Connection
from chatserver.wire.dialect import Dialect, Framing
from chatserver.wire.framing.lines import TooLong


class Splitter(Protocol):
    """Bytes in, lines out, whatever pieces the bytes come in. See `wire/lines.py` for each method."""

    @property
    def pending(self) -> int: ...

    def feed(self, data: bytes) -> None: ...

    def next(self) -> bytes | TooLong | None: ...

    def finish(self) -> bytes | TooLong | None: ...

    def replies(self) -> bytes: ...


@implementer(IHalfCloseableProtocol)
class Door(protocol.Protocol):
    """Twisted's side of a connection."""

    framing: Framing
    prefix = ""
    dialect: Dialect | None = None

    def __init__(self, splitter: Splitter) -> None:
        self.connection: Connection
        self.splitter = splitter
        self.backlog = b""

    # What the connection asks for: see `net/doorway.py`

    @property
    def opened(self) -> bool:
        return True

    @property
    def pending(self) -> int:
        return self.splitter.pending + len(self.backlog)

    def start(self) -> bytes:
        return b""

    def split(self, most: int) -> int:
        data = self.backlog
        if len(data) > most:
            data, self.backlog = data[:most], data[most:]
        else:
            self.backlog = b""
        self.splitter.feed(data)
        self._send_replies()
        return len(data)

    def controls(self) -> int:
        return 0

    def deliver(self, *, last: bool) -> bool:
        line = self.splitter.next()
        if line is None and last and not self.backlog:
            line = self.splitter.finish()
        if line is None:
            return False
        self.lineReceived(line)
        return True

    def lineReceived(self, line: Any) -> None:
        self.connection.reader.line_received(line)

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

    # Twisted's hooks

    def connectionMade(self) -> None:
        self.connection.made()
        self.connection.opened()

    def dataReceived(self, data: bytes) -> None:
        self.backlog = self.backlog + data if self.backlog else data
        self.connection.reader.received(len(data))

    def _send_replies(self) -> None:
        """What the framing itself has to say."""
        replies = self.splitter.replies()
        if replies:
            self.connection.write(replies)

    def readConnectionLost(self) -> None:
        self.connection.half_closed()

    def writeConnectionLost(self) -> None:
        self.connection.flushed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connection.lost()
