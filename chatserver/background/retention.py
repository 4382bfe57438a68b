"""Removes old entries, old rows of `session`, and kept sessions that are over, in small steps: see
`store/retention.py`."""

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from chatserver.background.job import Job
from chatserver.settings.tables import Retention
from chatserver.store import kept_sessions, retention
from chatserver.store.db.threads import Store
from chatserver.store.retention import PAGE, Step

POLL_SECONDS: Final = 15.0
"""Interval between looks for old entries."""

STEP_SECONDS: Final = 0.01
"""How long a step should take, without its commit. Nothing else can write to an SQLite database meanwhile."""

PAUSE: Final = 3.0
"""Factor between a step and the pause after it, which leaves three quarters of the time to others."""

LEAST_PAUSE_SECONDS: Final = 0.05
"""Minimum length of a pause."""

STEPS: Final = 20
"""Maximum number of steps in a row in one room; then the next room has its turn."""

FIRST_SIZE: Final = 20_000
LEAST_SIZE: Final = 10_000
MOST_SIZE: Final = 400_000
"""Maximum number of characters, as `store/retention.py` counts them, of the first step in a row, and of any."""

SESSIONS: Final = 500
"""Maximum number of rows that a step looks at."""

KEPT_SECONDS: Final = 3600.0
"""Interval between looks for kept sessions that are over."""

Work = Callable[..., Step]
"""A function of `store/retention.py` that does a step in one room."""


class RetentionJob(Job):
    """`settings` may change in a reload. `removed` counts entries."""

    poll_seconds = POLL_SECONDS
    complaint = "What is old could not be removed. Trying again until it works."

    def __init__(self, clock: IReactorTime, store: Store, settings: Retention) -> None:
        super().__init__(clock)
        self._store = store
        self._settings = settings
        self._kept_due = clock.seconds() + POLL_SECONDS
        self.removed = 0

    async def look(self) -> float:
        settings, before = self._settings, self.removed
        more = await self._in_rooms(retention.due, retention.step, settings)
        if self.removed > before:
            self.log.debug("Removed {count} old entries.", count=self.removed - before)
        ids = await self._in_rooms(retention.spent, retention.forget, settings) if settings.id_days else False
        if settings.session_days:
            await self._sessions(settings)
        if self._clock.seconds() >= self._kept_due:
            self._kept_due = self._clock.seconds() + KEPT_SECONDS
            while self.running and await self._store.write(kept_sessions.remove_old, SESSIONS) == SESSIONS:
                await self._rest(Step())
        return LEAST_PAUSE_SECONDS if more or ids else POLL_SECONDS

    async def _in_rooms(self, find: Callable[..., list[int]], work: Work, settings: Retention) -> bool:
        """Does some steps in each room that `find` returns. Returns whether there is more to remove at once."""
        more, after = False, 0
        while self.running:
            found = await self._store.read(find, settings, after)
            for room_id in found:
                more |= await self._steps(work, room_id, settings)
            if len(found) < PAGE:
                break
            after = found[-1]
        return more

    async def _steps(self, work: Work, room_id: int, settings: Retention) -> bool:
        """Does some steps in one room. The time of each decides the size of the next."""
        size = FIRST_SIZE
        for _ in range(STEPS):
            if not self.running:
                return False
            step = await self._store.write(work, room_id, settings, size)
            if work is retention.step:
                self.removed += step.removed
            if not step.more:
                return False
            await self._rest(step)
            factor = min(STEP_SECONDS / max(step.seconds, 0.001), 2.0)
            size = max(LEAST_SIZE, min(int(size * factor), MOST_SIZE))
        return True

    async def _sessions(self, settings: Retention) -> None:
        after, more = "", True
        while more and self.running:
            step, after = await self._store.write(retention.end_sessions, settings, after, SESSIONS)
            more = step.more
            if more:
                await self._rest(step)

    async def _rest(self, step: Step) -> None:
        pause: Any = deferLater(self._clock, max(PAUSE * step.seconds, LEAST_PAUSE_SECONDS))
        await pause
