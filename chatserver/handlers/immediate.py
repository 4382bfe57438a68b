"""Commands that need no store: they are answered at once, on the reactor."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct

from chatserver import commands as c
from chatserver.answers import Done, HelpText, UserLine, UserList
from chatserver.config import DEFAULT_LIMITS, Limits
from chatserver.handlers.outcome import End, Outcome
from chatserver.portion import Portion, user_size
from chatserver.presence import Presence
from chatserver.roster import Roster
from chatserver.session import Session

MAX_USERS = 1000


class Online(Struct, frozen=True):
    """What is known without the store, and the limits of the settings."""

    roster: Roster
    presence: Presence
    now: Callable[[], datetime]
    limits: Limits = DEFAULT_LIMITS


Immediate = Callable[[Online, Session, Any], Outcome]


def ping(online: Online, session: Session, command: c.Ping) -> Outcome:
    return Outcome(Done("The server is here."))


def help(online: Online, session: Session, command: c.Help) -> Outcome:
    return Outcome(HelpText(command.about))


def quit(online: Online, session: Session, command: c.Quit) -> Outcome:
    return Outcome(Done(), effects=[End()])


def logout(online: Online, session: Session, command: c.Logout) -> Outcome:
    return Outcome(Done(), effects=[End("logout", "You are logged out. Goodbye.")])


def who(online: Online, session: Session, command: c.Who) -> Outcome:
    """People who are online and share a room with the asker, by name; of very many, some."""
    near, more = online.roster.some_nearby(session, MAX_USERS)
    now = online.now()
    people = sorted(near.items(), key=lambda person: person[1].lower())
    away = online.roster.away_text_shown
    lines = [UserLine(name, True, now, away(session, id)) for id, name in people]
    shown = Portion(online.limits.answer_bytes).head(lines, user_size)
    return Outcome(UserList(shown, more or len(shown) < len(people)))


def away(online: Online, session: Session, command: c.Away) -> Outcome:
    online.presence.away(session, command.text)
    return Outcome(Done(f"You are away: {command.text}" if command.text else "You are back."))


IMMEDIATE: dict[type[c.Command], Immediate] = {
    c.Ping: ping,
    c.Help: help,
    c.Away: away,
    c.Quit: quit,
    c.Logout: logout,
}


def immediate(command: c.Command) -> Immediate | None:
    """The function that answers a command without the store; None if the command needs the store."""
    if isinstance(command, c.Who) and command.name is None:
        return who
    return IMMEDIATE.get(type(command))
