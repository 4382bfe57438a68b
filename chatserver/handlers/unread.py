"""Unread entries: counting, showing and marking them as read, and finding mentions."""

from datetime import timedelta
from functools import partial
from typing import Final

from msgspec import Struct

from chatserver.handlers.messages import found_with_quotes, shortened, what_was_removed, with_quotes
from chatserver.handlers.outcome import Ask, Effect, Outcome, Tell, hears
from chatserver.handlers.rights import require
from chatserver.store import Connection, entries, members, names, quotes, sessions, visibility
from chatserver.store import search as searching
from chatserver.store import unread as counting
from chatserver.store.search_walk import Deadline
from chatserver.store.visibility import RoomAccess, find_room
from chatserver.values import commands as c
from chatserver.values.answer_size import entry_size, found_size, status_size
from chatserver.values.answers import Done, Found, Log, Marked, Missed, RoomStatus, UnreadList, gap_between
from chatserver.values.errors import Note, Sentence
from chatserver.values.events import DIRECT, Entry, Membership, Person, ReadMark, RoomFacts
from chatserver.values.mentions import mentions as is_mentioned
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


def status(one: Membership, who: Person, unread: int | None = None) -> RoomStatus:
    """A member's own line about a room. In a direct room nobody has a role."""
    role = None if one.facts.kind == DIRECT else one.role
    gap = gap_between(max(one.read + 1, one.allowed), one.floor)
    return RoomStatus(one.facts.label(who.id), one.seq, one.read, role, gap, unread)


class FirstScreen(Struct, frozen=True):
    """The first screen after a login: the last entries of the current room, and by room id the number of unread
    entries."""

    recent: Log | None = None
    unread: dict[int, int] = {}


EMPTY_SCREEN: Final = FirstScreen()


def first_screen(db: Connection, who: Person, rooms: list[Membership], current: int, lines: int) -> FirstScreen:
    """`current`: the id of the room that they look at first."""
    one = next(one for one in rooms if one.facts.id == current)
    found, more = entries.before(db, current, one.seq + 1, one.floor, lines)
    found = quotes.quoted(db, who, current, found)
    counts = counting.counts(db, who, rooms)
    unread = {room.facts.id: count for room, count in zip(rooms, counts, strict=True)}
    new = first_new(one, found, who) if unread[current] else 0
    return FirstScreen(Log(one.facts, found, more, new=new), unread)


def listing(db: Connection, ask: Ask, command: c.Unread) -> Outcome:
    """People are shown only rooms with unread ones."""
    limit = ask.page(command.limit)
    lines: list[RoomStatus] = []
    after = command.after
    while len(lines) <= limit:
        known = members.standings(db, ask.who, after, limit + 1, unread=ask.for_people, only=ask.only)
        rooms = [one.with_seen(ask.seen.get(one.facts.id)) for one in known]
        counts = counting.counts(db, ask.who, rooms)
        lines += [
            status(one, ask.who, count) for one, count in zip(rooms, counts, strict=True) if count or not ask.for_people
        ]
        if len(known) <= limit:
            break
        after = known[-1].facts.label(ask.who.id)
    page = ask.portion.head(lines[:limit], status_size)
    return Outcome(UnreadList(page, len(page) < len(lines)))


def missed(db: Connection, ask: Ask, command: c.Missed) -> Outcome:
    """Shows a person the unread entries of a room, from the first one on."""
    access = find_room(db, ask.who, command.room)
    one = standing(ask, access)
    label = access.facts.label(ask.who.id)
    unread = counting.count(db, ask.who, one)
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
    access = find_room(db, ask.who, command.room)
    require(ask.who, access, "read")
    label, seq = access.facts.label(ask.who.id), members.mark_read(db, ask.who, access, command.seq)
    return Outcome(Marked(label, seq), hears=hears(access), effects=[Tell(ask.who.id, ReadMark(label, seq))])


def read_all(db: Connection, ask: Ask, command: c.ReadAll) -> Outcome:
    rooms = [one for one in visibility.memberships(db, ask.who) if one.seq > one.read]
    sessions.mark(db, {ask.who.id: {one.facts.id: Seen(one.seq) for one in rooms}})
    effects: list[Effect] = [Tell(ask.who.id, ReadMark(one.facts.label(ask.who.id), one.seq)) for one in rooms]
    return Outcome(Done(ALL_READ), effects=effects)


def mentions(db: Connection, ask: Ask, command: c.Mentions) -> Outcome:
    """Finds others' messages with the asker's name, or a recent former name, in the rooms that they are in. Display
    names do not count: they are not unique."""
    called = {ask.who.name.lower(), *names.kept_for(db, ask.who.id, ask.at, ask.limits.former_name_days)}
    inside = {one.facts.id for one in visibility.memberships(db, ask.who)}
    limit = min(command.limit, c.PAGE_LIMIT)
    found: dict[tuple[int, int], tuple[RoomFacts, Entry]] = {}
    before: int | None = None
    for name in sorted(called):
        pairs, rest = _saying(db, ask, name, inside, command.before, limit, searching.deadline(db, len(called)))
        found.update({(facts.id, entry.seq): (facts, entry) for facts, entry in pairs})
        if rest is not None:
            before = max(before or 0, rest)
    # Where a search was cut short, only newer messages are complete.
    since = None if before is None else searching.EPOCH + timedelta(milliseconds=before)
    known = [pair for pair in found.values() if since is None or pair[1].at >= since]
    known.sort(key=lambda pair: (pair[0].id, -pair[1].seq))
    known.sort(key=lambda pair: pair[1].at, reverse=True)  # stable for equal times
    known = found_with_quotes(db, ask, known)
    portion = ask.portion
    shown = portion.head(known[:limit], found_size(ask.who.id))
    if len(shown) < len(known):
        shown, before = shortened(known, len(shown), one_room=False)
    gone = {} if before is not None else what_was_removed(portion, entries.removed_before(db, ask.who))
    return Outcome(Found(shown, before is not None, before, command="mentions", removed=gone))


def _saying(
    db: Connection,
    ask: Ask,
    name: str,
    inside: set[int],
    before: int | None,
    limit: int,
    until: Deadline,
) -> tuple[list[tuple[RoomFacts, Entry]], int | None]:
    """Returns others' messages with a name, and the `before` with which to go on. The index knows words, of which a
    name may have several, so its results are checked."""
    found: list[tuple[RoomFacts, Entry]] = []
    while True:
        page, before = searching.search(db, ask.who, None, searching.words(name), before, limit, until)
        found += [pair for pair in page if pair[0].id in inside and _is_for(ask.who, name, pair[1])]
        if before is None or len(found) >= limit or until.passed():
            return found, before


def _is_for(who: Person, name: str, entry: Entry) -> bool:
    return entry.author_id != who.id and is_mentioned(name, entry)
