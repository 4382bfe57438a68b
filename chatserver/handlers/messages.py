"""Messages: saying, reading and searching them."""

from datetime import datetime, timedelta
from functools import partial
from math import ceil

from msgspec.structs import replace

from chatserver.handlers.outcome import Announcement, Ask, Hears, Outcome
from chatserver.handlers.rights import Act, require
from chatserver.store import Connection, accounts, entries, messages, names, quotes, reactions, replies, rooms
from chatserver.store import search as searching
from chatserver.store.messages import NOTHING, Draft, as_answer, as_entry, no_message
from chatserver.store.visibility import RoomAccess, find_readable_room, find_room
from chatserver.store.wanted import Wanted, terms
from chatserver.util.time_words import EXAMPLES, instant
from chatserver.values import commands as c
from chatserver.values.answer_size import Portion, entry_size, found_size, removed_size
from chatserver.values.answers import Found, Log, Thread, gap_between
from chatserver.values.errors import Refused, Why, blocked, muted, no_such_user
from chatserver.values.events import DIRECT, ERASED, MESSAGE, OPERATOR, Entry, RoomFacts
from chatserver.values.mentions import possible_names

DIRECT_ROOMS = 10
"""Number of direct rooms that an account may begin for each room that it may create in an hour: each is a row in the
database, and possibly a nuisance."""


def say(db: Connection, ask: Ask, command: c.Say | c.Reply) -> Outcome:
    """Stores a message to a room without a subscription: the first one to a person, a retry, a mistake, or a message to
    a room whose `join` was committed without an answer.

    The processor stores messages to subscribed rooms in batches, by the same rules.
    """
    stored = messages.find_said(db, ask.who.id, command.id) if command.id else None
    access: RoomAccess | None = None
    try:
        access = find_room(db, ask.who, command.room)
        facts = access.facts
        if facts.kind == DIRECT and not facts.id:
            _require_pause(db, ask)
            facts = rooms.open_direct(db, ask.who, access, ask.at)
    except Refused:
        # A retry gets its first answer, even if the asker may no longer write there.
        if stored is None or messages.room_name(db, stored[0]) != command.room:
            raise
        facts = RoomFacts(stored[0], command.room)
    of = command.seq or NOTHING if isinstance(command, c.Reply) else 0
    draft = Draft(facts.id, ask.who.id, command.text, command.id, of, possible_names(command.text))
    verdict = messages.append(db, [draft], ask.at)[0]
    answer = as_answer(facts, ask.who.id, verdict)
    heard = None
    if access is not None and access.role is not None:
        # As `hears`. After a retry, too, the sender receives the message, if they may still read it.
        position = max(min(verdict.seq, access.joined), access.allowed) - 1
        heard = Hears(facts, position, max(access.seq, position))
    if answer.dup:
        return Outcome(answer, hears=heard)
    announced = Announcement(facts, [as_entry(draft, ask.who, verdict)])
    return Outcome(answer, hears=heard, announced=[announced], echo="elsewhere")


def _require_pause(db: Connection, ask: Ask) -> None:
    """Raises Refused if the asker began too many direct rooms lately. Operators are exempt."""
    most = ask.limits.rooms_per_hour * DIRECT_ROOMS
    if most and ask.who.kind != OPERATOR:
        wait = rooms.seconds_until_next(db, ask.who, most, timedelta(hours=1), direct=True)
        if wait:
            raise Refused(Why.TOO_MANY_NEW_PEOPLE, retry=wait, most=most, minutes=ceil(wait / 60))


def find_message(db: Connection, access: RoomAccess, seq: int) -> Entry:
    """Returns a message that the asker may read, erased or not. Raises Refused if there is none, or it was removed."""
    if access.was_removed(seq):
        where = access.facts.name if access.facts.pair is None else "this room"
        raise Refused(Why.MESSAGE_REMOVED, seq=seq, first=access.floor, where=where)
    found = entries.before(db, access.facts.id, seq + 1, seq, 1)[0] if access.may_read(seq) else []
    if not found or found[0].kind != MESSAGE:
        raise no_message(seq)
    return found[0]


def readable_text(message: Entry) -> Entry:
    """Returns the message. Raises Refused if it is erased."""
    if message.state == ERASED:
        raise no_message(message.seq)
    return message


def room_to_change(db: Connection, ask: Ask, name: str, act: Act) -> RoomAccess:
    """The room, locked. Raises Refused unless the asker may write there."""
    access = find_room(db, ask.who, name, lock=True)
    require(ask.who, access, act)
    if access.muted:
        raise muted(name)
    if access.blocked:
        raise blocked(name)
    return access


def too_early(db: Connection, ask: Ask, access: RoomAccess) -> Refused | None:
    """The refusal of what all members are shown, if it comes too early in a room with a pace. Raise it once you know
    that there is something new: a retry does not wait."""
    if not messages.is_too_early(db, ask.who, access, ask.at):
        return None
    return Refused(Why.SLOW_CHANGES, retry=access.pace, room=access.facts.name, seconds=access.pace)


def require_pace(db: Connection, ask: Ask, access: RoomAccess) -> None:
    """Raises Refused(slow-down) as of `too_early`."""
    early = too_early(db, ask, access)
    if early is not None:
        raise early


def history(db: Connection, ask: Ask, command: c.History) -> Outcome:
    if [command.before, command.after, command.since].count(None) < 2:
        raise Refused(Why.ONE_OF_BEFORE_AFTER_SINCE)
    since = None if command.since is None else _instant(ask, command.since)
    access = find_readable_room(db, ask.who, command.room)
    limit = min(command.limit, c.PAGE_LIMIT)
    after = command.after
    if since is not None:
        after = entries.before_time(db, access.facts.id, since, access.floor, access.seq)
    if after is not None:
        page, more = entries.after(db, access.facts.id, max(after, access.floor - 1), limit)
        page = with_quotes(db, ask, access.facts, page)
        shown = ask.portion.head(page, partial(entry_size, access.facts.label(ask.who.id)))
        begin = after + 1
        if since is not None and begin <= access.floor:
            begin = access.allowed  # removed entries may be later than that
        gap = gap_between(max(begin, access.allowed), page[0].seq if page else access.floor)
        log = Log(access.facts, shown, more or len(shown) < len(page), gap, onward=True, as_of=_as_of(access, page))
        return Outcome(log)
    page, more = entries.before(db, access.facts.id, command.before, access.floor, limit)
    page = with_quotes(db, ask, access.facts, page)
    gap = gap_between(access.allowed, page[0].seq if page else access.floor)
    return Outcome(last_of(ask.portion, Log(access.facts, page, more, gap, as_of=_as_of(access, page)), ask.who.id))


def _as_of(access: RoomAccess, page: list[Entry]) -> int:
    """The room's last entry when the page was read."""
    return page[0].as_of if page else access.seq


def replies_to(db: Connection, ask: Ask, command: c.Replies) -> Outcome:
    """Lists what answers a message; if it was removed, the answers that are left."""
    access = find_readable_room(db, ask.who, command.room)
    seq, facts = command.seq, access.facts
    gone = access.was_removed(seq)
    message = None if gone else find_message(db, access, seq)
    after, begins = max(command.after, seq), command.after <= seq
    page, more = replies.page(db, facts.id, seq, max(after, access.floor - 1), min(command.limit, c.PAGE_LIMIT))
    as_of = _as_of(access, page)
    if message is not None and begins and ask.for_people:
        page = [message, *page]
    page = with_quotes(db, ask, facts, page)
    shown = ask.portion.head(page, partial(entry_size, facts.label(ask.who.id)))
    gap = gap_between(seq, access.floor) if gone and begins else None
    last = shown[-1].seq if shown else after
    return Outcome(Thread(facts, seq, shown, more or len(shown) < len(page), last, gap, begins, as_of))


def _instant(ask: Ask, words: str) -> datetime:
    found = instant(words, ask.at, ask.zone)
    if found is None:
        raise Refused(Why.NO_TIME, examples=EXAMPLES)
    return found


def last_of(portion: Portion, log: Log, viewer_id: int) -> Log:
    """Returns the last entries that fit. `more` then says that there are others before them. Right after a gap, the
    answer says where the entries begin."""
    shown = portion.tail(log.entries, partial(entry_size, log.facts.label(viewer_id)))
    more = log.more or len(shown) < len(log.entries)
    new = max(log.new, shown[0].seq) if shown and log.new else 0
    return replace(log, entries=shown, more=more, gap=None if more else log.gap, new=new)


def search(db: Connection, ask: Ask, command: c.Search) -> Outcome:
    wanted = _wanted(db, ask, command)
    access = None if command.room is None else find_readable_room(db, ask.who, command.room)
    if access is not None and not access.facts.id:
        return Outcome(Found([], False))
    found, before = searching.search(db, ask.who, access, wanted, command.before, min(command.limit, c.PAGE_LIMIT))
    found = found_with_quotes(db, ask, found)
    portion = ask.portion
    shown = portion.head(found, found_size(ask.who.id))
    if len(shown) < len(found):
        shown, before = shortened(found, len(shown), wanted, one_room=access is not None)
    if before is not None:
        return Outcome(Found(shown, True, before))
    if access is None:
        return Outcome(Found(shown, False, removed=what_was_removed(portion, entries.removed_before(db, ask.who))))
    gap = gap_between(access.allowed, access.floor)
    return Outcome(Found(shown, False, where=access.facts.label(ask.who.id), gap=gap))


def _wanted(db: Connection, ask: Ask, command: c.Search) -> Wanted:
    """Raises Refused."""
    has = (command.has,) if isinstance(command.has, str) else command.has
    wanted = Wanted(
        terms(command.text, ask.language, prefix=command.prefix),
        ask.language,
        link="link" in has,
        reply="reply" in has,
        since=None if command.since is None else _instant(ask, command.since),
        until=None if command.until is None else _instant(ask, command.until),
        best=command.order == "best",
    )
    if command.author is not None:
        account = accounts.find_shown(db, command.author)
        if account is None:
            raise no_such_user(command.author) if ask.only else names.unknown(db, command.author, ask.who)
        wanted = replace(wanted, author_id=account.id)
    if not wanted:
        raise Refused(Why.NOTHING_TO_SEARCH)
    return wanted


def what_was_removed(portion: Portion, first: dict[str, int]) -> dict[str, int]:
    """The first remaining entries of rooms, as many as fit the answer."""
    return dict(portion.head(list(first.items()), removed_size))


def shortened(
    found: list[tuple[RoomFacts, Entry]], count: int, wanted: Wanted, *, one_room: bool
) -> tuple[list[tuple[RoomFacts, Entry]], int]:
    """Returns the first `count` entries of a page of a search, or a few less, and the `before` of the next page, which
    begins with the first one left out."""
    kept, before = searching.cut([entry for _, entry in found], count, wanted, one_room=one_room)
    return found[:kept], before


def with_quotes(db: Connection, ask: Ask, facts: RoomFacts, entries: list[Entry]) -> list[Entry]:
    """Adds quotes to entries of a room, for those who are shown them: replies quote the message that they answer, if
    the asker may read it. For programs, messages name the reactions that are the asker's own,
    and say how many replies they have."""
    found = quotes.quoted(db, ask.who, facts.id, entries) if ask.quotes else entries
    if ask.for_people:
        return found
    return [entry for _, entry in _for_programs(db, ask, [(facts, entry) for entry in found])]


def found_with_quotes(db: Connection, ask: Ask, pairs: list[tuple[RoomFacts, Entry]]) -> list[tuple[RoomFacts, Entry]]:
    """For entries of several rooms."""
    found = quotes.quoted_found(db, ask.who, pairs) if ask.quotes else pairs
    return found if ask.for_people else _for_programs(db, ask, found)


def _for_programs(db: Connection, ask: Ask, found: list[tuple[RoomFacts, Entry]]) -> list[tuple[RoomFacts, Entry]]:
    return replies.counted(db, reactions.with_own(db, ask.who, found))
