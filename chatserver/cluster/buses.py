"""The table of buses: which setting means which."""

from typing import Any, Final

from chatserver.cluster.bus import Bus
from chatserver.config import Settings
from chatserver.store import Engine

POSTGRES: Final = "postgres"
VALKEY: Final = "valkey"


def open_bus(settings: Settings, reactor: Any, engine: Engine) -> Bus:
    """The bus that the settings name, which is not connected yet. Each is imported only where it is used."""
    kind = settings.bus.url.partition(":")[0]
    if kind == VALKEY:
        from chatserver.cluster.valkey import ValkeyBus

        return ValkeyBus(reactor, settings.bus.url)
    from chatserver.cluster.postgres import PostgresBus

    return PostgresBus(reactor, engine)
