"""Logging a fault that lasts: one line when it begins and one when it is over, however often it shows meanwhile."""

from collections.abc import Callable

QUIET_SECONDS = 5.0
"""A fault is over if nothing has failed for so long: on a disk that is nearly full, small rows are still stored while
larger ones are not."""


class Outage:
    """One fault. Call `failed` after each failure and `worked` after each success; both return whether the caller is to
    log it: the first failure, and the first success `quiet` seconds or more after the last failure.

    `seconds` is a monotonic clock. Not thread-safe.
    """

    def __init__(self, seconds: Callable[[], float], quiet: float = QUIET_SECONDS) -> None:
        self._seconds = seconds
        self._quiet = quiet
        self._failed_at: float | None = None
        self._failures = 0

    @property
    def lasts(self) -> bool:
        return self._failed_at is not None

    @property
    def failures(self) -> int:
        """How many there have been in this outage, or in the last one."""
        return self._failures

    def failed(self) -> bool:
        """Something failed. Returns whether an outage begins."""
        begins = self._failed_at is None
        self._failures = 1 if begins else self._failures + 1
        self._failed_at = self._seconds()
        return begins

    def worked(self) -> bool:
        """Something worked. Returns whether an outage is over."""
        if self._failed_at is None or self._seconds() < self._failed_at + self._quiet:
            return False
        self._failed_at = None
        return True
