"""The table of buses: which bus a value of `bus.url` means."""

from typing import Any, Final

from chatserver.cluster.bus.bus import Bus
from chatserver.settings.tables import Settings
from chatserver.store import Engine
from chatserver.store.db.engine import Unreachable
from chatserver.store.nodes.lease import Holder
from chatserver.store.nodes.secret import bus_secret
from chatserver.util.exits import MISCONFIGURED, CannotStart, ending

VALKEY: Final = "valkey"
NO_VALKEY: Final = "bus.url names a Valkey, which needs another package. Run: pip install 'chatserverd[valkey]'"


def open_bus(settings: Settings, reactor: Any, engine: Engine, holder: Holder) -> Bus:
    """The bus that the settings name, not connected yet. Imports only that one. Blocks, and raises CannotStart."""
    valkey = settings.bus.url.partition(":")[0] == VALKEY
    if valkey:
        try:
            from chatserver.cluster.bus.valkey import ValkeyBus
        except ModuleNotFoundError as missing:
            if missing.name != "hiredis":
                raise
            raise ending(CannotStart(NO_VALKEY, MISCONFIGURED)) from None
    try:
        secret = bus_secret(engine)
    except Unreachable as problem:
        raise CannotStart(str(problem)) from None
    if valkey:
        return ValkeyBus(reactor, settings.bus.url, secret)
    from chatserver.cluster.bus.postgres import PostgresBus

    return PostgresBus(reactor, engine, holder, secret)
