"""The size of answers. Their limit is in bytes, because a page of long messages is a thousand times as large as one of
short ones.

Answers are values that each dialect renders in its own way. The sizes here are upper bounds for all of them, not exact.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final, TypeVar

import msgspec

from chatserver.values.answers import BanLine, Greeting, MemberLine, RoomLine, RoomStatus, UserLine
from chatserver.values.events import Entry, Invited, RoomFacts

T = TypeVar("T")

FRAME_BYTES: Final = 1024
"""Maximum size of an answer without its list: its tag, and for people headings and remarks."""

LINE_BYTES: Final = 200
"""Maximum size of an item of a list without its names and texts: the names of its fields, numbers and times."""

STATE_BYTES: Final = 224
"""Maximum size of the further fields of a room with its state, without texts."""
DISPLAY_BYTES: Final = 16
COUNT_BYTES: Final = 20
QUOTE_BYTES: Final = 48
"""Maximum size of a display name, a reaction and a quote without their texts."""

_encode: Final = msgspec.json.Encoder().encode


class Portion:
    """The rest of an answer of `limit` bytes (0: no limit). Taking something uses it up.

    If there are any items, at least one is taken, so that a client that asks for the rest makes progress.
    """

    def __init__(self, limit: int) -> None:
        self._limited = limit > 0
        self._left = limit - FRAME_BYTES

    def head(self, items: Sequence[T], size: Callable[[T], int]) -> list[T]:
        """The first items, as far as they fit."""
        return list(items[: self._count(items, size)])

    def tail(self, items: Sequence[T], size: Callable[[T], int]) -> list[T]:
        """The last items, as far as they fit, in their order."""
        return list(items[len(items) - self._count(items[::-1], size) :])

    def _count(self, items: Sequence[T], size: Callable[[T], int]) -> int:
        if not self._limited:
            return len(items)
        count, used = 0, 0
        for total in accumulate(map(size, items)):
            if count and total > self._left:
                break
            count, used = count + 1, total
        self._left -= used
        return count


WHOLE: Final = Portion(0)
"""Portion without a limit."""


def text_size(text: str) -> int:
    """JSON escapes quotes, backslashes and line ends. For people, line ends and every 70 cells take 7 bytes more."""
    size = len(_encode(text))
    return size + (size >> 3) + 5 * text.count("\n")


def entry_size(label: str, entry: Entry) -> int:
    """The size of an entry of the room `label`."""
    names = len(label) + len(entry.author) + len(entry.target)
    size = LINE_BYTES + names + text_size(entry.text) + text_size(entry.client_id or "")
    if entry.display:
        size += DISPLAY_BYTES + text_size(entry.display)
    if entry.reactions:
        size += sum([COUNT_BYTES + text_size(reaction) for reaction, _ in entry.reactions], COUNT_BYTES)
        size += sum(map(text_size, entry.mine))
    if entry.replies:
        size += COUNT_BYTES
    if entry.quote is not None:
        quote = entry.quote
        size += QUOTE_BYTES + len(quote.author) + text_size(quote.display) + text_size(quote.text)
    return size


def found_size(viewer_id: int) -> Callable[[tuple[RoomFacts, Entry]], int]:
    """The size of an entry with its room, as this account sees it, and of the room's `as_of`."""
    return lambda found: _found_size(found[0].label(viewer_id), found[1])


def _found_size(label: str, entry: Entry) -> int:
    return entry_size(label, entry) + len(label) + COUNT_BYTES


def room_size(line: RoomLine) -> int:
    return LINE_BYTES + len(line.room) + text_size(line.topic)


NOTIFY_BYTES = 24
"""Size of the field `notify`."""


def status_size(status: RoomStatus) -> int:
    size = LINE_BYTES + len(status.room) + (NOTIFY_BYTES if status.notify is not None else 0)
    if status.about is not None:
        size += STATE_BYTES + text_size(status.about.topic)
    if status.beside is not None:
        size += DISPLAY_BYTES + len(status.room) + text_size(status.beside.display) + text_size(status.beside.away)
    return size


def greeting_size(greeting: Greeting) -> int:
    server = greeting.server
    texts = (greeting.display, greeting.preferences.timezone or "", server.name, server.contact, server.motd)
    return FRAME_BYTES + DISPLAY_BYTES * (len(server.limits) + len(server.features)) + sum(map(text_size, texts))


def invited_size(invited: Invited) -> int:
    return LINE_BYTES + 2 * len(invited.room) + len(invited.by)


def absent_size(label: str) -> int:
    return 3 + len(label)


def removed_size(first: tuple[str, int]) -> int:
    """The size of a room's label and the number of the first entry left in it."""
    return LINE_BYTES // 2 + len(first[0])


def member_size(line: MemberLine) -> int:
    """A padded column of names for people is shorter than the object with its fields."""
    return LINE_BYTES // 2 + len(line.name) + 2 * text_size(line.display)


def user_size(line: UserLine) -> int:
    return LINE_BYTES + 2 * (len(line.name) + text_size(line.display) + text_size(line.away))


def name_size(name: str) -> int:
    """The size of a name in a list of names."""
    return len(name) + 4


def ban_size(line: BanLine) -> int:
    """For people a reason may have to fit into a column of 20 cells, each line of it 80 long."""
    return LINE_BYTES + len(line.name or line.address or "") + len(line.by) + 4 * text_size(line.reason)
