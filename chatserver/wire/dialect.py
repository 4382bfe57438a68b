"""The interface of a dialect: the only one between the server and the languages that clients speak.

A dialect turns a line into a command, and answers, news and entries into lines. It is an object without state: the
state of a session is passed to it. It knows no framing: a door (see `net/doors/`) carries its lines, and only `Framing`
changes its bytes on their way there.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, Protocol

from msgspec import Struct

from chatserver.values.answers import Answer
from chatserver.values.commands import Command, Tag
from chatserver.values.errors import Rejected, Sentence
from chatserver.values.events import Entry, News, RoomFacts
from chatserver.values.stages import Stage
from chatserver.wire.screen import SCREEN, Screen

NONE: Final[frozenset[Any]] = frozenset()
"""The shared empty set: one for each session would take 216 bytes."""


class Rendered(Struct, frozen=True, gc=False):
    """Consecutive entries of a room as bytes. `ends[i]` is the number of bytes up to the end of entry `i`.

    An entry that is not shown has no bytes: it ends where the one before it ends.
    """

    data: bytes
    ends: Sequence[int]

    def whole(self, sent: int) -> int:
        """Returns the number of entries that are whole in the first `sent` bytes."""
        return bisect_right(self.ends, sent)

    def boundary(self, least: int) -> int:
        """The end of the first entry that ends at `least` or later."""
        index = bisect_left(self.ends, least)
        return self.ends[index] if index < len(self.ends) else len(self.data)


EMPTY: Final = Rendered(b"", ())


class Framing(Protocol):
    """How a door wraps lines. Equal lines give equal bytes for every connection of that door."""

    def lines(self, data: bytes) -> bytes:
        """Whole lines, framed."""
        ...

    def batch(self, rendered: Rendered) -> Rendered:
        """Frames entries, and moves their ends to match."""
        ...


class Plain:
    """No framing at all: lines as they are."""

    def lines(self, data: bytes) -> bytes:
        return data

    def batch(self, rendered: Rendered) -> Rendered:
        return rendered


PLAIN: Final = Plain()


class Form(Struct, frozen=True):
    """Key of rendered entries: sessions with equal forms are sent the same bytes for the same entries.

    `day`: the date last shown to a person (see `Dialect.day`). `viewer`: the account for which a direct room has its
    label and whose message ids are shown; 0 unless these entries concern their reader in particular. `marked`: all of
    them mention their reader. Where only some do, `delivery/rendering.py` picks each entry from one of both forms.
    `aside`: the reader is in several rooms, and another one is the current one. `quotes`: a program that is sent what
    replies quote, as people always are.
    """

    dialect: "Dialect"
    framing: Framing
    day: date | None = None
    viewer: int = 0
    marked: bool = False
    screen: Screen = SCREEN
    aside: bool = False
    quotes: bool = False


class Asked(Struct, frozen=True, gc=False):
    """The facts about a command that its answer needs: its tag, and its sender (0 and "" before login). `quiet`: its
    session is quiet (see `Session.quiet`). `cmd`: the name of the command; "": it could not be read."""

    tag: Tag | None
    viewer: int
    name: str
    screen: Screen = SCREEN
    quiet: bool = False
    cmd: str = ""


class Dialect(Protocol):
    """A language that clients speak. All bytes that it returns are whole lines."""

    name: str
    for_people: bool
    """Read by a person: the session has a view, so that an echo is suppressed and read marks follow the screen."""
    pinged: bool
    """Whether a client that is silent for too long is sent a ping."""

    def recognizes(self, start: bytes) -> bool:
        """Whether a first line that begins like this belongs to this dialect."""
        ...

    def parse(self, line: str, stage: Stage) -> Command | Rejected | None:
        """The command on a line that has passed `clean_line`; None for a line that asks for nothing.

        `stage` is one at which lines are read. Raises Undecodable if nothing sensible can follow.
        """
        ...

    def label(self, start: bytes, end: bytes) -> tuple[Tag | None, str]:
        """The tag and the name of a command that is too long to be read, from up to a few hundred bytes of each end of
        its line; None and "" where they cannot be read."""
        ...

    def day(self, at: datetime, screen: Screen = SCREEN) -> date | None:
        """The date that a person sees for an entry of this time; None if the dialect shows no dates. A date that
        differs from `Form.day` is shown in front of the entry."""
        ...

    def text(self, sentence: Sentence) -> str:
        """The sentence in this language."""
        ...

    def notice(self, text: str, screen: Screen = SCREEN) -> bytes:
        """A message from the server for people."""
        ...

    def answer(self, asked: Asked, answer: Answer) -> bytes: ...

    def news(self, item: News, screen: Screen = SCREEN) -> bytes: ...

    def entries(self, facts: RoomFacts, entries: Sequence[Entry], form: Form) -> Rendered:
        """Entries in ascending order. Changes no state: a view changes only once the bytes are sent."""
        ...
