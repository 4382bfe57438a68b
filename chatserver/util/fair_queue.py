"""A fair queue: work that waits for one of a few slots, in turn among those for whom it is done."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import Struct
from twisted.internet.defer import Deferred

from chatserver.values.errors import ErrorWord, Refused

RETRY_SECONDS = 5
"""A full queue of 1,024 passwords takes about twice as long on two cores."""

T = TypeVar("T")


class Gone(Refused):
    """Nobody waits for the answer any more."""

    def __init__(self) -> None:
        super().__init__(ErrorWord.SLOW_DOWN, "The connection has ended.")


def always() -> bool:
    return True


class Waiting(Struct, frozen=True, eq=False):
    turn: "Deferred[None]"
    wanted: Callable[[], bool]
    """Whether somebody still waits for the answer."""


class FairQueue:
    """Gives as many turns at a time as `slots` returns. Each key has a line of its own, and the lines are served in
    turn, long or short.

    Every other turn goes to the line that began last and has had none: whoever comes once is served soon, also if
    hundreds of others came before, and those still get the other half of the turns.

    No more wait than `most` returns. When it is full, whoever stands last in the longest line is refused: a newcomer
    who would stand in a shorter one always finds a place.
    """

    def __init__(self, slots: Callable[[], int], most: Callable[[], int]) -> None:
        self._slots = slots
        self._running = 0
        self._most = most
        self._lines: dict[str, deque[Waiting]] = {}  # the next one to be served in front; none is empty
        self._new: dict[str, None] = {}  # those that have had no turn, in the order in which they began
        self._newest_first = True
        self._count = 0
        self._serving = False

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    async def run(self, key: str, work: Callable[[], Awaitable[T]], wanted: Callable[[], bool] = always) -> T:
        """Does the work when it is its turn; raises what it raises. Raises Refused(slow-down) if too many wait, and
        Gone if it is not wanted any more when its turn comes."""
        if not wanted():
            raise Gone
        if self._running < self._slots() and not self._lines:
            self._running += 1
        else:
            await self._turn(key, wanted)
        try:
            return await work()
        finally:
            self._running -= 1
            self._serve()

    def _turn(self, key: str, wanted: Callable[[], bool]) -> "Deferred[None]":
        most = self._most()
        if self._count >= most:
            self._drop_unwanted()
        if self._count >= most:
            longest = max(self._lines, key=lambda one: len(self._lines[one]))
            if len(self._lines[longest]) <= len(self._lines.get(key, ())) + 1:
                raise _full()
            last = self._lines[longest].pop()  # there is another one before it
            self._count -= 1
            last.turn.errback(_full())
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
            while self._running < self._slots() and self._lines:
                key = next(reversed(self._new)) if self._new and self._newest_first else next(iter(self._lines))
                line = self._lines.pop(key)
                self._new.pop(key, None)
                waiting = line.popleft()
                self._count -= 1
                if line:
                    self._lines[key] = line  # behind the others
                if waiting.wanted():
                    self._newest_first = not self._newest_first
                    self._running += 1
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


def _full() -> Refused:
    return Refused(
        ErrorWord.SLOW_DOWN,
        "Too many people are logging in just now. Try again in a few seconds, or use a token.",
        RETRY_SECONDS,
    )
