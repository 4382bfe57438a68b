"""Pages of rooms' logs that a test makes up."""

from collections.abc import Awaitable, Callable, Sequence

from chatserver.delivery.pages import Page, Pages
from chatserver.values.events import Entry, Person

ReadPage = Callable[[int, int], Awaitable[Page]]
"""(room id, seq) -> the page behind that."""
Quoted = Callable[[Person, int, Sequence[Entry]], Awaitable[list[Entry]]]
"""(reader, room id, page) -> the page with quotes."""


class StubPages(Pages):
    """Without `quoted`, replies have no quotes."""

    def __init__(self, read: ReadPage, read_gap: ReadPage | None = None, quoted: Quoted | None = None) -> None:
        self._read = read
        self._read_gap = read_gap or read
        self._quoted = quoted

    async def read(self, room_id: int, seq: int) -> Page:
        return await self._read(room_id, seq)

    async def read_gap(self, room_id: int, seq: int) -> Page:
        return await self._read_gap(room_id, seq)

    async def quoted(self, who: Person, room_id: int, page: Sequence[Entry]) -> list[Entry]:
        return list(page) if self._quoted is None else await self._quoted(who, room_id, page)
