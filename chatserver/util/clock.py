"""The server's clock: what stamps entries and sessions, and never goes backwards.

A server alone takes the time from its own wall clock, one of several nodes from the database's: a room's entries have
the same clock then, wherever they were said, and nobody's wall clock matters.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from twisted.logger import Logger

from chatserver.util import times

LOGGED: Final = timedelta(seconds=1)
"""A clock that is further back than this is logged."""

DRIFT: Final = 1e-4
"""Maximum difference in speed between two clocks: ten times that of ordinary quartz."""

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Reading(Struct, frozen=True):
    """The database's clock said `time` at `read`, by this process's monotonic clock, give or take `error` seconds."""

    time: datetime
    read: float
    error: float

    def at(self, read: float) -> datetime:
        """The time at another moment."""
        return self.time + timedelta(seconds=read - self.read)

    def error_at(self, read: float) -> float:
        return self.error + DRIFT * (read - self.read)


class Clock:
    """Called, the time: the wall clock's, or, after `follow`, the database's; unless that was stepped back.

    Then this clock slows down to half the speed until the other has caught up: an hour back is made good in two
    hours. It does not stand still meanwhile, because thousands of entries would have the same time then: people could
    not tell when something was said, and a search over all rooms, whose pages end between two times, would leave
    entries out. A step forward is followed at once.

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
        """The database said that it is `time`, after it was asked and before it answered, by the clock `seconds`.

        From then on the time is that of the database's clock, wrong by at most half the time of that round trip. The
        best of later readings counts, as long as clocks that differ by DRIFT could have given both.
        """
        new, known = Reading(time, (asked + answered) / 2, (answered - asked) / 2), self._followed
        if known is not None:
            error = known.error_at(answered)
            stepped = abs((new.at(answered) - known.at(answered)).total_seconds()) > error + new.error
            if not stepped and error < new.error:
                return
        self._followed = new

    def ask(self, database_time: Callable[[], datetime]) -> None:
        """Follows the database, which this asks. Blocks."""
        asked = self._seconds()
        self.follow(database_time(), asked, self._seconds())

    def start_at(self, newest: datetime | None) -> None:
        """Makes no time be before `newest`, the newest one in the database from before the start."""
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
