"""Rooms: making, entering, leaving, listing them."""

from chatserver import commands as c
from chatserver.errors import ErrorWord, Refused
from chatserver.events import PRIVATE, PUBLIC, Created, Joined, Left, Log, MemberList, RoomList, TopicSet
from chatserver.handlers.outcome import Ask, Outcome, Replay
from chatserver.store import Connection, messages, rooms

MOST_LINES = 500
SHOWN_ON_JOINING = 20
NAMES_SHOWN = 6


def create(db: Connection, ask: Ask, command: c.Create) -> Outcome:
    if command.room.startswith("@"):
        raise Refused(ErrorWord.DIRECT_ROOM, "A direct room is made by its first message: say something to it.")
    if command.visibility not in (PUBLIC, PRIVATE):
        raise Refused(ErrorWord.BAD_COMMAND, "The field visibility must be public or private.")
    facts, entries = rooms.create(db, ask.who, command.room, command.visibility, command.topic, ask.at)
    return Outcome(Created(command.room, entries[-1].seq), facts, entries)


def join(db: Connection, ask: Ask, command: c.Join) -> Outcome:
    place = rooms.find_room(db, ask.who, command.room, lock=True)
    entries = rooms.join(db, ask.who, place, ask.at)
    facts, seq = place.facts, place.seq + len(entries)
    replay = None
    if command.since is not None and facts.id:
        replay = Replay(max(min(command.since, seq), place.floor_after(entries) - 1), place.seq)
    label = facts.label(ask.who.id)
    count = rooms.member_count(db, facts.id) if facts.id else 2
    if not ask.person:
        return Outcome(Joined(label, seq, count), facts, entries, replay)
    unread, recent = 0, None
    if place.role is not None or place.read:
        unread = max(place.seq - place.read, 0)
    if unread and replay is None:
        last, more = messages.before(db, facts.id, place.seq + 1, place.floor, min(unread, SHOWN_ON_JOINING))
        recent = Log(facts, last, more)
    names = rooms.member_names(db, facts.id, ask.who.id, NAMES_SHOWN)
    return Outcome(Joined(label, seq, count, names, unread, place.topic, recent), facts, entries, replay)


def leave(db: Connection, ask: Ask, command: c.Leave) -> Outcome:
    facts, entries = rooms.leave(db, ask.who, command.room, ask.at)
    return Outcome(Left(command.room), facts, entries)


def topic(db: Connection, ask: Ask, command: c.Topic) -> Outcome:
    facts, entries = rooms.set_topic(db, ask.who, command.room, command.text, ask.at)
    return Outcome(TopicSet(command.room, entries[-1].seq), facts, entries)


def listing(db: Connection, ask: Ask, command: c.Rooms) -> Outcome:
    lines, more = rooms.listing(db, ask.who, command.after, min(command.limit, MOST_LINES), mine=command.mine)
    return Outcome(RoomList(lines, more))


def members(db: Connection, ask: Ask, command: c.Members) -> Outcome:
    place = rooms.find_room(db, ask.who, command.room)
    return Outcome(MemberList(place.facts.label(ask.who.id), rooms.members(db, place.facts, ask.online)))
