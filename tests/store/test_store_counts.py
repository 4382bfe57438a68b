"""Counts of the store for monitoring: calls that failed, and how busy its threads are."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.faults import Conflict
from chatserver.values.errors import Refused, TooSlow, Why
from tests.store.test_deadlines import DEADLINE, Bench
from tests.support.process import wait_until


@pytest.fixture
def bench(sqlite_url: str) -> Iterator[Bench]:
    bench = Bench(open_engine(parse_url(sqlite_url)))
    yield bench
    bench.store.stop()


def test_failed_calls_are_counted_by_what_went_wrong(bench: Bench) -> None:
    """A refusal is an answer; a bug, a conflict, a query that takes too long and a database that is away are errors."""

    def raising(error: Exception) -> None:
        def work(db: Connection) -> None:
            raise error

        bench.result(bench.store.append(work))

    bench.result(bench.store.read(lambda db: None))
    raising(Refused(Why.EMPTY_MESSAGE))
    assert not bench.store.errors
    raising(RuntimeError("a bug"))
    raising(Conflict())
    raising(TooSlow())
    assert bench.store.errors == {"fault": 1, "conflict": 1, "too-slow": 1}
    assert not bench.store.away

    held = threading.Event()
    results = bench.begin(bench.store.write(lambda db: held.wait(30)))
    bench.reactor.advance(DEADLINE + 1)
    bench.wait(results)
    assert bench.store.errors["unavailable"] == 1
    assert bench.store.away
    held.set()


def test_the_load_of_the_threads(bench: Bench) -> None:
    """Running calls are counted apart from those that wait for a thread, for each pool; at rest there are none."""
    held = threading.Event()
    results = [bench.begin(bench.store.write(lambda db: held.wait(30))) for _ in range(5)]
    wait_until(lambda: bench.store.load()["writers"] == (2, 2, 3))
    assert bench.store.load()["readers"] == (2, 0, 0)
    held.set()
    for one in results:
        bench.wait(one)
    assert bench.store.load() == {"writers": (2, 0, 0), "readers": (2, 0, 0)}
