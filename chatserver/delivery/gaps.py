"""Reads entries that are stored but were not announced, and has them published. Some may have been removed by then:
their numbers are skipped."""

from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.delivery.catchup import RETRY_SECONDS
from chatserver.delivery.pages import Pages
from chatserver.delivery.room import Room
from chatserver.util.waiting import pause
from chatserver.values.errors import Unavailable
from chatserver.values.events import GAP, Entry, RoomFacts

GAP_SECONDS = 0.2
"""How long to wait for entries that are stored but not announced yet, before they are read from the store."""


class Publishing(Protocol):
    """A part that publishes entries."""

    def fill(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        """These entries, at least one, were read from the store: in ascending order, from the room's head on."""


class Gaps:
    log = Logger()

    def __init__(self, clock: IReactorTime, pages: Pages) -> None:
        self._clock = clock
        self._pages = pages
        self._publishing: Publishing | None = None

    def follow(self, publishing: Publishing) -> None:
        """Hands entries that were read to this part from now on."""
        self._publishing = publishing

    def expect(self, room: Room) -> None:
        """Entries are stored that have not come: waits a little for them, then reads them."""
        if not room.filling:
            room.filling = True
            self._clock.callLater(GAP_SECONDS, self._spawn, room)

    def doubt(self, room: Room) -> None:
        """Entries may be stored that were not announced: reads at once."""
        room.doubted = True
        if not room.filling:
            room.filling = True
            self._spawn(room)

    def _spawn(self, room: Room) -> None:
        work: Any = self._fill(room)
        ensureDeferred(work).addErrback(lambda failure: self.log.failure("A gap was not filled.", failure))

    async def _fill(self, room: Room) -> None:
        try:
            more = True
            while (more or room.doubted) and room.subscribers:
                if room.unsent:
                    await pause(self._clock, 0)
                    continue
                room.doubted = False
                try:
                    entries, more = await self._pages.read_gap(room.facts.id, room.head)
                except Unavailable:
                    more = True
                    await pause(self._clock, RETRY_SECONDS)
                    continue
                if not entries:
                    continue
                if room.unsent and entries[0].kind == GAP:  # numbers are skipped between two batches
                    more = True
                    continue
                room.filling = False
                if self._publishing is not None:
                    self._publishing.fill(room.facts, entries)
                room.filling = True
        finally:
            room.filling = False
