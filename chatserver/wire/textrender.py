"""What people read: answers and entries to lines.

The server owns the beginning of every line: `* ` a notice, `! ` an error, `[room] ` what happened there. A text of
several lines goes on behind `   | `, so that nothing a client sent can stand at the beginning of a line.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, tzinfo
from functools import lru_cache
from itertools import groupby

from chatserver import events
from chatserver.events import Answer, Entry, News, RoomFacts
from chatserver.wire import help as pages

WIDTH = 80
MOST_NAMED = 5
GOES_ON = "\r\n   | "

# Not strftime's, which are the locale's.
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip


def reply(answer: Answer, me: str, viewer_id: int, zone: tzinfo | None) -> bytes:
    """Nothing for what shows in another way: somebody who said something sees their own line already."""
    match answer:
        case events.Said() | events.Done(""):
            return b""
        case events.Refusal(_, text):
            return _line(f"! {text}")
        case events.Log(facts, logged, _):
            return _log(facts, logged, viewer_id, zone)
    shown = b"".join(notice(words) for words in _notices(answer, me, zone))
    match answer:
        case events.Welcome(recent=recent) | events.Joined(recent=recent) if recent is not None and recent.entries:
            shown += _log(recent.facts, recent.entries, viewer_id, zone)
    return shown


def entries(facts: RoomFacts, entries: Sequence[Entry], viewer_id: int, zone: tzinfo | None) -> bytes:
    """A line for each, or more where a message has more. `zone` None is the server's."""
    label = facts.label(viewer_id)
    return b"".join(_line(f"[{label}] {_clock(entry.at, zone)} {_told(entry)}") for entry in entries)


def notice(words: str) -> bytes:
    return _line(f"* {words}")


def date_line(day: date) -> bytes:
    return _line(f"* {_date(day)}")


def news(item: News) -> bytes:
    match item:
        case events.Presence(name, online):
            return _line(f"* {name} is here." if online else f"* {name} has gone.")
        case events.Closing(_, text):
            return _line(f"* {text}")
        case events.ReadMark() | events.Live() | events.Pinged():
            return b""


def _line(text: str) -> bytes:
    """The only place where a line begins and ends."""
    return (text.replace("\n", GOES_ON) + "\r\n").encode()


def _told(entry: Entry) -> str:
    text, author = entry.text, entry.author if entry.author_id else "the server"
    match entry.kind:
        case events.MESSAGE if not entry.author_id:
            return f"* {text}"
        case events.MESSAGE if text.startswith("/me "):
            return f"* {author} {text[4:]}"
        case events.MESSAGE:
            return f"{author}: {text}"
        case events.JOINED:
            return f"-- {author} joined"
        case events.LEFT:
            return f"-- {author} left"
        case events.TOPIC:
            return f"-- {author} set the topic: {text}" if text else f"-- {author} removed the topic"
        case events.CREATED:
            return f"-- {author} created the room" + (f": {text}" if text else "")
    raise ValueError(f"an entry of unknown kind {entry.kind!r}")


def _log(facts: RoomFacts, logged: Sequence[Entry], viewer_id: int, zone: tzinfo | None) -> bytes:
    """Where it spans several days, each has its date above."""
    if not logged:
        return _line(f"* There is nothing to show of {facts.label(viewer_id)}.")
    days = [(day, list(group)) for day, group in groupby(logged, lambda entry: entry.at.astimezone(zone).date())]
    if len(days) == 1:
        return entries(facts, logged, viewer_id, zone)
    return b"".join(date_line(day) + entries(facts, group, viewer_id, zone) for day, group in days)


def _notices(answer: Answer, me: str, zone: tzinfo | None) -> Iterator[str]:
    match answer:
        case events.Done(note):
            yield note
        case events.Welcome():
            yield from _welcome(answer)
        case events.Joined():
            yield from _joined(answer, me)
        case events.Created(room):
            yield f"You made {room}, and it is yours."
        case events.Left(room):
            yield f"You left {room}."
        case events.Looked(room):
            yield f"What you type goes to {room} now."
        case events.TopicSet(room):
            yield f"The topic of {room} is set."
        case events.Marked(room, seq):
            yield f"You have read {room} up to {seq}."
        case events.RoomList(rooms, more):
            yield from _room_list(rooms, more)
        case events.MemberList(room, members):
            yield from _member_list(room, members)
        case events.UserList(users):
            yield from _user_list(users, zone)
        case events.UnreadList(rooms):
            unread = [f"{status.seq - status.read} in {status.room}" for status in rooms if status.seq > status.read]
            yield from _wrapped("Unread: ", unread) if unread else ["You have read everything."]
        case events.HelpText(about):
            yield from pages.page(about)


def _welcome(answer: events.Welcome) -> Iterator[str]:
    rooms = answer.rooms
    if not rooms:
        yield f"Hello {answer.name}. You are in no room yet: /rooms lists them, /join ROOM enters one."
        return
    current = answer.current or rooms[0].room
    company = f" with {_listed(answer.others)}" if answer.others and not current.startswith("@") else ""
    yield f"Hello {answer.name}. You are in {current}{company}. Type to talk; /help for the rest."
    unread = [f" ({room.seq - room.read} unread)" if room.seq > room.read else "" for room in rooms]
    if len(rooms) > 1 or any(unread):
        yield from _wrapped("Your rooms: ", [room.room + more for room, more in zip(rooms, unread, strict=True)])


def _joined(answer: events.Joined, me: str) -> Iterator[str]:
    if answer.topic:
        yield f"The topic of {answer.room}: {answer.topic}"
    others = [name for name in answer.names if name != me]
    count = answer.members - 1
    if answer.room.startswith("@"):  # its name says who is there
        where = f"You are in {answer.room}."
    elif count < 1:
        where = f"You are in {answer.room}, and nobody else is yet."
    elif count <= MOST_NAMED and len(others) == count:
        where = f"You are in {answer.room} with {_listed(others)}."
    else:
        where = f"You are in {answer.room} with {count} other{'s' if count > 1 else ''}."
    if answer.unread:
        where += f" {answer.unread} unread"
        if answer.recent is not None and len(answer.recent.entries) < answer.unread:
            where += f", the last {len(answer.recent.entries)}"
        where += ":"
    yield where


def _room_list(rooms: Sequence[events.RoomLine], more: bool) -> Iterator[str]:
    if not rooms:
        yield "There are no rooms here. /create ROOM makes one."
        return
    column = min(max(len(line.room) for line in rooms), 32)
    yield f"{'Room':{column}}  People  Topic (+ you are in it)"
    for line in rooms:
        mark = "+" if line.role else " "
        yield _cut(f"{line.room:{column}} {mark}{line.members:6}  {line.topic}").rstrip()
    if more:
        yield f"There are more: /rooms {rooms[-1].room}"


def _member_list(room: str, members: Sequence[events.MemberLine]) -> Iterator[str]:
    for online, heading in ((True, "here"), (False, "not here")):
        names = [
            line.name + (f" ({line.role})" if line.role not in ("", "member") else "")
            for line in members
            if line.online == online
        ]
        if names:
            yield from _wrapped(f"{room}, {len(names)} {heading}: ", names)


def _user_list(users: Sequence[events.UserLine], zone: tzinfo | None) -> Iterator[str]:
    here = [user.name for user in users if user.online]
    if len(users) == 1 and here:
        yield f"{here[0]} is here."
    elif here:
        yield from _wrapped(f"{len(here)} here: ", here)
    elif not users:
        yield "Nobody is here."
    for user in users:
        if not user.online:
            seen = user.last_seen and user.last_seen.astimezone(zone)
            when = f", last seen on {_date(seen)} at {seen:%H:%M}" if seen else ""
            yield f"{user.name} is not here{when}."


def _wrapped(before: str, items: Sequence[str]) -> Iterator[str]:
    """Items with commas between, in lines of WIDTH; broken only between items."""
    line = before
    for number, item in enumerate(items, 1):
        piece = item if number == len(items) else f"{item}, "
        if len(line) + len(piece.rstrip()) > WIDTH - 2 and line != before:
            yield line.rstrip()
            line = "  "
        line += piece
    yield line


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH - 2 else text[: WIDTH - 3] + "…"


def _date(day: date) -> str:
    return f"{DAYS[day.weekday()]} {day.day} {MONTHS[day.month - 1]} {day.year}"


@lru_cache(maxsize=1024)  # a busy room's entries share few moments
def _clock(at: datetime, zone: tzinfo | None) -> str:
    local = at.astimezone(zone)
    return f"{local.hour:02}:{local.minute:02}"
