"""Processors, each of which serves a lane. Messages that arrive during a transaction share the next one."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from chatserver.handlers import READS, SEES_MARKS, SEES_ONLINE, WRITES
from chatserver.handlers.cluster_notes import written
from chatserver.handlers.immediate import AT_ONCE, Immediate, immediate
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.pipeline.lanes import Lane, Lanes, Processor
from chatserver.pipeline.outcomes import CommandCounts, Consequences
from chatserver.pipeline.parts import PipelineParts, SlowHandlers
from chatserver.pipeline.takes import Spoken, Takes
from chatserver.session.retry import MESSAGES
from chatserver.session.session import Session
from chatserver.settings.tables import Settings
from chatserver.util.fair_queue import FairQueue, FixedPlaces
from chatserver.util.histogram import Histogram
from chatserver.util.time_words import PROGRAM_ZONE
from chatserver.values import commands as c
from chatserver.values.errors import FAULT, FAULTY, Refused, Rejected, Unavailable, Why
from chatserver.wire.dialect import NONE

READ_TAKE: Final = 1

MOST_SEARCHES: Final = 128
"""Maximum number of searches that wait. A further one would be answered minutes later, if all of them are slow."""
MOST_OF_ACCOUNT: Final = 4
"""Maximum number of searches of one account that wait: it has several connections."""
BUSY: Final = Refused(Why.TOO_MANY_SEARCHES, retry=10)


def search_count(settings: Settings) -> int:
    """Maximum number of searches at the same time: half the number of lanes for other reading."""
    return max(settings.pipeline.read_lanes // 2, 1)


class Processors:
    """Serves the commands in the sessions' inboxes, in order for each session."""

    log = Logger()

    def __init__(self, parts: PipelineParts, lanes: Lanes, slow: SlowHandlers) -> None:
        self._settings = parts.settings
        self._turn = parts.turn
        self._lanes = lanes
        self._store = parts.store
        self._registry = parts.registry
        self._online = parts.online
        self._reconciler = parts.reconciler
        self._lease = parts.lease
        self._marks = parts.marks
        self._slow: SlowHandlers = {**slow, c.Search: self._search, c.Mentions: self._search}
        self._searches = FairQueue(
            FixedPlaces(search_count(parts.settings), MOST_SEARCHES), BUSY, per_key=1, in_line=MOST_OF_ACCOUNT
        )
        self._stopped = False
        self._seconds = parts.registry.seconds
        self.counts = CommandCounts()
        self._consequences = Consequences(parts, self.counts)
        self.takes = Takes(parts, lanes, self.counts, self)
        self._aside = self.takes.aside
        self.waits = {lane: Histogram() for lane in ("write", "read")}  # seconds in the queue

    def queue_lengths(self) -> dict[str, int]:
        """Number of sessions that wait to be served, by lane."""
        writes = sum(map(len, self._lanes.writes)) + len(self._aside.sessions)
        return {"write": writes, "read": len(self._lanes.reads)}

    def start(self, readers: int) -> None:
        for lane in self._lanes.writes:
            ensureDeferred(self._run(lane, self._settings.pipeline.take, self._serve_writes, self.waits["write"]))
        for _ in range(readers):
            ensureDeferred(self._run(self._lanes.reads, READ_TAKE, self._serve_reads, self.waits["read"]))

    def stop(self) -> None:
        """Stops putting sessions into the lanes. Those being served are finished."""
        self._stopped = True

    # From the inbox to a lane

    def schedule(self, session: Session) -> None:
        """Puts a session that is not waiting yet into the lane of its next command.

        Commands that need no store are answered here. A session whose link is full is not served: its client has to
        read first.
        """
        if session.waiting or self._stopped:
            if not session.due_since:
                session.due_since = self._seconds()
            return
        inbox = session.inbox
        while inbox:
            if not session.link.writable:
                session.due_since = 0.0  # it waits for its client
                return
            command = inbox[0]
            if isinstance(command, Rejected):
                inbox.pop(0)
                session.link.refuse(command)
            elif type(command) in AT_ONCE and (handler := immediate(command)):
                inbox.pop(0)
                self._serve_at_once(session, command, handler)
            else:
                session.waiting = True
                if type(command) in self._slow:
                    inbox.pop(0)
                    ensureDeferred(self._serve_slow(session, command))
                else:
                    if not session.due_since:
                        session.due_since = self._seconds()
                    self._lanes.next_lane(session, writes=type(command) in WRITES).put(session)
                return
        session.due_since = 0.0
        session.link.more()

    def _serve_at_once(self, session: Session, command: c.Command, handler: Immediate) -> None:
        try:
            outcome = handler(self._online, session, command)
        except Exception as error:
            self._fail(session, command, error)
        else:
            self._consequences.conclude(session, command, outcome)

    async def _serve_slow(self, session: Session, command: c.Command) -> None:
        await self._serve(session, command, self._slow[type(command)](session, command))
        session.waiting = False
        self.schedule(session)

    async def _search(self, session: Session, command: c.Search | c.Mentions) -> Outcome:
        """Searches wait for each other, so that other reading does not wait for them. Accounts take turns."""

        async def search() -> Outcome:
            if not self._lease.check():  # all connections are being ended
                raise Unavailable()
            return await self.ask(session, command)

        return await self._searches.run(str(session.who.account_id), search)

    # Serving a lane

    async def _run(
        self, lane: Lane, limit: int, serve: Callable[[Lane, list[Session]], Awaitable[None]], waits: Histogram
    ) -> None:
        processor = Processor()
        lane.processors.append(processor)
        while True:
            processor.waits = True
            sessions = await lane.take(limit, self._turn)
            processor.waits = False
            processor.takes += 1
            now = self._seconds()
            waits.observe_all([now - session.due_since for session in sessions])
            try:
                if self._lease.check():  # else their connections are being ended
                    await serve(lane, sessions)
            except Exception:
                self.log.failure("A take of {sessions} sessions failed.", sessions=len(sessions))
            aside = self._aside
            for session in sessions:
                if not aside.taken or not aside.has_taken(session):
                    self.resume(session)
            del session, sessions  # they may be gone long before the next take

    def resume(self, session: Session) -> None:
        """A session was served."""
        session.waiting = False
        try:
            self.schedule(session)
        except Exception:
            self.log.failure("A session could not be scheduled.")
            session.link.hang_up(*FAULTY)

    async def _serve_reads(self, lane: Lane, sessions: list[Session]) -> None:
        for session in sessions:
            session.due_since = 0.0
            await self._serve_next(lane, session)

    async def _serve_writes(self, lane: Lane, sessions: list[Session]) -> None:
        spoken: list[Spoken] = []
        others: list[Session] = []
        for session in sessions:
            said = self.takes.leading(lane, session)
            session.due_since = 0.0
            spoken += said
            if not said:
                others.append(session)
        if spoken:
            await self.takes.serve(spoken)
        for session in others[-1:]:  # if a message was none any more when its turn came, its session waits anew
            await self._serve_next(lane, session)

    # Any other command, in a transaction of its own

    async def _serve_next(self, lane: Lane, session: Session) -> None:
        command = session.inbox.pop(0) if session.inbox else None
        began = self._seconds()
        if isinstance(command, c.Command):  # else the connection has ended meanwhile
            await self._serve(session, command, self.ask(session, command))
        lane.took(session, self._seconds() - began)

    async def _serve(self, session: Session, command: c.Command, work: Awaitable[Outcome]) -> None:
        if isinstance(command, c.Join) and command.since is not None:
            session.rejoining = command.room.lower()
        try:
            try:
                outcome = await work
            finally:
                session.rejoining = ""
        except Exception as error:
            self._fail(session, command, error)
        else:
            self._consequences.conclude(session, command, outcome)

    def _fail(self, session: Session, command: c.Command, error: Exception) -> None:
        """Answers with the reason why a command failed."""
        if not isinstance(error, Refused):
            self.log.failure("The command {command} failed.", command=type(command).__name__)
            error = FAULT
        if isinstance(error, Unavailable) and type(command) not in READS:
            self._reconciler.suspect(session.who.person)
        if not isinstance(command, MESSAGES):
            self.counts.count(type(command), error)
            session.link.refuse(Rejected(error, command.tag, command.cmd))
            return
        self.takes.refuse(session, command, error)
        if isinstance(error, Unavailable):
            self.takes.refuse_following(session, error)

    async def ask(self, session: Session, command: c.Command) -> Outcome:
        """Runs a command in a transaction of its own. Raises Refused."""
        if getattr(command, "room", None) == c.CURRENT:
            if not session.current:
                raise Refused(Why.NO_CURRENT_ROOM)
            command = msgspec.structs.replace(command, room=session.current)
        marked = (
            await self._marks.known_everywhere(session.who.account_id, session) if type(command) in SEES_MARKS else {}
        )
        sees = type(command) in SEES_ONLINE or (isinstance(command, c.Unread) and command.state)
        scope = session.who.scope
        ask = Ask(
            session.who.person,
            self._online.now(),
            self._online.roster.visible_to(session.who.account_id) if sees else NONE,
            self._online.roster.away_texts() if sees else {},
            marked,
            self._settings.limits,
            scope.room_id if scope is not None else 0,
            PROGRAM_ZONE if session.view is None else session.screen.zone,
            reserved=self._settings.server.reserved_names,
            for_people=session.view is not None,
            quotes=session.view is not None or getattr(command, "quotes", False),
            language=self._settings.search.language,
        )
        if type(command) in READS:
            with self._registry.logins.begin(session.who.account_id) as seen:
                outcome = await self._store.read(READS[type(command)], ask, command)
            # It may have left the room since the read.
            return msgspec.structs.replace(outcome, hears=None) if seen.stale else outcome
        return await written(self._store, self._registry.elsewhere.origin, WRITES[type(command)], ask, command)
