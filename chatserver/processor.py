"""The message processors: each serves a lane, and all that arrived meanwhile shares a transaction."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from chatserver import commands as c
from chatserver import encode
from chatserver.errors import ErrorWord, Refused, Unavailable
from chatserver.events import Entry, RoomFacts
from chatserver.handlers import READS, WRITES
from chatserver.handlers.local import ENDS, Here, Local, local
from chatserver.handlers.outcome import Apart, Ask, BansChanged, Effect, HangUp, Outcome, Tell
from chatserver.handlers.talk import as_entry, said
from chatserver.queue import Lane, Lanes
from chatserver.registry import Registry
from chatserver.room import Room
from chatserver.session import Dialect, Rejected, Session
from chatserver.store import messages
from chatserver.store.messages import Draft, Verdict
from chatserver.store.rooms import dismiss_guest
from chatserver.store.threads import Store
from chatserver.store.transactions import Conflict
from chatserver.turns import Turn

READ_TAKE = 1
FAULT = Unavailable("Something went wrong in the server; it is in its log. Try again.")


class Spoken(Struct, frozen=True, gc=False):
    """A `say` on its way: who says it, in which room, under which tag."""

    session: Session
    room: Room
    tag: c.Tag | None
    draft: Draft


class Processors:
    """Serves the commands in the sessions' inboxes, in order for each session.

    `slow` are commands that take neither the store's time nor a lane, but some other: coroutines by type. `stored` is
    told how many messages have been stored, once their senders have been answered.
    """

    log = Logger()

    def __init__(
        self,
        turn: Turn,
        lanes: Lanes,
        store: Store,
        registry: Registry,
        now: Callable[[], datetime],
        take: int,
        here: Here,
        slow: dict[type[c.Command], Callable[[Session, Any], Awaitable[Outcome]]],
        bans_changed: Callable[[], None],
        stored: Callable[[int], None],
    ) -> None:
        self._turn = turn
        self._lanes = lanes
        self._store = store
        self._registry = registry
        self._now = now
        self._take = take
        self._here = here
        self._slow = slow
        self._bans_changed = bans_changed
        self._stored = stored
        self._stopped = False

    def start(self, readers: int) -> None:
        for lane in self._lanes.writes:
            ensureDeferred(self._run(lane, self._take, self._serve_writes))
        for _ in range(readers):
            ensureDeferred(self._run(self._lanes.reads, READ_TAKE, self._serve_reads))

    def stop(self) -> None:
        """Brings nothing more into the lanes; what is being served is finished."""
        self._stopped = True

    # From the inbox to a lane

    def schedule(self, session: Session) -> None:
        """Brings a session that is not waiting already into the lane of its next command.

        What needs no store is answered here. A session that takes no answers is not served: its client is
        to read first.
        """
        if session.waiting or self._stopped:
            return
        inbox = session.inbox
        while inbox:
            if not session.writable:
                return
            command = inbox[0]
            if isinstance(command, Rejected):
                inbox.pop(0)
                session.refuse(command)
            elif answer := local(command):
                inbox.pop(0)
                self._answer_here(session, command, answer)
            else:
                session.waiting = True
                if type(command) in self._slow:
                    inbox.pop(0)
                    self._spawn_slow(session, command)
                else:
                    self._lanes.next_lane(session, writes=type(command) in WRITES).put(session)
                return
        session.more()

    def _answer_here(self, session: Session, command: c.Command, handler: Local) -> None:
        try:
            answer = handler(self._here, session, command)
        except Refused as refused:
            session.refuse(Rejected(refused, command.tag))
            return
        session.write(encode.answer(session, command.tag, answer))
        if type(command) in ENDS:
            session.hang_up(*ENDS[type(command)])

    def _spawn_slow(self, session: Session, command: c.Command) -> None:
        async def work() -> None:
            try:
                self._conclude(session, command, await self._slow[type(command)](session, command))
            except Refused as refused:
                session.refuse(Rejected(refused, command.tag))
            except Exception:
                self.log.failure("A {command} failed.", command=type(command).__name__)
                session.refuse(Rejected(FAULT, command.tag))
            session.waiting = False
            self.schedule(session)

        ensureDeferred(work())

    # Serving a lane

    async def _run(self, lane: Lane, most: int, serve: Callable[[Lane, list[Session]], Awaitable[None]]) -> None:
        while True:
            sessions = await lane.take(most, self._turn)
            try:
                await serve(lane, sessions)
            except Exception:
                self.log.failure("A take of {sessions} sessions failed.", sessions=len(sessions))
            for session in sessions:
                session.waiting = False
                self.schedule(session)

    async def _serve_reads(self, lane: Lane, sessions: list[Session]) -> None:
        for session in sessions:
            await self._serve_one(session)

    async def _serve_writes(self, lane: Lane, sessions: list[Session]) -> None:
        spoken: list[Spoken] = []
        others: list[Session] = []
        for session in sessions:
            said = self._leading_says(lane, session)
            spoken += said
            if not said:
                others.append(session)
        if spoken:
            await self._serve_says(spoken)
        for session in others:
            await self._serve_one(session)

    def _leading_says(self, lane: Lane, session: Session) -> list[Spoken]:
        """Takes from the inbox the messages at its beginning that go to rooms of this lane which it hears."""
        spoken: list[Spoken] = []
        inbox = session.inbox
        while inbox and type(say := inbox[0]) is c.Say:
            room = session.room_called(say.room)
            if room is None or (spoken and self._lanes.write_lane(session, say.room or session.current) is not lane):
                break
            inbox.pop(0)
            draft = Draft(room.facts.id, session.account_id, say.text, say.id)
            spoken.append(Spoken(session, room, say.tag, draft))
        return spoken

    async def _serve_says(self, spoken: list[Spoken]) -> None:
        at = self._now()
        try:
            verdicts = await self._store.append(messages.append, [one.draft for one in spoken], at)
        except Unavailable as refused:
            for one in spoken:
                # It may have been stored all the same: then the others are to see it once the store is back.
                self._registry.doubt(one.room)
                one.session.refuse(Rejected(refused, one.tag))
            return
        except Exception as error:
            if len(spoken) > 1:
                # One client's failure is never another's.
                for one in spoken:
                    await self._serve_says([one])
            elif isinstance(error, Conflict):
                await self._serve_says(spoken)  # the same id on two connections: the other one is stored now
            else:
                self.log.failure("A message could not be stored.")
                spoken[0].session.refuse(Rejected(FAULT, spoken[0].tag))
            return
        self._tell(spoken, verdicts)
        self._stored(len(spoken))
        while self._registry.lagging:
            await self._turn()

    def _tell(self, spoken: list[Spoken], verdicts: list[Verdict]) -> None:
        """Publishes what was kept, a batch a room, and answers everybody; each connection is written to once."""
        kept: dict[Room, list[Entry]] = {}
        sessions = {one.session: None for one in spoken}
        for session in sessions:
            session.hold()
        for one, verdict in zip(spoken, verdicts, strict=True):
            if verdict.outcome == "kept":
                session = one.session
                kept.setdefault(one.room, []).append(as_entry(one.draft, session.person, verdict))
                if session.dialect is Dialect.TEXT and session.room_called("") is one.room:
                    session.unechoed |= {(one.room.facts.id, verdict.seq)}
        for room, entries in kept.items():
            self._registry.publish(room.facts, entries)
        for one, verdict in zip(spoken, verdicts, strict=True):
            session = one.session
            try:
                answer = said(one.room.facts.label(session.account_id), verdict)
            except Refused as refused:
                session.refuse(Rejected(refused, one.tag))
            else:
                session.write(encode.answer(session, one.tag, answer))
        for session in sessions:
            session.release()

    async def _serve_one(self, session: Session) -> None:
        """One command in a transaction of its own."""
        command = session.inbox.pop(0) if session.inbox else None
        if not isinstance(command, c.Command):  # the connection has ended meanwhile
            return
        try:
            outcome = await self._ask(session, command)
        except Refused as refused:
            session.refuse(Rejected(refused, command.tag))
        except Exception:
            self.log.failure("A {command} failed.", command=type(command).__name__)
            session.refuse(Rejected(FAULT, command.tag))
        else:
            self._conclude(session, command, outcome)

    async def _ask(self, session: Session, command: c.Command) -> Outcome:
        if getattr(command, "room", None) == c.CURRENT:
            if not session.current:
                raise Refused(ErrorWord.BAD_COMMAND, "You are in no room. Join one first: /join ROOM")
            command = msgspec.structs.replace(command, room=session.current)
        human = session.dialect is Dialect.TEXT
        of_people = isinstance(command, (c.Who, c.Members))
        ask = Ask(
            session.person,
            self._now(),
            self._registry.seen_by(session.account_id) if of_people else frozenset(),
            dict(self._registry.away) if of_people else {},
            human,
            dict(session.read) if human else {},
        )
        if type(command) in READS:
            return await self._store.read(READS[type(command)], ask, command)
        try:
            return await self._store.write(WRITES[type(command)], ask, command)
        except Conflict:  # another one did it at the same moment: now it is seen
            return await self._store.write(WRITES[type(command)], ask, command)

    def _typed_here(self, session: Session, command: c.Command, facts: RoomFacts) -> bool:
        """Whether the person knows already what the new entries say."""
        if isinstance(command, c.Say):
            return session.current.lower() == facts.label(session.account_id).lower()
        return not isinstance(command, c.Topic)

    def _conclude(self, session: Session, command: c.Command, outcome: Outcome) -> None:
        """Publishes, answers, and does what follows from a command that is committed."""
        registry, facts = self._registry, outcome.facts
        answer = encode.answer(session, command.tag, outcome.answer)
        session.hold()
        if outcome.replay is not None and facts is not None:
            registry.replay(session, facts, outcome.replay.since, outcome.replay.head)
            session.write(answer)
            answer = b""
        if facts is not None and outcome.entries:
            if session.dialect is Dialect.TEXT and self._typed_here(session, command, facts):
                session.unechoed |= {(facts.id, entry.seq) for entry in outcome.entries}
            registry.publish(facts, outcome.entries)
        if facts is not None and isinstance(command, c.Leave):
            registry.stop_hearing(session, facts)
        for other_facts, entries in outcome.more:
            registry.publish(other_facts, entries)
        session.write(answer)
        if facts is not None and isinstance(command, (c.Join, c.Create, c.Look)):
            session.current = facts.label(session.account_id)
            session.has_read(facts.id, outcome.seen)
        elif isinstance(command, c.Leave) and session.room_called(c.CURRENT) is None:
            session.current = next((room.facts.label(session.account_id) for room in session.rooms.values()), c.CURRENT)
            if session.dialect is Dialect.TEXT and session.current:
                session.write(encode.notice(f"What you type goes to {session.current} now."))
        elif isinstance(command, c.Delete) and session.current == command.room:
            session.current = c.CURRENT
        session.release()
        for effect in outcome.effects:
            self._apply(session, effect)
        registry.catch_up(session)

    def dismiss(self, guest: Session) -> None:
        """A guest is gone, and with that out of all rooms."""

        async def work() -> None:
            await self._registry.quiet([guest])
            for facts, entries in await self._store.write(dismiss_guest, guest.person, self._now()):
                self._registry.publish(facts, entries)

        ensureDeferred(work()).addErrback(lambda failure: self.log.failure("A guest has not left.", failure))

    def _apply(self, session: Session, effect: Effect) -> None:
        """What a command does beside what stands in a room's log."""
        match effect:
            case Tell(account_id, news):
                self._registry.tell([s for s in self._registry.sessions(account_id) if s is not session], news)
            case HangUp(account_id, reason, text, token_id, spare):
                for other in self._registry.sessions(account_id):
                    if (not token_id or other.token_id == token_id) and not (spare and other is session):
                        other.hang_up(reason, text)
            case Apart((one, other_id), apart):
                self._registry.set_apart(one, other_id, apart=apart)
            case BansChanged():
                self._bans_changed()
