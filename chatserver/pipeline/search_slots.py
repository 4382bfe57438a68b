"""Searches wait for each other, so that other reading does not wait for them."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from twisted.internet.defer import Deferred

from chatserver.values.errors import ErrorWord, Refused

T = TypeVar("T")

MOST_WAITING: Final = 128
"""Searches that may wait. A further one would be answered minutes later, if all of them are slow."""

MOST_OF_ACCOUNT: Final = 4
"""Searches of one account that may wait: it has several connections."""

RETRY_SECONDS: Final = 10


class Searches:
    """Runs at most `most` searches at a time, and of each account one; accounts take turns."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: set[int] = set()
        self._waiting: dict[int, deque[Deferred[None]]] = {}  # by account, in the order of their turns
        self._count = 0

    async def run(self, account_id: int, work: Callable[[], Awaitable[T]]) -> T:
        """Does `work` when it is the account's turn. Raises Refused(slow-down) if too many wait."""
        if account_id in self._running or len(self._running) >= self._most:
            await self._turn(account_id)
        else:
            self._running.add(account_id)
        try:
            return await work()
        finally:
            self._running.discard(account_id)
            self._next()

    async def _turn(self, account_id: int) -> None:
        waiting = self._waiting.get(account_id, ())
        if self._count >= MOST_WAITING or len(waiting) >= MOST_OF_ACCOUNT:
            raise Refused(ErrorWord.SLOW_DOWN, "Many searches are under way. Try again in a moment.", RETRY_SECONDS)
        turn: Deferred[None] = Deferred()
        self._waiting.setdefault(account_id, deque()).append(turn)
        self._count += 1
        await turn

    def _next(self) -> None:
        for account_id in self._waiting:
            if account_id not in self._running:
                break
        else:
            return
        turns = self._waiting.pop(account_id)
        turn = turns.popleft()
        if turns:
            self._waiting[account_id] = turns  # behind the others
        self._count -= 1
        self._running.add(account_id)
        turn.callback(None)
