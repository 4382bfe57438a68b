"""People: who is there."""

from chatserver import commands as c
from chatserver.errors import no_such_user
from chatserver.events import UserList
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.store import Connection, accounts


def who(db: Connection, ask: Ask, command: c.Who) -> Outcome:
    users = accounts.people(db, ask.who.id, ask.online, command.name)
    if command.name is not None and not users:
        raise no_such_user(command.name)
    return Outcome(UserList(users))
