"""Commands that need no store: answered at once, on the reactor."""

from collections.abc import Callable
from typing import Any

from chatserver import commands as c
from chatserver.errors import not_a_member
from chatserver.events import Answer, Done, HelpText, Looked
from chatserver.session import Session

Local = Callable[[Session, Any], Answer]


def done(session: Session, command: c.Command) -> Answer:
    return Done()


def ping(session: Session, command: c.Ping) -> Answer:
    return Done("The server is here.")


def help(session: Session, command: c.Help) -> Answer:
    return HelpText(command.about)


def look(session: Session, command: c.Look) -> Answer:
    room = session.room_called(command.room)
    if room is None and not command.room.startswith("@"):
        raise not_a_member(command.room)
    session.current = room.facts.label(session.account_id) if room else command.room
    return Looked(session.current)


LOCAL: dict[type[c.Command], Local] = {
    c.Ping: ping,
    c.Help: help,
    c.Look: look,
    c.Quit: done,
    c.Logout: done,
}

ENDS: dict[type[c.Command], tuple[str, str]] = {
    c.Quit: ("", ""),
    c.Logout: ("logout", "You are logged out. Goodbye."),
}
"""After these the connection ends, with this reason; without one, the answer says it all."""
