"""Pages of rooms' logs that a test makes up."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from chatserver.delivery.pages import Page, Pages, Stretch
from chatserver.session.other_nodes import OtherNodes

ReadPage = Callable[[int, int], Awaitable[Stretch]]
"""(room id, seq) -> the page behind that."""


class StubPages(Pages):
    """Replies have no quotes."""

    def __init__(self, clock: IReactorTime, read: ReadPage) -> None:
        store: Any = None
        super().__init__(clock, store, OtherNodes())
        self._follow = read

    async def _read(self, room_id: int, seq: int, *, for_people: bool) -> tuple[Page, bool]:
        found, more = await self._follow(room_id, seq)
        return Page(found, found), more

    async def read_gap(self, room_id: int, seq: int) -> Stretch:
        return await self._follow(room_id, seq)
