"""Builds a door for each connection of an endpoint."""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from chatserver.net.connection import Connection
from chatserver.net.connections import Connections
from chatserver.net.door import Door
from chatserver.session import Session

FAREWELL_SECONDS = 2.0


class ChatFactory(ServerFactory):
    """One for each endpoint: what its connections share with those of other endpoints is in `connections`."""

    noisy = False

    def __init__(self, connections: Connections, new_door: Callable[[], Door], new_id: Callable[[], str]) -> None:
        self.connections = connections
        self._new_door = new_door
        self._new_id = new_id

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """A connection, or one that says why it is refused and closes."""
        connections = self.connections
        address = str(getattr(addr, "host", "") or "local")
        refusal = connections.admission.refusal(address)
        if connections.closing:
            return None
        door = self._new_door()
        if refusal is not None:
            return Farewell(connections.clock, door.refusal(refusal))
        dialect = door.dialect or connections.dialects[-1]
        door.connection = Connection(Session(self._new_id(), address, dialect, door.framing), connections, door)
        connections.add(door.connection)
        return door


class Farewell(Protocol):
    """Tells a client why it is refused, and closes."""

    def __init__(self, clock: IReactorTime, data: bytes) -> None:
        self._clock = clock
        self._data = data

    def connectionMade(self) -> None:
        transport = cast(Any, self.transport)
        transport.write(self._data)
        transport.loseConnection()
        self._end = self._clock.callLater(FAREWELL_SECONDS, transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._end.active():
            self._end.cancel()
