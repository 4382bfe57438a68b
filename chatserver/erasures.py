"""Finishes the erasures of accounts that are too large for one transaction, also those that a crash has interrupted."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.errors import Unavailable
from chatserver.store import erasure
from chatserver.store.threads import Store

POLL_SECONDS: Final = 5.0


class Erasures:
    """Looks for unfinished erasures every POLL_SECONDS, and does them step by step, one account after another."""

    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store, now: Callable[[], datetime]) -> None:
        self._clock = clock
        self._store = store
        self._now = now
        self._next: IDelayedCall | None = None
        self._running = False

    def start(self) -> None:
        self._running = True
        self._look()

    def stop(self) -> None:
        """The step that is under way is finished; the next start goes on from there."""
        self._running = False
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self) -> None:
        self._next = None
        ensureDeferred(self._finish_all()).addErrback(self._failed).addCallback(self._again)

    def _again(self, _: object) -> None:
        if self._running:
            self._next = self._clock.callLater(POLL_SECONDS, self._look)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable):  # the store has logged that
            self.log.failure("An account could not be erased. Trying again until it works.", failure)

    async def _finish_all(self) -> None:
        for account_id in await self._store.read(erasure.pending):
            if await self._store.write(erasure.claim, account_id):
                await self._finish(account_id)

    async def _finish(self, account_id: int) -> None:
        while (found := await self._store.read(erasure.places, account_id)) is not None:
            for places in erasure.steps(found):
                if not self._running:
                    return
                await self._store.write(erasure.step, account_id, places, self._now())
                await deferLater(self._clock, erasure.PAUSE_SECONDS)
