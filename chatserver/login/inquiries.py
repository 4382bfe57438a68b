"""Questions whether a name is registered: the answers would tell a guesser which names are worth it."""

from math import inf
from typing import Final

from chatserver.login.guess_delays import SILENT_SECONDS, slow_down
from chatserver.settings.tables import Limits
from chatserver.util.tally import MOST_KEYS, Tally

FREE: Final = 20
"""So many names an address may ask for, and not log in with, before that takes longer: people mistype, and come in
groups."""

PER_DOUBLING: Final = 5
MOST_SECONDS: Final = 60.0


class Inquiries:
    """Counted by address. A name that logs in or registers then is not counted. `guess_seconds` is the first delay."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.asked = Tally()
        self._free_at: dict[str, float] = {}

    def ask(self, key: str, now: float) -> tuple[float, bool]:
        """Counts a question. Returns for how many seconds its answer has to wait, and whether the address asks more
        than people do. Raises Refused(slow-down) if it would have to wait for long; then it is not counted."""
        first = self._limits.guess_seconds
        if not first:
            return 0.0, False
        start = max(self._free_at.get(key, -inf), now)
        if start - now > SILENT_SECONDS:
            raise slow_down("names were tried", start - now)
        beyond = self.asked.add(key, now) - FREE
        if beyond > 0:
            delay = min(first * 2 ** min(beyond / PER_DOUBLING, 16), MOST_SECONDS)
            self._free_at.pop(key, None)
            self._free_at[key] = start + delay
            if len(self._free_at) > MOST_KEYS:
                del self._free_at[next(iter(self._free_at))]
        return start - now, beyond > 0

    def settled(self, key: str, now: float) -> None:
        """Somebody has logged in with the name that they asked for."""
        if self.asked.much(key, now):
            self.asked.add(key, now, -1.0)
