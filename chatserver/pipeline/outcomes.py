"""What follows from a command that is committed: news, entries for others, the answer, and effects."""

from collections.abc import Callable

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from chatserver.delivery.registry import Registry
from chatserver.handlers import AUDITED, READS
from chatserver.handlers.outcome import Announcement, Named, Outcome
from chatserver.handlers.shared import is_noted
from chatserver.pipeline.command_counts import Results
from chatserver.pipeline.effects import Effects
from chatserver.session.link import collected
from chatserver.session.session import HeardRoom, Session
from chatserver.session.view import View
from chatserver.util import audit_log
from chatserver.util.waiting import Turn
from chatserver.values import commands as c
from chatserver.values.errors import FAULTY
from chatserver.values.events import Entry, Person


class Consequences:
    """Does what outcomes say. `suspect` is told who sent a write whose consequences failed."""

    log = Logger()

    def __init__(
        self,
        turn: Turn,
        registry: Registry,
        effects: Effects,
        suspect: Callable[[Person], None],
        results: Results,
    ) -> None:
        self._turn = turn
        self._registry = registry
        self._effects = effects
        self._suspect = suspect
        self._results = results

    def conclude(self, session: Session, command: c.Command, outcome: Outcome) -> None:
        """Does all that follows from a command that is committed. Whatever fails there, others are told what is stored,
        and the sender's connection ends with a reason."""
        self._results.count(type(command))
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
                self._suspect(session.who.person)
            session.link.hang_up(*FAULTY)

    def _follow(self, session: Session, command: c.Command, outcome: Outcome) -> None:
        """See `Outcome` for the order."""
        registry = self._registry
        with collected([session.link]):
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
                _move_view(session, session.view, command, outcome)
        for effect in outcome.effects:
            self._effects.apply(effect, session)
            if isinstance(effect, Named) and effect.rest:
                ensureDeferred(self._announce_rest(session, effect.rest))
        if registry.elsewhere.origin and is_noted(outcome):
            registry.elsewhere.changed()
        registry.catch_up(session)

    async def _announce_rest(self, session: Session, rest: list[Announcement]) -> None:
        """So many rooms take some time: others get a turn in between."""
        for announced in rest:
            await self._turn()
            if session.view is not None and not session.quiet:
                session.view.suppress(announced.facts.id, announced.entries)
            room = self._registry.room(announced.facts.id)
            if room is not None:
                self.announce(room, announced.entries)

    def announce(self, room: HeardRoom, entries: list[Entry]) -> None:
        """Whatever fails here, the entries are stored: their senders are answered, and the room is read again."""
        try:
            self._registry.announce(room.facts, entries)
        except Exception:
            self.log.failure("Entries of room {room} could not be announced.", room=room.facts.id)
            self._registry.doubt(room)


def _suppress_echo(session: Session, view: View, outcome: Outcome, announced: Announcement) -> None:
    """Hides from the person who sent a command what they know already."""
    if outcome.echo == "always" or session.quiet:
        return
    if outcome.echo == "elsewhere" and session.current.lower() != announced.facts.label(session.who.account_id).lower():
        return
    view.suppress(announced.facts.id, announced.entries)


def _move_view(session: Session, view: View, command: c.Command, outcome: Outcome) -> None:
    """Sets the room to which what the person types goes from now on."""
    if outcome.turn_to is not None:
        facts = outcome.turn_to.facts
        session.turn_to(facts.label(session.who.account_id), said=isinstance(command, c.Look))
        return
    gone = outcome.left or outcome.closed
    if gone is not None and gone.label(session.who.account_id) == view.current:
        view.is_adrift = True
    session.settle(asked=True)


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
    audit_log.acted(session.address, session.who.name, str(command.__struct_config__.tag), **what)
