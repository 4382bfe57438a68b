"""Other people: who they are, and blocking them."""

from chatserver import commands as c
from chatserver.answers import Done, UserList
from chatserver.errors import ErrorWord, Refused, no_such_user
from chatserver.handlers.outcome import Apart, Ask, Outcome
from chatserver.store import Connection, people
from chatserver.store.people import find_person

MAX_BLOCKED = 1000
"""Accounts that one account may have blocked: everybody's blocks are in memory while they are online."""


def who(db: Connection, ask: Ask, command: c.Who) -> Outcome:
    assert command.name is not None  # without a name it is answered without the store: see `immediate`
    apart = people.blocks(db, [ask.who.id])[ask.who.id]
    line = people.last_seen(db, ask.who, command.name, ask.online, ask.away, apart)
    if line is None:
        raise no_such_user(command.name)
    return Outcome(UserList([line]))


def block(db: Connection, ask: Ask, command: c.Block) -> Outcome:
    target = find_person(db, command.name)
    if target.id == ask.who.id:
        raise Refused(ErrorWord.NOT_ALLOWED, "You cannot block yourself.")
    if people.blocked_besides(db, ask.who, target) >= MAX_BLOCKED:
        raise Refused(
            ErrorWord.NOT_ALLOWED,
            f"You have blocked {MAX_BLOCKED} accounts, the most there may be. Unblock one of them first.",
        )
    people.block(db, ask.who, target, ask.at)
    note = Done(f"You blocked {target.name}'s direct messages and invitations. /unblock {target.name} undoes this.")
    return Outcome(note, effects=[Apart((ask.who.id, target.id), True)])


def unblock(db: Connection, ask: Ask, command: c.Unblock) -> Outcome:
    target = find_person(db, command.name)
    people.unblock(db, ask.who, target)
    apart = people.has_blocked(db, target.id, ask.who.id)
    return Outcome(Done(f"You unblocked {target.name}."), effects=[Apart((ask.who.id, target.id), apart)])
