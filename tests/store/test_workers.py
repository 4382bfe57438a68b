"""The thread pool: how many threads it has, what it returns, and calls that do not return."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Barrier, Event, current_thread
from typing import Any

from twisted.python.failure import Failure

from chatserver.store.db.threads import Call, Workers
from tests.support.process import wait_until

SECONDS = 30


class Pool:
    """A pool of at most two threads, whose results go to a queue."""

    def __init__(self) -> None:
        self.results: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self.workers = Workers(2, "testers", self)

    def finished(self, _call: Call, well: bool, result: Any) -> None:
        self.results.put((well, result))

    def __call__(self, work: Callable[[], Any]) -> Call:
        call = Call(lambda do: do(), work)
        self.workers.submit(call)
        return call

    def abandon(self, call: Call) -> None:
        call.over = True
        self.workers.abandon(call)

    def result(self) -> tuple[bool, Any]:
        return self.results.get(timeout=SECONDS)


def thread_name() -> str:
    return current_thread().name


def test_what_is_given_back() -> None:
    """A call returns its result or its failure; the thread runs the next call in either case."""
    pool = Pool()
    pool(lambda: {"two": 2})
    assert pool.result() == (True, {"two": 2})
    pool(lambda: int("no number"))
    well, failure = pool.result()
    assert not well
    assert isinstance(failure, Failure)
    assert failure.check(ValueError)
    names = set()
    for _ in range(5):
        pool(thread_name)
        names.add(pool.result()[1])
    assert names == {"testers-0"}
    pool.workers.stop()


def test_as_many_threads_as_calls() -> None:
    """Concurrent calls have a thread each, up to the maximum; further calls wait for a thread."""
    pool, together, go_on = Pool(), Barrier(2, timeout=SECONDS), Event()

    def work() -> str:
        together.wait()
        go_on.wait(SECONDS)
        return thread_name()

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
        pool(lambda n=number: (go_on.wait(SECONDS), n)[1])  # type: ignore[misc]
    go_on.set()
    pool.workers.stop()
    assert sorted(pool.results.get_nowait()[1] for _ in range(5)) == [0, 1, 2, 3, 4]


def test_abandoned_calls() -> None:
    """If all threads hang, abandoning their calls starts new ones at once, for the calls that wait. The old threads end
    when their calls return."""
    pool, go_on, threads = Pool(), Event(), []

    def hang() -> None:
        threads.append(current_thread())
        go_on.wait(SECONDS)

    hung = [pool(hang), pool(hang)]
    wait_until(lambda: len(threads) == 2)
    pool(thread_name)
    for call in hung:
        pool.abandon(call)
    assert pool.result()[1] == "testers-2"
    assert not pool.workers.busy
    assert all(thread.is_alive() for thread in threads)
    go_on.set()
    for thread in threads:
        thread.join(SECONDS)
    pool(thread_name)
    assert {pool.result()[1] for _ in range(3)} == {None, "testers-2"}
    pool.workers.stop()


def test_a_call_that_is_abandoned_before_it_begins() -> None:
    """It never runs, and no thread is replaced because of it."""
    pool, go_on, began = Pool(), Event(), Event()

    def begin() -> None:
        began.set()

    for _ in range(2):
        pool(lambda: go_on.wait(SECONDS))
    pool.abandon(pool(begin))
    go_on.set()
    pool(thread_name)
    assert {pool.result()[1] for _ in range(3)} <= {True, "testers-0", "testers-1"}
    pool.workers.stop()
    assert not began.is_set()


def test_stopping_beside_a_hung_call() -> None:
    """`stop` waits for no thread that was abandoned."""
    pool, go_on, began = Pool(), Event(), Event()

    def hang() -> None:
        began.set()
        go_on.wait(SECONDS)

    hung = pool(hang)
    assert began.wait(SECONDS)
    pool.abandon(hung)
    pool.workers.stop()
    go_on.set()
