"""What stands at a connection's transport before its door does: a PROXY header that is awaited, or a delay."""

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from chatserver.net.limits.crowd import Rank
from chatserver.wire.framing.proxy import Malformed, ProxyHeader

if TYPE_CHECKING:
    from chatserver.net.doors.factory import ChatFactory

HEADER_SECONDS: Final = 5.0
"""A proxy sends its header with the first packet; the specification recommends at least 3 s for one that is lost."""


class Arrival(Protocol):
    """Counts as a connection that is not logged in, until it hands its transport over."""

    transport: Any
    rank = Rank.SILENT

    def __init__(self, factory: "ChatFactory", address: str, seconds: float, encrypted: bool | None = None) -> None:
        self._factory = factory
        self._address = address
        self._seconds = seconds
        self._encrypted = encrypted  # see `Connection.encrypted`

    def connectionMade(self) -> None:
        self._call = self._factory.connections.clock.callLater(self._seconds, self.over)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._leave()

    def over(self) -> None:
        """The time has passed."""
        raise NotImplementedError

    def make_way(self, text: str) -> None:
        """Ends the connection, for others. It is not counted any more."""
        raise NotImplementedError

    def _leave(self) -> None:
        self._factory.connections.admission.closed(self._address, self, pending=True)
        if self._call.active():
            self._call.cancel()

    def _hand_over(self, to: Protocol | None, data: bytes = b"") -> None:
        """Gives the transport to another protocol, with what has come for it already; None: ends the connection."""
        transport = self.transport
        if to is None:
            transport.abortConnection()
            return
        transport.protocol = to
        transport.resumeProducing()
        to.makeConnection(transport)
        if data:
            to.dataReceived(data)


class Waiting(Arrival):
    """A client that is slowed: nothing is read, and nothing is said, until its time has come."""

    rank = Rank.CHECKED
    _data = b""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self._data += data  # which came with a PROXY header

    def over(self) -> None:
        self._leave()
        self._hand_over(self._factory.enter(self._address, self._encrypted), self._data)

    def make_way(self, text: str) -> None:
        self._leave()
        self._hand_over(self._factory.farewell(text))


class ProxyGate(Arrival):
    """A connection of a trusted proxy. Who may connect is decided once the header has said for whom it is; until then
    it is pending, and counts for the proxy."""

    def __init__(self, factory: "ChatFactory", address: str) -> None:
        super().__init__(factory, address, HEADER_SECONDS)
        self._header = ProxyHeader()

    def dataReceived(self, data: bytes) -> None:
        try:
            complete = self._header.feed(data)
        except Malformed:
            self.over()
            return
        if complete:
            header = self._header
            self._leave()
            self._hand_over(self._factory.arrival(header.address or self._address, header.tls), header.rest)

    def over(self) -> None:
        self._leave()
        self._factory.no_header(self._address)
        self.transport.abortConnection()

    def make_way(self, text: str) -> None:
        self._leave()
        self.transport.abortConnection()
