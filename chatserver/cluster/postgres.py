"""The bus that is the database itself: frames are PostgreSQL's notifications."""

from collections.abc import Callable, Sequence
from typing import Any

from chatserver.cluster.bus import Parcel, Received
from chatserver.store import Engine


class PostgresBus:
    by_room = False

    def __init__(self, reactor: Any, engine: Engine) -> None:
        self.connected = False

    def start(self, received: Received, joined: Callable[[Sequence[str]], None]) -> None: ...

    def publish(self, parcels: Sequence[Parcel]) -> None: ...

    def hear(self, channel: str) -> None: ...

    def unhear(self, channel: str) -> None: ...

    def reconnect(self) -> None: ...

    async def stop(self) -> None: ...
