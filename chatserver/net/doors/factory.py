"""From a new connection to its door: a factory for each endpoint, and the protocols that may come before the door.

These wait for a PROXY header, delay the connection, or say why it is refused.
"""

import socket
from typing import Any, Final, cast

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from chatserver.net.connection.connections import MOVING, MOVING_SECONDS, Connections
from chatserver.net.doors.base import Door
from chatserver.net.doors.session_requests import SessionRequests
from chatserver.net.limits.admission import CROWDED, CROWDED_SECONDS
from chatserver.net.limits.crowd import Rank
from chatserver.net.listening.tls import Bounded
from chatserver.net.way import has_left, secured, socket_beneath
from chatserver.settings.tables import Settings
from chatserver.wire.addresses import Listed, Networks
from chatserver.wire.dialects import closing_for_any
from chatserver.wire.framing.pages import Pages
from chatserver.wire.framing.proxy import Malformed, ProxyHeader
from chatserver.wire.sentences import english, for_programs

THIS_MACHINE: Final = socket.gethostname()
HEADER_SECONDS: Final = 5.0
"""How long a proxy may take to send its header. It comes with the first packet; the specification recommends at least
3 s for one that is lost."""
FAREWELL_SECONDS = 2.0
"""How long a refused client may take to read why."""
FAREWELLS: Final = 256
"""Maximum number of clients at a time that are sent the reason why they are refused; others are closed without a word.
Only over TLS do they take longer than a moment."""
COMPLAINT_SECONDS: Final = 1.0
"""Minimum interval between lines in the log about a proxy that sends no header."""
NO_PROXIES: Final = Networks()


class ChatFactory(ServerFactory):
    """Makes doors for one endpoint. The connections of all endpoints share `connections`.

    A connection from one of `proxies` has to begin with a PROXY header, which gives the client's address.
    """

    noisy = False
    log = Logger()

    def __init__(
        self, connections: Connections, door: type[Door], settings: Settings, proxies: Networks = NO_PROXIES
    ) -> None:
        self.clock = connections.clock
        self.admission = connections.admission
        self._connections = connections
        self._new_door = door
        self._settings = settings
        self._proxies = proxies
        server = settings.server
        self.forwarders = Listed(lambda: server.trusted_forwarders)
        """Proxies whose requests name the client's address."""
        door.prepare()
        self._tls: TLSMemoryBIOFactory | None = None
        self._farewells = 0
        self._complained = float("-inf")

    @property
    def sessions(self) -> SessionRequests:
        return SessionRequests(self._connections.handshake.cookies)

    @property
    def policy(self) -> Pages:
        """Which web pages may connect, by the present settings."""
        server = self._settings.server
        return Pages(server.origins, (server.name, THIS_MACHINE, *server.hosts))

    def page_refused(self, address: str, why: str) -> None:
        """See `ConnectionLog`."""
        self._connections.page_refused(address, why)

    @property
    def closing(self) -> bool:
        """Whether the server serves nobody for much longer."""
        return self._connections.closing or self._connections.withdrawn

    @property
    def serves_pages(self) -> bool:
        """Whether people open it in a browser."""
        return self._new_door.serves_pages

    @property
    def cost(self) -> float:
        """See `Door`."""
        return self._new_door.cost

    @property
    def secured(self) -> bool:
        return self._tls is not None

    def secure(self, context: Any) -> None:
        """Puts all connections behind TLS."""
        self._tls = TLSMemoryBIOFactory(context, False, self)
        self._tls.protocol = Bounded

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Returns the first protocol of a new connection; None: it is closed."""
        address = str(getattr(addr, "host", "") or "local")
        if address not in self._proxies:
            return self.arrival(address)
        if self._connections.closing:
            return None
        gate = ProxyGate(self, address)
        self.admission.arrived(address, gate)
        return gate

    def arrival(self, address: str, encrypted: bool | None = None) -> Protocol | None:
        """Returns the next protocol once the client's address is known: a door, a delay before it, or the reason why it
        is refused. `encrypted`: see `Connection`."""
        if self._connections.closing:
            return None
        if self._connections.withdrawn:
            return self.farewell(for_programs(*MOVING), closing_for_any(*MOVING, retry=MOVING_SECONDS))
        refusal = self.admission.refusal(address)
        if refusal is not None:
            return self.farewell(english(refusal)) if self.admission.tells(address) else None
        seconds = self.admission.delay(address)
        if seconds:
            waiting = Waiting(self, address, seconds, encrypted)
            self.admission.arrived(address, waiting)
            self.admission.came(address, self.cost)
            return waiting
        return self._admitted(address, encrypted)

    def open_door(self, address: str, encrypted: bool | None, *, counted: bool = False) -> Door:
        """Returns the door for a client. `counted`: its arrival was counted before."""
        door = self._new_door(self._settings)
        door.connection = self._connections.connect(door, address, encrypted)
        (self.admission.arrived if counted else self.admission.opened)(address, door.connection)
        return door

    def enter(self, address: str, encrypted: bool | None = None) -> Protocol | None:
        """Returns the door for a client that was slowed, unless it was banned meanwhile."""
        if self._connections.closing:
            return None
        banned = self.admission.ban(address)
        if banned is not None:
            return self.farewell(english(banned))
        return self._admitted(address, encrypted, self.cost)

    def _admitted(self, address: str, encrypted: bool | None, counted: float = 0.0) -> Protocol:
        """Returns what stands before the door, or the door itself. `counted`: how much of its arrival is counted."""
        first = self._new_door.visit(self, address, encrypted, counted)
        if first is None:
            first = self.open_door(address, encrypted, counted=counted > 0)
        else:
            self.admission.arrived(address, first)
        return self._behind_tls(first)

    def farewell(self, text: str, before: bytes = b"") -> Protocol | None:
        """Returns a protocol that says why a connection is refused, and closes it. `before`: what it says first where
        the client's dialect is not known."""
        if self._farewells >= FAREWELLS:
            return None
        self._farewells += 1
        door = self._new_door(self._settings)
        words = door.refusal(text)
        return self._behind_tls(Farewell(self, words if door.dialect is not None else before + words))

    def farewell_over(self) -> None:
        self._farewells -= 1

    def no_header(self, proxy: str) -> None:
        """Warns that a proxy did not begin a connection with a PROXY header."""
        now = self.clock.seconds()
        if now - self._complained >= COMPLAINT_SECONDS:
            self._complained = now
            self.log.warn(
                "A connection from {proxy} was ended: it did not begin with a PROXY header. Let the proxy there send "
                "one (HAProxy: send-proxy-v2, nginx: proxy_protocol on), or remove it from server.trusted_proxies.",
                proxy=proxy,
            )

    def _behind_tls(self, protocol: Protocol) -> Protocol:
        return protocol if self._tls is None else self._tls.protocol(self._tls, protocol)


class Arrival(Protocol):
    """Stands at a connection's transport before its door does, and counts as a connection that is not logged in, until
    it hands the transport over."""

    transport: Any
    rank = Rank.SILENT

    def __init__(self, factory: ChatFactory, address: str, seconds: float, encrypted: bool | None = None) -> None:
        self._factory = factory
        self._address = address
        self._seconds = seconds
        self._encrypted = encrypted  # see `Connection.encrypted`

    def connectionMade(self) -> None:
        self._call = self._factory.clock.callLater(self._seconds, self.over)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._leave()

    def over(self) -> None:
        """Called when the time is up."""
        raise NotImplementedError

    def make_way(self) -> bool:
        """Ends the connection at once, when it is not counted any more: see `crowd.Newcomer`."""
        raise NotImplementedError

    def abort(self) -> None:
        self.transport.abortConnection()

    def _leave(self) -> None:
        self._factory.admission.closed(self._address, self, pending=True)
        if self._call.active():
            self._call.cancel()

    def _hand_over(self, to: Protocol | None, data: bytes = b"") -> None:
        """Gives the transport to another protocol, with the bytes that have come for it already; None: ends the
        connection."""
        transport = self.transport
        if to is None:
            transport.abortConnection()
            return
        if secured(transport):
            transport.wrappedProtocol = to
        else:
            transport.protocol = to
        transport.resumeProducing()
        to.makeConnection(transport)
        if data:
            to.dataReceived(data)


class Waiting(Arrival):
    """The delay of a client that is slowed: nothing is read and nothing is sent until its time has come."""

    rank = Rank.CHECKED
    _data = b""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self._data += data  # received with a PROXY header

    def over(self) -> None:
        self._leave()
        left = not self._data and has_left(socket_beneath(self.transport))  # a door would be in vain
        if left:
            self._factory.admission.came(self._address, 1.0 - self._factory.cost)
        self._hand_over(None if left else self._factory.enter(self._address, self._encrypted), self._data)

    def make_way(self) -> bool:
        self._leave()
        closing = closing_for_any(*CROWDED, retry=CROWDED_SECONDS)
        self._hand_over(self._factory.farewell(english(CROWDED[1]), closing))
        return False


class ProxyGate(Arrival):
    """A connection of a trusted proxy. Whether it may connect is decided once the header has given the client's
    address; until then it is pending, and counts for the proxy."""

    def __init__(self, factory: ChatFactory, address: str) -> None:
        super().__init__(factory, address, HEADER_SECONDS)
        self._header = ProxyHeader()

    def dataReceived(self, data: bytes) -> None:
        try:
            complete = self._header.feed(data)
        except Malformed:
            self._give_up()
            return
        if complete:
            header = self._header
            self._leave()
            self._hand_over(self._factory.arrival(header.address or self._address, header.tls), header.rest)

    def over(self) -> None:
        # After a stop of this process the header waits in the socket, and timers come first: it is read before that.
        self._call = self._factory.clock.callLater(0, self._give_up)

    def _give_up(self) -> None:
        self._leave()
        self._factory.no_header(self._address)
        self.abort()

    def make_way(self) -> bool:
        self._leave()
        self.abort()
        return False


class Farewell(Protocol):
    """Tells a client why it is refused, and closes."""

    def __init__(self, factory: ChatFactory, data: bytes) -> None:
        self._factory = factory
        self._data = data

    def connectionMade(self) -> None:
        transport = cast(Any, self.transport)
        transport.write(self._data)
        transport.loseConnection()
        self._end = self._factory.clock.callLater(FAREWELL_SECONDS, transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.farewell_over()
        if self._end.active():
            self._end.cancel()
