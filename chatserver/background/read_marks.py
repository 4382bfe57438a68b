"""Read marks of people: entries shown by one session of an account are read for all of them, and soon stored."""

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime

from chatserver.background.session_rows import SessionRows
from chatserver.presence.roster import Roster
from chatserver.session.session import Session
from chatserver.values.seen import Seen, merged

MOVED_SECONDS = 3.0
"""Interval between writes of marks: at most this much is unread again after the server was killed."""

SLICE = 200
"""Maximum number of sessions that are looked at in one turn of the reactor."""


class ReadMarks:
    """Stores only what has reached the client's host: see `Marks`."""

    def __init__(self, clock: IReactorTime, roster: Roster, session_rows: SessionRows) -> None:
        self._clock = clock
        self._roster = roster
        self._session_rows = session_rows
        self._moving: set[Session] = set()
        self._due = False

    def showed(self, session: Session) -> None:
        """Something was written to a person's connection that may be new to them."""
        self._moving.add(session)
        if not self._due:
            self._due = True
            self._clock.callLater(MOVED_SECONDS, self._store)
        if session.view is not None and session.view.marks.crowded:
            session.view.marks.settle(session.link.taken())

    def ended(self, session: Session) -> None:
        """A session has ended or lost its connection: what has arrived until now is stored soon."""
        self._moving.discard(session)
        self._take(session)

    def _store(self) -> None:
        moving, self._moving = list(self._moving), set()
        self._store_some(moving)

    def _store_some(self, moving: list[Session]) -> None:
        """Each costs a system call, and there may be very many: the reactor gets a turn in between."""
        for session in moving[:SLICE]:
            if self._take(session) and self._roster.has(session):
                self._moving.add(session)
        if len(moving) > SLICE:
            self._clock.callLater(0, self._store_some, moving[SLICE:])
            return
        self._due = bool(self._moving)
        if self._due:
            self._clock.callLater(MOVED_SECONDS, self._store)

    def _take(self, session: Session) -> bool:
        """Takes the marks of what has arrived. Returns whether something is still under way."""
        if session.view is None:
            return False
        marks = session.view.marks
        marks.settle(session.link.taken())
        self._session_rows.mark(session.who.account_id, marks.take_changed())
        return marks.unsettled

    def known(self, account_id: int, asking: Session | None = None) -> dict[int, Seen]:
        """Returns, by room id, the entries that an account has seen on all its screens, as far as not stored yet. It
        includes what is under way to the session that asks: that comes before the answer."""
        return merged([self._session_rows.unwritten(account_id), *self._screens(account_id, asking)])

    async def known_everywhere(self, account_id: int, asking: Session | None = None) -> dict[int, Seen]:
        """Includes screens at other nodes."""
        there = await self._roster.nodes.now.seen(account_id)
        known = self.known(account_id, asking)
        return merged((there, known)) if there else known

    def unstored(self, account_id: int) -> dict[int, Seen]:
        """Returns, by room id, the entries that an account has seen here, as far as not stored yet."""
        found = [self._session_rows.unwritten(account_id)]
        for session in self._roster.sessions(account_id):
            if session.view is not None:
                marks = session.view.marks
                marks.settle(session.link.taken())
                found.append({room_id: marks.seen[room_id] for room_id in marks.changed})
        return merged(found)

    def _screens(self, account_id: int, asking: Session | None) -> Iterable[dict[int, Seen]]:
        for session in self._roster.sessions(account_id):
            if session.view is not None:
                if session is asking:
                    yield session.view.marks.shown()
                else:
                    session.view.marks.settle(session.link.taken())
                    yield session.view.marks.seen
