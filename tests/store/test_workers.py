"""The thread pool: how many threads it has, and what it returns."""

from queue import SimpleQueue
from threading import Barrier, Event, current_thread
from typing import Any

from twisted.python.failure import Failure

from chatserver.store.workers import Workers

SECONDS = 30


class Pool:
    """A pool of at most two threads, whose results go to a queue."""

    def __init__(self) -> None:
        self.workers = Workers(2, "testers")
        self.results: SimpleQueue[tuple[bool, Any]] = SimpleQueue()

    def __call__(self, work: Any, *args: Any, **kwargs: Any) -> None:
        self.workers.callInThreadWithCallback(lambda *result: self.results.put(result), work, *args, **kwargs)

    def result(self) -> tuple[bool, Any]:
        return self.results.get(timeout=SECONDS)


def test_what_is_given_back() -> None:
    """A call returns its result or its failure; the thread runs the next call in either case."""
    pool = Pool()
    pool(lambda *args, **kwargs: (args, kwargs), 1, two=2)
    assert pool.result() == (True, ((1,), {"two": 2}))
    pool(int, "no number")
    well, failure = pool.result()
    assert not well
    assert isinstance(failure, Failure)
    assert failure.check(ValueError)
    names = set()
    for _ in range(5):
        pool(lambda: current_thread().name)
        names.add(pool.result()[1])
    assert names == {"testers-0"}
    pool.workers.stop()


def test_as_many_threads_as_calls() -> None:
    """Concurrent calls have a thread each, up to the maximum; further calls wait for a thread."""
    pool, together, go_on = Pool(), Barrier(2, timeout=SECONDS), Event()

    def work() -> str:
        together.wait()
        go_on.wait(SECONDS)
        return current_thread().name

    for _ in range(4):
        pool(work)
    assert pool.workers.busy
    go_on.set()
    assert sorted(pool.result()[1] for _ in range(4)) == ["testers-0", "testers-0", "testers-1", "testers-1"]
    pool.workers.stop()
    assert not pool.workers.busy


def test_what_waits_is_done_before_the_end() -> None:
    """Stopping waits for all calls."""
    pool, go_on = Pool(), Event()
    for number in range(5):
        pool(lambda n=number: (go_on.wait(SECONDS), n)[1])
    go_on.set()
    pool.workers.stop()
    assert sorted(pool.results.get_nowait()[1] for _ in range(5)) == [0, 1, 2, 3, 4]
