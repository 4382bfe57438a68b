"""Nodes that hear no bus, such as those of the version before: they follow the table `change`, and each room that has
new entries is named there while such a node is alive."""

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatserver.store import Connection, changes
from chatserver.store.db import clock
from chatserver.store.db.threads import Store
from chatserver.store.db.transactions import Conflict
from chatserver.values.errors import Unavailable

PACE_SECONDS: Final = 0.5
"""A room is named so often at most: they read the table no more often."""


class Deaf:
    """`origin` is the boot of this process."""

    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store, origin: Callable[[], str]) -> None:
        self._clock = clock
        self._store = store
        self._origin = origin
        self._rooms: dict[int, None] = {}
        self._written = float("-inf")
        self._next: IDelayedCall | None = None

    def grown(self, room_id: int) -> None:
        """This room has new entries."""
        self._rooms[room_id] = None
        if self._next is None:
            wait = max(self._written + PACE_SECONDS - self._clock.seconds(), 0)
            self._next = self._clock.callLater(wait, self._start)

    async def stop(self) -> None:
        """Names the rooms that are left."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
            await self._write()

    def _start(self) -> None:
        self._next = None
        ensureDeferred(self._write()).addErrback(
            lambda failure: self.log.failure("Nodes that hear no bus were not told of entries.", failure)
        )

    async def _write(self) -> None:
        rooms, self._rooms = self._rooms, {}
        self._written = self._clock.seconds()
        try:
            await self._store.write(_name, list(rooms), self._origin())
        except (Unavailable, Conflict):
            for room_id in rooms:
                self.grown(room_id)


def _name(db: Connection, room_ids: Sequence[int], origin: str) -> None:
    at = clock.now(db)
    for room_id in room_ids:
        changes.note(db, "room", room_id, at, detail=changes.ON_THE_BUS, origin=origin)
