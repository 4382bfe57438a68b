"""The parts of a running server that its companions look at."""

from typing import Any

from msgspec import Struct

from chatserver.config import Settings
from chatserver.delivery.registry import Registry
from chatserver.lease import Lease
from chatserver.net.connections import Connections
from chatserver.passwords import Hasher
from chatserver.processor import Processors
from chatserver.roster import Roster
from chatserver.store.threads import Store


class Running(Struct, frozen=True):
    reactor: Any
    settings: Settings
    store: Store
    registry: Registry
    roster: Roster
    hasher: Hasher
    processors: Processors
    connections: Connections
    lease: Lease
