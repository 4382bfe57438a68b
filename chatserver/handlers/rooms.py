"""Rooms: creating, joining, leaving, deleting, configuring and listing them."""

from datetime import timedelta
from math import ceil
from typing import Literal

from msgspec.structs import replace

from chatserver.handlers.messages import last_of, require_pace, with_quotes
from chatserver.handlers.outcome import (
    Announcement,
    Ask,
    Effect,
    Hears,
    Outcome,
    Replay,
    Silenced,
    TurnTo,
    changed,
    hears,
)
from chatserver.handlers.rights import forbid_guest, require
from chatserver.handlers.unread import first_new
from chatserver.store import Connection, entries, members, rooms
from chatserver.store import unread as counting
from chatserver.store.db import epochs
from chatserver.store.visibility import RoomAccess, find_readable_room, find_room
from chatserver.values import commands as c
from chatserver.values.answer_size import member_size, room_size
from chatserver.values.answers import (
    NAMES_SHOWN,
    Changed,
    Configured,
    Created,
    Joined,
    Left,
    Log,
    Looked,
    MemberList,
    RoomList,
    TopicSet,
    TopicShown,
    gap_between,
)
from chatserver.values.errors import Note, Refused, Sentence, Why, muted
from chatserver.values.events import MEMBER, OPERATOR, PRIVATE, Entry, Membership

SHOWN_ON_JOINING = 20
"""Number of entries shown on joining: one screen."""
HOUR = timedelta(hours=1)
FIRST_SEQ = 1
"""Number of the entry that records a room's creation."""


def create(db: Connection, ask: Ask, command: c.Create) -> Outcome:
    forbid_guest(ask.who)
    if command.room.startswith("@"):
        raise Refused(Why.DIRECT_BY_MESSAGE)
    what = command.room, command.visibility, command.topic
    try:
        _require_room_for_another(db, ask)
        facts, new = rooms.create(db, ask.who, *what, ask.at)
    except Refused:
        access = rooms.find_created(db, ask.who, *what, ask.at)
        if access is None:
            raise
        # A retry gets the first answer, and all later entries.
        heard = Hears(access.facts, max(FIRST_SEQ, access.allowed - 1), access.seq)
        return Outcome(Created(command.room, FIRST_SEQ, access.facts.id), hears=heard, turn_to=TurnTo(access.facts))
    return Outcome(
        Created(command.room, FIRST_SEQ, facts.id),
        hears=Hears(facts, FIRST_SEQ - 1, FIRST_SEQ - 1),
        announced=[Announcement(facts, new)],
        turn_to=TurnTo(facts),
    )


def _require_room_for_another(db: Connection, ask: Ask) -> None:
    """Raises Refused if the asker owns too many rooms, or has created too many lately. Operators are exempt."""
    limits = ask.limits
    if ask.who.kind == OPERATOR:
        return
    if limits.rooms_per_account and rooms.owned(db, ask.who) >= limits.rooms_per_account:
        raise Refused(Why.TOO_MANY_ROOMS_OWNED, most=limits.rooms_per_account)
    if limits.rooms_per_hour:
        wait = rooms.seconds_until_next(db, ask.who, limits.rooms_per_hour, HOUR, direct=False)
        if wait:
            raise Refused(Why.TOO_MANY_ROOMS_CREATED, retry=wait, most=limits.rooms_per_hour, minutes=ceil(wait / 60))


def join(db: Connection, ask: Ask, command: c.Join) -> Outcome:
    access = find_room(db, ask.who, command.room, lock=True, joining=True)
    facts = access.facts
    if facts.kind == PRIVATE and access.role is None and not access.invited:
        raise Refused(Why.INVITE_ONLY, room=facts.name)
    rooms.check_rejoining(db, ask.who, access, ask.limits.joins_per_minute, ask.at)
    new, muted_until = rooms.enter(db, ask.who, access, ask.at)
    seq = access.seq + len(new)
    replay = common = None
    if command.since is not None and facts.id:
        known = epochs.common(db, command.epoch, [facts.id]) if command.epoch else {}
        last = min(command.since, known.get(facts.id, seq), seq)
        common = last if last < command.since else None
        replay = Replay(facts, max(last, access.allowed - 1), access.seq)
    count = members.count(db, facts.id) if facts.id else 2
    answer = Joined(facts.label(ask.who.id), seq, count, pace=access.pace, common=common, room_id=facts.id)
    if ask.for_people:
        unread, recent = _missed(db, ask, access)
        names = members.names(db, facts.id, ask.who.id, NAMES_SHOWN)
        if replay is not None:
            recent = None
        answer = replace(answer, names=names, unread=unread, topic=access.topic, recent=recent)
    announced = [Announcement(facts, new)] if new else []
    # From what the answer covers on, whether or not they were a member. A direct room may not exist yet.
    heard = Hears(facts, access.seq, access.seq) if facts.id else None
    silenced: list[Effect] = [] if muted_until is None else [Silenced(ask.who.id, facts.id, muted_until)]
    return Outcome(answer, replay, heard, announced, turn_to=TurnTo(facts), effects=silenced)


def look(db: Connection, ask: Ask, command: c.Look) -> Outcome:
    """Makes another of a person's rooms their current one, and shows its unread entries."""
    access = find_room(db, ask.who, command.room)
    access.require_member(ask.who)
    unread, recent = _missed(db, ask, access)
    answer = Looked(access.facts.label(ask.who.id), unread, recent)
    return Outcome(answer, hears=hears(access), turn_to=TurnTo(access.facts))


def _missed(db: Connection, ask: Ask, access: RoomAccess) -> tuple[int, Log | None]:
    """Returns the number of a person's unread entries, and the last of them."""
    read = access.read or members.before(db, ask.who, access.facts.id).read
    if not read and access.role is None:  # new members have nothing unread
        return 0, None
    one = Membership(
        access.facts, access.seq, read, access.role or MEMBER, access.floor, allowed=access.allowed, runs=access.runs
    ).with_seen(ask.seen.get(access.facts.id))
    unread = counting.count(db, ask.who, one).entries
    if not unread:
        return 0, None
    since = one.seq - max(one.read, one.floor - 1)
    last, more = entries.before(db, access.facts.id, one.seq + 1, one.floor, min(since, SHOWN_ON_JOINING))
    last = with_quotes(db, ask, access.facts, last)
    gap = gap_between(max(one.read + 1, one.allowed), one.floor)
    log = Log(access.facts, last, more, gap, new=first_new(one, last, ask.who))
    return unread, last_of(ask.portion, log, ask.who.id)


def leave(db: Connection, ask: Ask, command: c.Leave) -> Outcome:
    facts, new = rooms.leave(db, ask.who, command.room, ask.at)
    return Outcome(Left(command.room, facts.id), announced=[Announcement(facts, new)], left=facts)


def delete(db: Connection, ask: Ask, command: c.Delete) -> Outcome:
    access = find_room(db, ask.who, command.room, lock=True)
    access.forbid_direct(Why.DIRECT_STAYS)
    require(ask.who, access, "delete")
    if ask.who.kind != OPERATOR and rooms.is_default(db, access.facts.id):
        raise Refused(Why.DEFAULT_ROOM, room=command.room)
    new = rooms.delete(db, ask.who, access, ask.at)
    answer = Changed(command.room, new[-1].seq, Sentence(Note.ROOM_DELETED, room=command.room), access.facts.id)
    return Outcome(answer, announced=[Announcement(access.facts, new)], closed=access.facts)


def topic(db: Connection, ask: Ask, command: c.Topic) -> Outcome:
    if command.text is None:
        access = find_readable_room(db, ask.who, command.room)
        access.forbid_direct(Why.DIRECT_HAS_NO_TOPIC)
        return Outcome(TopicShown(command.room, access.topic, access.facts.id))
    access = find_room(db, ask.who, command.room, lock=True)
    access.forbid_direct(Why.DIRECT_HAS_NO_TOPIC)
    require(ask.who, access, "topic")
    if access.muted:
        raise muted(command.room)
    if command.text == access.topic:
        return changed(ask, access, [], Sentence(Note.SAME_TOPIC, room=command.room))
    require_pace(db, ask, access)
    new = rooms.set_topic(db, ask.who, access, command.text, ask.at)
    seq = new[-1].seq
    removed = Changed(command.room, seq, Sentence(Note.TOPIC_REMOVED, room=command.room), access.facts.id)
    answer = TopicSet(command.room, seq, access.facts.id) if command.text else removed
    return Outcome(answer, hears=hears(access), announced=[Announcement(access.facts, new)], echo="always")


def configure(db: Connection, ask: Ask, command: c.Set) -> Outcome:
    access = find_room(db, ask.who, command.room, lock=True)
    access.forbid_direct(Why.DIRECT_HAS_NO_SETTINGS)
    require(ask.who, access, "set pace" if command.past is None and command.invites is None else "set")
    if command.past == "open" and access.role is None and access.facts.kind == PRIVATE:
        raise Refused(Why.PAST_BY_MEMBERS, room=access.facts.name)
    past: Literal["open", "closed"] = "open" if access.past_open else "closed"
    known = past, access.invites, access.pace
    chosen = command.past, command.invites, command.pace
    new: list[Entry] = []
    if any(one not in (None, old) for one, old in zip(chosen, known, strict=True)):
        new = rooms.configure(db, ask.who, access, *chosen, ask.at)
    answer = Configured(
        command.room,
        new[-1].seq if new else None,
        Sentence(Note.SETTINGS_CHANGED if new else Note.SAME_SETTINGS, room=command.room),
        access.facts.id,
        visibility="private" if access.facts.kind == PRIVATE else "public",
        past=command.past or past,
        invites=command.invites or access.invites,
        pace=access.pace if command.pace is None else command.pace,
    )
    return Outcome(answer, hears=hears(access), announced=[Announcement(access.facts, new)] if new else [])


def listing(db: Connection, ask: Ask, command: c.Rooms) -> Outcome:
    limit = ask.page(command.limit)
    lines, more = rooms.listing(
        db, ask.who, command.after, limit, mine=command.mine, prefix=command.prefix, only=ask.only
    )
    shown = ask.portion.head(lines, room_size)
    return Outcome(RoomList(shown, more or len(shown) < len(lines)))


def member_list(db: Connection, ask: Ask, command: c.Members) -> Outcome:
    access = find_readable_room(db, ask.who, command.room)
    limit = ask.page(command.limit)
    lines, others = members.page(db, access.facts, ask.online, command.after, limit, command.prefix)
    shown = ask.portion.head(lines, member_size)
    others += len(lines) - len(shown)
    everybody = not others and not command.after and not command.prefix
    return Outcome(MemberList(access.facts.label(ask.who.id), shown, others, everybody))
