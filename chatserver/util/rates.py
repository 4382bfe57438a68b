"""Counters of recent events, by key, in bounded memory.

They forget by three rules: `Fading` halves a count every hour, a `Draining` bucket leaks evenly, and `Sliding` counts
the last hour. `seconds` is the reactor's time in all methods.

Several nodes may count together: each sends the others what is new and, now and then, everything.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from math import ceil
from typing import Final, Generic, TypeVar

MINUTE_SECONDS: Final = 60.0
HOUR_SECONDS: Final = 3600.0

MOST_KEYS: Final = 65_536
"""Maximum number of keys to remember, in about 15 MB."""

T = TypeVar("T")


class RateTable(ABC, Generic[T]):
    """A table of at most `most` keys: beyond that, the one that was counted longest ago is forgotten."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self.news: dict[str, float] | None = None
        """Counts that have not been sent to other nodes yet; None while there are no others."""
        self._most = most
        self._known: dict[str, T] = {}  # the one that was counted longest ago in front

    def __len__(self) -> int:
        return len(self._known)

    def note(self, key: str, much: float = 1.0) -> None:
        """Adds to `news`, in bounded memory."""
        if self.news is not None and (key in self.news or len(self.news) < MOST_KEYS):
            self.news[key] = self.news.get(key, 0.0) + much

    def latest(self, most: int, seconds: float) -> dict[str, tuple[float, ...]]:
        """States of the `most` keys that were counted last, for `merge` at another node."""
        found = ((key, self._state(key, known, seconds)) for key, known in islice(reversed(self._known.items()), most))
        return {key: state for key, state in found if state}

    @abstractmethod
    def learn(self, key: str, much: float, seconds: float) -> None:
        """Another node has counted this much."""

    @abstractmethod
    def merge(self, key: str, state: Sequence[float], seconds: float) -> None:
        """Another node has this state. It may contain what was learnt here, and the other way round."""

    @abstractmethod
    def _state(self, key: str, known: T, seconds: float) -> tuple[float, ...]:
        """The state for `merge`; empty if nothing is left."""

    def _put(self, key: str, known: T) -> None:
        self._known.pop(key, None)
        self._known[key] = known
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]


# Counts that fade

HALF_LIFE_SECONDS: Final = HOUR_SECONDS
"""How long it takes until half of a count is forgotten. Short enough that a person's typing errors of this morning do
not matter in the evening; long enough that a guesser who waits out every delay gets some seven guesses an hour."""

NEGLIGIBLE: Final = 0.5
"""Minimum count: one that has faded to less is nothing."""


class Count:
    """A count, and the time of its last change. Mutable, since millions may come and go."""

    __slots__ = ("at", "much")

    def __init__(self, much: float, at: float) -> None:
        self.much = much
        self.at = at

    def now(self, seconds: float) -> float:
        """The rest that has not faded by now."""
        much = self.much * 0.5 ** ((seconds - self.at) / HALF_LIFE_SECONDS)
        return much if much >= NEGLIGIBLE else 0.0


class Fading(RateTable[Count]):
    """Counts that are halved every HALF_LIFE_SECONDS."""

    def get(self, key: str) -> Count | None:
        return self._known.get(key)

    def much(self, key: str, seconds: float) -> float:
        count = self._known.get(key)
        return 0.0 if count is None else count.now(seconds)

    def add(self, key: str, seconds: float, much: float = 1.0) -> float:
        """Counts, and returns the sum. A sum that falls to nothing is forgotten."""
        self.note(key, much)
        return self._add(key, seconds, much)

    def forget(self, key: str) -> None:
        count = self._known.pop(key, None)
        if count is not None:
            self.note(key, -count.much)

    def learn(self, key: str, much: float, seconds: float) -> None:
        self._add(key, seconds, much)

    def merge(self, key: str, state: Sequence[float], seconds: float) -> None:
        much, age = state
        theirs, mine = Count(much, seconds - age), self._known.get(key)
        if theirs.now(seconds) < NEGLIGIBLE + (0.0 if mine is None else mine.now(seconds)):
            return
        if mine is not None and mine.at > theirs.at:
            theirs = Count(theirs.now(mine.at), mine.at)
        self._put(key, theirs)

    def _state(self, key: str, known: Count, seconds: float) -> tuple[float, ...]:
        return (round(known.much, 2), round(seconds - known.at, 1)) if known.now(seconds) else ()

    def _add(self, key: str, seconds: float, much: float) -> float:
        count = self._known.pop(key, None)
        total = much + (0.0 if count is None else count.now(seconds))
        if total >= NEGLIGIBLE:
            self._put(key, Count(total, seconds))
        return total


class Limited(RateTable[T]):
    """Counts against a limit. `limit` returns that of a key anew each time; 0: nothing is counted."""

    def __init__(self, limit: Callable[[str], int], most: int = MOST_KEYS) -> None:
        super().__init__(most)
        self._limit = limit


# Leaky buckets

MOST_ADDRESSES: Final = 16_384
"""Maximum number of addresses in a leaky bucket's table, in about 3 MB."""
REFUSED_TIMES: Final = 10.0
"""Multiple of the limit at which an address is refused. Below that it is only slowed: behind one address there may be a
whole company, and only one bad client."""
STEP_SECONDS: Final = 0.25
"""How long the delay at the limit is. It grows in proportion, up to 2.5 s: people wait that long without giving up."""


class Draining(Limited[tuple[float, float]]):
    """Leaky buckets: a limit's worth drains away evenly in a minute. A full one means a delay, and in the end a
    refusal."""

    def __init__(self, limit: Callable[[str], int], most: int = MOST_ADDRESSES) -> None:
        super().__init__(limit, most)

    def count(self, key: str, seconds: float, much: float = 1.0) -> None:
        self.note(key, much)
        self.learn(key, much, seconds)

    def delay(self, key: str, seconds: float) -> float:
        """Seconds to slow the key by; 0 below the limit."""
        limit = self._limit(key)
        if not limit or key not in self._known:
            return 0
        times = self._level(self._known[key], limit, seconds) / limit
        return STEP_SECONDS * times if times >= 1 else 0

    def retry(self, key: str, seconds: float) -> int:
        """Whole seconds for which to refuse the key; 0 for none."""
        limit = self._limit(key)
        if not limit or key not in self._known:
            return 0
        excess = self._level(self._known[key], limit, seconds) - (limit * REFUSED_TIMES - 1)
        return max(1, ceil(excess * MINUTE_SECONDS / limit)) if excess > 0 else 0

    def sweep(self, seconds: float) -> None:
        """Forgets empty buckets. Call this now and then."""
        for key, known in list(self._known.items()):
            limit = self._limit(key)
            if not limit or not self._level(known, limit, seconds):
                del self._known[key]

    def learn(self, key: str, much: float, seconds: float) -> None:
        limit = self._limit(key)
        if limit:
            level = self._level(self._known.get(key), limit, seconds)
            self._put(key, (min(level + much, limit * (REFUSED_TIMES + 1)), seconds))

    def merge(self, key: str, state: Sequence[float], seconds: float) -> None:
        limit = self._limit(key)
        if limit and state[0] > self._level(self._known.get(key), limit, seconds):
            self._put(key, (min(state[0], limit * (REFUSED_TIMES + 1)), seconds))

    def _state(self, key: str, known: tuple[float, float], seconds: float) -> tuple[float, ...]:
        limit = self._limit(key)
        level = self._level(known, limit, seconds) if limit else 0.0
        return (round(level, 2),) if level else ()

    def _level(self, known: tuple[float, float] | None, limit: float, seconds: float) -> float:
        level, at = known or (0.0, 0.0)
        # What is above a refusal takes no more than a minute to drain away, also if the limit was lowered.
        level = min(level, limit * (REFUSED_TIMES + 1))
        return max(0.0, level - (seconds - at) * limit / MINUTE_SECONDS)


# Windows

MOST_SENT: Final = 200
"""Maximum number of times of one key that are sent to other nodes."""


class Sliding(Limited[deque[float]]):
    """Events of the last hour, at most as many as the limit."""

    def take(self, key: str, seconds: float) -> float:
        """Counts an event and returns 0, or counts nothing and returns the seconds until there is room for one."""
        limit = self._limit(key)
        if not limit:
            return 0.0
        times = self._lately(key, seconds)
        if len(times) >= limit:
            return times[-limit] + HOUR_SECONDS - seconds
        times.append(seconds)
        self.note(key)
        return 0.0

    def give_back(self, key: str, taken: float) -> None:
        """Takes an event back that was counted at that time."""
        times = self._known.get(key)
        if times and taken in times:
            times.remove(taken)
            self.note(key, -1)

    def learn(self, key: str, much: float, seconds: float) -> None:
        times, limit = self._lately(key, seconds), self._limit(key)
        if much > 0:
            times.extend([seconds] * min(round(much), limit))
        else:
            for _ in range(min(round(-much), len(times))):
                times.pop()

    def merge(self, key: str, state: Sequence[float], seconds: float) -> None:
        times = self._lately(key, seconds)
        if len(state) > len(times):
            times.clear()
            times.extend(seconds - age for age in reversed(state))

    def _state(self, key: str, known: deque[float], seconds: float) -> tuple[float, ...]:
        return tuple(round(seconds - at) for at in islice(reversed(known), MOST_SENT))

    def _lately(self, key: str, seconds: float) -> deque[float]:
        times = self._known.get(key) or deque()
        while times and times[0] <= seconds - HOUR_SECONDS:
            times.popleft()
        self._put(key, times)
        return times
