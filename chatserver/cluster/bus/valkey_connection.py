"""A connection to Valkey that is made anew whenever it is lost."""

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from chatserver.cluster.bus.resp import Failed, NotResp, Replies, Reply, command

READY_SECONDS: Final = 2.0
"""Valkey takes less to accept a connection and to answer the first command on it."""
FIRST_RETRY_SECONDS: Final = 0.1
LAST_RETRY_SECONDS: Final = 1.0

ADVICE: Final = {
    "DENIED": "Set a password there (requirepass), and name it in bus.url.",
    "ERR": "It may take no password, or another one: correct bus.url.",
    "NOAUTH": "It wants a password: name it in bus.url, as valkey://:PASSWORD@HOST:PORT.",
    "WRONGPASS": "Correct the password in bus.url.",
}
"""By the first word of what Valkey says to a new connection. Its own words may have the password in them."""


class Place(Struct, frozen=True):
    """Where Valkey is."""

    host: str
    port: int
    password: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Place({str(self)!r})"


class ValkeyLine:
    """`opened` is called when commands can be sent, `replied` with each reply to them, in their order, and `lost` with
    the reason each time that there is no connection, or no new one. None of them may raise."""

    def __init__(
        self,
        reactor: Any,
        place: Place,
        opened: Callable[[], None],
        replied: Callable[[Reply], None],
        lost: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._place = place
        self._opened = opened
        self._replied = replied
        self._lost = lost
        self.ready = False
        self._talk: _Talk | None = None
        self._deadline: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._wait = FIRST_RETRY_SECONDS
        self._ready_at = 0.0

    def open(self) -> None:
        """Connects, and does so again until `close`."""
        self._retry = None
        talk = self._talk = _Talk(self._made, self._came, self._ended)
        self._deadline = self._reactor.callLater(READY_SECONDS, self._end, "It does not answer.")
        endpoint = HostnameEndpoint(self._reactor, self._place.host.encode(), self._place.port, timeout=READY_SECONDS)
        connecting: Deferred[Any] = connectProtocol(endpoint, talk)
        connecting.addErrback(lambda failure: self._ended(talk, failure))

    def send(self, data: bytes) -> None:
        """To be called while it is `ready` only."""
        if self._talk is not None:
            self._talk.transport.write(data)

    def cut(self, problem: str = "It seems to be dead.") -> None:
        """Ends the connection, if there is one, and connects anew."""
        if self._talk is not None:
            self._end(problem)

    def close(self) -> None:
        """Ends the connection for good."""
        talk, self._talk, self.ready = self._talk, None, False
        for call in (self._deadline, self._retry):
            if call is not None:
                call.cancel()
        self._deadline = self._retry = None
        if talk is not None and talk.transport is not None:
            talk.transport.loseConnection()

    def _made(self, talk: "_Talk") -> None:
        if talk is not self._talk:  # too late
            talk.transport.abortConnection()
            return
        talk.transport.setTcpNoDelay(True)
        talk.transport.setTcpKeepAlive(True)
        login = command(b"AUTH", self._place.password.encode()) if self._place.password else b""
        talk.transport.write(login + command(b"PING"))

    def _came(self, talk: "_Talk", data: bytes) -> None:
        try:
            for reply in talk.replies.feed(data):
                if talk is not self._talk:
                    return
                if self.ready:
                    self._replied(reply)
                elif isinstance(reply, Failed):
                    self._end(f"It says {reply.code}. {ADVICE.get(reply.code, '')}".rstrip())
                elif reply == b"PONG":
                    self._be_ready()
        except NotResp as problem:
            self._end(str(problem))

    def _be_ready(self) -> None:
        self.ready = True
        self._ready_at = self._reactor.seconds()
        self._forget_deadline()
        self._opened()

    def _ended(self, talk: "_Talk", reason: Failure) -> None:
        if talk is self._talk:
            self._end(reason.getErrorMessage())

    def _end(self, problem: str) -> None:
        if self.ready and self._reactor.seconds() - self._ready_at > LAST_RETRY_SECONDS:
            self._wait = FIRST_RETRY_SECONDS  # else it is of no use as soon as it is there
        talk, self._talk, self.ready = self._talk, None, False
        self._forget_deadline()
        if talk is not None and talk.transport is not None:
            talk.transport.abortConnection()
        self._retry = self._reactor.callLater(self._wait, self.open)
        self._wait = min(2 * self._wait, LAST_RETRY_SECONDS)
        self._lost(problem)

    def _forget_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class _Talk(Protocol):
    """One connection, from its beginning to its end."""

    transport: Any = None

    def __init__(
        self,
        made: Callable[["_Talk"], None],
        came: Callable[["_Talk", bytes], None],
        ended: Callable[["_Talk", Failure], None],
    ) -> None:
        self.replies = Replies()
        self._made = made
        self._came = came
        self._ended = ended

    def connectionMade(self) -> None:
        self._made(self)

    def dataReceived(self, data: bytes) -> None:
        self._came(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended(self, reason)
