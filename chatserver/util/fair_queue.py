"""A fair queue: work waits for one of a few slots, and keys take turns."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from itertools import chain
from sys import maxsize
from typing import Protocol, TypeVar

from msgspec import Struct
from twisted.internet.defer import Deferred

from chatserver.values.errors import Refused, Why

T = TypeVar("T")


class Gone(Refused):
    """Nobody waits for the result any more."""

    def __init__(self) -> None:
        super().__init__(Why.NOBODY_WAITS)


def always() -> bool:
    return True


class Waiting(Struct, frozen=True, eq=False):
    turn: "Deferred[None]"
    wanted: Callable[[], bool]
    """Whether somebody still waits for the result."""


class Places(Protocol):
    """The capacity of a queue. It is read anew each time, since settings change."""

    @property
    def slots(self) -> int:
        """Maximum number of turns at a time."""

    @property
    def most(self) -> int:
        """Maximum number of waiting calls."""


class FixedPlaces(Struct, frozen=True):
    slots: int
    most: int


class FairQueue:
    """Gives as many turns at a time as there are slots. Each key has a line of its own, and the lines are served in
    turn, long or short.

    Every other turn goes to the line that began last and has had none yet: a newcomer is served soon even if hundreds
    wait, and these still get the other half of the turns.

    If the queue is full, the last one in the longest line is refused with `full`, so that a newcomer with a shorter
    line always finds a place. `per_key`: maximum number of turns of a key at a time. `in_line`: maximum length of its
    line.
    """

    def __init__(self, places: Places, full: Refused, *, per_key: int = maxsize, in_line: int = maxsize) -> None:
        self._places = places
        self._full = full
        self._per_key = per_key
        self._in_line = in_line
        self._running = 0
        self._turns: Counter[str] = Counter()  # those that are running, by key
        self._lines: dict[str, deque[Waiting]] = {}  # the next one to be served in front; none is empty
        self._new: dict[str, None] = {}  # those that have had no turn, in the order in which they began
        self._newest_first = True
        self._count = 0
        self._serving = False

    def __len__(self) -> int:
        """Number of waiting calls."""
        return self._count

    async def run(self, key: str, work: Callable[[], Awaitable[T]], wanted: Callable[[], bool] = always) -> T:
        """Runs `work` in its turn, and raises what that raises. Raises Refused(slow-down) if too many wait, and Gone if
        nobody wants the result when its turn comes."""
        if not wanted():
            raise Gone
        if self._running < self._places.slots and self._may_run(key) and self._next() is None:
            self._begin(key)
        else:
            await self._turn(key, wanted)
        try:
            return await work()
        finally:
            self._end(key)
            self._serve()

    def _begin(self, key: str) -> None:
        self._running += 1
        self._turns[key] += 1

    def _end(self, key: str) -> None:
        self._running -= 1
        self._turns[key] -= 1
        if not self._turns[key]:
            del self._turns[key]

    def _may_run(self, key: str) -> bool:
        return self._turns[key] < self._per_key

    def _next(self) -> str | None:
        """The line whose turn it is; None if none may run."""
        lines = chain(reversed(self._new), self._lines) if self._newest_first else self._lines
        return next(filter(self._may_run, lines), None)

    def _turn(self, key: str, wanted: Callable[[], bool]) -> "Deferred[None]":
        most = self._places.most
        if len(self._lines.get(key, ())) >= self._in_line:
            raise self._refusal()
        if self._count >= most:
            self._drop_unwanted()
        if self._count >= most:
            longest = max(self._lines, key=lambda one: len(self._lines[one]))
            if len(self._lines[longest]) <= len(self._lines.get(key, ())) + 1:
                raise self._refusal()
            last = self._lines[longest].pop()  # there is another one before it
            self._count -= 1
            last.turn.errback(self._refusal())
        waiting = Waiting(Deferred(), wanted)
        if key not in self._lines:
            self._lines[key] = deque()
            self._new[key] = None
        self._lines[key].append(waiting)
        self._count += 1
        return waiting.turn

    def _serve(self) -> None:
        if self._serving:  # work that is done at once comes back here
            return
        self._serving = True
        try:
            while self._running < self._places.slots and (key := self._next()) is not None:
                line = self._lines.pop(key)
                self._new.pop(key, None)
                waiting = line.popleft()
                self._count -= 1
                if line:
                    self._lines[key] = line  # behind the others
                if waiting.wanted():
                    self._newest_first = not self._newest_first
                    self._begin(key)
                    waiting.turn.callback(None)
                else:
                    waiting.turn.errback(Gone())
        finally:
            self._serving = False

    def _drop_unwanted(self) -> None:
        for key, line in list(self._lines.items()):
            kept = deque(one for one in line if one.wanted())
            gone = [one for one in line if not one.wanted()]
            self._count -= len(gone)
            if kept:
                self._lines[key] = kept
            else:
                del self._lines[key]
                self._new.pop(key, None)
            for one in gone:
                one.turn.errback(Gone())

    def _refusal(self) -> Refused:
        return Refused(self._full.why, retry=self._full.retry)
