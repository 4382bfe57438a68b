"""Answers to a session whose token is for one room: `Ask.only` names the room; no other is visible."""

from chatserver.handlers import people
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.handlers.unread import standing, status
from chatserver.store import Connection, accounts, members
from chatserver.store import unread as counting
from chatserver.store.visibility import find_room
from chatserver.values import commands as c
from chatserver.values.answers import RoomLine, RoomList, UnreadList
from chatserver.values.errors import no_such_user
from chatserver.values.events import DIRECT


def listing(db: Connection, ask: Ask, command: c.Rooms) -> Outcome:
    access = find_room(db, ask.who, ask.only)
    access.require_member(ask.who)
    facts = access.facts
    if facts.kind == DIRECT or facts.name <= command.after:
        return Outcome(RoomList([]))
    line = RoomLine(facts.name, access.topic, members.count(db, facts.id), access.seq, access.role)
    return Outcome(RoomList([line]))


def unread(db: Connection, ask: Ask, command: c.Unread) -> Outcome:
    access = find_room(db, ask.who, ask.only)
    one = standing(ask, access)
    if access.facts.label(ask.who.id).lower() <= command.after.lower():
        return Outcome(UnreadList([]))
    return Outcome(UnreadList([status(one, ask.who, counting.count(db, ask.who, one))]))


def who(db: Connection, ask: Ask, command: c.Who) -> Outcome:
    """Members of the room only; others do not exist."""
    assert command.name is not None
    access = find_room(db, ask.who, ask.only)
    access.require_member(ask.who)
    found = accounts.find(db, command.name)
    if found is None:
        raise no_such_user(command.name)
    pair = access.facts.pair
    inside = found.id in dict(pair) if pair is not None else members.role_of(db, access, found.id) is not None
    if not inside:
        raise no_such_user(command.name)
    return people.who(db, ask, command)
