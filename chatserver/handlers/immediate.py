"""Commands that need no store: they are answered at once, on the reactor."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from msgspec import Struct, structs

from chatserver.handlers.outcome import End, Outcome
from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.session.session import Session
from chatserver.settings.tables import DEFAULT_LIMITS, Limits
from chatserver.values import commands as c
from chatserver.values.answer_size import Portion, user_size
from chatserver.values.answers import Done, HelpText, UserLine, UserList, Whereabouts
from chatserver.values.errors import Note, Sentence
from chatserver.wire.dialect import ASSUMED_COLUMNS, fitting

MAX_USERS = 1000


class Online(Struct, frozen=True):
    """The state that needs no store, and the limits of the settings."""

    roster: Roster
    presence: Presence
    now: Callable[[], datetime]
    limits: Limits = DEFAULT_LIMITS


Immediate = Callable[[Online, Session, Any], Outcome]


def ping(online: Online, session: Session, command: c.Ping) -> Outcome:
    return Outcome(Done(Sentence(Note.HERE)))


def help(online: Online, session: Session, command: c.Help) -> Outcome:
    return Outcome(HelpText(command.about))


def whereabouts(online: Online, session: Session, command: c.Look) -> Outcome:
    """Returns a person's current room, and the other rooms they are in."""
    current = session.current
    others = [room.facts.label(session.who.account_id) for room in session.rooms.values()]
    return Outcome(Whereabouts(current, sorted([label for label in others if label != current], key=str.lower)))


def fit(online: Online, session: Session, command: c.Fit) -> Outcome:
    session.show_on(structs.replace(session.screen, columns=fitting(command.columns)))
    return Outcome(Done(Sentence(Note.FITTED, columns=session.screen.columns or ASSUMED_COLUMNS)))


def quit(online: Online, session: Session, command: c.Quit) -> Outcome:
    return Outcome(Done(), effects=[End()])


def logout(online: Online, session: Session, command: c.Logout) -> Outcome:
    return Outcome(Done(), effects=[End("logout", Sentence(Note.LOGGED_OUT))])


def retry(online: Online, session: Session, command: c.Retry) -> Outcome:
    """Serves the kept messages next, before lines typed after this command."""
    labels = {room.facts.id: room.facts.label(session.who.account_id) for room in session.rooms.values()}
    kept = session.view.kept.take(labels) if session.view is not None else []
    session.inbox[:0] = kept
    if not kept:
        return Outcome(Done(Sentence(Note.NOTHING_KEPT)))
    return Outcome(Done(Sentence(Note.SENDING_AGAIN, count=len(kept))))


def who(online: Online, session: Session, command: c.Who) -> Outcome:
    """People online who share a room with the asker, by name; of very many, some."""
    near, more = online.roster.some_nearby(session, MAX_USERS)
    now = online.now()
    people = sorted(near.items(), key=lambda person: person[1].lower())
    away = online.roster.away_text_shown
    lines = [UserLine(name, True, now, away(session, id), *_kind_and_display(online.roster, id)) for id, name in people]
    shown = Portion(online.limits.answer_bytes).head(lines, user_size)
    return Outcome(UserList(shown, more or len(shown) < len(people)))


def _kind_and_display(roster: Roster, account_id: int) -> tuple[bool, str]:
    """Whether an account is a bot, and its display name."""
    _, display, bot = roster.called(account_id)
    return bot, display


def away(online: Online, session: Session, command: c.Away) -> Outcome:
    online.presence.away(session, command.text)
    return Outcome(Done(Sentence(Note.AWAY, text=command.text) if command.text else Sentence(Note.BACK)))


IMMEDIATE: dict[type[c.Command], Immediate] = {
    c.Ping: ping,
    c.Help: help,
    c.Away: away,
    c.Fit: fit,
    c.Quit: quit,
    c.Logout: logout,
    c.Retry: retry,
}


AT_ONCE: Final = frozenset({*IMMEDIATE, c.Who, c.Look})
"""Commands that may need no store."""


def immediate(command: c.Command) -> Immediate | None:
    """The function that answers a command without the store; None if the command needs the store."""
    if isinstance(command, c.Who) and command.name is None:
        return who
    if isinstance(command, c.Look) and not command.room:
        return whereabouts
    return IMMEDIATE.get(type(command))
