"""What may be done so many times an hour."""

from collections import deque
from collections.abc import Callable
from typing import Final

from chatserver.guesses import slow_down
from chatserver.tally import MOST_KEYS

HOUR: Final = 3600.0


class Hourly:
    """Counts in memory, by key, over the last hour. `most` returns the limit, or 0 for none."""

    def __init__(self, what: str, most: Callable[[], int]) -> None:
        self._what = what
        self._most = most
        self._times: dict[str, deque[float]] = {}  # the one that was counted longest ago in front

    def take(self, key: str, now: float) -> None:
        """Counts once more, at the time `now`. Raises Refused(slow-down) if that would be too often."""
        most = self._most()
        if not most:
            return
        times = self._times.pop(key, deque())
        while times and times[0] <= now - HOUR:
            times.popleft()
        self._times[key] = times
        if len(times) >= most:
            raise slow_down(self._what, times[-most] + HOUR - now)
        times.append(now)
        if len(self._times) > MOST_KEYS:
            del self._times[next(iter(self._times))]

    def give_back(self, key: str, taken: float) -> None:
        """What was counted at that time was not done after all."""
        times = self._times.get(key)
        if times and taken in times:
            times.remove(taken)
