"""Typed commands about rooms."""

from typing import Any

from chatserver import events
from chatserver.commands import SLOWEST_PACE, Command, Create, Delete, Join, Leave, Look, Members, Rooms, Set, Topic
from chatserver.errors import ErrorWord, Refused
from chatserver.roomsettings import PACE, ROOM_SETTINGS
from chatserver.wire.hygiene import topic_text
from chatserver.wire.text import words as w


def look(rest: str) -> Command:
    [room] = w.only(rest, 1, 1)
    return Look(room=w.room(room))


def join(rest: str) -> Command:
    room, *since = w.only(rest, 1, 2)
    return Join(room=w.room(room), since=w.seq(since[0]) if since else None)


def leave(rest: str) -> Command:
    return Leave(room=w.optional_room(rest))


def rooms(rest: str) -> Command:
    words = w.only(rest, 0, 1)
    return Rooms(after=w.room(words[0]) if words else "")


def members(rest: str) -> Command:
    words = w.only(rest, 0, 2)
    after = w.name(words[1]) if len(words) > 1 else ""
    return Members(room=w.optional_room("".join(words[:1])), after=after)


def create(rest: str) -> Command:
    words = w.split(rest, 1, 3)
    if len(words) > 1 and words[1].lower() in (events.PUBLIC, events.PRIVATE):
        visible: Any = words[1].lower()
        return Create(room=w.room(words[0]), visibility=visible, topic=topic_text("".join(words[2:])))
    room, *topic = w.split(rest, 1, 2)
    return Create(room=w.room(room), topic=topic_text("".join(topic)))


def delete(rest: str) -> Command:
    [room] = w.only(rest, 1, 1)  # required, so that nobody deletes the current room by mistake
    return Delete(room=w.room(room))


def topic(rest: str) -> Command:
    room, rest = w.placed(rest)
    [text] = w.split(rest, 1, 1)
    return Topic(room=room, text=topic_text(text))


def set(rest: str) -> Command:
    room, rest = w.placed(rest)
    words = rest.split()
    if not room and words and words[0].lower() not in SETTINGS:
        room, words = w.room(words[0]), words[1:]
    names = [word.lower() for word in words[::2]]
    if not names or len(words) % 2 or len(names) != len(dict.fromkeys(names)) or not {*SETTINGS} >= {*names}:
        raise w.Misused
    chosen: Any = {name: _setting(name, word) for name, word in zip(names, words[1::2], strict=True)}
    return Set(room=room, **chosen)


SETTINGS = (*ROOM_SETTINGS, PACE)


def _setting(name: str, word: str) -> str | int:
    if name != PACE:
        return w.choice(word, *ROOM_SETTINGS[name])
    if word.lower() == "off":
        return 0
    seconds = w.seconds(word) if w.is_span(word) else w.number(word)
    if seconds > SLOWEST_PACE:
        raise Refused(ErrorWord.BAD_COMMAND, f"A pace is at most {SLOWEST_PACE} seconds. Nothing was changed.")
    return seconds
