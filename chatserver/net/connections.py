"""All connections of this process, and what they share."""

import random
from collections.abc import Callable
from datetime import datetime

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.config import Limits
from chatserver.delivery.registry import Registry
from chatserver.handshake import Handshake
from chatserver.net.admission import Admission
from chatserver.net.connection import Connection
from chatserver.processor import Processors
from chatserver.session import Session
from chatserver.store.moderation import NetworkBan
from chatserver.wire.dialect import Dialect
from chatserver.wire.dialects import DIALECTS

REWOUND = ("rewound", "The database was restored to an earlier state. Connect again to see it.")
"""Reason and text for all connections once entries that were delivered are gone."""


class Connections:
    """`left` is called once for each logged-in session that ends, with the reason, while it is still registered.
    `may_serve` says whether this server still has its lease: no command is taken without it."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        limits: Limits,
        flush_seconds: float,
        handshake: Handshake,
        processors: Processors,
        registry: Registry,
        now: Callable[[], datetime],
        left: Callable[[Session, str], None],
        dialects: tuple[Dialect, ...] = DIALECTS,
        may_serve: Callable[[], bool] = lambda: True,
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.flush_seconds = flush_seconds
        self.handshake = handshake
        self.processors = processors
        self.registry = registry
        self.dialects = dialects
        self.admission = Admission(limits, clock.seconds)
        self.open: set[Connection] = set()
        self.may_serve = may_serve
        self.closing = False  # the server is stopping: nobody is read any more
        self._left = left

    def add(self, connection: Connection) -> None:
        self.open.add(connection)
        self.admission.opened(connection.session.address)

    def set_bans(self, bans: list[NetworkBan]) -> None:
        """These addresses may not connect, and may not stay."""
        self.admission.bans = bans
        for connection in list(self.open):
            banned = self.admission.ban(connection.session.address)
            if banned is not None:
                connection.hang_up("banned", banned)

    def rewound(self, room_id: int, head: int, last: int) -> None:
        """The database has lost entries that were delivered: a room's log went up to `head`, and goes to `last` now."""
        self.log.error(
            "The database was set back: room {room} went up to entry {head}, and goes to {last} now. All connections "
            "are closed, so that clients read it anew.",
            room=room_id, head=head, last=last,
        )  # fmt: skip
        self.start_over(*REWOUND)

    def start_over(self, reason: str, text: str) -> None:
        """Ends all connections, and forgets what was known of the rooms: clients come anew, and read from the store."""
        for connection in list(self.open):
            connection.hang_up(reason, text, retry=random.randint(1, 5))
        self.registry.forget()

    @property
    def busy(self) -> bool:
        """Whether something that has arrived is still to be done, or to be sent."""
        return self.registry.sending or any(connection.busy for connection in self.open)

    def ended(self, connection: Connection, reason: str) -> None:
        """The server has nothing more to say on a connection, or it is lost. May be called twice."""
        session = connection.session
        if session.account_id and session.id:
            self._left(session, reason)
            session.id = ""

    def lost(self, connection: Connection) -> None:
        """A connection has no transport any more."""
        session = connection.session
        self.open.discard(connection)
        self.admission.closed(session.address, pending=not session.account_id)
        self.ended(connection, "lost")

    def failed(self, failure: Failure) -> None:
        """Logs what should not have happened."""
        self.log.failure("A connection failed.", failure)
