"""The parts of a running server that its companions look at."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from chatserver.config import Settings
from chatserver.delivery.registry import Registry
from chatserver.histogram import Histogram
from chatserver.lease import Lease
from chatserver.net.connections import Connections
from chatserver.operation.logs import Logs
from chatserver.passwords import Hasher
from chatserver.processor import Processors
from chatserver.queue import Lanes
from chatserver.roster import Roster
from chatserver.store.threads import Store
from chatserver.times import unix_now

if TYPE_CHECKING:
    from chatserver.cluster.cluster import Cluster


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
    now: Callable[[], datetime]  # by which entries are stamped
    read_settings: Callable[[], Settings]  # anew, from all their sources; blocks, and raises ConfigProblem
    cluster: "Cluster | None" = None  # with other nodes
    started: float = field(default_factory=unix_now)  # seconds since 1970
    lag: Histogram = field(default_factory=Histogram)  # how late the reactor calls, in seconds: see operation/lag.py
