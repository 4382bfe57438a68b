"""Maintenance of the database in the background. Without it, some messages would have to wait for that work."""

from typing import Final

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chatserver.background.erasing import ErasingJob
from chatserver.background.job import Job
from chatserver.store import search
from chatserver.store.db.threads import Store
from chatserver.store.erasure import PAUSE_SECONDS
from chatserver.util.clock import Clock
from chatserver.values.errors import Unavailable

LOG_SECONDS: Final = 30.0
"""Interval between truncations of SQLite's write-ahead log: erased texts must be gone from the files within a
minute."""

AGAIN_SECONDS: Final = 5.0
"""How long to wait before the next attempt if a reader still needs the log."""


class Maintenance:
    """Runs the jobs in the background, and empties SQLite's write-ahead log."""

    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store, now: Clock, *jobs: Job) -> None:
        self._clock = clock
        self._store = store
        self._jobs = (ErasingJob(clock, store, now), *jobs)
        self._running = False
        self._next: IDelayedCall | None = None
        self._mark = search.MergeMark()

    def start(self) -> None:
        self._running = True
        for job in self._jobs:
            job.start()
        self._next = self._clock.callLater(LOG_SECONDS, self._empty_log)

    def stop(self) -> None:
        self._running = False
        for job in self._jobs:
            job.stop()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _empty_log(self) -> None:
        self._next = None
        ensureDeferred(self._emptied())

    async def _emptied(self) -> None:
        empty = False
        try:
            await self._drop_words()
            empty = await self._store.empty_log()
        except Unavailable:
            pass  # the store has logged that
        except Exception:
            self.log.failure("The write-ahead log could not be emptied.")
        if self._running:
            self._next = self._clock.callLater(LOG_SECONDS if empty else AGAIN_SECONDS, self._empty_log)

    async def _drop_words(self) -> None:
        """Drops erased words from SQLite's index (`store/search.py`). PostgreSQL has none."""
        erased, mark = await self._store.read(search.anything_erased, self._mark)
        first = True
        while erased and self._running and await self._store.write(search.merge_index, first=first):
            first = False
            await deferLater(self._clock, PAUSE_SECONDS)
        self._mark = mark
