"""How fast the commands of one connection are accepted: a token bucket, which delays and never refuses."""

from typing import Final

WHOLE: Final = 1 - 1e-6
"""A token, but for rounding: otherwise a wait may be followed by another one of no length."""


class Pace:
    """`per_second` commands in the long run, and up to `burst` at once. Times are seconds of one clock."""

    __slots__ = ("_burst", "_per_second", "_refilled", "_tokens")

    def __init__(self, per_second: float, burst: int, now: float) -> None:
        self._per_second = per_second
        self._burst = max(float(burst), 1.0)
        self._tokens = self._burst
        self._refilled = now

    def wait(self, now: float) -> float:
        """Seconds until the next command may be taken; 0 where it may be taken now."""
        self._tokens = min(self._burst, self._tokens + (now - self._refilled) * self._per_second)
        self._refilled = now
        return 0.0 if self._tokens >= WHOLE else (1 - self._tokens) / self._per_second

    def take(self) -> None:
        self._tokens -= 1
