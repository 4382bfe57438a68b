"""Adds messages to the index of words, some time after they were stored: see `store/words.py`."""

from datetime import timedelta
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from chatserver.background.job import Job
from chatserver.delivery.order import Order
from chatserver.store import search, words
from chatserver.store.db.threads import Store
from chatserver.util.clock import Clock

TIDY_ENTRIES: Final = 8192
"""Number of entries after which PostgreSQL's index is tidied: searches read what waits to be merged into it one by
one."""

POLL_SECONDS: Final = 1.0
"""Interval between looks for new messages."""

WHOLE_SECONDS: Final = 60.0
"""Interval between looks at all rooms; others are only at rooms in which something was said lately. Imported rooms and
restored ones have old entries."""

LATELY: Final = timedelta(minutes=5)

LEAST_PAUSE_SECONDS: Final = 0.02
"""Minimum length of a pause between two steps."""

PAUSE: Final = 2.0
BUSY_PAUSE: Final = 30.0
"""Factor between a step and the pause after it, without load and with it: then messages need the time, and searches
read what is not in the index yet."""

BUSY: Final = 1000
"""Number of entries in a second from which on there is load."""


class IndexJob(Job):
    """`behind`: the number of entries that are not in the index."""

    poll_seconds = POLL_SECONDS
    complaint = "Messages could not be added to the index of words. Trying again until it works."

    def __init__(self, clock: IReactorTime, store: Store, now: Clock, language: str, order: Order) -> None:
        super().__init__(clock)
        self._time = clock
        self._store = store
        self._now = now
        self._language = language
        self._order = order
        self._whole_at = -WHOLE_SECONDS
        self._added = 0
        self.behind = 0

    async def look(self) -> float:
        began = self._time.seconds()
        whole = began - self._whole_at >= WHOLE_SECONDS
        since = None if whole else self._now() - LATELY
        self.behind = await self._store.read(words.behind, self._language, since)
        while self.behind and self.running:
            at, stored = self._time.seconds(), self._order.committed
            step = await self._store.write(words.step, self._language, since)
            if step.busy:
                return POLL_SECONDS
            self.behind = step.behind
            self._added += step.done
            if self._added >= TIDY_ENTRIES:
                self._added = 0
                await self._store.read(search.tidy)
            took = self._time.seconds() - at
            pause: Any = deferLater(self._time, max(PAUSE * took, LEAST_PAUSE_SECONDS))
            await pause
            passed = max(self._time.seconds() - at, LEAST_PAUSE_SECONDS)
            if (self._order.committed - stored) / passed > BUSY:
                rest: Any = deferLater(self._time, BUSY_PAUSE * took)
                await rest
        if whole:
            self._whole_at = began
        return POLL_SECONDS
