"""Messages that the server could not store: they are kept on the person's connection, and `/retry` sends them again."""

from collections.abc import Mapping
from secrets import token_hex
from typing import Final

from msgspec import Struct, structs

from chatserver.values import commands as c
from chatserver.values.errors import ErrorWord, Note, Refused, Sentence
from chatserver.values.events import OWN_ID

MOST_LINES: Final = 20

Message = c.Say | c.Reply
MESSAGES: Final = (c.Say, c.Reply)
"""The commands that are kept."""
ECHOED: Final = "+"
"""Ends the id of a message that its author is shown. No program's id is looked at."""


class Line(Struct, frozen=True, gc=False):
    """`room_id`: the target room, if the session subscribed to it; its label may change. `early`: refused by slow mode;
    dropped when the author posts again in that room."""

    message: Message
    room_id: int
    early: bool


class Kept:
    """Each message gets an id when it is typed, and keeps it, so that sending it again stores nothing twice."""

    __slots__ = ("_again", "_count", "_lines", "_mark")

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._again: frozenset[str | None] = frozenset()  # ids of messages sent again
        self._mark = ""
        self._count = 0

    def __len__(self) -> int:
        return len(self._lines)

    def identified(self, message: Message, *, echoed: bool = False) -> Message:
        """The message with an id that no other one of the account has. `echoed`: it is shown to its author."""
        self._mark = self._mark or token_hex(8)
        self._count += 1
        return structs.replace(message, id=f"{OWN_ID}{self._mark}.{self._count}{ECHOED if echoed else ''}")

    def refused(self, message: Message, room_id: int, label: str, why: Refused) -> Refused:
        """Keeps a refused message if it may succeed later, unchanged. Returns the refusal, which then says so."""
        if why.error not in (ErrorWord.UNAVAILABLE, ErrorWord.SLOW_DOWN):
            return why
        early = why.error is ErrorWord.SLOW_DOWN
        self._lines.append(Line(structs.replace(message, room=label), room_id, early))
        refused = why.then(Sentence(Note.KEPT_FOR_A_WHILE if early else Note.KEPT))
        if len(self._lines) > MOST_LINES:
            del self._lines[0]
            return refused.then(Sentence(Note.FIRST_LINE_DROPPED, most=MOST_LINES))
        return refused

    def stored(self, room_id: int) -> None:
        """A message to this room was stored."""
        if self._lines:
            self._lines = [line for line in self._lines if not (line.early and line.room_id == room_id)]

    def take(self, labels: Mapping[int, str]) -> list[Message]:
        """Removes all kept messages and returns them, in the order in which they were typed. `labels`: by room id, of
        the session's rooms."""
        lines, self._lines = self._lines, []
        self._again = frozenset([line.message.id for line in lines])
        return [structs.replace(line.message, room=labels.get(line.room_id, line.message.room)) for line in lines]

    def is_echoed(self, id: str | None) -> bool:
        """Whether a message is shown to its author: it answers a message that they did not name, or was sent again, and
        they cannot know where in the conversation it stands."""
        return id in self._again or (id is not None and id.endswith(ECHOED))
