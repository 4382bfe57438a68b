"""Builds a door for each connection of an endpoint, or what comes before it."""

from collections.abc import Callable
from typing import Any, Final, cast

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from chatserver.net.certificates import Bounded
from chatserver.net.connection.before_door import ProxyGate, Waiting
from chatserver.net.connection.connection import Connection
from chatserver.net.connection.connections import MOVING, Connections
from chatserver.net.doors.base import Door
from chatserver.session.session import Session
from chatserver.values.endings import for_programs
from chatserver.wire.addresses import Networks

FAREWELL_SECONDS = 2.0
FAREWELLS: Final = 256
"""So many clients at a time are told why they are refused; others are closed without a word. Only over TLS do they
take longer than a moment."""
COMPLAINT_SECONDS: Final = 1.0
"""The log says no more often than this that a proxy sends no header."""
NO_PROXIES: Final = Networks()


class ChatFactory(ServerFactory):
    """One for each endpoint: what its connections share with those of other endpoints is in `connections`.

    A connection from one of `proxies` has to begin with a PROXY header, and is taken for one of the address in it.
    """

    noisy = False
    log = Logger()

    def __init__(
        self,
        connections: Connections,
        new_door: Callable[[], Door],
        new_id: Callable[[], str],
        proxies: Networks = NO_PROXIES,
    ) -> None:
        self.connections = connections
        self._new_door = new_door
        self._new_id = new_id
        self._proxies = proxies
        self._tls: TLSMemoryBIOFactory | None = None
        self._farewells = 0
        self._complained = float("-inf")

    @property
    def secured(self) -> bool:
        return self._tls is not None

    def secure(self, context: Any) -> None:
        """Puts all connections behind TLS."""
        self._tls = TLSMemoryBIOFactory(context, False, self)
        self._tls.protocol = Bounded

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """What a new connection meets first; None: it is closed."""
        address = str(getattr(addr, "host", "") or "local")
        if address not in self._proxies:
            return self.arrival(address)
        if self.connections.closing:
            return None
        gate = ProxyGate(self, address)
        self.connections.admission.arrived(address, gate)
        return gate

    def arrival(self, address: str, encrypted: bool | None = None) -> Protocol | None:
        """Likewise, once it is known for whom the connection is: a door, a delay before it, or the reason why it is
        refused. `encrypted`: see `Connection`."""
        connections, admission = self.connections, self.connections.admission
        if connections.closing:
            return None
        if connections.withdrawn:
            return self.farewell(for_programs(*MOVING))
        refusal = admission.refusal(address)
        if refusal is not None:
            return self.farewell(refusal)
        seconds = admission.delay(address)
        if not seconds:
            return self._door(address, admission.opened, encrypted)
        waiting = Waiting(self, address, seconds, encrypted)
        admission.opened(address, waiting)
        return waiting

    def enter(self, address: str, encrypted: bool | None = None) -> Protocol | None:
        """A door for a client that was slowed, unless it was banned meanwhile."""
        connections = self.connections
        if connections.closing:
            return None
        banned = connections.admission.ban(address)
        if banned is not None:
            return self.farewell(banned)
        return self._door(address, connections.admission.arrived, encrypted)

    def farewell(self, text: str) -> Protocol | None:
        """Says why a connection is refused, and closes it."""
        if self._farewells >= FAREWELLS:
            return None
        self._farewells += 1
        return self._behind_tls(Farewell(self.connections.clock, self._new_door().refusal(text), self._said_farewell))

    def no_header(self, proxy: str) -> None:
        """A proxy did not begin a connection with a PROXY header."""
        now = self.connections.clock.seconds()
        if now - self._complained >= COMPLAINT_SECONDS:
            self._complained = now
            self.log.warn(
                "A connection from {proxy} was ended: it did not begin with a PROXY header. Let the proxy there send "
                "one (HAProxy: send-proxy-v2, nginx: proxy_protocol on), or remove it from server.trusted_proxies.",
                proxy=proxy,
            )

    def _door(self, address: str, count: Callable[[str, Connection], None], encrypted: bool | None) -> Protocol:
        door, connections = self._new_door(), self.connections
        dialect = door.dialect or connections.dialects[-1]
        door.connection = Connection(Session(self._new_id(), address, dialect, door.framing), connections, door)
        door.connection.encrypted = encrypted
        connections.add(door.connection, count)
        return self._behind_tls(door)

    def _behind_tls(self, protocol: Protocol) -> Protocol:
        return protocol if self._tls is None else self._tls.protocol(self._tls, protocol)

    def _said_farewell(self) -> None:
        self._farewells -= 1


class Farewell(Protocol):
    """Tells a client why it is refused, and closes."""

    def __init__(self, clock: IReactorTime, data: bytes, gone: Callable[[], None]) -> None:
        self._clock = clock
        self._data = data
        self._gone = gone

    def connectionMade(self) -> None:
        transport = cast(Any, self.transport)
        transport.write(self._data)
        transport.loseConnection()
        self._end = self._clock.callLater(FAREWELL_SECONDS, transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone()
        if self._end.active():
            self._end.cancel()
