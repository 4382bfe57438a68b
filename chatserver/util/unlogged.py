"""What the log has no line for, so that a flood does not fill it: counted, and told in one line."""

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

SUMMARY_SECONDS: Final = 10.0


class Unlogged:
    """`later` is the reactor's `callLater`; `tell` is called with a count, `SUMMARY_SECONDS` after the first one."""

    def __init__(self, later: Callable[[float, Callable[[], None]], object], tell: Callable[[int], None]) -> None:
        self._later = later
        self._tell = tell
        self._count = 0

    def add(self) -> None:
        self._count += 1
        if self._count == 1:
            self._later(SUMMARY_SECONDS, self._summary)

    def _summary(self) -> None:
        count, self._count = self._count, 0
        self._tell(count)


class Bounded:
    """At most `lines` lines in `SUMMARY_SECONDS`. `clock` is the reactor; `tell`: see `Unlogged`."""

    def __init__(self, clock: IReactorTime, lines: int, tell: Callable[[int], None]) -> None:
        self._clock = clock
        self._lines = lines
        self._unlogged = Unlogged(lambda seconds, call: clock.callLater(seconds, call), tell)
        self._since = float("-inf")
        self._written = 0

    def may_log(self) -> bool:
        now = self._clock.seconds()
        if now - self._since >= SUMMARY_SECONDS:
            self._since, self._written = now, 0
        self._written += 1
        if self._written <= self._lines:
            return True
        self._unlogged.add()
        return False
