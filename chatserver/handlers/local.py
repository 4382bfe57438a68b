"""Commands that need no store: answered at once, on the reactor."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct

from chatserver import commands as c
from chatserver.events import Answer, Done, HelpText, UserLine, UserList
from chatserver.presence import Presence
from chatserver.registry import Registry
from chatserver.session import Session

MOST_USERS = 1000


class Here(Struct, frozen=True):
    """What is known without the store."""

    registry: Registry
    presence: Presence
    now: Callable[[], datetime]


Local = Callable[[Here, Session, Any], Answer]


def done(here: Here, session: Session, command: c.Command) -> Answer:
    return Done()


def ping(here: Here, session: Session, command: c.Ping) -> Answer:
    return Done("The server is here.")


def help(here: Here, session: Session, command: c.Help) -> Answer:
    return HelpText(command.about)


def who(here: Here, session: Session, command: c.Who) -> Answer:
    """Those who are online and share a room with the asker, in the order of names."""
    near = {other.account_id: other.name for other in here.registry.nearby(session)} | {
        session.account_id: session.name
    }
    now, away = here.now(), here.registry.away
    people = sorted(near.items(), key=lambda person: person[1].lower())[:MOST_USERS]
    return UserList([UserLine(name, True, now, away.get(id, "")) for id, name in people])


def away(here: Here, session: Session, command: c.Away) -> Answer:
    known = here.registry.away
    if command.text != known.get(session.account_id, ""):
        if command.text:
            known[session.account_id] = command.text
        else:
            del known[session.account_id]
        here.presence.tell(session)
    return Done(f"You are away: {command.text}" if command.text else "You are back.")


LOCAL: dict[type[c.Command], Local] = {
    c.Ping: ping,
    c.Help: help,
    c.Away: away,
    c.Quit: done,
    c.Logout: done,
}


def local(command: c.Command) -> Local | None:
    """What answers a command without the store; None where it takes the store."""
    if isinstance(command, c.Who) and command.name is None:
        return who
    return LOCAL.get(type(command))


ENDS: dict[type[c.Command], tuple[str, str]] = {
    c.Quit: ("", ""),
    c.Logout: ("logout", "You are logged out. Goodbye."),
}
"""After these the connection ends, with this reason; without one, the answer says it all."""
