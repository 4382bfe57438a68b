"""How much input is taken at once, and how fast: a share of each turn, and token buckets, which delay, never refuse."""

from random import uniform
from sys import maxsize
from typing import Final, Protocol, Self

from msgspec import Struct

from chatserver.settings.tables import Limits
from chatserver.values.events import AS_SET, AccountLimits

ROUNDING: Final = 1e-6
"""How much a token may lack and still count as one: otherwise a wait may be followed by another one of no length."""
UNLIMITED: Final = maxsize
BURST_SECONDS: Final = 10
"""How many seconds' worth may come at once, for a rate that an operator has set for an account."""
PIECE_BYTES: Final = 1024
"""Size of the pieces in which input is split into lines, so that no piece, whatever is in it, takes more than a
millisecond or two."""
CHUNK_BYTES: Final = 256
"""Minimum number of bytes to count for each read from the socket: reading takes that time, however little has come."""
ACCOUNT_WAIT_SECONDS: Final = 0.1
"""How long, on average, a connection that waits for the pace of its account waits beyond it. The time is random, so
that each connection gets its share, and not all of them wake up for every single token."""


class Rates(Struct, frozen=True):
    """How many in the long run, and how many at once. A rate of 0 is no limit."""

    commands_per_second: float = 0
    command_burst: float = 0
    bytes_per_second: float = 0
    byte_burst: float = 0


NO_RATES: Final = Rates()


def rates_of_connection(limits: Limits, own: AccountLimits = AS_SET) -> Rates:
    """The rates of one connection. `own`: the limits that an operator has set for its account."""
    return _replaced(
        Rates(limits.commands_per_second, limits.command_burst, limits.bytes_per_second, limits.byte_burst), own
    )


def rates_of_account(limits: Limits, own: AccountLimits = AS_SET) -> Rates:
    """The rates of all connections of an account together."""
    return _replaced(
        Rates(
            limits.account_commands_per_second,
            limits.account_command_burst,
            limits.account_bytes_per_second,
            limits.account_byte_burst,
        ),
        own,
    )


def _replaced(rates: Rates, own: AccountLimits) -> Rates:
    commands, command_burst = rates.commands_per_second, rates.command_burst
    bytes, byte_burst = rates.bytes_per_second, rates.byte_burst
    if own.commands_per_second is not None:
        commands, command_burst = own.commands_per_second, own.commands_per_second * BURST_SECONDS
    if own.bytes_per_second is not None:
        bytes, byte_burst = own.bytes_per_second, own.bytes_per_second * BURST_SECONDS
    return Rates(commands, command_burst, bytes, byte_burst)


class Pace:
    """Two buckets, which begin full: `commands` and `bytes` are their contents. Take out what you use. Times are
    seconds of one clock.

    Both may be overdrawn: the size of a chunk of bytes is known only once it is read. The next command then waits until
    the debt is paid.
    """

    __slots__ = ("_refilled", "bytes", "commands", "rates")

    def __init__(self, rates: Rates, now: float) -> None:
        self._refilled = now
        self.change(rates)

    def change(self, rates: Rates) -> None:
        """Sets new rates, and fills the buckets."""
        self.rates = rates
        self.commands = max(float(rates.command_burst), 1.0)
        self.bytes = float(rates.byte_burst)

    def permits(self, now: float, size: int = 0) -> int:
        """How many commands may be taken after `size` more bytes have come."""
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
        """How many seconds, from the last call of `permits` on, until the next command is permitted."""
        rates, seconds = self.rates, 0.0
        if rates.commands_per_second and self.commands + ROUNDING < 1:
            seconds = (1 - self.commands) / rates.commands_per_second
        if rates.bytes_per_second and self.bytes < 0:
            seconds = max(seconds, -self.bytes / rates.bytes_per_second)
        return seconds

    def refill_seconds(self) -> float:
        """How many seconds, from the last call of `permits` on, until both buckets are full."""
        rates, seconds = self.rates, 0.0
        if rates.commands_per_second:
            seconds = (rates.command_burst - self.commands) / rates.commands_per_second
        if rates.bytes_per_second:
            seconds = max(seconds, (rates.byte_burst - self.bytes) / rates.bytes_per_second)
        return seconds


class Account(Protocol):
    """The account of a connection."""

    pace: Pace

    def change(self, own: AccountLimits) -> None:
        """Applies the limits that an operator has set for the account."""


class Intake:
    """The input of one connection: a share of each turn, its own pace, and that of its account.

    Within `with intake.turn(...)`, the code that takes lines counts down `left` and `bytes`, and stops when one of them
    is used up. Blank lines, telnet commands and frames without a line count as lines: each costs about as much.
    """

    __slots__ = ("_account", "_granted", "_limits", "_pace", "_rest", "_turn_lines", "bytes", "left", "limited", "own",
                 "piece", "wait")  # fmt: skip

    def __init__(self, limits: Limits, rates: Rates, now: float) -> None:
        self._limits = limits
        self._pace = Pace(rates, now)
        self._account: Account | None = None
        self._rest = now  # until then nothing is taken
        self.own: AccountLimits = AS_SET
        """The limits that an operator has set for the account, as applied here."""
        self.left = UNLIMITED
        """Number of lines that may still be taken."""
        self.bytes: int
        """Number of bytes that may still be split into lines in this turn."""
        self.piece: int
        """Maximum number of bytes to split at once."""
        self.wait = 0.0
        """How many seconds to wait before anything is taken."""
        self.limited: bool
        self._choose()
        self._share_anew()

    def turn(self, now: float, size: int = 0, *, anew: bool = False) -> Self:
        """Begins to take input: sets `left` and `wait`. `size`: number of bytes that have come at once, if any. `anew`:
        the other connections have had their turn since the last call."""
        if anew:
            self._share_anew()
        if now < self._rest:
            self.left, self.wait = 0, self._rest - now
            return self
        if not self.limited:
            self.left, self.wait = UNLIMITED, 0.0
            return self
        if 0 < size < CHUNK_BYTES:
            size = CHUNK_BYTES
        left, wait = self._pace.permits(now, size), 0.0
        if not left:
            wait = self._pace.wait()
        if self._account is not None:
            pace = self._account.pace
            permitted = pace.permits(now, size)
            if not permitted:
                wait = max(wait, pace.wait() + uniform(0, 2 * ACCOUNT_WAIT_SECONDS))
            if permitted < left:
                left = permitted
        self.left = left if left < self._turn_lines else self._turn_lines
        self.wait = wait
        return self

    def rest(self, until: float) -> None:
        """Takes nothing until then, by the clock of `turn`."""
        self._rest = until

    def __enter__(self) -> Self:
        self._granted = self.left
        return self

    def __exit__(self, *_: object) -> None:
        taken = self._granted - self.left
        if taken:
            self._turn_lines -= taken
            self._pace.commands -= taken
            if self._account is not None:
                self._account.pace.commands -= taken

    def _share_anew(self) -> None:
        self._turn_lines = self._limits.turn_lines or UNLIMITED
        self.bytes = self._limits.turn_bytes or UNLIMITED

    # Limits that change

    def share(self, account: Account, own: AccountLimits) -> None:
        """Shares the pace of the account that has logged in."""
        self._account = account
        account.change(own)
        if own != AS_SET:
            self._pace.change(rates_of_connection(self._limits, own))
        self.own = own
        self._choose()

    def follow(self, own: AccountLimits) -> None:
        """Applies the limits that an operator has set for the account."""
        if self._account is not None:  # else its address is exempt
            self._pace.change(rates_of_connection(self._limits, own))
            self.share(self._account, own)
        self.own = own

    def reload(self, rates: Rates) -> None:
        """Applies changed settings. `rates`: those of a connection, unless an operator has set others."""
        if self.own != AS_SET and self._account is not None:
            rates = rates_of_connection(self._limits, self.own)
        if rates != self._pace.rates:
            self._pace.change(rates)
        self._choose()

    def _choose(self) -> None:
        self.piece = PIECE_BYTES if self._limits.turn_bytes or self._limits.turn_lines else UNLIMITED
        paces = [self._pace] if self._account is None else [self._pace, self._account.pace]
        self.limited = self.piece != UNLIMITED or any(
            pace.rates.commands_per_second or pace.rates.bytes_per_second for pace in paces
        )
