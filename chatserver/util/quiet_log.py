"""Keeps repeated events from filling the log. A lasting fault has a line when it begins and one when it ends; the
events of a flood are counted and summed up in one line."""

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

QUIET_SECONDS: Final = 5.0
"""How long nothing must fail until a fault is over: on a disk that is nearly full, small rows are still stored while
larger ones are not."""


SUMMARY_SECONDS: Final = 10.0
"""How long a flood is counted before its summary."""


class Outage:
    """One fault. Call `failed` after each failure and `worked` after each success; both return whether the caller is to
    log it: the first failure, and the first success `quiet` seconds or more after the last failure.

    Not thread-safe.
    """

    def __init__(self, clock: IReactorTime, quiet: float = QUIET_SECONDS) -> None:
        self._clock = clock
        self._quiet = quiet
        self._failed_at: float | None = None
        self._failures = 0

    @property
    def lasts(self) -> bool:
        return self._failed_at is not None

    @property
    def failures(self) -> int:
        """Number of failures in this outage, or in the last one."""
        return self._failures

    def failed(self) -> bool:
        """Something failed. Returns whether an outage begins."""
        begins = self._failed_at is None
        self._failures = 1 if begins else self._failures + 1
        self._failed_at = self._clock.seconds()
        return begins

    def worked(self) -> bool:
        """Something worked. Returns whether an outage is over."""
        if self._failed_at is None or self._clock.seconds() < self._failed_at + self._quiet:
            return False
        self._failed_at = None
        return True


class Unlogged:
    """Events of which at most `lines` have a line of their own in SUMMARY_SECONDS. `tell` is called with the number of
    the others, SUMMARY_SECONDS after the first of them."""

    def __init__(self, clock: IReactorTime, tell: Callable[[int], None], lines: int = 0) -> None:
        self._clock = clock
        self._tell = tell
        self._lines = lines
        self._since = float("-inf")
        self._written = 0
        self._count = 0

    def may_log(self) -> bool:
        """Whether the caller is to log an event; otherwise it is counted."""
        now = self._clock.seconds()
        if now - self._since >= SUMMARY_SECONDS:
            self._since, self._written = now, 0
        self._written += 1
        if self._written <= self._lines:
            return True
        self.add()
        return False

    def add(self) -> None:
        """Counts an event that is not logged."""
        self._count += 1
        if self._count == 1:
            self._clock.callLater(SUMMARY_SECONDS, self._summary)

    def _summary(self) -> None:
        count, self._count = self._count, 0
        self._tell(count)
