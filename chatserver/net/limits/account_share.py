"""The share of an account, for all its connections: a pace, and maximum numbers of connections and of unsent bytes."""

from collections.abc import Mapping
from random import randint
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime

from chatserver.net.limits.intake import Pace, rates_of_account, rates_of_connection
from chatserver.settings.tables import Limits
from chatserver.values.errors import Note, Sentence
from chatserver.values.events import AS_SET, AccountLimits

NONE: Final[Mapping[str, int]] = {}
RETRY_SECONDS: Final = (30, 60)
"""Minimum and maximum of the random time after which a client reconnects whose connection made way for a newer one.
Should it be one too many itself, it ends the next one no faster than this."""


class Member(Protocol):
    """A connection of the account."""

    def hang_up(self, reason: str, sentence: Sentence, retry: int | None = None) -> None: ...

    def abort(self) -> None: ...


class Unsent:
    """The bytes that wait in this process until an account's connections read them."""

    __slots__ = ("_limits", "bytes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.bytes = 0

    @property
    def crowded(self) -> bool:
        """Whether too much waits. Then a connection with anything waiting is sent nothing more."""
        return 0 < self._limits.unsent_bytes_per_account < self.bytes


class Allowance:
    """The share of one account. `live`: its connections, the oldest first. `_ending`: those to which the server has
    nothing more to send, but whose last bytes still wait. Each kind has the same limit, for itself."""

    __slots__ = ("_elsewhere", "_ending", "_limits", "_own", "account_id", "live", "pace", "unsent")

    def __init__(self, account_id: int, limits: Limits, now: float, elsewhere: Mapping[str, int] = NONE) -> None:
        self.account_id = account_id
        self._elsewhere = elsewhere
        self.pace = Pace(rates_of_account(limits), now)
        self.unsent = Unsent(limits)
        self._limits = limits
        self._own = AS_SET
        self.live: list[Member] = []
        self._ending: list[Member] = []

    @property
    def unused(self) -> bool:
        return not self.live and not self._ending

    @property
    def _most(self) -> int:
        """Maximum number of new connections; 0: no limit. Those that it has already may stay."""
        own = self._own.connections
        return self._limits.connections_per_account if own is None else own

    @property
    def _most_here(self) -> int:
        """Maximum number at this node: at least one, however many it has at others."""
        return max(self._most - self._elsewhere.get(str(self.account_id), 0), 1)

    @property
    def is_over(self) -> bool:
        """Whether it has too many connections."""
        return self._most > 0 and self._most_here < len(self.live)

    def change(self, own: AccountLimits) -> None:
        """Applies the limits that an operator has set for the account."""
        if own != self._own:
            self._own = own
            self.follow()

    def follow(self) -> None:
        """Applies changed limits."""
        rates = rates_of_account(self._limits, self._own)
        if rates != self.pace.rates:
            self.pace.change(rates)

    def add(self, member: Member) -> None:
        self.live.append(member)

    def make_room(self) -> None:
        """Ends the oldest connections, if there are too many."""
        if self.is_over:
            most = self._most
            for member in self.live[: -self._most_here]:
                member.hang_up(
                    "too-many-connections",
                    Sentence(Note.TOO_MANY_OF_ACCOUNT, most=most),
                    randint(*RETRY_SECONDS),
                )

    def ended(self, member: Member) -> None:
        """The server has nothing more to send on a connection. You can call this twice."""
        if member in self.live:
            self.live.remove(member)
            self._ending.append(member)
            if 0 < self._most < len(self._ending):
                self._ending[0].abort()

    def gone(self, member: Member) -> None:
        """A connection is lost, and everything that came on it is done."""
        for members in (self.live, self._ending):
            if member in members:
                members.remove(member)


class Allowances:
    """The shares of all accounts that are connected. One without connections is kept until its pace has recovered:
    otherwise reconnecting again and again would evade it."""

    def __init__(self, clock: IReactorTime, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self.elsewhere: dict[str, int] = {}
        """Number of connections that accounts have at other nodes, by id."""
        self._accounts: dict[int, Allowance] = {}
        self._resting: dict[int, float] = {}  # accounts without connections, and when to drop their shares
        self.rates = rates_of_connection(limits)
        """The rates of a connection of any account: one object for all."""

    def __len__(self) -> int:
        return len(self._accounts)

    def follow(self) -> list[Allowance]:
        """Sets `rates` by changed limits, and returns the shares whose `follow` is to be called."""
        self.rates = rates_of_connection(self._limits)
        return list(self._accounts.values())

    def many(self, least: int) -> dict[str, int]:
        """The accounts that have at least this many connections here."""
        return {str(one): len(each.live) for one, each in self._accounts.items() if len(each.live) >= least}

    def join(self, account_id: int, member: Member) -> Allowance:
        """Adds a connection that has logged in. If it is one too many, the oldest is ended in the next turn: now, the
        login is not finished."""
        self._drop()
        allowance = self._accounts.get(account_id)
        if allowance is None:
            allowance = self._accounts[account_id] = Allowance(
                account_id, self._limits, self._clock.seconds(), self.elsewhere
            )
        self._resting.pop(account_id, None)
        allowance.add(member)
        if allowance.is_over:
            self._clock.callLater(0, allowance.make_room)
        return allowance

    def gone(self, allowance: Allowance, member: Member) -> None:
        """Removes a connection that is lost."""
        allowance.gone(member)
        if allowance.unused:
            now = self._clock.seconds()
            allowance.pace.permits(now)
            self._resting[allowance.account_id] = now + allowance.pace.refill_seconds()
        self._drop()

    def _drop(self) -> None:
        now = self._clock.seconds()
        while self._resting:
            account_id, until = next(iter(self._resting.items()))
            if until > now:
                return
            del self._resting[account_id]
            self._accounts.pop(account_id, None)
