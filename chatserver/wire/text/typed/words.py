"""Arguments of a typed command: rooms, people, numbers and durations. All functions may raise Misused or Refused."""

import re

from chatserver.values.commands import CURRENT
from chatserver.wire.hygiene.text import MAX_FIELD, one_line, person_name, room_name

NEWEST = 2**53
"""Maximum seq: beyond every entry of every room."""

LONGEST = 10**9
"""Maximum duration, in seconds."""

_SPAN = re.compile(r"([0-9]{1,10})([smhdw])", re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Misused(Exception):
    """Too few arguments, too many, or one of the wrong kind."""


def split(rest: str, least: int, most: int) -> list[str]:
    """Returns at most `most` words, the last of which includes everything that follows."""
    words = rest.split(maxsplit=most - 1)
    if len(words) < least:
        raise Misused
    return words


def only(rest: str, least: int, most: int) -> list[str]:
    words = rest.split()
    if not least <= len(words) <= most:
        raise Misused
    return words


def nothing(rest: str) -> None:
    if rest.strip():
        raise Misused


def flagged(rest: str, flag: str) -> tuple[str, bool]:
    """The text without this flag as its last word, and whether the flag was there."""
    words = rest.rsplit(maxsplit=1)
    if len(words) == 2 and words[1].lower() == flag:
        return words[0], True
    return rest, False


def choice(word: str, *among: str) -> str:
    if word.lower() not in among:
        raise Misused
    return word.lower()


# Rooms and people


def room(word: str) -> str:
    return room_name(word.removeprefix("#"))  # IRC's way to write a room


def name(word: str) -> str:
    return person_name(word.removeprefix("@"))


def direct(word: str) -> str:
    """The direct room with this person."""
    return room_name("@" + word.removeprefix("@"))


def optional_room(rest: str) -> str:
    words = only(rest, 0, 1)
    return room(words[0]) if words else CURRENT


def placed(rest: str) -> tuple[str, str]:
    """The room that a leading #ROOM names, otherwise the current one; and the rest of the text."""
    if not rest.lstrip().startswith("#"):
        return CURRENT, rest
    words = rest.split(maxsplit=1)
    return room(words[0]), "".join(words[1:])


def name_and_room(rest: str) -> tuple[str, str]:
    """`NAME`, `NAME ROOM` or `#ROOM NAME`."""
    place, rest = placed(rest)
    words = only(rest, 1, 1 if place else 2)
    return name(words[0]), place or optional_room("".join(words[1:]))


def short(text: str, field: str) -> str:
    """A few words that the server looks up in a list of its own."""
    if len(text) > MAX_FIELD:
        raise Misused
    return one_line(text, field)


# Numbers and durations


def is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= 16


def number(word: str) -> int:
    if not is_number(word) or int(word) > NEWEST:
        raise Misused
    return int(word)


def room_and_number(words: list[str]) -> tuple[str, int | None]:
    """Both are optional, in either order. A single number is not taken for a room unless a # precedes it."""
    if len(words) > 2:
        raise Misused
    if len(words) == 2 and is_number(words[0]) and not is_number(words[1]):
        words = words[::-1]
    if not words:
        return CURRENT, None
    if len(words) == 2:
        return room(words[0]), number(words[1])
    if is_number(words[0]):
        return CURRENT, number(words[0])
    return room(words[0]), None


def is_seq(word: str) -> bool:
    """Whether this is the number of an entry, with a # as `/history` shows it or without."""
    return is_number(word.removeprefix("#"))


def seq(word: str) -> int:
    return number(word.removeprefix("#"))


def room_and_seq(words: list[str]) -> tuple[str, int | None]:
    """Both are optional, in either order. A single number is that of an entry, also with a # before it."""
    if len(words) > 2:
        raise Misused
    if len(words) == 2 and is_seq(words[0]) and not is_seq(words[1]):
        words = words[::-1]
    if not words:
        return CURRENT, None
    if len(words) == 2:
        return room(words[0]), seq(words[1])
    return (CURRENT, seq(words[0])) if is_seq(words[0]) else (room(words[0]), None)


def addressed(rest: str) -> tuple[str, int | None, str]:
    """`[ROOM] SEQ TEXT`, or `[#ROOM] TEXT` with None for the number: the room, the number and the text.

    A leading `#41` is entry 41, unless `#` and the number of an entry follow: then it is a room named 41. Without a
    number only a # makes a room of the first word, which may as well be the text's.
    """
    first, second, text = [*rest.split(maxsplit=2), "", "", ""][:3]
    if is_seq(first) and not (first.startswith("#") and second.startswith("#") and is_seq(second)):
        return CURRENT, seq(first), "".join(rest.split(maxsplit=1)[1:])
    if is_seq(second):
        return room(first), seq(second), text
    place, text = placed(rest)
    return place, None, text.strip()


def options(words: list[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """Returns the values of these options, wherever they stand (`before=41`), and the other words."""
    found: dict[str, str] = {}
    others = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name.lower() not in names:
            others.append(word)
        elif name.lower() in found or not value:
            raise Misused
        else:
            found[name.lower()] = value
    return found, others


def before(words: list[str]) -> tuple[int | None, list[str]]:
    """The number in a leading `before=SEQ`, if there is one, and the words after it."""
    if words and words[0].lower().startswith("before="):
        return seq(words[0][len("before=") :]), words[1:]
    return None, words


def is_span(word: str) -> bool:
    return _SPAN.fullmatch(word) is not None


def seconds(word: str) -> int:
    """Seconds in 90s, 10m, 2h, 7d or 4w."""
    span = _SPAN.fullmatch(word)
    if span is None:
        raise Misused
    length = int(span[1]) * _UNITS[span[2].lower()]
    if not 1 <= length <= LONGEST:
        raise Misused
    return length
