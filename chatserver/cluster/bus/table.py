"""The table of buses: which setting means which."""

from collections.abc import Callable
from typing import Any, Final

from chatserver.cluster.bus import Bus
from chatserver.config import Settings
from chatserver.exits import CannotStart
from chatserver.store import Engine
from chatserver.store.database import Unreachable
from chatserver.store.secret import bus_secret

VALKEY: Final = "valkey"


def open_bus(settings: Settings, reactor: Any, engine: Engine, node: Callable[[], str]) -> Bus:
    """The bus that the settings name, which is not connected yet. Each is imported only where it is used. `node` is the
    name of this node. Blocks, and raises CannotStart."""
    try:
        secret = bus_secret(engine)
    except Unreachable as problem:
        raise CannotStart(str(problem)) from None
    if settings.bus.url.partition(":")[0] == VALKEY:
        from chatserver.cluster.valkey import ValkeyBus

        return ValkeyBus(reactor, settings.bus.url, secret)
    from chatserver.cluster.postgres import PostgresBus

    return PostgresBus(reactor, engine, node, secret)
