"""The server's clock: stamps entries and sessions, and never goes backwards.

A single server follows its own wall clock; one of several nodes follows the database's. Then all entries of a room have
times of the same clock.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from twisted.logger import Logger

from chatserver.util import times

LOGGED: Final = timedelta(seconds=1)
"""Largest step back that is not logged."""

DRIFT: Final = 1e-4
"""Maximum difference in speed between two clocks: ten times that of ordinary quartz."""

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Reading(Struct, frozen=True):
    """A reading of the database's clock: `time` at `read`, by this process's monotonic clock, give or take `error`
    seconds."""

    time: datetime
    read: float
    error: float

    def at(self, read: float) -> datetime:
        """The time at another moment."""
        return self.time + timedelta(seconds=read - self.read)

    def error_at(self, read: float) -> float:
        return self.error + DRIFT * (read - self.read)


class Clock:
    """Returns the time when it is called: the wall clock's or, after `follow`, the database's.

    If that clock is set back, this one runs at half speed until the other has caught up: an hour back takes two hours.
    It does not stand still, because thousands of entries would then have the same time: people could not tell when
    something was said, and a search over all rooms, whose pages end between two times, would leave entries out. A step
    forward is followed at once.

    `seconds` must be monotonic. Not thread-safe.
    """

    log = Logger()

    def __init__(self, wall: Callable[[], datetime] = times.now, seconds: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._seconds = seconds
        self._followed: Reading | None = None
        self._last = _NEVER
        self._read = seconds()
        self._behind = False

    def __call__(self) -> datetime:
        """The time in UTC, in whole milliseconds; never before a time that was returned earlier."""
        read = self._seconds()
        now = self._wall() if self._followed is None else self._followed.at(read)
        least = self._last + timedelta(seconds=(read - self._read) / 2)
        self._last, self._read = max(now, least), read
        self._note(least - now)
        return times.whole_milliseconds(self._last)

    def follow(self, time: datetime, asked: float, answered: float) -> None:
        """The database reported `time` between `asked` and `answered`, by the clock `seconds`.

        From then on this clock follows the database's, with an error of at most half that round trip. The best of
        later readings counts, as long as clocks that differ by DRIFT could have given both.
        """
        new, known = Reading(time, (asked + answered) / 2, (answered - asked) / 2), self._followed
        if known is not None:
            error = known.error_at(answered)
            stepped = abs((new.at(answered) - known.at(answered)).total_seconds()) > error + new.error
            if not stepped and error < new.error:
                return
        self._followed = new

    def ask(self, database_time: Callable[[], datetime]) -> None:
        """Asks the database for its time, and follows it. Blocks."""
        asked = self._seconds()
        self.follow(database_time(), asked, self._seconds())

    def start_at(self, newest: datetime | None) -> None:
        """Makes every later time at least `newest`, the newest one in the database at the start."""
        if newest is not None and newest > self._last:
            self._last = newest
            self._read = self._seconds()

    def _note(self, behind: timedelta) -> None:
        was_behind, self._behind = self._behind, behind > (timedelta() if self._behind else LOGGED)
        if self._behind and not was_behind:
            self.log.warn(
                "The {whose} clock is {seconds} s behind the times that were given to entries before. Until it has "
                "caught up, times advance at half speed.",
                whose="system's" if self._followed is None else "database's",
                seconds=round(behind.total_seconds()),
            )
