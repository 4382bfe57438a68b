"""Pages of a room's log, read from the store for sessions that are behind and for gaps."""

from collections.abc import Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime

from chatserver.presence.elsewhere import OtherNodes
from chatserver.store import entries, quotes
from chatserver.store.db.threads import Store
from chatserver.util.waiting import Batcher, turns
from chatserver.values.errors import Unavailable
from chatserver.values.events import Entry, Person

Page = tuple[list[Entry], bool]
"""Entries in ascending order, and whether there are more behind them."""

PAGE_ENTRIES: Final = 200
"""Maximum number of entries in a page."""
PAGE_CHARACTERS: Final = 64 * 1024
"""Maximum size of the texts in a page, in characters; a page has at least one entry."""
GAP_ROOMS: Final = 100
"""Maximum number of rooms whose gaps are read in one statement."""
GAP_ENTRIES: Final = 20
"""Minimum number of entries that such a statement reads for each room; for a few rooms it reads more."""


class Pages:
    """Reads pages. All methods raise Unavailable, also while this node is cut off: a page does not say who may still
    be sent it."""

    def __init__(self, clock: IReactorTime, store: Store, nodes: OtherNodes) -> None:
        self._store = store
        self._nodes = nodes
        self._gaps: Batcher[tuple[int, int], Page] = Batcher(self._read_gaps, GAP_ROOMS, turns(clock))

    async def read(self, room_id: int, seq: int) -> Page:
        """The entries of a room behind this seq."""
        page = await self._store.read(entries.follow, room_id, seq, PAGE_ENTRIES, PAGE_CHARACTERS)
        self._refuse_if_cut_off()
        return page

    async def read_gap(self, room_id: int, seq: int) -> Page:
        """As `read`, together with the gaps of other rooms: after an outage there may be thousands."""
        return await self._gaps.ask((room_id, seq))

    async def _read_gaps(self, positions: list[tuple[int, int]]) -> list[Page]:
        each = max(PAGE_ENTRIES // len(positions), GAP_ENTRIES)
        pages = await self._store.read(entries.follow_all, positions, each, PAGE_CHARACTERS)
        self._refuse_if_cut_off()
        return pages

    def _refuse_if_cut_off(self) -> None:
        if self._nodes.now.cut_off:
            raise Unavailable()

    async def quoted(self, who: Person, room_id: int, page: Sequence[Entry]) -> list[Entry]:
        """The page with the quotes that this person may read."""
        return await self._store.read(quotes.quoted, who, room_id, page)
