"""Quotas of an address before login: names that it asks for, and accounts that it registers."""

from math import inf
from typing import Final

from chatserver.login.guess_delays import SILENT_SECONDS, slow_down
from chatserver.settings.tables import Limits
from chatserver.util.rates import MOST_KEYS, Fading, Sliding
from chatserver.values.errors import Why

FREE: Final = 20
"""Maximum number of names that an address may ask for, without logging in, before answers slow down: people mistype,
and come in groups."""

PER_DOUBLING: Final = 5
MOST_SECONDS: Final = 60.0


class Inquiries:
    """Questions whether a name is registered, by address: the answers would tell guessers which names exist.

    Names that then log in or register do not count. `guess_seconds` is the first delay.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.asked = Fading()
        self._free_at: dict[str, float] = {}

    def ask(self, key: str, now: float) -> tuple[float, bool]:
        """Counts a question. Returns the seconds to wait before answering, and whether the address asks more than
        people do. Raises Refused(slow-down), and does not count, if the wait would be long."""
        first = self._limits.guess_seconds
        if not first:
            return 0.0, False
        start = max(self._free_at.get(key, -inf), now)
        if start - now > SILENT_SECONDS:
            raise slow_down(Why.TOO_MANY_NAMES_TRIED, start - now)
        beyond = self.asked.add(key, now) - FREE
        if beyond > 0:
            delay = min(first * 2 ** min(beyond / PER_DOUBLING, 16), MOST_SECONDS)
            self._free_at.pop(key, None)
            self._free_at[key] = start + delay
            if len(self._free_at) > MOST_KEYS:
                del self._free_at[next(iter(self._free_at))]
        return start - now, beyond > 0

    def settled(self, key: str, now: float) -> None:
        """The name that was asked for has logged in."""
        if self.asked.much(key, now):
            self.asked.add(key, now, -1.0)


class Registrations:
    """Registrations of the last hour, by address."""

    def __init__(self, limits: Limits) -> None:
        self.lately = Sliding(lambda: limits.registrations_per_hour)

    def take(self, key: str, now: float) -> None:
        """Counts a registration. Raises Refused(slow-down) if there were too many."""
        wait = self.lately.take(key, now)
        if wait:
            raise slow_down(Why.TOO_MANY_REGISTERED, wait)

    def give_back(self, key: str, taken: float) -> None:
        """Takes back a registration that failed."""
        self.lately.give_back(key, taken)
