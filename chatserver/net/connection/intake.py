"""How much of one connection's input is taken at once, and how fast."""

from random import uniform
from typing import Final

from chatserver.net.limits.account_share import Allowance, rates_of_connection
from chatserver.net.limits.token_bucket import UNLIMITED, Pace, Rates
from chatserver.settings.tables import Limits
from chatserver.values.account_limits import AS_SET, AccountLimits

PIECE_BYTES: Final = 1024
"""Input is split into lines in pieces of this size, so that no piece, whatever is in it, takes more than a millisecond
or two."""
CHUNK_BYTES: Final = 256
"""What comes at once counts as so many bytes at least: reading it takes that time, however little it is."""
ACCOUNT_WAIT_SECONDS: Final = 0.1
"""Connections that wait for the pace of their account look again after this time on average: with its length varied,
each gets its share, and many of them do not wake up for every single token."""


class Intake:
    """Counts the lines and bytes of one turn, and keeps to the pace of the connection and that of its account.

    If `limited`: `came` as bytes come; `begin`, then for as long as there is something `left`: `split` and `took`; then
    `end`. Blank lines, telnet's commands and frames without a line count as lines: each costs about as much.
    """

    __slots__ = (
        "_bytes",
        "_came",
        "_limits",
        "_lines",
        "_pace",
        "_taken",
        "account",
        "left",
        "limited",
        "own",
        "piece",
    )

    def __init__(self, limits: Limits, rates: Rates, now: float) -> None:
        self._limits = limits
        self._pace = Pace(rates, now)
        self._came = 0  # bytes that are not counted yet
        self._taken = 0  # lines since `begin`
        self.account: Allowance | None = None
        self.own: AccountLimits = AS_SET
        """What an operator has set for the account, as far as it is followed."""
        self.left = UNLIMITED
        """Lines that may still be taken now."""
        self.piece: int
        """So many bytes may be split at once."""
        self.limited: bool
        self._choose()
        self.new_turn()

    def _choose(self) -> None:
        self.piece = PIECE_BYTES if self._limits.turn_bytes or self._limits.turn_lines else UNLIMITED
        self.limited = self._is_limited()
        if not self.limited:
            self.left = UNLIMITED

    def _is_limited(self) -> bool:
        paces = [self._pace] if self.account is None else [self._pace, self.account.pace]
        return self.piece != UNLIMITED or any(
            pace.rates.commands_per_second or pace.rates.bytes_per_second for pace in paces
        )

    def new_turn(self) -> None:
        """The others have had their turn."""
        self._lines = self._limits.turn_lines or UNLIMITED
        self._bytes = self._limits.turn_bytes or UNLIMITED

    def share(self, account: Allowance, own: AccountLimits) -> None:
        """It is logged in, and shares what its account may use."""
        self.account = account
        account.change(own)
        if own != AS_SET:
            self._pace.change(rates_of_connection(self._limits, own))
        self.own = own
        self._choose()

    def follow(self, own: AccountLimits) -> None:
        """What an operator has set for the account holds from now on."""
        if self.account is not None:  # else its address is exempt
            self._pace.change(rates_of_connection(self._limits, own))
            self.share(self.account, own)
        self.own = own

    def reload(self, rates: Rates) -> None:
        """The settings have changed. `rates`: those of a connection, unless an operator has set others."""
        if self.own != AS_SET and self.account is not None:
            rates = rates_of_connection(self._limits, self.own)
        if rates != self._pace.rates:
            self._pace.change(rates)
        self._choose()

    def came(self, size: int) -> None:
        """So many bytes were read at once."""
        self._came += size if size > CHUNK_BYTES else CHUNK_BYTES

    def begin(self, now: float) -> float:
        """Sets `left`. Returns the seconds to wait before anything is taken, or 0."""
        size, self._came = self._came, 0
        left, wait = self._pace.permits(now, size), 0.0
        if not left:
            wait = self._pace.wait()
        if self.account is not None:
            pace = self.account.pace
            permitted = pace.permits(now, size)
            if not permitted:
                wait = max(wait, pace.wait() + uniform(0, 2 * ACCOUNT_WAIT_SECONDS))
            if permitted < left:
                left = permitted
        if self._bytes <= 0:
            left = 0
        self.left = left if left < self._lines else self._lines
        return wait

    def split(self, size: int) -> None:
        """So many bytes were split into lines."""
        self._bytes -= size
        if self._bytes <= 0:
            self.left = 0

    def took(self, lines: int) -> None:
        self._taken += lines
        self.left -= lines

    def end(self) -> None:
        """Counts what was taken."""
        taken, self._taken = self._taken, 0
        if taken:
            self._lines -= taken
            self._pace.commands -= taken
            if self.account is not None:
                self.account.pace.commands -= taken
