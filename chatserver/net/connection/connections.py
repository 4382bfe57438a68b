"""All connections of this process, and what they share."""

import random
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.background.read_marks import MarkLog
from chatserver.delivery.registry import Registry
from chatserver.login.handshake import Handshake
from chatserver.net.acknowledged import waiting
from chatserver.net.connection.before_door import Arrival
from chatserver.net.connection.connection import Connection
from chatserver.net.connection.parting import Parting
from chatserver.net.connection.refusals import Refusals
from chatserver.net.connection.visits import Visits
from chatserver.net.limits.account_share import Allowance, Allowances
from chatserver.net.limits.admission import Admission
from chatserver.net.limits.crowd import Rank
from chatserver.net.listening.tls import Shown
from chatserver.pipeline.processor import Processors
from chatserver.session.session import Session
from chatserver.settings.tables import Limits, Shutdown
from chatserver.store.moderation import NetworkBan
from chatserver.util.waiting import pause
from chatserver.values.endings import FENCED
from chatserver.values.stages import PeerState, Stage
from chatserver.wire.dialect import Dialect
from chatserver.wire.dialects import DIALECTS

REWOUND = ("rewound", "The database was restored to an earlier state.")
"""Reason and text for all connections once entries that were delivered are gone."""
MOVING = ("moving", "Another server takes over; nothing is lost.")
"""Reason and text for connections that are to go to another server of the cluster."""
CROWDED = (
    "too-many-connections",
    "Too many connections are waiting to log in; yours made way for a newer one.",
)
"""Reason and text for a connection that makes way before it has logged in."""
CROWDED_SECONDS: Final = 5
"""When it may come again."""
LEAVING: Final = 256
"""So many connections that made way may take the time to read why; then the first one is cut off. Each still has its
socket, and there must not be many of those besides `limits.connections`."""
SLICE: Final = 500
"""So many connections are told of new limits in one turn of the reactor, which takes a millisecond or two."""
RANKS: Final = {
    Stage.NEW: Rank.SILENT,
    Stage.GREETING: Rank.STARTED,
    Stage.PASSWORD: Rank.STARTED,
    Stage.CONFIRM: Rank.STARTED,
    Stage.NEW_PASSWORD: Rank.STARTED,
    Stage.AGAIN: Rank.STARTED,
    Stage.BUSY: Rank.CHECKED,
    Stage.IN: Rank.CHECKED,  # for the moment until `admission` is told
    Stage.ENDING: Rank.SILENT,
}


class Connections:
    """`left` is called once for each logged-in session that ends, with the reason, while it is still registered.
    `may_serve` says whether this server still has its lease: no command is taken without it."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        limits: Limits,
        shutdown: Shutdown,
        handshake: Handshake,
        processors: Processors,
        registry: Registry,
        now: Callable[[], datetime],
        left: Callable[[Session, str], None],
        marks: MarkLog,
        dialects: tuple[Dialect, ...] = DIALECTS,
        may_serve: Callable[[], bool] = lambda: True,
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.shutdown = shutdown
        self.handshake = handshake
        self.processors = processors
        self.registry = registry
        self.marks = marks
        self.dialects = dialects
        self.admission = Admission(limits, clock.seconds, rank=_rank, dismiss=self._dismiss, later=clock.callLater)
        self.allowances = Allowances(clock, limits)
        self.visits = Visits(clock)
        self.refusals = Refusals(self)
        self.open: set[Connection] = set()
        self.identities: list[Shown] = []
        """What the TLS endpoints show, which a reload renews."""
        self.unserved: set[Connection] = set()
        """Those of people who were told that the database does not answer."""
        self._leaving: dict[Connection, None] = {}  # they made way, and are still open
        self.may_serve = may_serve
        self.closing = False  # the server is stopping: nobody is read any more
        self.moving: set[Connection] = set()
        """These are about to be sent to another server: they are not read any more."""
        self.withdrawn = False  # all ports are closed: who comes all the same is sent to another server
        self.parting: Parting | None = None  # the server says goodbye: connections end the short way
        self._left = left

    def add(self, connection: Connection, count: Callable[[str, Connection], None]) -> None:
        """`count` is the method of `admission` that counts it."""
        count(connection.session.address, connection)
        self.open.add(connection)

    async def follow(self) -> None:
        """The limits have changed: accounts and connections that are there keep to the new ones, too. Some are told in
        each turn of the reactor."""
        told: list[Allowance | Connection] = [*self.allowances.follow(), *self.open]
        for start in range(0, len(told), SLICE):
            for one in told[start : start + SLICE]:
                one.follow()
            await pause(self.clock, 0)

    def set_bans(self, bans: list[NetworkBan]) -> None:
        """These addresses may not connect, and may not stay."""
        self.admission.bans = bans
        for connection in list(self.open):
            banned = self.admission.ban(connection.session.address)
            if banned is not None:
                connection.hang_up("banned", banned)

    def database_rewound(self, *, told: bool) -> None:
        """See `sync.rewind.Follower`."""
        self.start_over(*REWOUND)

    def lease_lost(self) -> None:
        """See `sync.rewind.Follower`."""
        self.start_over(*FENCED)

    def start_over(self, reason: str, text: str) -> None:
        """Ends all connections, and forgets what was known of the rooms: clients come anew, and read from the store."""
        for connection in list(self.open):
            connection.hang_up(reason, text, retry=random.randint(1, 5))
        self.registry.forget()

    def answered(self) -> None:
        """The database answers again: everybody who was told that it does not is told that, once."""
        unserved, self.unserved = self.unserved, set()
        for connection in unserved:
            session = connection.session
            if session.view is None or session.stage is Stage.ENDING or session.quiet:
                continue
            count = len(session.view.kept)
            lines = f" /retry sends what you said meanwhile: {count} line{'s' if count > 1 else ''}." if count else ""
            session.notice(f"The database is back.{lines}")
            self.handshake.prompts.ask(session)

    @property
    def busy(self) -> bool:
        """Whether something that has arrived is still to be done, or to be sent."""
        return self.registry.sending or any(connection.busy for connection in self.open)

    def ended(self, connection: Connection, reason: str) -> None:
        """The server has nothing more to say on a connection, or it is lost. May be called twice."""
        session = connection.session
        if session.who.account_id and session.id:
            self._left(session, reason)
            session.id = ""

    def part(self, connection: Connection, transport: Any) -> bool:
        """Ends a connection that has said everything the short way, if the server is about to end."""
        if self.parting is None or connection.peer is not PeerState.OPEN or waiting(transport):
            return False
        self.parting.take(transport)
        self.open.discard(connection)
        return True

    def lost(self, connection: Connection) -> None:
        """A connection has no transport any more."""
        session = connection.session
        self.open.discard(connection)
        self.unserved.discard(connection)
        self.moving.discard(connection)
        self._leaving.pop(connection, None)
        self.admission.closed(session.address, connection, pending=not session.who.account_id)
        self.ended(connection, "lost")
        self.marks.ended(session)  # what arrived meanwhile

    def _dismiss(self, who: Connection | Arrival) -> None:
        """Ends a connection that makes way for others."""
        if isinstance(who, Arrival):
            who.make_way(CROWDED[1])
        elif who.session.stage is Stage.ENDING:
            who.abort()
        else:
            who.hang_up(*CROWDED, retry=CROWDED_SECONDS)
            self._leaving[who] = None
            if len(self._leaving) > LEAVING:
                first = next(iter(self._leaving))
                del self._leaving[first]
                first.abort()

    def failed(self, failure: Failure) -> None:
        """Logs what should not have happened."""
        self.log.failure("A connection failed.", failure)


def _rank(who: Connection | Arrival) -> Rank:
    return who.rank if isinstance(who, Arrival) else RANKS[who.session.stage]
