"""How often something happened lately, by key, in bounded memory."""

from collections.abc import Sequence
from itertools import islice
from typing import Final, Protocol

HALF_LIFE_SECONDS: Final = 3600.0
"""After so long half of what was counted is forgotten. Short enough that a person's typing errors of this morning do
not matter in the evening; long enough that a guesser who waits out every delay gets some seven guesses an hour."""

MOST_KEYS: Final = 65_536
"""So many keys are remembered, in about 15 MB; then the one that was counted longest ago is forgotten."""

NEGLIGIBLE: Final = 0.5
"""What has faded to less than this is nothing."""


class Shared(Protocol):
    """What several nodes count together: each tells the others what it has counted. `seconds` is the reactor's time."""

    news: dict[str, float] | None
    """What was counted here and is not told yet; None: there is nobody to tell."""

    def learn(self, key: str, much: float, seconds: float) -> None:
        """Another node has counted so much."""

    def latest(self, most: int, seconds: float) -> dict[str, tuple[float, ...]]:
        """What there is in all, for `merge` at another node: of so many keys at most, those counted last."""

    def merge(self, key: str, told: Sequence[float], seconds: float) -> None:
        """Another node has that in all, which may contain what was learnt here, and the other way round."""


def note(news: dict[str, float] | None, key: str, much: float = 1.0) -> None:
    """Keeps what is to be told, in bounded memory."""
    if news is not None and (key in news or len(news) < MOST_KEYS):
        news[key] = news.get(key, 0.0) + much


class Count:
    """How much was counted, and when last. Mutable, since millions may come and go."""

    __slots__ = ("at", "much")

    def __init__(self, much: float, at: float) -> None:
        self.much = much
        self.at = at

    def now(self, seconds: float) -> float:
        """What is left of it by now."""
        much = self.much * 0.5 ** ((seconds - self.at) / HALF_LIFE_SECONDS)
        return much if much >= NEGLIGIBLE else 0.0


class Tally:
    """Counts that fade. `seconds` is the reactor's time in all methods."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self.news: dict[str, float] | None = None
        self._counts: dict[str, Count] = {}  # whose turn to be forgotten comes first in front

    def __len__(self) -> int:
        return len(self._counts)

    def get(self, key: str) -> Count | None:
        return self._counts.get(key)

    def much(self, key: str, seconds: float) -> float:
        count = self._counts.get(key)
        return 0.0 if count is None else count.now(seconds)

    def add(self, key: str, seconds: float, much: float = 1.0) -> float:
        """Counts, and returns how much it is now. What falls to nothing is forgotten."""
        note(self.news, key, much)
        return self._add(key, seconds, much)

    def _add(self, key: str, seconds: float, much: float) -> float:
        count = self._counts.pop(key, None)
        total = much + (0.0 if count is None else count.now(seconds))
        if total >= NEGLIGIBLE:
            self._put(key, Count(total, seconds))
        return total

    def forget(self, key: str) -> None:
        count = self._counts.pop(key, None)
        if count is not None:
            note(self.news, key, -count.much)

    # For other nodes: see `Shared`

    def learn(self, key: str, much: float, seconds: float) -> None:
        self._add(key, seconds, much)

    def latest(self, most: int, seconds: float) -> dict[str, tuple[float, ...]]:
        found = islice(reversed(self._counts.items()), most)
        return {key: (round(count.much, 2), round(seconds - count.at, 1)) for key, count in found if count.now(seconds)}

    def merge(self, key: str, told: Sequence[float], seconds: float) -> None:
        much, age = told
        theirs, mine = Count(much, seconds - age), self._counts.get(key)
        if theirs.now(seconds) < NEGLIGIBLE + (0.0 if mine is None else mine.now(seconds)):
            return
        if mine is not None and mine.at > theirs.at:
            theirs = Count(theirs.now(mine.at), mine.at)
        self._put(key, theirs)

    def _put(self, key: str, count: Count) -> None:
        self._counts.pop(key, None)
        self._counts[key] = count
        if len(self._counts) > self._most:
            del self._counts[next(iter(self._counts))]
