"""The server's clock: what stamps entries and sessions, and never goes backwards."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from twisted.logger import Logger

from chatserver import times

LOGGED: Final = timedelta(seconds=1)
"""A wall clock that is further back than this is logged."""


class Clock:
    """Called, the time: the wall clock's, unless the wall clock was stepped back.

    Then this clock slows down to half the speed until the wall clock has caught up: an hour back is made good in two
    hours. It does not stand still meanwhile, because thousands of entries would have the same time then: people could
    not tell when something was said, and a search over all rooms, whose pages end between two times, would leave
    entries out. A step forward is followed at once.

    `seconds` must be monotonic. Not thread-safe.
    """

    log = Logger()

    def __init__(self, wall: Callable[[], datetime] = times.now, seconds: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._seconds = seconds
        self._last = wall()
        self._read = seconds()
        self._behind = False

    def __call__(self) -> datetime:
        """The time in UTC, in whole milliseconds; never before a time that was returned earlier."""
        wall, read = self._wall(), self._seconds()
        least = self._last + timedelta(seconds=(read - self._read) / 2)
        self._last, self._read = max(wall, least), read
        self._note(least - wall)
        return times.whole_milliseconds(self._last)

    def start_at(self, newest: datetime | None) -> None:
        """Makes no time be before `newest`, the newest one in the database from before the start."""
        if newest is not None and newest > self._last:
            self._last = newest
            self._read = self._seconds()

    def _note(self, behind: timedelta) -> None:
        was_behind, self._behind = self._behind, behind > (timedelta() if self._behind else LOGGED)
        if self._behind and not was_behind:
            self.log.warn(
                "The system's clock is {seconds} s behind the times that were given to entries before. Until it has "
                "caught up, times advance at half speed.",
                seconds=round(behind.total_seconds()),
            )
