"""Writes logins and their ends to the database, many at once and a little later, since nobody waits for them."""

from collections.abc import Sequence

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.errors import Unavailable
from chatserver.store import sessions
from chatserver.store.threads import Store
from chatserver.store.transactions import Conflict

FLUSH_SECONDS = 0.25
RETRY_SECONDS = 2.0
MAX_WAITING = 100_000
"""Rows that wait for a database that is away; beyond that they are dropped."""


class SessionLog:
    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store) -> None:
        self._clock = clock
        self._store = store
        self._changes: list[sessions.Change] = []
        self._due = False
        self._writing = False

    @property
    def written(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._changes and not self._writing

    def add(self, change: sessions.Change) -> None:
        if len(self._changes) >= MAX_WAITING:
            self.log.warn(
                "The database has been unreachable for too long: some logins and their ends are not recorded."
            )
            self._changes.clear()
        self._changes.append(change)
        self._later(FLUSH_SECONDS)

    def _later(self, seconds: float) -> None:
        if not self._due:
            self._due = True
            self._clock.callLater(seconds, self._start)

    def _start(self) -> None:
        self._due = False
        ensureDeferred(self.flush()).addErrback(
            lambda failure: self.log.failure("Sessions could not be recorded.", failure)
        )

    async def flush(self) -> None:
        """Writes what waits. If the database does not answer, it is written later."""
        if self._writing:
            self._later(FLUSH_SECONDS)
            return
        self._writing = True
        try:
            while self._changes:
                taken: Sequence[sessions.Change] = self._changes
                self._changes = []
                try:
                    await self._store.write(sessions.record, taken)
                except (Unavailable, Conflict):
                    self._changes = [*taken, *self._changes]
                    self._later(RETRY_SECONDS)
                    return
        finally:
            self._writing = False
