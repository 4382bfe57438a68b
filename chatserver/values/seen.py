"""The entries of a room that somebody has seen: a read mark, and the stretches behind it that were on a screen."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

MOST_RUNS: Final = 8
"""Maximum number of stretches that are remembered of a room. Beyond that the oldest ones count as unread again."""

Run = tuple[int, int]
"""The first and the last number of a stretch."""


class Seen(Struct, frozen=True, gc=False):
    """Everything up to `mark`, and the entries of `runs`, in ascending order: they neither touch each other nor the
    mark.

    `era`: an account that moves its mark back begins another one, and what was seen in those before it no longer
    counts. 0: not known, and counts in any.
    """

    mark: int = 0
    runs: tuple[Run, ...] = ()
    era: int = 0

    def plus(self, begin: int, end: int) -> "Seen":
        """With the entries from `begin` to `end`. The mark moves over what is seen without a gap."""
        mark, runs = self.mark, self.runs
        if end <= mark:
            return self
        if not runs and begin <= mark + 1:  # nearly always
            return Seen(end, (), self.era)
        return _joined(mark, [*runs, (begin, end)], self.era)

    def union(self, other: "Seen") -> "Seen":
        era = max(self.era, other.era)
        if self.era != other.era and self.era and other.era:
            return self if self.era == era else other
        if self.runs or other.runs:
            return _joined(max(self.mark, other.mark), [*self.runs, *other.runs], era)
        found = self if self.mark >= other.mark else other
        return found if found.era == era else Seen(found.mark, (), era)

    def has(self, seq: int) -> bool:
        return seq <= self.mark or any(begin <= seq <= end for begin, end in self.runs)

    def missing(self, first: int, last: int) -> Iterator[Run]:
        """Returns the stretches between `first` and `last` that were not seen, in ascending order."""
        begin = max(self.mark + 1, first)
        for start, end in self.runs:
            if begin < start <= last:
                yield begin, start - 1
            begin = max(begin, end + 1)
        if begin <= last:
            yield begin, last

    def lacks(self, first: int, last: int) -> int:
        """Returns the number of entries from `first` to `last` that were not seen."""
        if not self.runs:
            return max(last - max(self.mark, first - 1), 0)
        return sum(end - begin + 1 for begin, end in self.missing(first, last))

    def up_to(self, last: int) -> "Seen":
        """The part about entries up to `last`."""
        if self.mark <= last and (not self.runs or self.runs[-1][1] <= last):
            return self
        runs = [(begin, min(end, last)) for begin, end in self.runs if begin <= last]
        return Seen(min(self.mark, last), tuple(runs), self.era)

    @property
    def stored(self) -> str | None:
        """The runs, for the database."""
        return msgspec.json.encode(self.runs).decode() if self.runs else None


NOTHING: Final = Seen()


def as_seen(mark: int, stored: str | None, era: int) -> Seen:
    """The value of the columns of the database."""
    if stored is None:
        return Seen(mark, (), era)
    return _joined(mark, msgspec.json.decode(stored, type=list[Run]), era)


def merged(many: Iterable[dict[int, Seen]]) -> dict[int, Seen]:
    """Returns, by room, the entries that any of them have seen."""
    found: dict[int, Seen] = {}
    for one in many:
        for room_id, seen in one.items():
            known = found.get(room_id)
            found[room_id] = seen if known is None else known.union(seen)
    return found


def _joined(mark: int, runs: list[Run], era: int) -> Seen:
    kept: list[Run] = []
    for begin, end in sorted(runs):
        if begin <= mark + 1:
            mark = max(mark, end)
        elif kept and begin <= kept[-1][1] + 1:
            kept[-1] = kept[-1][0], max(kept[-1][1], end)
        else:
            kept.append((begin, end))
    return Seen(mark, tuple(kept[-MOST_RUNS:]), era)
