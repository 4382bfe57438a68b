"""Searches wait for each other: few run at a time, one of an account, and accounts take turns."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from chatserver.pipeline.processor import BUSY, MOST_OF_ACCOUNT, MOST_SEARCHES
from chatserver.util.fair_queue import FairQueue, FixedPlaces
from chatserver.values.errors import ErrorWord, Refused, Why


class Scene:
    """Searches that last until the test ends them."""

    def __init__(self, most: int) -> None:
        self.searches = FairQueue(FixedPlaces(most, MOST_SEARCHES), BUSY, per_key=1, in_line=MOST_OF_ACCOUNT)
        self.running: list[tuple[str, Deferred[None]]] = []
        self.refused: list[str] = []

    def search(self, account_id: int, name: str) -> None:
        def work() -> Awaitable[None]:
            ending: Deferred[None] = Deferred()
            self.running.append((name, ending))
            return ending

        asked: Callable[[], Awaitable[None]] = work
        deferred = ensureDeferred(self.searches.run(str(account_id), asked))
        deferred.addErrback(self._refused)

    def _refused(self, failure: Failure) -> None:
        assert isinstance(failure.value, Refused)
        self.refused.append(failure.value.error)

    def end_all(self) -> None:
        while self.running:
            self.end()

    def names(self) -> list[str]:
        return [name for name, _ in self.running]

    def end(self, error: Exception | None = None) -> None:
        """Ends the oldest one."""
        _, ending = self.running.pop(0)
        ending.callback(None) if error is None else ending.errback(error)


def test_taking_turns() -> None:
    """An account with many connections holds up another one for the length of one search."""
    scene = Scene(1)
    for n in range(3):
        scene.search(1, f"ana{n}")
    scene.search(2, "bob")
    assert scene.names() == ["ana0"]
    scene.end()
    assert scene.names() == ["bob"]
    scene.end(Refused(Why.SEARCH_TOO_LONG))
    assert scene.names() == ["ana1"]
    scene.end()
    assert scene.names() == ["ana2"]
    scene.end()
    assert scene.names() == []


def test_one_of_each_account() -> None:
    """An account has one search at a time, even if others could run."""
    scene = Scene(2)
    for n in range(3):
        scene.search(1, f"ana{n}")
    assert scene.names() == ["ana0"]
    scene.search(2, "bob")
    assert scene.names() == ["ana0", "bob"]
    scene.end_all()


def test_too_many_of_an_account() -> None:
    """Beyond a few that wait, an account's searches are refused, and nobody else's."""
    scene = Scene(1)
    for n in range(MOST_OF_ACCOUNT + 2):
        scene.search(1, f"ana{n}")
    assert scene.refused == [ErrorWord.SLOW_DOWN]
    scene.search(2, "bob")
    assert len(scene.refused) == 1
    scene.end_all()
