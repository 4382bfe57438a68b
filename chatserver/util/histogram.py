"""Histograms, cheap enough for the busiest code."""

from bisect import bisect_right
from typing import Final

from msgspec import Struct

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for seconds: from a message at an idle server with a fast disk to the deadline of the database."""

TAKE_SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""Bounds for the number of messages in a transaction."""


class Distribution(Struct, frozen=True):
    """The state of a histogram. `counts[i]` values were at most `bounds[i]` and above the bound before it; the last
    count has no bound. `total` is the sum of all values."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Mean of all values; 0 if nothing was counted."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The bound below which this share of all values lies: an estimate, never too low unless values lay above the
        last bound. 0 if nothing was counted."""
        wanted, seen = share * self.count, 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return bound if self.count else 0.0
        return self.bounds[-1]


PENDING: Final = 256
"""Number of values that are kept before they are counted: sorting them is cheaper than finding the range of each."""


class Histogram:
    """Counts that only rise. Not thread-safe."""

    __slots__ = ("_bounds", "_counts", "_pending", "_total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._pending: list[float] = []

    def observe(self, value: float) -> None:
        self._pending.append(value)
        if len(self._pending) > PENDING:
            self._count()

    def observe_all(self, values: list[float]) -> None:
        self._pending += values
        if len(self._pending) > PENDING:
            self._count()

    def seen(self) -> Distribution:
        self._count()
        return Distribution(self._bounds, tuple(self._counts), self._total)

    def _count(self) -> None:
        values, counts, start = self._pending, self._counts, 0
        values.sort()
        for index, bound in enumerate(self._bounds):
            end = bisect_right(values, bound, start)
            counts[index] += end - start
            start = end
        counts[-1] += len(values) - start
        self._total += sum(values)
        values.clear()
