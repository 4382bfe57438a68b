"""How often something happened lately, by key, in bounded memory."""

from typing import Final

HALF_LIFE_SECONDS: Final = 3600.0
"""After so long half of what was counted is forgotten. Short enough that a person's typing errors of this morning do
not matter in the evening; long enough that a guesser who waits out every delay gets some seven guesses an hour."""

MOST_KEYS: Final = 65_536
"""So many keys are remembered, in about 15 MB; then the one that was counted longest ago is forgotten."""

NEGLIGIBLE: Final = 0.5
"""What has faded to less than this is nothing."""


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
        count = self._counts.pop(key, None)
        total = much + (0.0 if count is None else count.now(seconds))
        if total >= NEGLIGIBLE:
            self._counts[key] = Count(total, seconds)
            if len(self._counts) > self._most:
                del self._counts[next(iter(self._counts))]
        return total

    def forget(self, key: str) -> None:
        self._counts.pop(key, None)
