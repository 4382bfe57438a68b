"""Quotas of an address and its network before login: names that they ask for, and accounts that they register."""

from math import inf
from typing import Final

from chatserver.login.guess_delays import SILENT_SECONDS, slow_down
from chatserver.settings.tables import Limits
from chatserver.util.rates import MOST_KEYS, Fading, Sliding
from chatserver.values.errors import Note, Why
from chatserver.wire.addresses import is_network, share, sources

FREE: Final = 20
"""Maximum number of names that an address may ask for, without logging in, before answers slow down: people mistype,
and come in groups."""

PER_DOUBLING: Final = 5
MOST_SECONDS: Final = 60.0


class Inquiries:
    """Questions whether a name is registered, by address and network: the answers would tell guessers which names
    exist.

    Names that then log in or register do not count. `guess_seconds` is the first delay.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.asked = Fading()
        self._free_at: dict[str, float] = {}

    def ask(self, address: str, now: float) -> tuple[float, bool]:
        """Counts a question. Returns the seconds to wait before answering, and whether the address or its network asks
        more than people do. Raises Refused(slow-down), and does not count, if the wait would be long."""
        first = self._limits.guess_seconds
        if not first:
            return 0.0, False
        starts = {key: max(self._free_at.get(key, -inf), now) for key in sources(address)}
        for key, start in starts.items():
            if start - now > SILENT_SECONDS:
                raise slow_down(Why.TOO_MANY_NAMES_TRIED, start - now, place_of(key))
        often = False
        for key, start in starts.items():
            times = share(key, 1, self._limits.network_times)
            beyond = self.asked.add(key, now) / times - FREE if times else 0
            if beyond > 0:
                often = True
                delay = min(first * 2 ** min(beyond / PER_DOUBLING, 16), MOST_SECONDS) / times
                self._free_at.pop(key, None)
                self._free_at[key] = start + delay
                if len(self._free_at) > MOST_KEYS:
                    del self._free_at[next(iter(self._free_at))]
        return max(starts.values()) - now, often

    def settled(self, address: str, now: float) -> None:
        """The name that was asked for has logged in."""
        for key in sources(address):
            if self.asked.much(key, now):
                self.asked.add(key, now, -1.0)


class Registrations:
    """Registrations of the last hour, by address and network."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.lately = Sliding(lambda key: share(key, limits.registrations_per_hour, limits.network_times))

    def take(self, address: str, now: float) -> None:
        """Counts a registration. Raises Refused(slow-down) if there were too many."""
        taken: list[str] = []
        for key in sources(address):
            wait = self.lately.take(key, now)
            if wait:
                for other in taken:
                    self.lately.give_back(other, now)
                raise slow_down(Why.TOO_MANY_REGISTERED, wait, place_of(key))
            taken.append(key)

    def give_back(self, address: str, taken: float) -> None:
        """Takes back a registration that failed."""
        for key in sources(address):
            self.lately.give_back(key, taken)


def place_of(key: str) -> Note:
    """What a key of a quota stands for."""
    return Note.NETWORK if is_network(key) else Note.ADDRESS
