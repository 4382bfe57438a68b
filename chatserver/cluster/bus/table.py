"""The table of buses: which setting means which."""

from collections.abc import Callable
from typing import Any, Final

from chatserver.cluster.bus.bus import Bus
from chatserver.settings.tables import Settings
from chatserver.store import Engine
from chatserver.store.db.engine import Unreachable
from chatserver.store.nodes.secret import bus_secret
from chatserver.util.exits import CannotStart

VALKEY: Final = "valkey"


def open_bus(settings: Settings, reactor: Any, engine: Engine, node: Callable[[], str]) -> Bus:
    """The bus that the settings name, which is not connected yet. Each is imported only where it is used. `node` is the
    name of this node. Blocks, and raises CannotStart."""
    try:
        secret = bus_secret(engine)
    except Unreachable as problem:
        raise CannotStart(str(problem)) from None
    if settings.bus.url.partition(":")[0] == VALKEY:
        from chatserver.cluster.bus.valkey import ValkeyBus

        return ValkeyBus(reactor, settings.bus.url, secret)
    from chatserver.cluster.bus.postgres import PostgresBus

    return PostgresBus(reactor, engine, node, secret)
