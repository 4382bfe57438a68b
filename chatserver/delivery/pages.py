"""Pages of a room's log, read from the store for sessions that are behind and for gaps.

A thousand sessions may be behind at once. A few pages are under way at a time, at most one of a room; rooms take turns,
and in a room accounts do. Sessions that wait for entries that stand close together share a page: it is read once,
rendered once for each form, and handed to a few of them in each turn of the reactor.
"""

from collections.abc import Sequence
from sys import maxsize
from typing import Any, Final

from msgspec import Struct, structs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime

from chatserver.delivery.rendering import Batch
from chatserver.session.other_nodes import OtherNodes
from chatserver.session.session import Session
from chatserver.store import quotes, reactions, replies
from chatserver.store.db.threads import Store
from chatserver.util.fair_queue import FairQueue, FixedPlaces
from chatserver.util.waiting import Batcher, turns
from chatserver.values.errors import Unavailable
from chatserver.values.events import MESSAGE, Entry, Person, RoomFacts
from chatserver.values.stages import Stage

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
    not the same for all of them. `given`: by account, the reactions that it gives to messages, for programs."""

    __slots__ = ("_batches", "entries", "given", "quoted")

    def __init__(
        self, entries: Sequence[Entry], quoted: Sequence[Entry] | None = None, given: reactions.Givings | None = None
    ) -> None:
        self.entries = entries
        self.quoted = quoted
        self.given = given or {}
        self._batches: dict[tuple[RoomFacts, int, int, bool, int], Batch] = {}

    def part(
        self, facts: RoomFacts, position: int, last: int, *, for_people: bool, account_id: int = 0
    ) -> Batch | None:
        """What comes behind `position`: some entries, up to `last`, in one batch for all who are sent the same; None if
        the next entry is not in this page. `for_people`: with quotes, which some programs are sent as well.
        `account_id`: that of a program, which is shown its own reactions.

        Parts end at the same numbers for everybody. Sessions that stop at different places in a page are thus sent the
        same parts soon."""
        known = self.quoted if for_people and self.quoted is not None else self.entries
        last = min(last, known[-1].seq if known else 0)
        end = min(last, position - position % PART_ENTRIES + PART_ENTRIES)
        mine = self.given.get(account_id)
        key = facts, position, last, known is self.quoted, account_id if mine else 0
        batch = self._batches.get(key)
        if batch is None:
            found = _between(known, position, end, last)
            if not found:
                return None
            batch = self._batches[key] = Batch(facts, reactions.own_of(found, mine) if mine else found)
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
    """A session waits for the entries behind its position in a room."""

    seq: int
    session: Session
    page: "Deferred[Page]"

    @property
    def place(self) -> int:
        """Those at the same place share a page."""
        return self.seq // PAGE_ENTRIES

    @property
    def is_gone(self) -> bool:
        return self.session.stage is Stage.ENDING

    @property
    def for_people(self) -> bool:
        return self.session.is_quoted_to


def _next(waiting: dict[int, list[Wanted]]) -> list[Wanted]:
    """Takes out those who wait at the same place as the account whose turn it is, which goes behind the others."""
    account_id, mine = next(iter(waiting.items()))
    waiting[account_id] = waiting.pop(account_id)
    place, taken = mine[0].place, []
    for other_id, theirs in list(waiting.items()):
        taken += [wanted for wanted in theirs if wanted.place == place]
        left = [wanted for wanted in theirs if wanted.place != place]
        if left:
            waiting[other_id] = left
        else:
            del waiting[other_id]
    return taken


class Pages:
    """Reads pages. All methods raise Unavailable, also while this node is cut off: a page does not say who may still
    be sent it."""

    def __init__(self, clock: IReactorTime, store: Store, nodes: OtherNodes) -> None:
        self._store = store
        self._nodes = nodes
        self._turn = turns(clock)
        self._queue = FairQueue(FixedPlaces(PAGES_AT_ONCE, maxsize), Unavailable(), per_key=1)
        self._wanted: dict[int, dict[int, list[Wanted]]] = {}  # by room id, and account id: the next one in front
        self._gaps: Batcher[tuple[int, int], Stretch] = Batcher(self._read_gaps, GAP_ROOMS, turns(clock))

    async def read(self, room_id: int, seq: int, session: Session) -> Page:
        """A page with the entries of a room behind this seq, and perhaps some before them; with quotes for those
        who are sent them. It may be other sessions' page, too: do not change it. It is empty if the session is ending.
        """
        wanted = Wanted(seq, session, Deferred())
        self._want(room_id, wanted)
        page = await wanted.page
        self._refuse_if_cut_off()
        return page

    def _want(self, room_id: int, wanted: Wanted) -> None:
        is_first = room_id not in self._wanted
        self._wanted.setdefault(room_id, {}).setdefault(wanted.session.who.account_id, []).append(wanted)
        if is_first:
            self._queue_up(room_id)

    def _queue_up(self, room_id: int) -> None:
        work: Any = self._queue.run(str(room_id), lambda: self._serve(room_id))
        ensureDeferred(work)

    async def _serve(self, room_id: int) -> None:
        """The turn of a room."""
        waiting = self._wanted[room_id]
        try:
            await self._hand_out(room_id, _next(waiting))
        finally:
            if waiting:
                self._queue_up(room_id)
            else:
                del self._wanted[room_id]

    async def _hand_out(self, room_id: int, those: Sequence[Wanted]) -> None:
        """Reads a page from the first position on that one of these waits at, and hands it to them."""
        first = min((wanted.seq for wanted in those if not wanted.is_gone), default=None)
        page, more, failed = Page(()), False, None
        if first is not None:
            try:
                page, more = await self._read(room_id, first, for_people=any(wanted.for_people for wanted in those))
                await self._look_up_given(room_id, page, those)
            except Exception as error:
                failed = error
        for number, wanted in enumerate(those, 1):
            if failed is not None:
                wanted.page.errback(failed)
            elif more and not wanted.is_gone and page.entries[-1].seq <= wanted.seq != first:
                self._want(room_id, wanted)  # there is too much text before it
            else:
                wanted.page.callback(page)
            if number < len(those) and not number % SESSIONS_A_TURN:
                await self._turn()

    async def _read(self, room_id: int, seq: int, *, for_people: bool) -> tuple[Page, bool]:
        """The page, and whether there is more behind it."""
        if for_people:
            found, more, quoted = await self._store.read(quotes.follow, room_id, seq, PAGE_ENTRIES, PAGE_CHARACTERS)
            return Page(found, quoted), more
        found, more = await self._store.read(replies.follow, room_id, seq, PAGE_ENTRIES, PAGE_CHARACTERS)
        return Page(found), more

    async def _look_up_given(self, room_id: int, page: Page, those: Sequence[Wanted]) -> None:
        """Programs see which reactions are their own."""
        programs = {wanted.session.who.account_id for wanted in those if wanted.session.view is None}
        if programs and any(entry.reactions and entry.kind == MESSAGE for entry in page.entries):
            page.given = await self._store.read(reactions.given_on, programs, room_id, page.entries)

    async def quoted(self, who: Person, room_id: int, page: Page) -> Page:
        """The page with the quotes that this person may read."""

        async def read() -> list[Entry]:
            return await self._store.read(quotes.quoted, who, room_id, page.entries)

        quoted = await self._queue.run(str(room_id), read)
        self._refuse_if_cut_off()
        return Page(page.entries, quoted, page.given)

    async def read_gap(self, room_id: int, seq: int) -> Stretch:
        """The entries of a room behind this seq, together with the gaps of other rooms: after an outage there may be
        thousands."""
        return await self._gaps.ask((room_id, seq))

    async def _read_gaps(self, positions: list[tuple[int, int]]) -> list[Stretch]:
        each = max(PAGE_ENTRIES // len(positions), GAP_ENTRIES)
        pages = await self._store.read(quotes.follow_all, positions, each, PAGE_CHARACTERS)
        self._refuse_if_cut_off()
        return pages

    def _refuse_if_cut_off(self) -> None:
        if self._nodes.now.cut_off:
            raise Unavailable()
