"""Waiting on the reactor: for a time, for a condition, or for one more turn where that is worthwhile."""

from collections.abc import Awaitable, Callable, Sized
from math import inf

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

QUIET_TURNS = 2
MOST_TURNS = 16

Turn = Callable[[], Awaitable[None]]


def pause(clock: IReactorTime, seconds: float) -> Deferred[None]:
    """Fires after so many seconds."""
    over: Deferred[None] = Deferred()
    clock.callLater(seconds, over.callback, None)
    return over


POLL_SECONDS = 0.01


async def until(clock: IReactorTime, condition: Callable[[], bool], seconds: float = inf) -> None:
    """Waits until the condition holds, or so many seconds have passed."""
    end = clock.seconds() + seconds
    while not condition() and clock.seconds() < end:
        await pause(clock, POLL_SECONDS)


def turns(clock: IReactorTime) -> Turn:
    """Awaited, a turn is over once the reactor has read everything that there is to read just now."""

    async def turn() -> None:
        await pause(clock, 0)

    return turn


async def settle(waiting: Sized, enough: int, turn: Turn, quiet: int = QUIET_TURNS) -> None:
    """Waits until `quiet` turns in a row have brought nobody new, or `enough` are waiting.

    Work that costs much once and little for each participant is done for many at once. Clients that have just been
    answered are about to ask again: without waiting for them, clients would fall into two halves, each of which waits
    for the other's work.
    """
    left, most = quiet, MOST_TURNS
    while left and most and len(waiting) < enough:
        before = len(waiting)
        await turn()
        left = left - 1 if len(waiting) == before else QUIET_TURNS
        most -= 1
