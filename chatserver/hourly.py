"""What may be done so many times an hour."""

from collections import deque
from typing import Final

from chatserver.guesses import slow_down
from chatserver.tally import MOST_KEYS

HOUR: Final = 3600.0


class Hourly:
    """Counts in memory, by key, over the last hour. `most` 0: without limit."""

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._most = most
        self._times: dict[str, deque[float]] = {}  # the one that was counted longest ago in front

    def take(self, key: str, now: float) -> None:
        """Counts once more, at the time `now`. Raises Refused(slow-down) if that would be too often."""
        if not self._most:
            return
        times = self._times.pop(key, deque())
        while times and times[0] <= now - HOUR:
            times.popleft()
        self._times[key] = times
        if len(times) >= self._most:
            raise slow_down(self._what, times[0] + HOUR - now)
        times.append(now)
        if len(self._times) > MOST_KEYS:
            del self._times[next(iter(self._times))]

    def give_back(self, key: str, taken: float) -> None:
        """What was counted at that time was not done after all."""
        times = self._times.get(key)
        if times and taken in times:
            times.remove(taken)
