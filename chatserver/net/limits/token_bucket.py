"""How fast commands and bytes are accepted: token buckets, which delay and never refuse."""

from sys import maxsize
from typing import Final

from msgspec import Struct

ROUNDING: Final = 1e-6
"""A token, but for this, is one: otherwise a wait may be followed by another one of no length."""
UNLIMITED: Final = maxsize


class Rates(Struct, frozen=True):
    """How many in the long run, and how many at once. A rate of 0 is no limit."""

    commands_per_second: float = 0
    command_burst: float = 0
    bytes_per_second: float = 0
    byte_burst: float = 0


NO_RATES: Final = Rates()


class Pace:
    """Two buckets, which begin full: `commands` and `bytes` are what is in them. Take out what you use. Times are
    seconds of one clock.

    Both may be overdrawn: a chunk of bytes is read before it is known how long it is. The next command then waits until
    that is paid off.
    """

    __slots__ = ("_refilled", "bytes", "commands", "rates")

    def __init__(self, rates: Rates, now: float) -> None:
        self._refilled = now
        self.change(rates)

    def change(self, rates: Rates) -> None:
        """From now on these rates hold. The buckets are full again."""
        self.rates = rates
        self.commands = max(float(rates.command_burst), 1.0)
        self.bytes = float(rates.byte_burst)

    def permits(self, now: float, size: int = 0) -> int:
        """How many commands may be taken now that so many bytes more have come."""
        rates, passed = self.rates, now - self._refilled
        self._refilled = now
        permitted = UNLIMITED
        if rates.commands_per_second:
            tokens = self.commands + passed * rates.commands_per_second
            most = rates.command_burst if rates.command_burst > 1 else 1.0
            self.commands = tokens = tokens if tokens < most else most
            permitted = int(tokens + ROUNDING) if tokens > 0 else 0
        if rates.bytes_per_second:
            tokens = self.bytes + passed * rates.bytes_per_second
            self.bytes = tokens = (tokens if tokens < rates.byte_burst else rates.byte_burst) - size
            if tokens < -ROUNDING:
                permitted = 0
        return permitted

    def wait(self) -> float:
        """Seconds until the next command is permitted, from the last call of `permits` on."""
        rates, seconds = self.rates, 0.0
        if rates.commands_per_second and self.commands + ROUNDING < 1:
            seconds = (1 - self.commands) / rates.commands_per_second
        if rates.bytes_per_second and self.bytes < 0:
            seconds = max(seconds, -self.bytes / rates.bytes_per_second)
        return seconds

    def refill_seconds(self) -> float:
        """Seconds until both buckets are full, from the last call of `permits` on."""
        rates, seconds = self.rates, 0.0
        if rates.commands_per_second:
            seconds = (rates.command_burst - self.commands) / rates.commands_per_second
        if rates.bytes_per_second:
            seconds = max(seconds, (rates.byte_burst - self.bytes) / rates.bytes_per_second)
        return seconds
