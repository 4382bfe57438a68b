"""Rooms: making, entering, leaving, ending, listing them."""

from chatserver import commands as c
from chatserver.errors import ErrorWord, Refused, muted
from chatserver.events import (
    PRIVATE,
    Changed,
    Created,
    Joined,
    Left,
    Log,
    Looked,
    MemberList,
    RoomList,
    TopicSet,
)  # fmt: skip
from chatserver.handlers.outcome import Ask, Outcome, Replay
from chatserver.handlers.rights import forbid_guest, require
from chatserver.store import Connection, messages, rooms
from chatserver.store.places import Place, find_room

MOST_LINES = 500
SHOWN_ON_JOINING = 20
NAMES_SHOWN = 6


def create(db: Connection, ask: Ask, command: c.Create) -> Outcome:
    forbid_guest(ask.who)
    if command.room.startswith("@"):
        raise Refused(ErrorWord.DIRECT_ROOM, "A direct room is made by its first message: say something to it.")
    facts, entries = rooms.create(db, ask.who, command.room, command.visibility, command.topic, ask.at)
    return Outcome(Created(command.room, entries[-1].seq), facts, entries, seen=entries[-1].seq)


def join(db: Connection, ask: Ask, command: c.Join) -> Outcome:
    place = find_room(db, ask.who, command.room, ask.at, lock=True, joining=True)
    facts = place.facts
    if facts.kind == PRIVATE and place.role is None and not place.invited:
        raise Refused(ErrorWord.INVITE_ONLY, f"{facts.name} is by invitation only, for operators too.")
    entries = rooms.join(db, ask.who, place, ask.at)
    seq = place.seq + len(entries)
    floor = entries[0].seq if entries and facts.kind == PRIVATE and not place.past_open else place.floor
    replay = None
    if command.since is not None and facts.id:
        replay = Replay(max(min(command.since, seq), floor - 1), place.seq)
    label = facts.label(ask.who.id)
    count = rooms.member_count(db, facts.id) if facts.id else 2
    if not ask.human:
        return Outcome(Joined(label, seq, count), facts, entries, replay)
    unread, recent = _missed(db, ask, place, floor)
    names = rooms.member_names(db, facts.id, ask.who.id, NAMES_SHOWN)
    answer = Joined(label, seq, count, names, unread, place.topic, recent if replay is None else None)
    return Outcome(answer, facts, entries, replay, seen=seq)


def look(db: Connection, ask: Ask, command: c.Look) -> Outcome:
    """A person turns to another room they are in, and sees what they missed there."""
    place = find_room(db, ask.who, command.room, ask.at)
    place.require_member(ask.who)
    unread, recent = _missed(db, ask, place, place.floor)
    return Outcome(Looked(place.facts.label(ask.who.id), unread, recent), place.facts, seen=place.seq)


def _missed(db: Connection, ask: Ask, place: Place, floor: int) -> tuple[int, Log | None]:
    """How many entries a person has not seen yet, and the last of them."""
    read = max(place.read or rooms.read_before(db, ask.who, place.facts.id), ask.shown.get(place.facts.id, 0))
    unread = max(place.seq - max(read, floor - 1), 0)
    if not unread or (not read and place.role is None):  # to somebody new, nothing is unread
        return 0, None
    last, more = messages.before(db, place.facts.id, place.seq + 1, floor, min(unread, SHOWN_ON_JOINING))
    return unread, Log(place.facts, last, more)


def leave(db: Connection, ask: Ask, command: c.Leave) -> Outcome:
    facts, entries = rooms.leave(db, ask.who, command.room, ask.at)
    return Outcome(Left(command.room), facts, entries)


def delete(db: Connection, ask: Ask, command: c.Delete) -> Outcome:
    place = find_room(db, ask.who, command.room, ask.at, lock=True)
    place.forbid_direct("cannot be left or deleted")
    require(ask.who, place, "delete")
    entries = rooms.delete(db, ask.who, place, ask.at)
    return Outcome(Changed(command.room, entries[-1].seq, f"{command.room} is no more."), place.facts, entries)


def topic(db: Connection, ask: Ask, command: c.Topic) -> Outcome:
    place = find_room(db, ask.who, command.room, ask.at, lock=True)
    place.forbid_direct("has no topic")
    require(ask.who, place, "topic")
    if place.muted:
        raise muted(command.room)
    entries = rooms.set_topic(db, ask.who, place, command.text, ask.at)
    return Outcome(TopicSet(command.room, entries[-1].seq), place.facts, entries)


def set_ways(db: Connection, ask: Ask, command: c.Set) -> Outcome:
    place = find_room(db, ask.who, command.room, ask.at, lock=True)
    place.forbid_direct("is as it is")
    require(ask.who, place, "set")
    entries = rooms.set_ways(db, ask.who, place, command.past, command.invites, ask.at)
    return Outcome(Changed(command.room, entries[-1].seq, f"{command.room} is set so."), place.facts, entries)


def listing(db: Connection, ask: Ask, command: c.Rooms) -> Outcome:
    most = min(command.limit, MOST_LINES)
    lines, more = rooms.listing(db, ask.who, command.after, most, mine=command.mine)
    return Outcome(RoomList(lines, more))


def members(db: Connection, ask: Ask, command: c.Members) -> Outcome:
    place = find_room(db, ask.who, command.room, ask.at)
    if place.facts.kind == PRIVATE:
        place.require_member(ask.who)  # an operator keeps order, but is no listener
    return Outcome(MemberList(place.facts.label(ask.who.id), rooms.members(db, place.facts, ask.online)))
