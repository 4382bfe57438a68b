"""Fair queues, in which keys take turns: `Rounds`, and `FairQueue`, where work waits for one of a few slots."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from itertools import chain
from sys import maxsize
from typing import Generic, Protocol, TypeVar

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


def each(_: str) -> bool:
    """Any key may have a turn."""
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


class Rounds(Generic[T]):
    """Items that wait. Each key has a line of its own, and the lines are served in turn, long or short.

    Every other turn goes to the line that began last and has had none yet: a newcomer is served soon even if hundreds
    wait, and these still get the other half of the turns.
    """

    __slots__ = ("_count", "_lines", "_new", "_newest_first")

    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}  # the next one to be served in front; none is empty
        self._new: dict[str, None] = {}  # those that have had no turn, in the order in which they began
        self._newest_first = True
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def waiting(self, key: str) -> int:
        """Length of the line of a key."""
        return len(self._lines.get(key, ()))

    def add(self, key: str, item: T) -> None:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = deque()
            self._new[key] = None
        line.append(item)
        self._count += 1

    def next(self, may: Callable[[str], bool] = each) -> str | None:
        """The key whose turn it is, of those that `may` have one; None if there is none."""
        lines = chain(reversed(self._new), self._lines) if self._newest_first else self._lines
        return next(filter(may, lines), None)

    def take(self, key: str) -> T:
        """Takes the first item of a line, which then has had its turn."""
        line = self._lines.pop(key)
        self._new.pop(key, None)
        if len(line) > 1:
            self._lines[key] = line  # behind the others
        self._newest_first = not self._newest_first
        self._count -= 1
        return line.popleft()

    def longest(self) -> str:
        """The key with the longest line. There must be one."""
        return max(self._lines, key=self.waiting)

    def take_last(self, key: str) -> T:
        """Takes the last item of a line that has several."""
        self._count -= 1
        return self._lines[key].pop()

    def take_all(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Takes these items out of all lines."""
        taken: list[T] = []
        for key, line in list(self._lines.items()):
            kept = deque(one for one in line if not unwanted(one))
            taken += [one for one in line if unwanted(one)]
            if kept:
                self._lines[key] = kept
            else:
                del self._lines[key]
                self._new.pop(key, None)
        self._count -= len(taken)
        return taken


class FairQueue:
    """Gives as many turns at a time as there are slots. Keys take turns: see `Rounds`.

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
        self._rounds: Rounds[Waiting] = Rounds()
        self._serving = False

    def __len__(self) -> int:
        """Number of waiting calls."""
        return len(self._rounds)

    async def run(self, key: str, work: Callable[[], Awaitable[T]], wanted: Callable[[], bool] = always) -> T:
        """Runs `work` in its turn, and raises what that raises. Raises Refused(slow-down) if too many wait, and Gone if
        nobody wants the result when its turn comes."""
        if not wanted():
            raise Gone
        rounds = self._rounds
        if self._running < self._places.slots and self._may_run(key) and rounds.next(self._may_run) is None:
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

    def _turn(self, key: str, wanted: Callable[[], bool]) -> "Deferred[None]":
        rounds, most = self._rounds, self._places.most
        if rounds.waiting(key) >= self._in_line:
            raise self._refusal()
        if len(rounds) >= most:
            for gone in rounds.take_all(lambda one: not one.wanted()):
                gone.turn.errback(Gone())
        if len(rounds) >= most:
            longest = rounds.longest()
            if rounds.waiting(longest) <= rounds.waiting(key) + 1:
                raise self._refusal()
            rounds.take_last(longest).turn.errback(self._refusal())  # there is another one before it
        waiting = Waiting(Deferred(), wanted)
        rounds.add(key, waiting)
        return waiting.turn

    def _serve(self) -> None:
        if self._serving:  # work that is done at once comes back here
            return
        self._serving = True
        try:
            while self._running < self._places.slots and (key := self._rounds.next(self._may_run)) is not None:
                waiting = self._rounds.take(key)
                if waiting.wanted():
                    self._begin(key)
                    waiting.turn.callback(None)
                else:
                    waiting.turn.errback(Gone())
        finally:
            self._serving = False

    def _refusal(self) -> Refused:
        return Refused(self._full.why, retry=self._full.retry)
