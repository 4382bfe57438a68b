"""A connection to Valkey that is made anew whenever it is lost. hiredis parses the replies."""

from typing import Any, Final, Protocol

import hiredis
from hiredis import HiredisError, ReplyError
from msgspec import Struct
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

READY_SECONDS: Final = 2.0
"""How long Valkey may take to accept a connection and to answer the first command on it."""
FIRST_RETRY_SECONDS: Final = 0.1
LAST_RETRY_SECONDS: Final = 1.0
"""How long to wait before connecting again: at first, and at most."""
MOST_BYTES: Final = 1 << 20
"""Maximum size of a reply. A server that sends more is no Valkey."""

ADVICE: Final = {
    "DENIED": "Set a password there (requirepass), and name it in bus.url.",
    "ERR": "It may take no password, or another one: correct bus.url.",
    "NOAUTH": "It wants a password: name it in bus.url, as valkey://:PASSWORD@HOST:PORT.",
    "WRONGPASS": "Correct the password in bus.url.",
}
"""Advice by the first word of an error on a new connection. Valkey's own text may contain the password."""

Reply = bytes | int | None | ReplyError | list[Any]


class Place(Struct, frozen=True):
    """Where Valkey is."""

    host: str
    port: int
    password: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Place({str(self)!r})"


class User(Protocol):
    """Uses a connection. No method may raise."""

    def opened(self) -> None:
        """Commands can be sent on a new connection."""

    def replied(self, reply: Reply) -> None:
        """A reply has come. Replies come in the order of the commands."""

    def lost(self, problem: str) -> None:
        """The connection is lost, or no new one could be made."""


def command(*words: bytes) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its annotation means one word
    return packed


def code(error: ReplyError) -> str:
    """The word in capitals with which an error begins, such as WRONGPASS."""
    return str(error).partition(" ")[0]


class ValkeyConnection:
    def __init__(self, reactor: Any, place: Place, user: User) -> None:
        self._reactor = reactor
        self._place = place
        self._user = user
        self.ready = False
        self._link: _Link | None = None
        self._deadline: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._wait = FIRST_RETRY_SECONDS
        self._ready_at = 0.0

    def open(self) -> None:
        """Connects, and reconnects until `close`."""
        self._retry = None
        link = self._link = _Link(self)
        self._deadline = self._reactor.callLater(READY_SECONDS, self._end, "It does not answer.")
        endpoint = HostnameEndpoint(self._reactor, self._place.host.encode(), self._place.port, timeout=READY_SECONDS)
        connecting: Deferred[Any] = connectProtocol(endpoint, link)
        connecting.addErrback(lambda failure: self.ended(link, failure))

    def send(self, data: bytes) -> None:
        """To be called only while the connection is `ready`."""
        if self._link is not None:
            self._link.transport.write(data)

    def cut(self, problem: str = "It seems to be dead.") -> None:
        """Ends the connection, if there is one, and connects anew."""
        if self._link is not None:
            self._end(problem)

    def close(self) -> None:
        """Ends the connection for good."""
        link, self._link, self.ready = self._link, None, False
        for call in (self._deadline, self._retry):
            if call is not None:
                call.cancel()
        self._deadline = self._retry = None
        if link is not None and link.transport is not None:
            link.transport.loseConnection()

    # Called by its link

    def made(self, link: "_Link") -> None:
        if link is not self._link:  # too late
            link.transport.abortConnection()
            return
        link.transport.setTcpNoDelay(True)
        link.transport.setTcpKeepAlive(True)
        login = command(b"AUTH", self._place.password.encode()) if self._place.password else b""
        link.transport.write(login + command(b"PING"))

    def replied(self, link: "_Link", reply: Reply) -> None:
        if link is not self._link:
            return
        if self.ready:
            self._user.replied(reply)
        elif isinstance(reply, ReplyError):
            self._end(f"It says {code(reply)}. {ADVICE.get(code(reply), '')}".rstrip())
        elif reply == b"PONG":
            self._be_ready()

    def not_valkey(self, link: "_Link", problem: str) -> None:
        if link is self._link:
            self._end(problem)

    def ended(self, link: "_Link", reason: Failure) -> None:
        if link is self._link:
            self._end(reason.getErrorMessage())

    def _be_ready(self) -> None:
        self.ready = True
        self._ready_at = self._reactor.seconds()
        self._forget_deadline()
        self._user.opened()

    def _end(self, problem: str) -> None:
        if self.ready and self._reactor.seconds() - self._ready_at > LAST_RETRY_SECONDS:
            self._wait = FIRST_RETRY_SECONDS  # else the connection fails as soon as it is ready
        link, self._link, self.ready = self._link, None, False
        self._forget_deadline()
        if link is not None and link.transport is not None:
            link.transport.abortConnection()
        self._retry = self._reactor.callLater(self._wait, self.open)
        self._wait = min(2 * self._wait, LAST_RETRY_SECONDS)
        self._user.lost(problem)

    def _forget_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class _Link(protocol.Protocol):
    """One connection, from its beginning to its end."""

    transport: Any = None

    def __init__(self, connection: ValkeyConnection) -> None:
        self._connection = connection
        self._reader = hiredis.Reader(notEnoughData=self)
        self._incomplete = 0  # bytes since the last complete reply, or a few more

    def connectionMade(self) -> None:
        self._connection.made(self)

    def dataReceived(self, data: bytes) -> None:
        self._incomplete += len(data)
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not self:
                self._incomplete = len(data)
                self._connection.replied(self, reply)
        except HiredisError:
            self._connection.not_valkey(self, "It sent no reply of Valkey.")
        if self._incomplete > MOST_BYTES:
            self._connection.not_valkey(self, "It sent more than any reply has.")

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._connection.ended(self, reason)
