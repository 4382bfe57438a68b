"""Pages of a room's log, read from the store for sessions that are behind and for gaps.

A thousand sessions may be behind at once. A few pages are under way at a time, at most one of a room, and rooms take
turns. Sessions that wait for entries that stand close together share a page: it is read once, rendered once for each
form, and handed to a few of them in each turn of the reactor.
"""

from collections.abc import Sequence
from sys import maxsize
from typing import Any, Final

from msgspec import Struct, structs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime

from chatserver.delivery.rendering import Batch
from chatserver.presence.elsewhere import OtherNodes
from chatserver.store import entries, quotes
from chatserver.store.db.threads import Store
from chatserver.util.fair_queue import FairQueue, FixedPlaces
from chatserver.util.waiting import Batcher, turns
from chatserver.values.errors import Unavailable
from chatserver.values.events import Entry, Person, RoomFacts

Stretch = tuple[list[Entry], bool]
"""Entries in ascending order, and whether there are more behind them."""

PAGE_ENTRIES: Final = 200
"""Maximum number of entries in a page."""
PAGE_CHARACTERS: Final = 64 * 1024
"""Maximum size of the texts in a page, in characters; a page has at least one entry."""
PART_ENTRIES: Final = 50
"""Maximum number of entries of a page that are written to a session at once."""
PART_CHARACTERS: Final = 16 * 1024
"""Maximum size of the texts in such a part, in characters; it has at least one entry."""
PAGES_AT_ONCE: Final = 4
"""Maximum number of pages that are read or handed to sessions at a time."""
SESSIONS_A_TURN: Final = 2
"""Maximum number of sessions that are handed a page in one turn of the reactor."""
GAP_ROOMS: Final = 100
"""Maximum number of rooms whose gaps are read in one statement."""
GAP_ENTRIES: Final = 20
"""Minimum number of entries that such a statement reads for each room; for a few rooms it reads more."""


class Page:
    """Consecutive entries of a room. `quoted`: the same with the quotes that every reader may read; None if that is
    not the same for all of them."""

    __slots__ = ("_batches", "entries", "quoted")

    def __init__(self, entries: Sequence[Entry], quoted: Sequence[Entry] | None = None) -> None:
        self.entries = entries
        self.quoted = quoted
        self._batches: dict[tuple[RoomFacts, int, int, bool], Batch] = {}

    def part(self, facts: RoomFacts, position: int, last: int, *, for_people: bool) -> Batch | None:
        """What comes behind `position`: some entries, up to `last`, in one batch for all who are sent the same; None if
        the next entry is not in this page.

        Parts end at the same numbers for everybody. Sessions that stop at different places in a page are thus sent the
        same parts soon."""
        known = self.quoted if for_people and self.quoted is not None else self.entries
        last = min(last, known[-1].seq if known else 0)
        end = min(last, position - position % PART_ENTRIES + PART_ENTRIES)
        key = facts, position, last, known is self.quoted
        batch = self._batches.get(key)
        if batch is None:
            found = _between(known, position, end, last)
            if not found:
                return None
            batch = self._batches[key] = Batch(facts, found)
        return batch


def _between(entries: Sequence[Entry], position: int, end: int, last: int) -> list[Entry]:
    """Those behind `position` and up to `end`, or of a gap as much as is there up to `last`."""
    found: list[Entry] = []
    size = 0
    for entry in entries:
        if entry.seq <= position:
            continue
        if entry.begin > end or size > PART_CHARACTERS:
            break
        found.append(entry)
        size += len(entry.text)
    if not found or found[0].begin > position + 1:
        return []
    if found[0].begin <= position:
        found[0] = structs.replace(found[0], of=position + 1)
    if found[-1].seq > last:
        found[-1] = structs.replace(found[-1], seq=last)
    return found


class Wanted(Struct, frozen=True, eq=False):
    """A session waits for the entries behind its position. `for_people`: with quotes."""

    seq: int
    for_people: bool
    page: "Deferred[Page]"


class Pages:
    """Reads pages. All methods raise Unavailable, also while this node is cut off: a page does not say who may still
    be sent it."""

    def __init__(self, clock: IReactorTime, store: Store, nodes: OtherNodes) -> None:
        self._store = store
        self._nodes = nodes
        self._turn = turns(clock)
        self._queue = FairQueue(FixedPlaces(PAGES_AT_ONCE, maxsize), Unavailable(), per_key=1)
        self._wanted: dict[tuple[int, int], list[Wanted]] = {}  # by room id, and position in steps of PAGE_ENTRIES
        self._gaps: Batcher[tuple[int, int], Stretch] = Batcher(self._read_gaps, GAP_ROOMS, turns(clock))

    async def read(self, room_id: int, seq: int, *, for_people: bool) -> Page:
        """A page with the entries of a room behind this seq, and perhaps some before them. Other sessions may have the
        same page, so do not change it."""
        wanted = Wanted(seq, for_people, Deferred())
        self._want(room_id, wanted)
        page = await wanted.page
        self._refuse_if_cut_off()
        return page

    def _want(self, room_id: int, wanted: Wanted) -> None:
        place = room_id, wanted.seq // PAGE_ENTRIES
        those = self._wanted.get(place)
        if those is not None:  # its turn has not come yet
            those.append(wanted)
            return
        self._wanted[place] = [wanted]
        work: Any = self._queue.run(str(room_id), lambda: self._hand_out(place))
        ensureDeferred(work)

    async def _hand_out(self, place: tuple[int, int]) -> None:
        """Reads a page from the first position on that somebody waits at, and hands it to all who wait here."""
        room_id, _ = place
        those = self._wanted.pop(place)
        first = min(wanted.seq for wanted in those)
        more, failed = False, None
        try:
            if any(wanted.for_people for wanted in those):
                found, more, quoted = await self._follow_with_quotes(room_id, first)
                page = Page(found, quoted)
            else:
                found, more = await self._follow(room_id, first)
                page = Page(found)
        except Exception as error:
            failed = error
        for number, wanted in enumerate(those, 1):
            if failed is not None:
                wanted.page.errback(failed)
            elif more and first < wanted.seq >= page.entries[-1].seq:  # so much text is before it
                self._want(room_id, wanted)
            else:
                wanted.page.callback(page)
            if number < len(those) and not number % SESSIONS_A_TURN:
                await self._turn()

    async def _follow(self, room_id: int, seq: int) -> Stretch:
        return await self._store.read(entries.follow, room_id, seq, PAGE_ENTRIES, PAGE_CHARACTERS)

    async def _follow_with_quotes(self, room_id: int, seq: int) -> tuple[list[Entry], bool, list[Entry] | None]:
        return await self._store.read(quotes.follow, room_id, seq, PAGE_ENTRIES, PAGE_CHARACTERS)

    async def quoted(self, who: Person, room_id: int, page: Page) -> Page:
        """The page with the quotes that this person may read."""

        async def read() -> list[Entry]:
            return await self._store.read(quotes.quoted, who, room_id, page.entries)

        quoted = await self._queue.run(str(room_id), read)
        self._refuse_if_cut_off()
        return Page(page.entries, quoted)

    async def read_gap(self, room_id: int, seq: int) -> Stretch:
        """The entries of a room behind this seq, together with the gaps of other rooms: after an outage there may be
        thousands."""
        return await self._gaps.ask((room_id, seq))

    async def _read_gaps(self, positions: list[tuple[int, int]]) -> list[Stretch]:
        each = max(PAGE_ENTRIES // len(positions), GAP_ENTRIES)
        pages = await self._store.read(entries.follow_all, positions, each, PAGE_CHARACTERS)
        self._refuse_if_cut_off()
        return pages

    def _refuse_if_cut_off(self) -> None:
        if self._nodes.now.cut_off:
            raise Unavailable()
