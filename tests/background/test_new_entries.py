"""Notifications for other applications that read the database."""

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from chatserver.background.new_entries import NOTIFY_SECONDS, NewEntriesJob
from chatserver.store import change_rows
from chatserver.values.errors import Unavailable


class Notified:
    """A store that counts notifications. `sqlite`: it can send none. `away`: it does not answer."""

    def __init__(self, *, sqlite: bool = False) -> None:
        self.sqlite = sqlite
        self.away = False
        self.count = 0

    async def read(self, work: Any) -> bool:
        assert work is change_rows.notify_readers
        if self.away:
            raise Unavailable()
        self.count += 1
        return not self.sqlite


def test_one_for_many() -> None:
    """There is one at the start, and then one for all entries of an interval, and none without; what could not be
    notified of is notified of later."""
    clock, store, order = Clock(), Notified(), SimpleNamespace(committed=0)
    job = NewEntriesJob(clock, store, order)  # type: ignore[arg-type]
    job.start()
    assert store.count == 1
    for committed, away, count in ((0, False, 1), (50, False, 2), (50, False, 2), (51, True, 2), (51, False, 3)):
        order.committed, store.away = committed, away
        clock.advance(NOTIFY_SECONDS)
        assert store.count == count
    job.stop()
    assert not clock.getDelayedCalls()


def test_sqlite() -> None:
    """It has no notifications, and nobody looks for new entries."""
    clock = Clock()
    job = NewEntriesJob(clock, Notified(sqlite=True), SimpleNamespace(committed=0))  # type: ignore[arg-type]
    job.start()
    assert not clock.getDelayedCalls()
    job.stop()
