"""Sends subscribers that are behind the entries that they have missed, page by page from the store.

Resuming, joining with `since` and catching up after a full link all work this way.
"""

from typing import Any, Protocol

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.delivery.pages import Page, Pages
from chatserver.delivery.room import Room, Rooms
from chatserver.session.session import Session
from chatserver.util.waiting import pause
from chatserver.values.errors import Unavailable
from chatserver.values.events import Live
from chatserver.values.stages import Stage

RETRY_SECONDS = 1.0
"""Interval between attempts after a failed read."""


class Ending(Protocol):
    """A part that ends subscriptions."""

    def end(self, session: Session, room: Room) -> None:
        """A session whose account has left a room has been sent everything up to then."""


class CatchUp:
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        rooms: Rooms,
        pages: Pages,
        ending: Ending,
    ) -> None:
        self._clock = clock
        self._rooms = rooms
        self._pages = pages
        self._ending = ending
        self.delivered = 0  # entries, counted for each subscriber that they were written to

    def start(self, session: Session) -> None:
        """Sends a session its missed entries while its link is writable."""
        if not session.pumping and session.link.writable and session.stage is Stage.IN:
            session.pumping = True
            work: Any = self._pump(session)
            ensureDeferred(work).addErrback(lambda failure: self._failed(session, failure))

    def _failed(self, session: Session, failure: Any) -> None:
        self.log.failure("A session could not catch up. Trying again.", failure)
        self._clock.callLater(RETRY_SECONDS, self.start, session)

    async def _pump(self, session: Session) -> None:
        try:
            while session.link.writable and session.stage is Stage.IN:
                self._tell_live(session)
                behind = [room for room in session.rooms.values() if room.is_behind(session)]
                if not behind:
                    return
                for room in behind:  # a page of each in turn
                    await self._send_page(session, room.facts.id)
                    if not session.link.writable:
                        return
        finally:
            session.pumping = False
            session.link.more()

    async def _send_page(self, session: Session, room_id: int) -> None:
        room = self._rooms.find(room_id)
        if room is None or not room.is_behind(session):
            return
        position = room.behind[session]
        try:
            page = await self._pages.read(room_id, position, session)
            if session.is_quoted_to and page.quoted is None:
                page = await self._pages.quoted(session.who.person, room_id, page)
        except Unavailable:
            await pause(self._clock, RETRY_SECONDS)
            return
        if session.stage is Stage.ENDING or room.position(session) != position:
            return  # meanwhile it has left, or subscribed again from another entry on
        if not self._send_part(session, room, page):
            self.log.error("Room {room} has no entry {seq}.", room=room_id, seq=position + 1)
            await pause(self._clock, RETRY_SECONDS)
            return
        while session.link.writable and room.is_behind(session) and self._send_part(session, room, page):
            pass

    def _send_part(self, session: Session, room: Room, page: Page) -> bool:
        """Sends a session the next part of this page. Returns False if the page does not have it."""
        position = room.behind[session]
        facts, until = (room.facts, None) if room in session.replays else room.facts_behind(position)
        last = room.until.get(session, room.head)
        last = last if until is None else min(last, until)
        reader = session.who.account_id if session.view is None else 0
        batch = page.part(facts, position, last, for_people=session.is_quoted_to, account_id=reader)
        if batch is None:
            return False
        rendered = batch.rendered_for(session)
        seq = batch.entries[-1].seq
        room.move(session, seq)
        session.link.write(rendered.data)
        self.delivered += len(batch.entries)
        batch.has_reached(session, len(batch.entries), rendered)
        if room.until.get(session) == seq:
            self._ending.end(session, room)
        return True

    def _tell_live(self, session: Session) -> None:
        if not session.replays:
            return
        for room in [r for r in session.rooms.values() if r in session.replays and not r.is_behind(session)]:
            session.replays -= {room}
            label = room.facts.label(session.who.account_id)
            session.tell(Live(label, room.position(session) or 0, room.facts.id))
