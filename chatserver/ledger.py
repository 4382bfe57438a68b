"""Writes down logins and their ends, many at once and a little later: nobody waits for these rows."""

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
MOST_KEPT = 100_000


class Ledger:
    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store) -> None:
        self._clock = clock
        self._store = store
        self._changes: list[sessions.Change] = []
        self._due = False
        self._writing = False

    @property
    def written(self) -> bool:
        return not self._changes and not self._writing

    def add(self, change: sessions.Change) -> None:
        if len(self._changes) >= MOST_KEPT:  # the database has been away for long; what is in the log matters more
            self.log.warn("The database has been away for too long: the ends of some sessions are not written down.")
            self._changes.clear()
        self._changes.append(change)
        self._later(FLUSH_SECONDS)

    def _later(self, seconds: float) -> None:
        if not self._due:
            self._due = True
            self._clock.callLater(seconds, self._start)

    def _start(self) -> None:
        self._due = False
        ensureDeferred(self.flush()).addErrback(lambda failure: self.log.failure("Sessions not written.", failure))

    async def flush(self) -> None:
        """Writes what is waiting. Where the database does not answer it is kept, and tried again later."""
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
