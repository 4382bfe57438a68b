"""Who is behind reads on from the store, page by page. Resuming, joining `since` and catching up are the same."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver import encode
from chatserver.errors import Unavailable
from chatserver.events import Entry, Live
from chatserver.room import Room
from chatserver.session import Session, Stage
from chatserver.turns import pause

ReadPage = Callable[[int, int], Awaitable[tuple[list[Entry], bool]]]
"""(room id, seq) -> entries behind seq in rising order, as many as make a page, and whether there are more."""

RETRY_SECONDS = 1.0


class CatchUp:
    """`left` is called once a session has been sent everything up to its going from a room."""

    log = Logger()

    def __init__(self, clock: IReactorTime, read_page: ReadPage, left: Callable[[Session, Room], None]) -> None:
        self._clock = clock
        self._read_page = read_page
        self._left = left

    def start(self, session: Session) -> None:
        """Sends a session what it has not heard yet, for as long as it takes it."""
        if not session.pumping and session.writable and session.stage is Stage.IN:
            session.pumping = True
            work: Any = self._pump(session)
            ensureDeferred(work).addErrback(lambda failure: self._failed(session, failure))

    def _failed(self, session: Session, failure: Any) -> None:
        self.log.failure("A session could not read on; it is tried again.", failure)
        self._clock.callLater(RETRY_SECONDS, self.start, session)

    async def _pump(self, session: Session) -> None:
        try:
            while session.writable and session.stage is Stage.IN:
                self._tell_live(session)
                late = [room for room in session.rooms.values() if room.is_late(session)]
                if not late:
                    return
                for room in late:  # a page of each in turn
                    await self._page(session, room)
                    if not session.writable:
                        return
        finally:
            session.pumping = False
            session.more()

    async def _page(self, session: Session, room: Room) -> None:
        if not room.is_late(session):
            return
        position = room.behind[session]
        try:
            entries, _ = await self._read_page(room.facts.id, position)
        except Unavailable:
            await pause(self._clock, RETRY_SECONDS)
            return
        if room.position(session) != position:
            return  # it left, or asked for another place, meanwhile
        last = room.leaving.get(session, room.head)
        entries = [entry for entry in entries if entry.seq <= last]
        if not entries or entries[0].seq != position + 1:
            self.log.error("Room {room} has no entry {seq}.", room=room.facts.id, seq=position + 1)
            await pause(self._clock, RETRY_SECONDS)
            return
        room.place(session, entries[-1].seq)
        session.write(encode.Batch(room.facts, entries).for_session(session))
        if room.leaving.get(session) == entries[-1].seq:
            self._left(session, room)

    def _tell_live(self, session: Session) -> None:
        if not session.replays:
            return
        for room in [r for r in session.rooms.values() if r in session.replays and not r.is_late(session)]:
            session.replays -= {room}
            session.write(encode.news(session, Live(room.facts.label(session.account_id), room.position(session) or 0)))
