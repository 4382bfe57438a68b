"""Builds a protocol for each connection, and holds what they share."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver import encode
from chatserver.config import Limits
from chatserver.handshake import Handshake
from chatserver.net.admission import Admission
from chatserver.net.protocol import ChatProtocol
from chatserver.processor import Processors
from chatserver.registry import Registry
from chatserver.session import Session
from chatserver.store.moderation import NetworkBan

FAREWELL_SECONDS = 2.0


class ChatFactory(ServerFactory):
    """`left` is called once for each logged-in session that ends, with its reason, while it is still registered."""

    log = Logger()
    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        limits: Limits,
        flush_seconds: float,
        handshake: Handshake,
        processors: Processors,
        registry: Registry,
        new_id: Callable[[], str],
        now: Callable[[], datetime],
        left: Callable[[Session, str], None],
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.flush_seconds = flush_seconds
        self.handshake = handshake
        self.processors = processors
        self.registry = registry
        self.admission = Admission(limits, clock.seconds, now)
        self.connections: set[ChatProtocol] = set()
        self.closing = False
        self._new_id = new_id
        self._left = left

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """A chat connection, or one that says why not and closes."""
        address = str(getattr(addr, "host", "") or "local")
        refusal = self.admission.refusal(address)
        if self.closing:
            return None
        if refusal is not None:
            return Farewell(self.clock, refusal)
        protocol = ChatProtocol(Session(self._new_id(), address))
        protocol.factory = self
        self.connections.add(protocol)
        self.admission.opened(address)
        return protocol

    def set_bans(self, bans: list[NetworkBan]) -> None:
        """These addresses may not come, and may not stay."""
        self.admission.bans = bans
        for protocol in list(self.connections):
            banned = self.admission.ban(protocol.session.address)
            if banned is not None:
                protocol.hang_up("banned", banned)

    @property
    def busy(self) -> bool:
        """Whether something that has arrived is still to be done, or to be told."""
        return self.registry.sending or any(protocol.busy for protocol in self.connections)

    def ended(self, protocol: ChatProtocol, reason: str) -> None:
        """The server has nothing more to say on this connection, or it is lost. Called once or twice for each."""
        session = protocol.session
        if session.account_id and session.id:
            self._left(session, reason)
            session.id = ""

    def lost(self, protocol: ChatProtocol) -> None:
        """The connection is no more."""
        session = protocol.session
        self.connections.discard(protocol)
        self.admission.closed(session.address, pending=not session.account_id)
        self.ended(protocol, "lost")

    def failed(self, failure: Failure) -> None:
        """Logs what should not have happened."""
        self.log.failure("A connection failed.", failure)


class Farewell(Protocol):
    """Tells a client why it is not taken, and closes."""

    def __init__(self, clock: IReactorTime, words: str) -> None:
        self._clock = clock
        self._words = words

    def connectionMade(self) -> None:
        transport = cast(Any, self.transport)
        transport.write(encode.error(self._words))
        transport.loseConnection()
        self._end = self._clock.callLater(FAREWELL_SECONDS, transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._end.active():
            self._end.cancel()
