"""Names that may be mentioned, and mentions in messages that were stored without them."""

from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from chatserver.background.job import Job
from chatserver.presence.roster import Roster
from chatserver.store import mentions
from chatserver.store.db.threads import Store

POLL_SECONDS: Final = 1.0
"""Interval between looks for messages without their mentions, such as those posted with SQL."""

PAUSE_SECONDS: Final = 0.05
"""Interval between two steps, for others: the room of a step is locked meanwhile."""


class MentionsJob(Job):
    """Reads the names of all accounts once, and those of new ones from then on. Looks through what is unscanned, step
    by step: one node at a time looks through a room, and a step that failed is done again."""

    poll_seconds = POLL_SECONDS
    complaint = "Mentions could not be looked for. Trying again until it works."

    def __init__(self, clock: IReactorTime, store: Store, roster: Roster) -> None:
        super().__init__(clock)
        self._store = store
        self._names = roster.names_known
        self._last_id = 0

    async def look(self) -> float:
        await self._read_names()
        if await self._store.read(mentions.is_unscanned):
            while self.running and await self._store.write(mentions.scan):
                await deferLater(self._clock, PAUSE_SECONDS)
        return POLL_SECONDS

    async def _read_names(self) -> None:
        """Transactions commit in any order, so that an account may have a lower id than one that was read before."""
        after = max(self._last_id - mentions.OVERLAP, 0) if self._names.complete else self._last_id
        while self.running:
            names = await self._store.read(mentions.names_after, after)
            self._names.update(key for _, key in names)
            if names:
                after = self._last_id = max(self._last_id, names[-1][0])
            if len(names) < mentions.PAGE:
                self._names.complete = True
                return
