"""Turns of the reactor: when it is worth waiting for one more."""

from collections.abc import Awaitable, Callable, Sized

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


def turns(clock: IReactorTime) -> Turn:
    """Awaited, it is over once the reactor has read what there is to read just now."""

    async def turn() -> None:
        await pause(clock, 0)

    return turn


async def settle(waiting: Sized, enough: int, turn: Turn, quiet: int = QUIET_TURNS) -> None:
    """Until `quiet` turns in a row have brought nobody more to those who are waiting, or there are enough.

    Work that is dear once, and cheap for each that takes part, is done for many at once. Those who have just been
    answered are about to ask again: were they not waited for, clients would fall into two halves, each of which waits
    for the other's work.
    """
    left, most = quiet, MOST_TURNS
    while left and most and len(waiting) < enough:
        before = len(waiting)
        await turn()
        left = left - 1 if len(waiting) == before else QUIET_TURNS
        most -= 1
