"""Batches: questions that are answered together."""

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from chatserver.util.waiting import Batcher, turns

MOST = 3


class Questions:
    """A batcher whose batches are answered when the test says so: each number with its double."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.batches: list[tuple[list[int], Deferred[list[int]]]] = []
        self._batcher: Batcher[int, int] = Batcher(self._answer, MOST, turns(self.clock))

    async def _answer(self, asked: list[int]) -> list[int]:
        self.batches.append((asked, Deferred()))
        return await self.batches[-1][1]

    def asks(self, *numbers: int) -> list[int]:
        """Asks these numbers. The list gets their answers, -1 for a failure."""
        known: list[int] = []
        for number in numbers:
            ensureDeferred(self._batcher.ask(number)).addCallbacks(known.append, lambda failure: known.append(-1))
        self.clock.advance(0)
        return known

    def answer(self) -> list[int]:
        asked, answer = self.batches.pop(0)
        answer.callback([2 * number for number in asked])
        self.clock.advance(0)
        return asked


@pytest.fixture
def questions() -> Questions:
    return Questions()


def test_questions_that_arrive_meanwhile_share_a_batch(questions: Questions) -> None:
    """Each question gets its own answer; no batch exceeds the limit, and no question is in two batches."""
    first, others = questions.asks(1), questions.asks(2, 3, 4, 5)
    assert questions.answer() == [1]
    assert (first, others) == ([2], [])
    assert questions.answer() == [2, 3, 4]
    assert others == [4, 6, 8]
    assert questions.answer() == [5]
    assert (others, questions.batches) == ([4, 6, 8, 10], [])


def test_a_batch_fails(questions: Questions) -> None:
    """A batch that cannot be answered fails for all questions in it, and for none after it."""
    failed, other = questions.asks(1, 2), questions.asks(3)
    questions.batches.pop(0)[1].errback(RuntimeError("the database is unavailable"))
    questions.clock.advance(0)
    assert (failed, other) == ([-1, -1], [])
    assert questions.answer() == [3]
    assert other == [6]
