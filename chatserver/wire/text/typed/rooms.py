"""Typed commands about rooms."""

from collections.abc import Collection, Sequence
from typing import Any

from chatserver.values import events
from chatserver.values.commands import (
    SLOWEST_PACE,
    Command,
    Create,
    Delete,
    Fit,
    Join,
    Leave,
    Look,
    Members,
    Prefer,
    Rooms,
    Set,
    Topic,
)
from chatserver.values.errors import Refused, Why
from chatserver.values.recorded import PACE, ROOM_SETTINGS
from chatserver.wire.hygiene.text import topic_text
from chatserver.wire.text.typed import words as w

NONE = "-"
"""Removes a topic or a display name when typed in its place."""


def look(rest: str) -> Command:
    return Look(room=w.optional_room(rest))


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
    """Asks for the topic, sets it, or removes it with `-`."""
    room, rest = w.placed(rest)
    text = rest.strip()
    if not text:
        return Topic(room=room)
    return Topic(room=room, text="" if text == NONE else topic_text(text))


def set(rest: str) -> Command:
    """Sets settings of a room, or one's preferences; without any, asks for these."""
    room, rest = w.placed(rest)
    words = rest.split()
    if not room and words and words[0].lower() == COLUMNS:
        return _columns(words[1:])
    if not room and (not words or words[0].lower() in PREFERENCES):
        return _preferences(words)
    if not room and words and words[0].lower() not in SETTINGS:
        room, words = w.room(words[0]), words[1:]
    chosen: Any = {name: _setting(name, word) for name, word in _pairs(words, SETTINGS).items()}
    return Set(room=room, **chosen)


def notify(rest: str) -> Command:
    """Sets what one wants to be notified of in a room."""
    *room, word = w.only(rest, 1, 2)
    wanted: Any = _one_of("notify", word, NOTIFY)
    return Prefer(room=w.optional_room("".join(room)), notify=wanted)


NOTIFY = ("all", "mentions", "nothing", "default")

SETTINGS = (*ROOM_SETTINGS, PACE)

COLUMNS = "columns"
"""Applies to a connection, not to an account: people have several screens."""

PREFERENCES: dict[str, tuple[str, ...]] = {
    "timezone": (),
    "bell": ("on", "off", "mentions", "default"),
    "clock": ("12", "24", "default"),
    "numbers": ("on", "off", "default"),
}
"""Allowed words, by name; none: any."""


def _columns(words: list[str]) -> Command:
    if len(words) != 1 or not (w.is_number(words[0]) or words[0].lower() == "default"):
        raise w.Misused
    return Fit(columns=0 if words[0].lower() == "default" else w.number(words[0]))


def _preferences(words: list[str]) -> Command:
    if not words:
        return Prefer()
    first, *others = words
    if first.lower() == "timezone" and not {*PREFERENCES} & {word.lower() for word in others}:
        words = [first, " ".join(others)]  # New York
    chosen: Any = {}
    for name, word in _pairs(words, PREFERENCES).items():
        chosen[name] = _one_of(name, word, PREFERENCES[name]) if PREFERENCES[name] else w.short(word, name)
    return Prefer(**chosen)


def _pairs(words: list[str], names: Collection[str]) -> dict[str, str]:
    """By name, the words behind these names, of which there is at least one."""
    pairs = dict(zip(map(str.lower, words[::2]), words[1::2], strict=False))
    if not pairs or len(words) != 2 * len(pairs) or not {*names} >= {*pairs} or not all(pairs.values()):
        raise w.Misused
    return pairs


def _one_of(name: str, word: str, among: Sequence[str]) -> str:
    if word.lower() not in among:
        *others, last = among
        raise Refused(Why.ONE_OF_WORDS, setting=name, others=", ".join(others), last=last)
    return word.lower()


def _setting(name: str, word: str) -> str | int:
    if name != PACE:
        return _one_of(name, word, ROOM_SETTINGS[name])
    if word.lower() == "off":
        return 0
    if not (w.is_span(word) or w.is_number(word)):
        raise Refused(Why.BAD_PACE)
    seconds = w.seconds(word) if w.is_span(word) else w.number(word)
    if seconds > SLOWEST_PACE:
        raise Refused(Why.PACE_TOO_LONG, most=SLOWEST_PACE)
    return seconds
