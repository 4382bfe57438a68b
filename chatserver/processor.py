"""The processors: each serves a lane. Messages that arrive while a transaction is under way share the next one."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from itertools import groupby
from typing import Any, Final

import msgspec
from msgspec import Struct
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from chatserver import audit
from chatserver import commands as c
from chatserver.aside import Aside
from chatserver.config import DEFAULT_LIMITS, Limits
from chatserver.delivery.registry import Registry
from chatserver.delivery.room import Room
from chatserver.errors import FAULT, FAULTY, ErrorWord, Refused, Rejected, Unavailable
from chatserver.events import Entry, Person
from chatserver.handlers import AUDITED, READS, SEES_ONLINE, WRITES
from chatserver.handlers.immediate import Immediate, Online, immediate
from chatserver.handlers.messages import as_entry, said
from chatserver.handlers.outcome import Announcement, Apart, Ask, BansChanged, Effect, End, HangUp, Outcome, Tell
from chatserver.histogram import MESSAGES, Histogram
from chatserver.queue import Lane, Lanes
from chatserver.roster import Roster
from chatserver.session import Session, collected
from chatserver.store import messages
from chatserver.store.messages import Draft, Verdict
from chatserver.store.threads import Store
from chatserver.store.transactions import Conflict, Locked
from chatserver.turns import Turn
from chatserver.view import View
from chatserver.wire.dialect import NONE

READ_TAKE = 1

OK: Final = "ok"
BROKEN: Final = "fault"
"""Outcomes of commands; the others are error words."""


class Spoken(Struct, frozen=True, gc=False):
    """A `say` on its way: who says it, in which room, under which tag, and since when it could have been served."""

    session: Session
    room: Room
    tag: c.Tag | None
    draft: Draft
    since: float


class Processors:
    """Serves the commands in the sessions' inboxes, in order for each session.

    `slow`: by type, commands that wait for something else than a lane, such as a password's hash. `stored` is told how
    many messages have been stored, once their senders have been answered; `suspect` is told who sent a write whose fate
    is unknown.
    """

    log = Logger()

    def __init__(
        self,
        turn: Turn,
        lanes: Lanes,
        store: Store,
        registry: Registry,
        online: Online,
        take: int,
        slow: dict[type[c.Command], Callable[[Session, Any], Awaitable[Outcome]]],
        bans_changed: Callable[[], None],
        stored: Callable[[int], None],
        suspect: Callable[[Person], None],
        may_serve: Callable[[], bool] = lambda: True,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._turn = turn
        self._lanes = lanes
        self._store = store
        self._registry = registry
        self._online = online
        self._roster: Roster = online.roster
        self._now: Callable[[], datetime] = online.now
        self._take = take
        self._slow = slow
        self._bans_changed = bans_changed
        self._stored = stored
        self._suspect = suspect
        self._may_serve = may_serve
        self._limits = limits
        self._aside = Aside(self._serve_aside, self._go_on)
        self._stopped = False
        self._seconds = registry.seconds
        # What has come of all commands, for /metrics and `chatctl stats`.
        self._outcomes: dict[tuple[type[c.Command], str], int] = {}  # but for the `say` that succeeded
        self._says_done = 0
        self.stored_messages = 0
        self.takes = Histogram(MESSAGES)
        self.commits = Histogram()  # seconds from when a message could have been served to its commit
        self.waits = {lane: Histogram() for lane in ("write", "read")}  # seconds in the queue

    @property
    def outcomes(self) -> dict[tuple[type[c.Command], str], int]:
        """How many commands came to what end, by kind, and OK, BROKEN or an error word."""
        return {**self._outcomes, (c.Say, OK): self._says_done}

    def queued(self) -> dict[str, int]:
        """How many sessions wait to be served, by lane."""
        writes = sum(map(len, self._lanes.writes)) + len(self._aside.sessions)
        return {"write": writes, "read": len(self._lanes.reads)}

    def start(self, readers: int) -> None:
        for lane in self._lanes.writes:
            ensureDeferred(self._run(lane, self._take, self._serve_writes, self.waits["write"]))
        for _ in range(readers):
            ensureDeferred(self._run(self._lanes.reads, READ_TAKE, self._serve_reads, self.waits["read"]))

    def stop(self) -> None:
        """Puts nothing more into the lanes; what is being served is finished."""
        self._stopped = True

    # From the inbox to a lane

    def schedule(self, session: Session) -> None:
        """Puts a session that is not waiting already into the lane of its next command.

        What needs no store is answered here. A session that takes no answers is not served: its client has to read
        first.
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
            elif handler := immediate(command):
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
            self._conclude(session, command, outcome)

    async def _serve_slow(self, session: Session, command: c.Command) -> None:
        await self._serve(session, command, self._slow[type(command)](session, command))
        session.waiting = False
        self.schedule(session)

    # Serving a lane

    async def _run(
        self, lane: Lane, limit: int, serve: Callable[[Lane, list[Session]], Awaitable[None]], waits: Histogram
    ) -> None:
        while True:
            sessions = await lane.take(limit, self._turn)
            now = self._seconds()
            waits.observe_all([now - session.due_since for session in sessions])
            try:
                if self._may_serve():  # else their connections are being ended
                    await serve(lane, sessions)
            except Exception:
                self.log.failure("A take of {sessions} sessions failed.", sessions=len(sessions))
            aside = self._aside.sessions
            for session in sessions:
                if not aside or session not in aside:
                    self._go_on(session)
            del session, sessions  # they may be gone long before the next take

    def _go_on(self, session: Session) -> None:
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
            await self._serve_next(session)

    async def _serve_writes(self, lane: Lane, sessions: list[Session]) -> None:
        spoken: list[Spoken] = []
        others: list[Session] = []
        for session in sessions:
            said = self._leading_says(lane, session)
            session.due_since = 0.0
            spoken += said
            if not said:
                others.append(session)
        if self._aside.sessions:
            spoken = self._aside.keep(spoken, lambda one: one.draft.room_id)
        if spoken:
            await self._serve_says(spoken)
        for session in others:
            await self._serve_next(session)
            lane.moved += 1

    # Messages, which share a transaction

    def _leading_says(self, lane: Lane, session: Session) -> list[Spoken]:
        """Takes from the inbox the messages at its beginning that go to rooms of this lane which the session hears."""
        spoken: list[Spoken] = []
        inbox = session.inbox
        while inbox and type(say := inbox[0]) is c.Say:
            room = session.room_called(say.room)
            if room is None or (spoken and self._lanes.write_lane(session, say.room or session.current) is not lane):
                break
            inbox.pop(0)
            draft = Draft(room.facts.id, session.account_id, say.text, say.id)
            spoken.append(Spoken(session, room, say.tag, draft, session.due_since))
        return spoken

    async def _serve_says(self, spoken: list[Spoken], *, patient: bool = False) -> None:
        """`patient`: waits for as long as the database allows if another transaction holds one of the rooms."""
        at = self._now()
        append = self._store.write if patient else self._store.append
        try:
            verdicts = await append(messages.append, [one.draft for one in spoken], at)
        except Locked:
            await self._set_aside(spoken)
            return
        except Unavailable as refused:
            for one in spoken:
                self._doubt(one)
                self._refuse(one, refused)
            return
        except Exception as error:
            if len(spoken) > 1:
                # One client's failure is never another's.
                for one in spoken:
                    await self._serve_says([one], patient=patient)
            elif isinstance(error, Conflict):
                # The same id on two connections: the other one is stored now.
                await self._serve_says(spoken, patient=patient)
            elif isinstance(error, Refused):
                self._refuse(spoken[0], error)
            else:
                self.log.failure("A message could not be stored.")
                self._doubt(spoken[0])
                self._refuse(spoken[0], FAULT)
            return
        self.takes.observe(len(spoken))
        now = self._seconds()
        self.commits.observe_all([now - one.since for one in spoken])
        self._deliver(spoken, verdicts)
        self._stored(len(spoken))
        while self._registry.lagging:
            await self._turn()

    async def _set_aside(self, spoken: list[Spoken]) -> None:
        """Serves the messages of which none goes to a room that another transaction holds; the others wait."""
        try:
            locked = await self._store.read(messages.locked, {one.draft.room_id for one in spoken})
        except Unavailable as refused:
            for one in spoken:
                self._refuse(one, refused)
            return
        at_once: list[Spoken] = []
        patient = False
        for _, group in groupby(spoken, lambda one: one.session):
            sent = list(group)
            room_id = next((one.draft.room_id for one in sent if one.draft.room_id in locked), None)
            if room_id is not None and self._aside.has_place(room_id):
                self._aside.add(room_id, sent)
            else:
                at_once += sent
                patient = patient or room_id is not None
        if at_once:
            await self._serve_says(at_once, patient=patient)

    async def _serve_aside(self, spoken: list[Spoken]) -> None:
        """One room in each transaction: it must hold no other room while it waits for this one."""
        for _, group in groupby(spoken, lambda one: one.room):
            if self._may_serve():
                await self._serve_says(list(group), patient=True)

    def _refuse(self, one: Spoken, refused: Refused) -> None:
        self._count(c.Say, refused)
        one.session.link.refuse(Rejected(refused, one.tag))

    def _count(self, kind: type[c.Command], refused: Refused | None = None) -> None:
        """Counts what has come of a command."""
        key = (kind, OK if refused is None else BROKEN if refused is FAULT else refused.error.value)
        self._outcomes[key] = self._outcomes.get(key, 0) + 1

    def _doubt(self, one: Spoken) -> None:
        """A message may have been stored although that failed: then everybody is to see it once the store is back."""
        self._registry.doubt(one.room)
        self._suspect(one.session.person)

    def _deliver(self, spoken: list[Spoken], verdicts: list[Verdict]) -> None:
        """Announces what was stored, one batch for each room, and answers every sender; each connection is written to
        once."""
        stored: dict[Room, list[Entry]] = {}
        answered = len(spoken)
        with collected({one.session: None for one in spoken}):
            for one, verdict in zip(spoken, verdicts, strict=True):
                if verdict.outcome == "stored":
                    session = one.session
                    entry = as_entry(one.draft, session.person, verdict)
                    stored.setdefault(one.room, []).append(entry)
                    if session.view is not None and session.room_called(c.CURRENT) is one.room:
                        session.view.suppress(one.room.facts.id, [entry])
                elif verdict.outcome == "dup" and verdict.seq > one.room.head:
                    self._registry.doubt(one.room)  # its first answer was lost, and so was its announcement
            for room, entries in stored.items():
                self.stored_messages += len(entries)
                self._announce(room, entries)
            for one, verdict in zip(spoken, verdicts, strict=True):
                session = one.session
                try:
                    session.answer(one.tag, said(one.room.facts.label(session.account_id), verdict))
                except Refused as refused:
                    answered -= 1
                    self._refuse(one, refused)
                except Exception:
                    self.log.failure("The sender of a message could not be answered.")
                    session.link.hang_up(*FAULTY)
        self._says_done += answered

    def _announce(self, room: Room, entries: list[Entry]) -> None:
        """Whatever fails here, the entries are stored: their senders are answered, and the room is read again."""
        try:
            self._registry.announce(room.facts, entries)
        except Exception:
            self.log.failure("Entries of room {room} could not be announced.", room=room.facts.id)
            self._registry.doubt(room)

    # Any other command, in a transaction of its own

    async def _serve_next(self, session: Session) -> None:
        command = session.inbox.pop(0) if session.inbox else None
        if isinstance(command, c.Command):  # else the connection has ended meanwhile
            await self._serve(session, command, self.ask(session, command))

    async def _serve(self, session: Session, command: c.Command, work: Awaitable[Outcome]) -> None:
        try:
            outcome = await work
        except Exception as error:
            self._fail(session, command, error)
        else:
            self._conclude(session, command, outcome)

    def _fail(self, session: Session, command: c.Command, error: Exception) -> None:
        """Answers with why a command was not done."""
        if not isinstance(error, Refused):
            self.log.failure("The command {command} failed.", command=type(command).__name__)
            error = FAULT
        if isinstance(error, Unavailable) and type(command) not in READS:
            self._suspect(session.person)
        self._count(type(command), error)
        session.link.refuse(Rejected(error, command.tag))

    async def ask(self, session: Session, command: c.Command) -> Outcome:
        """Does a command in a transaction of its own. Raises Refused."""
        if getattr(command, "room", None) == c.CURRENT:
            if not session.current:
                raise Refused(ErrorWord.BAD_COMMAND, "You are not in any room. Join one first: /join ROOM")
            command = msgspec.structs.replace(command, room=session.current)
        sees = type(command) in SEES_ONLINE
        ask = Ask(
            session.person,
            self._now(),
            self._roster.visible_to(session.account_id) if sees else NONE,
            self._roster.away_texts() if sees else {},
            None if session.view is None else dict(session.view.read),
            self._limits,
            session.only,
        )
        if type(command) in READS:
            with self._registry.pending_login(session.account_id) as seen:
                outcome = await self._store.read(READS[type(command)], ask, command)
            # In a lane for reading, it may be out of the room again by now.
            return msgspec.structs.replace(outcome, hears=None) if seen.stale else outcome
        return await self._store.write(WRITES[type(command)], ask, command)

    def _conclude(self, session: Session, command: c.Command, outcome: Outcome) -> None:
        """Does all that follows from a command that is committed. Whatever fails there, others are told what is stored,
        and the sender's connection ends with a reason."""
        self._count(type(command))
        if type(command) in AUDITED:
            _record(session, command)
        try:
            self._follow(session, command, outcome)
        except Exception:
            self.log.failure("What follows from the command {command} failed.", command=type(command).__name__)
            for announced in outcome.announced:
                room = self._registry.room(announced.facts.id)
                if room is not None:
                    self._registry.doubt(room)
            if type(command) not in READS:
                self._suspect(session.person)
            session.link.hang_up(*FAULTY)

    def _follow(self, session: Session, command: c.Command, outcome: Outcome) -> None:
        """See `Outcome` for the order."""
        registry = self._registry
        with collected([session]):
            if outcome.replay is not None:
                registry.replay(session, outcome.replay.facts, outcome.replay.since, outcome.replay.head)
                session.answer(command.tag, outcome.answer)
            if outcome.hears is not None:
                registry.hear(session, outcome.hears.facts, outcome.hears.position, outcome.hears.head)
            for announced in outcome.announced:
                if session.view is not None:
                    _suppress_echo(session, session.view, outcome, announced)
                registry.announce(announced.facts, announced.entries)
            if outcome.left is not None:
                registry.unsubscribe(session, outcome.left)
            if outcome.replay is None:
                session.answer(command.tag, outcome.answer)
            if session.view is not None:
                _move_view(session, session.view, outcome)
        for effect in outcome.effects:
            self._apply(session, effect)
        registry.catch_up(session)

    def _apply(self, session: Session, effect: Effect) -> None:
        """What follows besides what stands in a room's log."""
        match effect:
            case Tell(account_id, news):
                self._roster.tell([s for s in self._roster.sessions(account_id) if s is not session], news)
            case HangUp(account_id, reason, text, token_id, spare):
                for other in self._roster.sessions(account_id):
                    if (not token_id or other.token_id == token_id) and not (spare and other is session):
                        other.link.hang_up(reason, text)
            case Apart((one, other_id), apart):
                self._roster.set_apart(one, other_id, apart=apart)
                self._registry.doubt_logins(one, other_id)
            case BansChanged():
                self._bans_changed()
            case End(reason, text):
                session.link.hang_up(reason, text)


def _suppress_echo(session: Session, view: View, outcome: Outcome, announced: Announcement) -> None:
    """Hides from the person who sent a command what they know already."""
    if outcome.echo == "always":
        return
    if outcome.echo == "elsewhere" and session.current.lower() != announced.facts.label(session.account_id).lower():
        return
    view.suppress(announced.facts.id, announced.entries)


def _move_view(session: Session, view: View, outcome: Outcome) -> None:
    """Sets the room to which what the person types goes from now on."""
    if outcome.turn_to is not None:
        facts = outcome.turn_to.facts
        view.current = facts.label(session.account_id)
        if facts.id:
            session.has_read(facts.id, outcome.turn_to.seen)
    elif outcome.left is not None and session.room_called(c.CURRENT) is None:
        view.current = next((room.facts.label(session.account_id) for room in session.rooms.values()), c.CURRENT)
        if view.current:
            session.notice(f"What you type now goes to {view.current}.")
    elif outcome.closed is not None and view.current == outcome.closed.label(session.account_id):
        view.current = c.CURRENT


def _record(session: Session, command: c.Command) -> None:
    """Writes to the audit log who did what to whom, without what they wrote."""
    if isinstance(command, c.Token) and command.revoke is None and not command.password:
        return  # a list, or the question for the password
    room = getattr(command, "room", None)
    what = {
        "room": session.current if room == c.CURRENT else room or "",
        "target": getattr(command, "name", None) or getattr(command, "address", None) or "",
        "role": getattr(command, "role", ""),
    }
    audit.acted(session.address, session.name, str(command.__struct_config__.tag), **what)
