"""The queue for password hashes: turns, and refusals when it is full."""

from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred, ensureDeferred

from chatserver.util.fair_queue import FairQueue, FixedPlaces
from chatserver.values.errors import Refused, Why

SLOTS, MOST = 2, 6
FULL = Refused(Why.TOO_MANY_LOGINS, retry=5)


def queue(slots: int, most: int) -> FairQueue:
    return FairQueue(FixedPlaces(slots, most), FULL)


class Counter:
    """Work that ends when the test says so. `order`: those that got a turn; `refused`: those that did not."""

    def __init__(self) -> None:
        self.queue = queue(SLOTS, MOST)
        self.order: list[str] = []
        self.refused: list[str] = []
        self.working: list[Deferred[None]] = []
        self.gone: set[str] = set()

    def come(self, *people: str) -> None:
        """They come in this order; the letters of their names say from where."""
        for name in people:
            ensureDeferred(self._come(name))

    async def _come(self, name: str) -> None:
        async def work() -> None:
            self.order.append(name)
            self.working.append(Deferred())
            await self.working[-1]

        try:
            await self.queue.run(name.rstrip("0123456789"), work, lambda: name not in self.gone)
        except Refused:
            self.refused.append(name)

    def end(self, count: int = 1) -> None:
        """Ends this many, in their order."""
        for _ in range(count):
            self.working.pop(0).callback(None)


@pytest.fixture
def counter() -> Counter:
    return Counter()


def test_in_turn(counter: Counter) -> None:
    """However many come from one address, each other address has its turn; within an address it is in order. Every
    other turn goes to the newest address that had nobody waiting."""
    counter.come("a1", "a2", "a3", "a4", "a5", "b1", "c1", "b2")
    assert counter.order == ["a1", "a2"]
    counter.end(6)
    assert counter.order == ["a1", "a2", "c1", "a3", "b1", "a4", "b2", "a5"]
    assert len(counter.queue) == 0
    counter.end(2)
    counter.come("a6", "a7")
    assert counter.order[-2:] == ["a6", "a7"]


def test_whoever_comes_last(counter: Counter) -> None:
    """Is served soon, also if somebody from each of many addresses waits already; those are not left waiting."""
    counter.queue = queue(1, 1000)
    counter.come(*(f"{'x' * number}1" for number in range(1, 501)), "a1")
    counter.end(10)
    assert counter.order.index("a1") == 1
    assert [len(name) - 1 for name in counter.order if name != "a1"] == [1, 2, 500, 3, 499, 4, 498, 5, 497, 6]


def test_full(counter: Counter) -> None:
    """The newest one from the address with the most waiting is refused, and nobody from elsewhere."""
    counter.come(*(f"a{number}" for number in range(1, 10)))
    assert counter.refused == ["a9"]
    counter.come("b1", "c1")
    assert counter.refused == ["a9", "a8", "a7"]
    counter.end(6)
    assert counter.order == ["a1", "a2", "c1", "a3", "b1", "a4", "a5", "a6"]


def test_full_of_many(counter: Counter) -> None:
    """Where nobody has more waiting than the newcomer would, the newcomer is refused."""
    counter.come("a1", "a2", "b1", "c1", "d1", "e1", "f1", "g1", "h1", "b2")
    assert counter.refused == ["h1", "b2"]


def test_whoever_has_gone(counter: Counter) -> None:
    """Connections that have ended take no turn, and no place when the queue is full."""
    counter.come("a1", "a2", "b1", "c1", "c2", "c3", "d1", "d2")
    counter.gone = {"b1", "c2"}
    counter.come("c4")
    assert counter.refused == ["b1", "c2"]
    counter.gone.add("d1")
    counter.end(4)
    assert counter.order == ["a1", "a2", "c1", "d2", "c3", "c4"]
    assert counter.refused == ["b1", "c2", "d1"]


def test_work_that_fails(counter: Counter) -> None:
    """It gives its turn back."""
    counter.come("a1", "a2", "a3")

    async def fail() -> None:
        raise RuntimeError("a bug")

    failures: list[object] = []
    ensureDeferred(counter.queue.run("b", fail)).addErrback(failures.append)
    counter.end(2)
    assert (counter.order, len(failures)) == (["a1", "a2", "a3"], 1)
    counter.come("a4")
    assert counter.order[-1] == "a4"


def test_work_that_is_done_at_once(counter: Counter) -> None:
    """Thousands in a row need no deep stack."""
    counter.queue = queue(1, 5000)
    counter.come("a1")
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    for _ in range(5000):
        ensureDeferred(counter.queue.run("a", work))
    counter.end()
    assert (len(done), len(counter.queue)) == (5000, 0)


def test_more_slots_and_fewer(counter: Counter) -> None:
    """The numbers of turns and places are read each time."""
    places = SimpleNamespace(slots=1, most=2)
    counter.queue = FairQueue(places, FULL)
    counter.come("a1", "a2", "a3", "a4")
    assert (counter.order, counter.refused) == (["a1"], ["a4"])
    places.slots, places.most = 3, 9
    counter.end()
    assert counter.order == ["a1", "a2", "a3"]
    counter.come("a5", "a6", "a7")
    assert counter.order == ["a1", "a2", "a3", "a5"]
    places.slots = 1
    counter.end(2)
    assert counter.order[4:] == []
    counter.end()
    assert counter.order[4:] == ["a6"]
    counter.end(2)
    assert (counter.order[4:], len(counter.queue)) == (["a6", "a7"], 0)
