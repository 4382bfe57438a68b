"""Waiting on the reactor: for a time, a condition, one more turn where that pays, or others who ask the same."""

from collections.abc import Awaitable, Callable, Sequence, Sized
from math import inf
from typing import Final, Generic, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime

QUIET_TURNS: Final = 2
"""Number of turns in a row without newcomers after which the wait is over."""
MOST_TURNS: Final = 16
"""Maximum number of turns to wait for others."""
POLL_SECONDS: Final = 0.01
"""Interval between checks of a condition."""

Asked = TypeVar("Asked")
Known = TypeVar("Known")
Turn = Callable[[], Awaitable[None]]


def pause(clock: IReactorTime, seconds: float) -> Deferred[None]:
    """Fires after this many seconds."""
    over: Deferred[None] = Deferred()
    clock.callLater(seconds, over.callback, None)
    return over


async def until(clock: IReactorTime, condition: Callable[[], bool], seconds: float = inf) -> None:
    """Waits until the condition holds, or this many seconds have passed."""
    end = clock.seconds() + seconds
    while not condition() and clock.seconds() < end:
        await pause(clock, POLL_SECONDS)


def turns(clock: IReactorTime) -> Turn:
    """Returns a function to await one turn: it is over once the reactor has read all pending input."""

    async def turn() -> None:
        await pause(clock, 0)

    return turn


async def settle(waiting: Sized, enough: int, turn: Turn, quiet: int = QUIET_TURNS) -> None:
    """Waits until `quiet` turns in a row have brought nobody new, or `enough` are waiting.

    Use it for work that costs much once and little for each participant. Clients that have just been answered are about
    to ask again: without this wait they would fall into two halves, each of which waits for the other's work.
    """
    left, most = quiet, MOST_TURNS
    while left and most and len(waiting) < enough:
        before = len(waiting)
        await turn()
        left = left - 1 if len(waiting) == before else QUIET_TURNS
        most -= 1


class Batcher(Generic[Asked, Known]):
    """Collects questions into batches: those that arrive during a batch share the next one, up to `limit`. `answer`
    returns one answer for each, in their order; an exception that it raises is raised for all of them."""

    def __init__(self, answer: Callable[[list[Asked]], Awaitable[Sequence[Known]]], limit: int, turn: Turn) -> None:
        self._answer = answer
        self._limit = limit
        self._turn = turn
        self._waiting: list[tuple[Asked, Deferred[Known]]] = []
        self._busy = False

    async def ask(self, asked: Asked) -> Known:
        """Raises what `answer` raises."""
        known: Deferred[Known] = Deferred()
        self._waiting.append((asked, known))
        if not self._busy:
            self._busy = True
            ensureDeferred(self._run())
        return await known

    async def _run(self) -> None:
        while self._waiting:
            await settle(self._waiting, self._limit, self._turn)
            taken = self._waiting[: self._limit]
            del self._waiting[: self._limit]
            try:
                answers = await self._answer([asked for asked, _ in taken])
            except Exception as error:
                for _, known in taken:
                    known.errback(error)
            else:
                for (_, known), answer in zip(taken, answers, strict=True):
                    known.callback(answer)
        self._busy = False
