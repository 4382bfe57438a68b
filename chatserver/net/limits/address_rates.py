"""How often something happened lately, for each address, and what follows from that: nothing, a delay, or a refusal."""

from collections.abc import Callable, Sequence
from itertools import islice
from math import ceil
from typing import Final

from chatserver.util.tally import note

MINUTE_SECONDS: Final = 60.0
MANY: Final = 10.0
"""At so many times the limit an address is refused. Below that it is only slowed: behind one address there may be a
whole company, and only one bad client."""
STEP_SECONDS: Final = 0.25
"""The delay at the limit. It grows in proportion, up to 2.5 s: a person waits for so long without giving up."""
MOST_KEYS: Final = 16_384
"""So many addresses are remembered, in about 3 MB; then the one that was counted longest ago is forgotten."""


class Rate:
    """Leaky buckets: what has happened drains away evenly, a limit's worth in a minute.

    `per_minute` returns the limit; 0 means that nothing is counted. `seconds` is the reactor's clock.
    """

    def __init__(self, per_minute: Callable[[], float], seconds: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._seconds = seconds
        self.news: dict[str, float] | None = None
        self._levels: dict[str, tuple[float, float]] = {}  # and when; the one that was counted longest ago comes first

    def __len__(self) -> int:
        return len(self._levels)

    def count(self, key: str) -> None:
        note(self.news, key)
        self.learn(key, 1, self._seconds())

    def delay(self, key: str) -> float:
        """Seconds by which an address is to be slowed; 0 below the limit."""
        limit = self._per_minute()
        if not limit or key not in self._levels:
            return 0
        times = self._level(key, limit) / limit
        return STEP_SECONDS * times if times >= 1 else 0

    def retry(self, key: str) -> int:
        """Whole seconds for which an address is to be refused; 0 if it is not."""
        limit = self._per_minute()
        if not limit or key not in self._levels:
            return 0
        excess = self._level(key, limit) - (limit * MANY - 1)
        return max(1, ceil(excess * MINUTE_SECONDS / limit)) if excess > 0 else 0

    def sweep(self) -> None:
        """Forgets what has drained away; to be called now and then."""
        limit = self._per_minute()
        for key in [key for key in self._levels if not limit or not self._level(key, limit)]:
            del self._levels[key]

    # For other nodes: see `tally.Shared`

    def learn(self, key: str, much: float, seconds: float) -> None:
        limit = self._per_minute()
        if limit:
            self._put(key, min(self._level(key, limit) + much, limit * (MANY + 1)), seconds)

    def latest(self, most: int, seconds: float) -> dict[str, tuple[float, ...]]:
        limit = self._per_minute()
        if not limit:
            return {}
        levels = ((key, self._level(key, limit)) for key in islice(reversed(self._levels), most))
        return {key: (round(level, 2),) for key, level in levels if level}

    def merge(self, key: str, told: Sequence[float], seconds: float) -> None:
        limit = self._per_minute()
        if limit and told[0] > self._level(key, limit):
            self._put(key, min(told[0], limit * (MANY + 1)), seconds)

    def _put(self, key: str, level: float, seconds: float) -> None:
        self._levels.pop(key, None)
        self._levels[key] = level, seconds
        if len(self._levels) > MOST_KEYS:
            del self._levels[next(iter(self._levels))]

    def _level(self, key: str, limit: float) -> float:
        level, at = self._levels.get(key, (0.0, 0.0))
        # What is above a refusal takes no more than a minute to drain away, also if the limit was lowered.
        level = min(level, limit * (MANY + 1))
        return max(0.0, level - (self._seconds() - at) * limit / MINUTE_SECONDS)
