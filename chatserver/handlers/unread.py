"""Unread entries: counting, showing and marking them as read, and finding mentions."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chatserver.handlers.messages import found_with_quotes, shortened, what_was_removed, with_quotes
from chatserver.handlers.outcome import Ask, Effect, MovedBack, Outcome, Tell, hears
from chatserver.handlers.rights import require
from chatserver.store import Connection, entries, logins, members, quotes, sessions, visibility
from chatserver.store import mentions as mentioned
from chatserver.store import unread as counting
from chatserver.store.logins import LoginFacts
from chatserver.store.visibility import RoomAccess, find_room
from chatserver.store.wanted import Wanted
from chatserver.values import commands as c
from chatserver.values.answer_size import entry_size, found_size, status_size
from chatserver.values.answers import (
    Beside,
    Done,
    Found,
    Log,
    Marked,
    Missed,
    RoomStatus,
    Unread,
    UnreadList,
    gap_between,
)
from chatserver.values.errors import Note, Sentence
from chatserver.values.events import DIRECT, Entry, Membership, Person, ReadMark, RoomFacts
from chatserver.values.seen import Seen

ALL_READ: Final = Sentence(Note.READ_ALL)


def standing(ask: Ask, access: RoomAccess) -> Membership:
    """The asker's membership of a room, with all that they have seen. Raises Refused(not-a-member)."""
    access.require_member(ask.who)
    assert access.role is not None
    one = Membership(
        access.facts, access.seq, access.read, access.role, access.floor, allowed=access.allowed, runs=access.runs
    )
    return one.with_seen(ask.seen.get(access.facts.id))


def status(one: Membership, who: Person, unread: Unread | None = None) -> RoomStatus:
    """A member's own line about a room. In a direct room nobody has a role."""
    role = None if one.facts.kind == DIRECT else one.role
    gap = gap_between(max(one.read + 1, one.allowed), one.floor)
    label, id = one.facts.label(who.id), one.facts.id
    return RoomStatus(label, one.seq, one.read, role, gap, unread, one.about, notify=one.notify, room_id=id)


class Arriving(Struct, frozen=True):
    """A person whose login asks for the state. `seen`: as in `Ask`."""

    person: Person
    token_id: int
    seen: Mapping[int, Seen]


def states(db: Connection, arriving: Sequence[Arriving]) -> list[tuple[LoginFacts, list[Membership], list[Unread]]]:
    """For each of these people the facts for their login, and of the first rooms by label: the memberships, with what
    was seen, and what is unread. Call this in a transaction that sees one snapshot."""
    found = []
    known = logins.look_up(db, [(one.person, one.token_id) for one in arriving], about=True)
    for one, facts in zip(arriving, known, strict=True):
        page = sorted(facts.memberships, key=lambda room: members.by_label(room.facts.label(one.person.id)))
        page = [room.with_seen(one.seen.get(room.facts.id)) for room in page[: c.PAGE_LIMIT]]
        if any(room.about is None for room in page):  # it is in very many
            page = members.with_about(db, one.person, page)
        found.append((facts, page, counting.counts(db, one.person, page, counting.MOST_AT_LOGIN)))
    return found


def other_of(facts: RoomFacts, who: Person) -> tuple[int, str] | None:
    """The id and name of the other account of a direct room; None for other rooms."""
    return next(((id, name) for id, name in facts.pair or () if id != who.id), None)


def with_beside(line: RoomStatus, one: Membership, who: Person, *, online: bool, away: str) -> RoomStatus:
    """The line of a direct room, with its other account: whether it is online, and its away text."""
    other = other_of(one.facts, who)
    if other is None or one.about is None:
        return line
    return replace(line, beside=Beside(other[1], one.about.display, online, away))


class FirstScreen(Struct, frozen=True):
    """The first screen after a login: the last entries of the current room, and by room id what is unread."""

    recent: Log | None = None
    unread: dict[int, Unread] = {}


EMPTY_SCREEN: Final = FirstScreen()


def first_screen(db: Connection, who: Person, rooms: list[Membership], current: int, lines: int) -> FirstScreen:
    """`current`: the id of the room that they look at first."""
    one = next(one for one in rooms if one.facts.id == current)
    found, more = entries.before(db, current, one.seq + 1, one.floor, lines)
    found = quotes.quoted(db, who, current, found)
    counts = counting.counts(db, who, rooms, counting.MOST_AT_LOGIN)
    unread = {room.facts.id: count for room, count in zip(rooms, counts, strict=True)}
    new = first_new(one, found, who) if unread[current].entries else 0
    return FirstScreen(Log(one.facts, found, more, new=new), unread)


def listing(db: Connection, ask: Ask, command: c.Unread) -> Outcome:
    """People are shown only rooms with unread messages."""
    limit = ask.page(command.limit)
    lines: list[RoomStatus] = []
    after = command.after
    while len(lines) <= limit:
        known = members.standings(db, ask.who, after, limit + 1, unread=ask.for_people, only=ask.only)
        rooms = [one.with_seen(ask.seen.get(one.facts.id)) for one in known]
        if command.state:
            rooms = members.with_about(db, ask.who, rooms)
        counts = counting.counts(db, ask.who, rooms)
        lines += [
            _beside(ask, one, status(one, ask.who, count))
            for one, count in zip(rooms, counts, strict=True)
            if count.messages or count.partial or not ask.for_people
        ]
        if len(known) <= limit:
            break
        after = known[-1].facts.label(ask.who.id)
    page = ask.portion.head(lines[:limit], status_size)
    return Outcome(UnreadList(page, len(page) < len(lines)))


def _beside(ask: Ask, one: Membership, line: RoomStatus) -> RoomStatus:
    if one.about is None or one.facts.pair is None:
        return line
    other = other_of(one.facts, ask.who)
    online = other is not None and other[0] in ask.online
    return with_beside(line, one, ask.who, online=online, away=ask.away.get(other[0], "") if other and online else "")


def missed(db: Connection, ask: Ask, command: c.Missed) -> Outcome:
    """Shows a person the unread entries of a room, from the first one on."""
    access = find_room(db, ask.who, command.room)
    one = standing(ask, access)
    label = access.facts.label(ask.who.id)
    unread = counting.count(db, ask.who, one).entries
    if not unread:
        return Outcome(Done(Sentence(Note.READ_ALL_IN_ROOM, label=label)), hears=hears(access))
    page: list[Entry] = []
    more = False
    for begin, end in one.seen.missing(one.floor, one.seq):
        if len(page) == c.PAGE_LIMIT:
            more = True
            break
        wanted = min(end - begin + 1, c.PAGE_LIMIT - len(page))
        found, _ = entries.after(db, access.facts.id, begin - 1, wanted)
        here = [entry for entry in found if entry.seq <= end]
        page += here
        more = bool(here) and here[-1].seq < end  # they may be removed at this moment
        if more:
            break
    page = with_quotes(db, ask, access.facts, page)
    shown = ask.portion.head(page, partial(entry_size, label))
    gap = gap_between(max(one.read + 1, one.allowed), one.floor)
    log = Log(access.facts, shown, more or len(shown) < len(page), gap)
    return Outcome(Missed(label, unread, log), hears=hears(access))


def first_new(one: Membership, shown: list[Entry], who: Person) -> int:
    """The number of the first unread entry among those shown; 0 if none is."""
    return next((entry.seq for entry in shown if not one.seen.has(entry.seq) and entry.author_id != who.id), 0)


def read(db: Connection, ask: Ask, command: c.Read) -> Outcome:
    access = find_room(db, ask.who, command.room, lock=command.back)
    require(ask.who, access, "read")
    label, id = access.facts.label(ask.who.id), access.facts.id
    moved: list[Effect] = []
    if command.back and id:
        seen = members.move_mark_back(db, ask.who, access, command.seq)
        seq, moved = seen.mark, [MovedBack(ask.who.id, id, seen)]
    else:
        seq = members.mark_read(db, ask.who, access, command.seq)
    told = Tell(ask.who.id, ReadMark(label, seq, id, back=bool(moved)))
    return Outcome(Marked(label, seq, id), hears=hears(access), effects=[*moved, told])


def read_all(db: Connection, ask: Ask, command: c.ReadAll) -> Outcome:
    rooms = [one for one in visibility.memberships(db, ask.who) if one.seq > one.read]
    sessions.mark(db, {ask.who.id: {one.facts.id: Seen(one.seq, (), one.era) for one in rooms}})
    effects: list[Effect] = [
        Tell(ask.who.id, ReadMark(one.facts.label(ask.who.id), one.seq, one.facts.id)) for one in rooms
    ]
    return Outcome(Done(ALL_READ), effects=effects)


def mentions(db: Connection, ask: Ask, command: c.Mentions) -> Outcome:
    """Lists others' messages that name the asker, or answer them, in the rooms that they are in."""
    known, before = mentioned.listing(db, ask.who, command.before, min(command.limit, c.PAGE_LIMIT))
    portion = ask.portion
    known = found_with_quotes(db, ask, known)
    shown = portion.head(known, found_size(ask.who.id))
    if len(shown) < len(known):
        shown, before = shortened(known, len(shown), Wanted(), one_room=False)
    gone = {} if before is not None else what_was_removed(portion, entries.removed_before(db, ask.who))
    return Outcome(Found(shown, before is not None, before, command="mentions", removed=gone))
