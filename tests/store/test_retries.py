"""Conflicts between transactions: which functions retry after one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from chatserver.store.db.faults import Conflict
from chatserver.store.db.threads import Store
from chatserver.store.db.transactions import transact, transact_with_retry
from tests.store.conftest import Tables
from tests.support.process import wait_until


class Work:
    """Conflicts a given number of times, then returns the number of calls."""

    def __init__(self, conflicts: int) -> None:
        self.calls = 0
        self._conflicts = conflicts

    def __call__(self, db: Connection) -> int:
        self.calls += 1
        if self.calls <= self._conflicts:
            raise IntegrityError("INSERT", None, Exception("UNIQUE"))
        return self.calls


def test_retrying(tables: Tables) -> None:
    """`transact` never retries; `transact_with_retry` does once, in a new transaction."""
    once, twice = Work(1), Work(2)
    with pytest.raises(Conflict):
        transact(tables.engine, Work(1))
    assert transact_with_retry(tables.engine, once) == 2
    with pytest.raises(Conflict):
        transact_with_retry(tables.engine, twice)
    assert twice.calls == 2


class Here(Clock):
    """Stands in for a reactor: what a thread hands over is done in that thread."""

    def callFromThread(self, call: Callable[..., None], *args: Any) -> None:
        call(*args)


@pytest.fixture
def store(tables: Tables) -> Iterator[Store]:
    one = Store(tables.engine, Here(), 1, 1)
    yield one
    one.stop()


def outcome(work: Any) -> object:
    results: list[object] = []
    ensureDeferred(work).addBoth(results.append)
    wait_until(lambda: bool(results), what="the thread has finished")
    [result] = results
    return getattr(result, "value", result)  # of a Failure


def test_writing_retries(store: Store) -> None:
    assert outcome(store.write(Work(1))) == 2


def test_appending_does_not_retry(store: Store) -> None:
    """The processor then retries the messages of a batch one by one, so that one client's failure affects no other."""
    assert isinstance(outcome(store.append(Work(1))), Conflict)
