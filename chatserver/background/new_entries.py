"""Notifies other applications, which read the database, of new entries."""

from typing import Final

from twisted.internet.interfaces import IReactorTime

from chatserver.background.job import Job
from chatserver.delivery.order import Order
from chatserver.store import change_rows
from chatserver.store.db.threads import Store

NOTIFY_SECONDS: Final = 0.25
"""Interval between notifications, however much is said."""


class NewEntriesJob(Job):
    """One notification for all entries that this process has committed since the last one. It is no part of their
    transactions: PostgreSQL commits transactions with notifications one after another."""

    poll_seconds = NOTIFY_SECONDS
    complaint = "Other applications could not be notified of new entries. Trying again until it works."

    def __init__(self, clock: IReactorTime, store: Store, order: Order) -> None:
        super().__init__(clock)
        self._store = store
        self._order = order
        self._notified = -1  # what a process before this one has committed was perhaps not notified of

    async def look(self) -> float:
        committed = self._order.committed
        if committed != self._notified:
            if not await self._store.read(change_rows.notify_readers):
                self.running = False  # it is SQLite
            self._notified = committed
        return NOTIFY_SECONDS
