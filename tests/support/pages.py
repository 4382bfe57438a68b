"""Pages of rooms' logs that a test makes up."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from chatserver.delivery.pages import Pages, Stretch
from chatserver.presence.elsewhere import OtherNodes
from chatserver.values.events import Entry

ReadPage = Callable[[int, int], Awaitable[Stretch]]
"""(room id, seq) -> the page behind that."""


class StubPages(Pages):
    """Replies have no quotes."""

    def __init__(self, clock: IReactorTime, read: ReadPage) -> None:
        store: Any = None
        super().__init__(clock, store, OtherNodes())
        self._read = read

    async def _follow(self, room_id: int, seq: int) -> Stretch:
        return await self._read(room_id, seq)

    async def _follow_with_quotes(self, room_id: int, seq: int) -> tuple[list[Entry], bool, list[Entry] | None]:
        found, more = await self._read(room_id, seq)
        return found, more, found

    async def read_gap(self, room_id: int, seq: int) -> Stretch:
        return await self._read(room_id, seq)
