"""Other people: showing them, blocking them, and ignoring them."""

from chatserver.handlers.outcome import Apart, Ask, Ignored, Outcome
from chatserver.store import Connection, accounts, ignoring, names, people
from chatserver.store.people import find_person
from chatserver.values import commands as c
from chatserver.values.answers import Done, Ignoring, UserList
from chatserver.values.errors import Note, Refused, Sentence, Why

MAX_BLOCKED = 1000
"""Maximum number of accounts that one account may have blocked: its blocks are in memory while it is online."""
MAX_IGNORED = 200
"""Maximum number of accounts that one may ignore: each entry is compared with them."""


def who(db: Connection, ask: Ask, command: c.Who) -> Outcome:
    assert command.name is not None  # without a name it is answered without the store: see `immediate`
    apart = people.blocks(db, [ask.who.id])[ask.who.id]
    line = people.last_seen(db, ask.who, command.name, ask.online, ask.away, apart)
    if line is None:
        raise names.unknown(db, command.name, ask.who)
    return Outcome(UserList([line]))


def block(db: Connection, ask: Ask, command: c.Block) -> Outcome:
    target = find_person(db, ask.who, command.name)
    if target.id == ask.who.id:
        raise Refused(Why.BLOCKS_SELF)
    if people.blocked_besides(db, ask.who, target) >= MAX_BLOCKED:
        raise Refused(Why.TOO_MANY_BLOCKED, most=MAX_BLOCKED)
    people.block(db, ask.who, target, ask.at)
    note = Done(Sentence(Note.BLOCKED, name=target.name))
    return Outcome(note, effects=[Apart((ask.who.id, target.id), True)])


def unblock(db: Connection, ask: Ask, command: c.Unblock) -> Outcome:
    target = find_person(db, ask.who, command.name)
    people.unblock(db, ask.who, target)
    apart = people.has_blocked(db, target.id, ask.who.id)
    return Outcome(Done(Sentence(Note.UNBLOCKED, name=target.name)), effects=[Apart((ask.who.id, target.id), apart)])


def ignore(db: Connection, ask: Ask, command: c.Ignore) -> Outcome:
    if command.name is None:
        return Outcome(Ignoring(ignoring.names(db, ask.who)))
    target = find_person(db, ask.who, command.name)
    if target.id == ask.who.id:
        raise Refused(Why.IGNORES_SELF)
    if ignoring.ignored_besides(db, ask.who, target) >= MAX_IGNORED:
        raise Refused(Why.TOO_MANY_IGNORED, most=MAX_IGNORED)
    ignoring.ignore(db, ask.who, target, ask.at)
    note = Sentence(Note.IGNORED, name=target.name)
    return Outcome(Done(note), effects=[Ignored(ask.who.id, target.id, True)])


def unignore(db: Connection, ask: Ask, command: c.Unignore) -> Outcome:
    found = accounts.find(db, command.name)  # also one that is disabled
    if found is None or found.erased:
        raise names.unknown(db, command.name, ask.who)
    target = found.person
    ignoring.unignore(db, ask.who, target)
    note = Sentence(Note.UNIGNORED, name=target.name)
    return Outcome(Done(note), effects=[Ignored(ask.who.id, target.id, False)])
