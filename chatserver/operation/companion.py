"""Companions: parts that run beside serving for the server's whole life, and the parts that they see."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, field

from chatserver.background.indexing import IndexJob
from chatserver.background.maintenance import Maintenance
from chatserver.background.session_rows import SessionRows
from chatserver.delivery.registry import Registry
from chatserver.login.guests import Guests
from chatserver.login.hashing import Hasher
from chatserver.net.connection.connections import Connections
from chatserver.pipeline.lanes import Lanes
from chatserver.pipeline.processor import Processors
from chatserver.presence.roster import Roster
from chatserver.settings.tables import Settings
from chatserver.store.db.threads import Store
from chatserver.sync.change_feed import ChangeFeed
from chatserver.sync.lease import Lease
from chatserver.sync.reconcile import Reconciler
from chatserver.util.clock import Clock
from chatserver.util.histogram import Histogram
from chatserver.util.times import unix_now

if TYPE_CHECKING:
    from chatserver.cluster.node import Node  # which one node alone need not have in memory


class Companion(Protocol):
    """The service calls these methods in this order. An exception, except one of `prepare`, is logged, and stops
    nothing else."""

    def prepare(self) -> None:
        """Before the server listens, with the database ready and root's privileges, if twistd has them. Raises
        SystemExit with one line if the server cannot start this way."""

    def started(self) -> None:
        """The server serves: it listens on every endpoint, and its threads run. As a rule the reactor does not run yet;
        it does if an endpoint took its time to open."""

    def stopping(self) -> None:
        """The server is about to stop: it has not closed its ports yet."""

    def stopped(self) -> Awaitable[None] | None:
        """Every connection is closed and everything is stored. The service waits for the result."""


class AdjustableLog(Companion, Protocol):
    """The server's log, as a companion and for a reload."""

    def set_level(self, level: str) -> None:
        """Sets the least important level to log: debug, info, warn or error."""


class Quiet:
    """A companion that does nothing: a base class."""

    def prepare(self) -> None: ...

    def started(self) -> None: ...

    def stopping(self) -> None: ...

    def stopped(self) -> Awaitable[None] | None:
        return None


class Running(Struct, frozen=True):
    """The parts of a running server, for the service, which starts and stops them, and for its companions."""

    reactor: Any
    settings: Settings
    store: Store
    registry: Registry
    roster: Roster
    hasher: Hasher
    processors: Processors
    lanes: Lanes
    connections: Connections
    lease: Lease
    logs: AdjustableLog
    now: Clock  # by which entries are stamped
    read_settings: Callable[[], Settings]  # anew, from all their sources; blocks, and raises ConfigProblem
    session_rows: SessionRows
    change_feed: ChangeFeed
    reconciler: Reconciler
    guests: Guests
    maintenance: Maintenance
    indexing: IndexJob
    cluster: "Node | None" = None  # with other nodes
    started: float = field(default_factory=unix_now)  # seconds since 1970
    lag: Histogram = field(default_factory=Histogram)  # see `Lag` in monitoring/counters.py
