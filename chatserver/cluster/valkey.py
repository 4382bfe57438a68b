"""A bus for many nodes: Valkey, by publish and subscribe."""

from collections.abc import Callable, Sequence
from typing import Any

from chatserver.cluster.bus import Parcel, Received


class ValkeyBus:
    by_room = True

    def __init__(self, reactor: Any, url: str) -> None:
        self.connected = False

    def start(self, received: Received, joined: Callable[[Sequence[str]], None]) -> None: ...

    def publish(self, parcels: Sequence[Parcel]) -> None: ...

    def hear(self, channel: str) -> None: ...

    def unhear(self, channel: str) -> None: ...

    def reconnect(self) -> None: ...

    async def stop(self) -> None: ...
