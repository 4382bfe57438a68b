"""The parts of a running server, for the service that starts and stops them and for its companions."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from chatserver.background.maintenance import Upkeep
from chatserver.background.session_rows import SessionLog
from chatserver.delivery.registry import Registry
from chatserver.login.guests import Guests
from chatserver.login.hashing import Hasher
from chatserver.net.connection.connections import Connections
from chatserver.operation.log.logs import Logs
from chatserver.pipeline.lanes import Lanes
from chatserver.pipeline.processor import Processors
from chatserver.presence.roster import Roster
from chatserver.settings.tables import Settings
from chatserver.store.db.threads import Store
from chatserver.sync.change_feed import Watch
from chatserver.sync.lease import Lease
from chatserver.sync.reconcile import Reconciler
from chatserver.util.clock import Clock
from chatserver.util.histogram import Histogram
from chatserver.util.times import unix_now

if TYPE_CHECKING:
    from chatserver.cluster.node import Cluster  # which one node alone need not have in memory


class Running(Struct, frozen=True):
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
    logs: Logs
    now: Clock  # by which entries are stamped
    read_settings: Callable[[], Settings]  # anew, from all their sources; blocks, and raises ConfigProblem
    session_log: SessionLog
    watch: Watch
    reconciler: Reconciler
    guests: Guests
    upkeep: Upkeep
    cluster: "Cluster | None" = None  # with other nodes
    started: float = field(default_factory=unix_now)  # seconds since 1970
    lag: Histogram = field(default_factory=Histogram)  # how late the reactor calls, in seconds: see operation/lag.py
