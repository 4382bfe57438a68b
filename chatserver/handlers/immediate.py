"""Commands that need no store: they are answered at once, on the reactor."""

from collections.abc import Callable
from typing import Any, Final

from msgspec import structs

from chatserver.handlers import people
from chatserver.handlers.outcome import End, Online, Outcome
from chatserver.handlers.server_facts import server_facts
from chatserver.session.session import Session
from chatserver.values import commands as c
from chatserver.values.answers import Done, HelpText, Whereabouts
from chatserver.values.errors import Note, Sentence, not_a_member
from chatserver.wire.screen import ASSUMED_COLUMNS, fitting

Immediate = Callable[[Online, Session, Any], Outcome]


def ping(online: Online, session: Session, command: c.Ping) -> Outcome:
    return Outcome(Done(Sentence(Note.HERE)))


def help(online: Online, session: Session, command: c.Help) -> Outcome:
    return Outcome(HelpText(command.about))


def server(online: Online, session: Session, command: c.Server) -> Outcome:
    return Outcome(server_facts(online.settings, session))


def whereabouts(online: Online, session: Session, command: c.Look) -> Outcome:
    """Returns a person's current room, and the other rooms they are in."""
    current = session.current
    others = [room.facts.label(session.who.account_id) for room in session.rooms.values()]
    return Outcome(Whereabouts(current, sorted([label for label in others if label != current], key=str.lower)))


def fit(online: Online, session: Session, command: c.Fit) -> Outcome:
    session.show_on(structs.replace(session.screen, columns=fitting(command.columns)))
    return Outcome(Done(Sentence(Note.FITTED, columns=session.screen.columns or ASSUMED_COLUMNS)))


def paste(online: Online, session: Session, command: c.Paste) -> Outcome:
    return Outcome(Done(Sentence(Note.PASTE)))


def quit(online: Online, session: Session, command: c.Quit) -> Outcome:
    return Outcome(Done(), effects=[End()])


def retry(online: Online, session: Session, command: c.Retry) -> Outcome:
    """Serves the kept messages next, before lines typed after this command."""
    labels = {room.facts.id: room.facts.label(session.who.account_id) for room in session.rooms.values()}
    kept = session.view.kept.take(labels) if session.view is not None else []
    session.inbox[:0] = kept
    if not kept:
        return Outcome(Done(Sentence(Note.NOTHING_KEPT)))
    return Outcome(Done(Sentence(Note.SENDING_AGAIN, count=len(kept))))


def away(online: Online, session: Session, command: c.Away) -> Outcome:
    online.presence.away(session, command.text)
    return Outcome(Done(Sentence(Note.AWAY, text=command.text) if command.text else Sentence(Note.BACK)))


def typing(online: Online, session: Session, command: c.Typing) -> Outcome:
    """Notifies others in a room, if they may see it. The answer does not say whether anybody was notified."""
    room = session.room_called(command.room)
    if room is None and not command.room.startswith("@"):
        raise not_a_member(command.room)
    if room is not None and not online.roster.is_muted(session.who.account_id, room.facts.id, online.now()):
        online.presence.typing.typed(session, room)
    return Outcome(Done())


IMMEDIATE: dict[type[c.Command], Immediate] = {
    c.Ping: ping,
    c.Help: help,
    c.Server: server,
    c.Away: away,
    c.Typing: typing,
    c.Fit: fit,
    c.Paste: paste,
    c.Quit: quit,
    c.Retry: retry,
}


AT_ONCE: Final = frozenset({*IMMEDIATE, c.Who, c.Look})
"""Commands that may need no store."""


def immediate(command: c.Command) -> Immediate | None:
    """The function that answers a command without the store; None if the command needs the store."""
    if isinstance(command, c.Who) and command.name is None:
        return people.who_is_near
    if isinstance(command, c.Look) and not command.room:
        return whereabouts
    return IMMEDIATE.get(type(command))
