"""What may be done so many times an hour."""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from chatserver.login.guess_delays import slow_down
from chatserver.util.tally import MOST_KEYS, note

HOUR: Final = 3600.0
MOST_TOLD: Final = 200
"""Of one key other nodes are told so many times at most."""


class Hourly:
    """Counts in memory, by key, over the last hour. `most` returns the limit, or 0 for none."""

    def __init__(self, what: str, most: Callable[[], int]) -> None:
        self._what = what
        self._most = most
        self.news: dict[str, float] | None = None
        self._times: dict[str, deque[float]] = {}  # the one that was counted longest ago in front

    def take(self, key: str, now: float) -> None:
        """Counts once more, at the time `now`. Raises Refused(slow-down) if that would be too often."""
        most = self._most()
        if not most:
            return
        times = self._lately(key, now)
        if len(times) >= most:
            raise slow_down(self._what, times[-most] + HOUR - now)
        times.append(now)
        note(self.news, key)

    def give_back(self, key: str, taken: float) -> None:
        """What was counted at that time was not done after all."""
        times = self._times.get(key)
        if times and taken in times:
            times.remove(taken)
            note(self.news, key, -1)

    def _lately(self, key: str, now: float) -> deque[float]:
        times = self._times.pop(key, deque())
        while times and times[0] <= now - HOUR:
            times.popleft()
        self._times[key] = times
        if len(self._times) > MOST_KEYS:
            del self._times[next(iter(self._times))]
        return times

    # For other nodes: see `tally.Shared`

    def learn(self, key: str, much: float, seconds: float) -> None:
        times, most = self._lately(key, seconds), self._most()
        if much > 0:
            times.extend([seconds] * min(round(much), most))
        else:
            for _ in range(min(round(-much), len(times))):
                times.pop()

    def latest(self, most: int, seconds: float) -> dict[str, tuple[float, ...]]:
        return {
            key: tuple(round(seconds - at) for at in islice(reversed(times), MOST_TOLD))
            for key, times in islice(reversed(self._times.items()), most)
        }

    def merge(self, key: str, told: Sequence[float], seconds: float) -> None:
        times = self._lately(key, seconds)
        if len(told) > len(times):
            times.clear()
            times.extend(seconds - age for age in reversed(told))
