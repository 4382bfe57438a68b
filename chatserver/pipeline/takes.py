"""The messages of a take: they share a transaction."""

from itertools import groupby
from typing import Final

from msgspec import Struct
from twisted.logger import Logger

from chatserver.pipeline.lanes import Lane, Lanes
from chatserver.pipeline.locked_rooms import Aside, Resuming
from chatserver.pipeline.outcomes import CommandCounts
from chatserver.pipeline.parts import PipelineParts
from chatserver.session.link import collected
from chatserver.session.retry import MESSAGES, Message
from chatserver.session.session import HeardRoom, Session
from chatserver.store import messages
from chatserver.store.db.faults import Conflict, Locked
from chatserver.store.messages import NOTHING, Draft, Verdict, as_answer, as_entry
from chatserver.util.histogram import TAKE_SIZES, Histogram
from chatserver.values import commands as c
from chatserver.values.errors import FAULT, FAULTY, Refused, Rejected, Unavailable
from chatserver.values.events import Entry

TAKE_CHARACTERS: Final = 4096
"""Maximum length of the texts that one session has in a take, unless it is a single one: as long as a message may be.
Storing them, with their words, takes time in proportion, for which all others in the take and behind it wait."""


class Spoken(Struct, frozen=True, gc=False):
    """A `say` or `reply` in progress: its session, room and tag, and the time from which it could have been served."""

    session: Session
    room: HeardRoom
    tag: c.Tag | None
    draft: Draft
    since: float

    @property
    def kind(self) -> type[c.Command]:
        return c.Reply if self.draft.of else c.Say

    @property
    def message(self) -> Message:
        """The command, with the room that it was sent to."""
        label, draft = self.room.facts.label(self.session.who.account_id), self.draft
        if draft.of:
            return c.Reply(room=label, seq=max(draft.of, 0), text=draft.text, id=draft.client_id)
        return c.Say(room=label, text=draft.text, id=draft.client_id)


class Takes:
    """Stores messages, delivers them, and answers their senders. `processors` go on with sessions whose messages had to
    wait for a room."""

    log = Logger()

    def __init__(self, parts: PipelineParts, lanes: Lanes, counts: CommandCounts, processors: Resuming) -> None:
        self._turn = parts.turn
        self._lanes = lanes
        self._store = parts.store
        self._registry = parts.registry
        self._names = parts.online.roster.names_known
        self._now = parts.online.now
        self._reconciler = parts.reconciler
        self._lease = parts.lease
        self._counts = counts
        self._seconds = parts.registry.seconds
        self.aside: Aside[Spoken] = Aside(self, processors)
        self.stored_messages = 0
        self.sizes = Histogram(TAKE_SIZES)
        self.commits = Histogram()  # seconds from when a message could have been served to its commit

    def leading(self, lane: Lane, session: Session) -> list[Spoken]:
        """Takes the leading messages out of the inbox, as far as they go to subscribed rooms of this lane, and are not
        too long together."""
        spoken: list[Spoken] = []
        inbox, size = session.inbox, 0
        while inbox and (type(say := inbox[0]) is c.Say or type(say) is c.Reply):
            room = session.room_called(say.room)
            if room is None or (spoken and self._lanes.write_lane(session, say.room or session.current) is not lane):
                break
            size += len(say.text)
            if spoken and size > TAKE_CHARACTERS:
                break
            inbox.pop(0)
            of = say.seq or NOTHING if type(say) is c.Reply else 0
            names = self._names.among(say.text)
            draft = Draft(room.facts.id, session.who.account_id, say.text, say.id, of, names)
            spoken.append(Spoken(session, room, say.tag, draft, session.due_since))
        return spoken

    async def serve(self, spoken: list[Spoken]) -> None:
        """Serves messages. Those to rooms known to be locked wait."""
        if self.aside.sessions:
            spoken = self.aside.keep(spoken, lambda one: one.draft.room_id)
        if spoken:
            await self._serve_says(spoken)

    async def _serve_says(self, spoken: list[Spoken], *, patient: bool = False) -> None:
        """`patient`: if another transaction holds a room, wait for as long as the database allows."""
        refused = await self._store_says(spoken, patient=patient)
        if refused is not None:
            self._refuse_all(spoken, refused)

    async def _store_says(self, spoken: list[Spoken], *, patient: bool) -> Unavailable | None:
        """Returns the reason why nothing was stored, if the database does not answer."""
        at = self._now()
        append = self._store.write if patient else self._store.append
        try:
            verdicts = await append(messages.append, [one.draft for one in spoken], at)
        except Locked:
            await self._set_aside(spoken)
            return None
        except Unavailable as refused:
            for one in spoken:
                self._doubt(one)
            return refused
        except Exception as error:
            if len(spoken) > 1:
                await self._serve_one_by_one(spoken, patient=patient)
            elif isinstance(error, Conflict):
                # The same id on two connections: the other one is stored now.
                return await self._store_says(spoken, patient=patient)
            elif isinstance(error, Refused):
                self._refuse(spoken[0], error)
            else:
                self.log.failure("A message could not be stored.")
                self._doubt(spoken[0])
                self._refuse(spoken[0], FAULT)
            return None
        self.sizes.observe(len(spoken))
        now = self._seconds()
        self.commits.observe_all([now - one.since for one in spoken])
        self._deliver(spoken, verdicts)
        while self._registry.order.lagging:
            await self._turn()
        return None

    async def _serve_one_by_one(self, spoken: list[Spoken], *, patient: bool) -> None:
        """Retries messages one at a time, so that one client's failure is never another's. If the database does not
        answer, a person's later messages are refused with the first."""
        while spoken:
            one, *spoken = spoken
            refused = await self._store_says([one], patient=patient)
            if not patient and one.session in self.aside.sessions:
                # It waits for its room, and so do its session's later ones.
                behind = [other for other in spoken if other.session is one.session]
                if behind:
                    self.aside.add(one.draft.room_id, behind)
                spoken = [other for other in spoken if other.session is not one.session]
            elif refused is not None:
                behind = [other for other in spoken if other.session is one.session and one.session.view is not None]
                spoken = [other for other in spoken if other not in behind]
                self._refuse_all([one, *behind], refused)

    async def _set_aside(self, spoken: list[Spoken]) -> None:
        """Serves the messages whose rooms no other transaction holds; the others wait."""
        try:
            locked = await self._store.read(messages.locked, {one.draft.room_id for one in spoken})
        except Unavailable as refused:
            self._refuse_all(spoken, refused)
            return
        at_once: list[Spoken] = []
        patient = False
        for _, group in groupby(spoken, lambda one: one.session):
            sent = list(group)
            room_id = next((one.draft.room_id for one in sent if one.draft.room_id in locked), None)
            if room_id is not None and self.aside.has_place(room_id):
                self.aside.add(room_id, sent)
            else:
                at_once += sent
                patient = patient or room_id is not None
        if at_once:
            await self._serve_says(at_once, patient=patient)

    async def serve_aside(self, spoken: list[Spoken]) -> None:
        """Serves one room in each transaction, which must hold no other room while it waits for this one."""
        for _, group in groupby(spoken, lambda one: one.room):
            if self._lease.check():
                await self._serve_says(list(group), patient=True)

    def _doubt(self, one: Spoken) -> None:
        """A message may have been stored despite the failure: it is delivered once the store is back."""
        self._registry.order.doubt(one.room)
        self._reconciler.suspect(one.session.who.person)

    def _deliver(self, spoken: list[Spoken], verdicts: list[Verdict]) -> None:
        """Announces stored messages, one batch for each room, and answers their senders. Each connection is written to
        once."""
        stored: dict[HeardRoom, list[Entry]] = {}
        answered = len(spoken)
        with collected({one.session.link: None for one in spoken}):
            for one, verdict in zip(spoken, verdicts, strict=True):
                if verdict.outcome == "stored":
                    session = one.session
                    entry = as_entry(one.draft, session.who.person, verdict)
                    stored.setdefault(one.room, []).append(entry)
                    if (
                        session.view is not None
                        and not session.quiet
                        and session.room_called(c.CURRENT) is one.room
                        and not session.view.kept.is_echoed(entry.client_id)
                    ):
                        session.view.suppress(one.room.facts.id, [entry])
                elif verdict.outcome == "dup" and verdict.seq > one.room.head:
                    self._registry.order.doubt(one.room)  # its first answer was lost, and so was its announcement
            for room, entries in stored.items():
                self.stored_messages += len(entries)
                self._registry.order.announce(room.facts, entries)
            for one, verdict in zip(spoken, verdicts, strict=True):
                session = one.session
                try:
                    answer = as_answer(one.room.facts, session.who.account_id, verdict)
                    session.answer(one.tag, answer, "reply" if one.draft.of else "say")
                    if session.view is not None:
                        session.view.kept.stored(one.draft.room_id)
                    if one.draft.of:
                        answered -= 1
                        self._counts.count(c.Reply)
                except Refused as refused:
                    answered -= 1
                    self._refuse(one, refused)
                except Exception:
                    self.log.failure("The sender of a message could not be answered.")
                    session.link.hang_up(*FAULTY)
        self._counts.count(c.Say, times=answered)

    # Refusals

    def _refuse(self, one: Spoken, refused: Refused) -> None:
        self._counts.count(one.kind, refused)
        refused = _kept(one.session, one.message, one.room, refused)
        one.session.link.refuse(Rejected(refused, one.tag, one.message.cmd))

    def _refuse_all(self, spoken: list[Spoken], refused: Unavailable) -> None:
        """Refuses messages that, as far as is known, were not stored."""
        for one in spoken:
            self._refuse(one, refused)
        for session in {one.session: None for one in spoken}:
            self.refuse_following(session, refused)

    def refuse(self, session: Session, message: Message, refused: Refused) -> None:
        """Refuses a message that was in no take."""
        self._counts.count(type(message), refused)
        kept = _kept(session, message, session.room_called(message.room), refused)
        session.link.refuse(Rejected(kept, message.tag, message.cmd))

    def refuse_following(self, session: Session, refused: Unavailable) -> None:
        """Refuses a person's messages right behind a refused one: they must not be stored before it."""
        while session.view is not None and session.inbox:
            message = session.inbox[0]
            if not isinstance(message, MESSAGES):
                break
            session.inbox.pop(0)
            self.refuse(session, message, refused)


def _kept(session: Session, message: Message, room: HeardRoom | None, refused: Refused) -> Refused:
    """The refusal of a message, which `/retry` sends again if its sender is a person."""
    view = session.view
    if view is None or session.quiet:
        return refused
    if room is None:
        return view.kept.refused(message, 0, message.room or session.current, refused)
    return view.kept.refused(message, room.facts.id, room.facts.label(session.who.account_id), refused)
