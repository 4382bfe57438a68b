"""Messages are added to the index of words in the background, in steps that leave the time to messages."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from chatserver.background.indexing import BUSY, BUSY_PAUSE, LEAST_PAUSE_SECONDS, POLL_SECONDS, WHOLE_SECONDS, IndexJob
from chatserver.store import search, words
from chatserver.store.words import Step
from chatserver.util.clock import Clock as ServerClock
from chatserver.values.errors import Unavailable
from tests.support.hall import START


class Logs:
    """A store with so many entries that are not in the index. `stored`: how many come during each step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.order = SimpleNamespace(committed=0)
        self.left = self.steps = self.stored = self.tidied = 0
        self.looked: list[datetime | None] = []
        self.away = self.busy = False

    async def read(self, work: Any, *given: Any) -> int:
        if self.away:
            raise Unavailable()
        if work is search.tidy:
            self.tidied += 1
            return 0
        assert work is words.behind
        self.looked.append(given[1])
        return self.left

    async def write(self, work: Any, language: str, since: datetime | None) -> Step:
        assert (work, language) == (words.step, "english")
        if self.busy:
            return Step(busy=True)
        self.steps += 1
        self.order.committed += self.stored
        self.clock.rightNow += 0.01  # it takes this long
        done, self.left = min(self.left, 200), max(self.left - 200, 0)
        return Step(done, self.left)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logs(clock: Clock) -> Logs:
    return Logs(clock)


@pytest.fixture
def job(clock: Clock, logs: Logs) -> IndexJob:
    store: Any = logs
    order: Any = logs.order
    return IndexJob(clock, store, ServerClock(lambda: START), "english", order)


def test_steps(clock: Clock, logs: Logs, job: IndexJob) -> None:
    """At rest one look a second; if there is something, steps with pauses until nothing is left, which can be seen."""
    job.start()
    assert (logs.steps, job.behind) == (0, 0)
    logs.left = 500
    clock.advance(POLL_SECONDS)
    assert (logs.steps, job.behind) == (1, 300)
    clock.advance(LEAST_PAUSE_SECONDS)
    clock.advance(LEAST_PAUSE_SECONDS)
    assert (logs.steps, job.behind) == (3, 0)
    job.stop()


def test_under_load(clock: Clock, logs: Logs, job: IndexJob) -> None:
    """While many messages are stored, nearly all of the time is theirs."""
    logs.left, logs.stored = 10_000, BUSY
    job.start()
    clock.advance(LEAST_PAUSE_SECONDS)
    assert logs.steps == 1
    clock.advance(0.01 * BUSY_PAUSE)
    assert logs.steps == 2
    job.stop()


def test_where_it_looks(clock: Clock, logs: Logs, job: IndexJob) -> None:
    """It looks at all rooms once a minute, and otherwise at those in which something was said lately; after a failure
    at all again."""
    logs.away = True
    job.start()
    logs.away = False
    for _ in range(int(WHOLE_SECONDS) + 2):
        clock.advance(POLL_SECONDS)
    assert logs.looked[0] is None
    assert all(since is not None and since < START for since in logs.looked[1:-3])
    assert logs.looked[1:].count(None) == 1
    job.stop()


def test_another_node_does_it(clock: Clock, logs: Logs, job: IndexJob) -> None:
    """While another node fills the index, this one waits, and still knows what is left."""
    logs.left, logs.busy = 300, True
    job.start()
    clock.advance(POLL_SECONDS)
    assert (logs.steps, job.behind) == (0, 300)
    logs.busy = False
    clock.advance(POLL_SECONDS)
    assert logs.steps == 1
    job.stop()


def test_tidying(clock: Clock, logs: Logs, job: IndexJob) -> None:
    """PostgreSQL's index is tidied after some thousands of messages."""
    logs.left = 9_000
    job.start()
    for _ in range(60):
        clock.advance(LEAST_PAUSE_SECONDS)
    assert (logs.left, logs.tidied) == (0, 1)
    job.stop()
