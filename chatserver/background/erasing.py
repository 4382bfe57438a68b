"""Finishes the erasure of accounts that are too large for one transaction, also after a crash."""

from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from chatserver.background.job import Job
from chatserver.store import erasure
from chatserver.store.db.threads import Store
from chatserver.util.clock import Clock

POLL_SECONDS: Final = 5.0
"""Interval between looks for unfinished erasures."""


class ErasingJob(Job):
    """Erases in small steps, one account after another."""

    poll_seconds = POLL_SECONDS
    complaint = "An account could not be erased. Trying again until it works."

    def __init__(self, clock: IReactorTime, store: Store, now: Clock) -> None:
        super().__init__(clock)
        self._store = store
        self._now = now

    async def look(self) -> float:
        for account_id in await self._store.read(erasure.pending):
            if await self._store.write(erasure.claim, account_id):
                await self._finish(account_id)
        return POLL_SECONDS

    async def _finish(self, account_id: int) -> None:
        while (found := await self._store.read(erasure.places, account_id)) is not None:
            for places in erasure.steps(found):
                if not self.running:
                    return
                await self._store.write(erasure.step, account_id, places, self._now())
                await deferLater(self._clock, erasure.PAUSE_SECONDS)
