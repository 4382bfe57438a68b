"""Consequences of a committed command: news, entries for others, the answer, and effects."""

from typing import Final

from msgspec.structs import replace
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from chatserver.handlers import AUDITED, READS
from chatserver.handlers.cluster_notes import is_noted
from chatserver.handlers.outcome import (
    Announcement,
    Apart,
    BansChanged,
    Effect,
    End,
    HangUp,
    Ignored,
    MovedBack,
    Named,
    NotifySet,
    Outcome,
    Preferred,
    Silenced,
    Tell,
)
from chatserver.pipeline.parts import PipelineParts
from chatserver.session.link import collected
from chatserver.session.session import Session
from chatserver.session.view import View
from chatserver.util import audit_log
from chatserver.util.rates import Sliding
from chatserver.values import commands as c
from chatserver.values.answers import Answer, Joined
from chatserver.values.errors import FAULT, FAULTY, Refused
from chatserver.values.events import Invited, ReadMark

INVITATIONS_TOLD: Final = 10
"""Maximum number of invitations by one account of which another one is notified within an hour: whoever withdraws and
repeats them makes no terminal ring for ever. They are stored all the same, and shown at the next login."""

OK: Final = "ok"
BROKEN: Final = "fault"
"""Results of commands; the others are error words."""


class CommandCounts:
    """Number of commands by result, for /metrics and `chatctl stats`."""

    def __init__(self) -> None:
        self._counts: dict[tuple[type[c.Command], str], int] = {(c.Say, OK): 0}

    def count(self, kind: type[c.Command], refused: Refused | None = None, times: int = 1) -> None:
        """Counts a result. The messages of a take are counted together: `times`."""
        key = (kind, OK if refused is None else BROKEN if refused is FAULT else refused.error.value)
        self._counts[key] = self._counts.get(key, 0) + times

    def all(self) -> dict[tuple[type[c.Command], str], int]:
        """Number of commands by kind, and OK, BROKEN or an error word."""
        return dict(self._counts)


class Consequences:
    """Applies outcomes: each kind of effect in one place, and the order of everything around it."""

    log = Logger()

    def __init__(self, parts: PipelineParts, counts: CommandCounts) -> None:
        self._turn = parts.turn
        self._registry = parts.registry
        self._roster = parts.online.roster
        self._bans = parts.bans
        self._reconciler = parts.reconciler
        self._counts = counts
        self._now = parts.online.now
        self._invited = Sliding(lambda pair: INVITATIONS_TOLD)

    def conclude(self, session: Session, command: c.Command, outcome: Outcome) -> None:
        """Applies the outcome of a committed command. If that fails, others still receive what is stored, and the
        sender's connection ends with a reason."""
        self._counts.count(type(command))
        if type(command) in AUDITED:
            _record(session, command)
        try:
            done = self._follow(session, command, outcome)
        except Exception:
            self.log.failure("What follows from the command {command} failed.", command=type(command).__name__)
            done = False
        if not done:
            for announced in outcome.announced:
                room = self._registry.rooms.find(announced.facts.id)
                if room is not None:
                    self._registry.order.doubt(room)
            if type(command) not in READS:
                self._reconciler.suspect(session.who.person)
            session.link.hang_up(*FAULTY)

    def _follow(self, session: Session, command: c.Command, outcome: Outcome) -> bool:
        """See `Outcome` for the order. Returns False, and stops, if entries could not be delivered."""
        registry = self._registry
        with collected([session.link]):
            if outcome.replay is not None:
                registry.subscriptions.replay(session, outcome.replay.facts, outcome.replay.since, outcome.replay.head)
                session.answer(command.tag, outcome.answer, command.cmd)
            if outcome.hears is not None:
                registry.subscriptions.hear(session, outcome.hears.facts, outcome.hears.position, outcome.hears.head)
            for announced in outcome.announced:
                if session.view is not None:
                    _suppress_echo(session, session.view, outcome, announced)
                if not registry.order.announce(announced.facts, announced.entries):
                    return False
            if outcome.left is not None:
                registry.subscriptions.unsubscribe(session, outcome.left)
            if outcome.replay is None:
                session.answer(command.tag, self._placed(session, outcome), command.cmd)
            if session.view is not None:
                _move_view(session, session.view, command, outcome)
        for effect in outcome.effects:
            self._apply(effect, session)
            if isinstance(effect, Named) and effect.rest:
                ensureDeferred(self._announce_rest(session, effect.rest))
        if registry.elsewhere.origin and is_noted(outcome):
            registry.elsewhere.changed()
        registry.subscriptions.catch_up(session)
        return True

    def _placed(self, session: Session, outcome: Outcome) -> Answer:
        """Returns the answer; that to a `join` with the seq behind which the session is sent entries. It may have been
        subscribed before, and be behind, or entries are stored that were not published here."""
        answer = outcome.answer
        if isinstance(answer, Joined) and outcome.hears is not None:
            room = self._registry.rooms.find(outcome.hears.facts.id)
            position = None if room is None else room.position(session)
            if position is not None and position < answer.seq:
                return replace(answer, seq=position)
        return answer

    async def _announce_rest(self, session: Session, rest: list[Announcement]) -> None:
        """Thousands of rooms take some time: others get a turn in between."""
        for announced in rest:
            await self._turn()
            if session.view is not None and not session.quiet:
                session.view.suppress(announced.facts.id, announced.entries)
            room = self._registry.rooms.find(announced.facts.id)
            if room is not None:
                self._registry.order.announce(room.facts, announced.entries)

    def _apply(self, effect: Effect, asker: Session) -> None:
        """`asker`: the session that sent the command. Other nodes receive the effect from `handlers.cluster_notes`."""
        registry, roster = self._registry, self._roster
        match effect:
            case Tell(account_id, Invited()) if self._is_invited_often(asker, account_id):
                pass
            case Tell(account_id, news):
                if isinstance(news, ReadMark):
                    registry.logins.doubt(account_id)
                roster.tell([one for one in roster.sessions(account_id) if one is not asker], news)
                registry.elsewhere.tell(account_id, news)
            case HangUp(account_id, reason, sentence, token_id, spare):
                if spare:
                    registry.logins.doubt(account_id)  # logins may have used the old password
                for other in roster.sessions(account_id):
                    if (not token_id or other.who.token_id == token_id) and not (spare and other is asker):
                        other.link.hang_up(reason, sentence)
            case Apart((one, other_id), apart):
                roster.set_apart(one, other_id, apart=apart)
                registry.logins.doubt(one, other_id)
            case Named(account_id, former, name, display, at):
                registry.names.renamed(account_id, former, name, display, at)
            case Ignored(account_id, other_id, ignored):
                registry.logins.doubt(account_id)
                for other in roster.sessions(account_id):
                    known = other.ignored
                    other.ignore(known | {other_id} if ignored else known - {other_id})
            case Preferred(account_id, preferences):
                registry.logins.doubt(account_id)
                for other in roster.sessions(account_id):
                    other.prefer(preferences)
            case NotifySet(account_id, room_id, notify):
                registry.logins.doubt(account_id)
                registry.subscriptions.notify(account_id, room_id, notify, but=asker)
            case MovedBack(account_id, room_id, seen):
                registry.logins.doubt(account_id)
                roster.unsaw(account_id, room_id, seen)
            case Silenced(account_id, room_id, until):
                roster.set_muted(account_id, room_id, until)
            case BansChanged():
                self._bans.reload_bans()
            case End(reason, sentence):
                asker.link.hang_up(reason, sentence)

    def _is_invited_often(self, asker: Session, account_id: int) -> bool:
        """Counts an invitation; see INVITATIONS_TOLD."""
        return self._invited.take(f"{asker.who.account_id} {account_id}", self._now().timestamp()) > 0


def _suppress_echo(session: Session, view: View, outcome: Outcome, announced: Announcement) -> None:
    """Hides the echo of a command from the person who sent it."""
    if outcome.echo == "always" or session.quiet:
        return
    if outcome.echo == "elsewhere" and session.current.lower() != announced.facts.label(session.who.account_id).lower():
        return
    view.suppress(announced.facts.id, announced.entries)


def _move_view(session: Session, view: View, command: c.Command, outcome: Outcome) -> None:
    """Sets the person's current room from now on."""
    if outcome.turn_to is not None:
        facts = outcome.turn_to.facts
        session.turn_to(facts.label(session.who.account_id), said=isinstance(command, c.Look))
        return
    gone = outcome.left or outcome.closed
    if gone is not None and gone.label(session.who.account_id) == view.current:
        view.is_adrift = True
    session.settle(asked=True)


def _record(session: Session, command: c.Command) -> None:
    """Writes the act, its author and its target to the audit log, no texts."""
    if isinstance(command, c.Token) and command.revoke is None and not command.password:
        return  # it lists tokens, or the password is asked for next
    if isinstance(command, c.Sessions) and command.end is None:
        return
    room = getattr(command, "room", None)
    what = {
        "room": session.current if room == c.CURRENT else room or "",
        "target": getattr(command, "name", None)
        or getattr(command, "address", None)
        or str(getattr(command, "end", "")),
        "role": getattr(command, "role", ""),
    }
    audit_log.acted(session.address, session.who.name, command.cmd, **what)
