"""A web site for monitoring that cannot hold up the chat: short requests, few at a time, and not too often."""

from typing import Any, Final, cast

from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

MOST_CONNECTIONS: Final = 32
"""Maximum number of connections. Prometheus, a load balancer and a person need three."""
MOST_PER_SECOND: Final = 50
"""Maximum number of new connections in a second, each for one request: a hundredth of a core."""
REQUEST_SECONDS: Final = 10.0
"""How long a connection may last, up to the last byte of the answer: the default timeout of Prometheus."""
SECOND: Final = 1.0
NO_BODY: Final = (
    b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
"""The answer to a request with a body, without reading that."""


class Question(Request):
    """A request without a body, on a connection of its own."""

    def gotLength(self, length: int | None) -> None:
        Request.gotLength(self, 0)
        channel: Any = self.channel
        channel.persistent = False
        self.responseHeaders.setRawHeaders(b"connection", [b"close"])
        if length != 0:  # nobody has anything to upload here
            channel.transport.write(NO_BODY)
            channel.loseConnection()


class QuietSite(Site):
    """Without an access log."""

    def startFactory(self) -> None:
        pass

    def stopFactory(self) -> None:
        pass

    def log(self, request: Any) -> None:
        pass


class Visitor(ProtocolWrapper):
    """A connection that ends in time, whatever its peer does."""

    _end: IDelayedCall

    def connectionMade(self) -> None:
        self._end = cast(Visitors, self.factory).clock.callLater(REQUEST_SECONDS, self.abortConnection)
        ProtocolWrapper.connectionMade(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._end.active():
            self._end.cancel()
        ProtocolWrapper.connectionLost(self, reason)


class Visitors(WrappingFactory[Visitor]):
    """Lets visitors in. While there are too many, or they come too fast, none is accepted: newcomers wait in the
    kernel's queue, and cost the server nothing."""

    protocol = Visitor
    noisy = False

    def __init__(self, clock: IReactorTime, resource: IResource) -> None:
        site = QuietSite(resource, Question, reactor=clock, timeout=None, parsePOSTFormSubmission=False)
        site.noisy = False
        WrappingFactory.__init__(self, site)  # type: ignore[arg-type]  # mypy takes WP for a type of its own here
        self.clock = clock
        self.port: IListeningPort | None = None
        self._lately = 0  # visitors of the present second
        self._second: IDelayedCall | None = None

    def logPrefix(self) -> str:
        return "Monitoring"

    def buildProtocol(self, addr: IAddress | None) -> Visitor | None:  # type: ignore[override]  # as IProtocolFactory
        if self._full:
            return None  # it came in the same turn as the last one for whom there was room
        self._lately += 1
        if self._second is None:
            self._second = self.clock.callLater(SECOND, self._next_second)
        return WrappingFactory.buildProtocol(self, addr)

    def registerProtocol(self, visitor: Visitor) -> None:
        self.protocols[visitor] = 1
        self._look(not self._full)

    def unregisterProtocol(self, visitor: Visitor) -> None:
        self.protocols.pop(visitor, None)
        self._look(not self._full)

    def close(self) -> None:
        """Cuts the remaining ones."""
        if self._second is not None:
            self._second.cancel()
            self._second = None
        self.port = None
        for visitor in list(self.protocols):
            visitor.abortConnection()

    @property
    def _full(self) -> bool:
        return len(self.protocols) >= MOST_CONNECTIONS or self._lately >= MOST_PER_SECOND

    def _next_second(self) -> None:
        self._second = None
        self._lately = 0
        self._look(not self._full)

    def _look(self, wanted: bool) -> None:
        port: Any = self.port
        if port is not None and port.connected:
            port.startReading() if wanted else port.stopReading()
