"""Questions that share an answer."""

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from chatserver.batcher import Batcher
from chatserver.turns import turns

MOST = 3


class Desk:
    """Where batches are answered when the test says so: each number with its double."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.batches: list[tuple[list[int], Deferred[list[int]]]] = []
        self._batcher: Batcher[int, int] = Batcher(self._answer, MOST, turns(self.clock))

    async def _answer(self, asked: list[int]) -> list[int]:
        self.batches.append((asked, Deferred()))
        return await self.batches[-1][1]

    def asks(self, *numbers: int) -> list[int]:
        """What is answered, as it comes."""
        known: list[int] = []
        for number in numbers:
            ensureDeferred(self._batcher.ask(number)).addCallbacks(known.append, lambda failure: known.append(-1))
        self.clock.advance(0)
        return known

    def answers(self) -> list[int]:
        asked, answer = self.batches.pop(0)
        answer.callback([2 * number for number in asked])
        self.clock.advance(0)
        return asked


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_comes_meanwhile_is_asked_together(desk: Desk) -> None:
    """Each gets its own answer; no batch is larger than it may be, and nobody is asked for twice."""
    first, others = desk.asks(1), desk.asks(2, 3, 4, 5)
    assert desk.answers() == [1]
    assert (first, others) == ([2], [])
    assert desk.answers() == [2, 3, 4]
    assert others == [4, 6, 8]
    assert desk.answers() == [5]
    assert (others, desk.batches) == ([4, 6, 8, 10], [])


def test_what_fails_is_over(desk: Desk) -> None:
    """A batch that cannot be answered fails for all who are in it, and for nobody after."""
    failed, other = desk.asks(1, 2), desk.asks(3)
    desk.batches.pop(0)[1].errback(RuntimeError("the database is away"))
    desk.clock.advance(0)
    assert (failed, other) == ([-1, -1], [])
    assert desk.answers() == [3]
    assert other == [6]
