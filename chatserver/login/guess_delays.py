"""Delays after wrong passwords and other secrets. Each failure doubles the delay for its source and delays nobody else
by more than a second.

Deliberately, no account is locked: failures for a *name*, or from the network around an address, delay others by a
second at most, so that the owner gets in from anywhere else.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from hashlib import sha256
from math import inf
from typing import Final, Literal, TypeVar

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver.settings.tables import Limits
from chatserver.util.fair_queue import Gone, Waiting, always
from chatserver.util.rates import MOST_KEYS, Fading
from chatserver.util.waiting import pause
from chatserver.values.errors import Note, Refused, Sentence, Why
from chatserver.wire.addresses import Listed, counted, neighbourhood

SILENT_SECONDS: Final = 4.0
"""Maximum delay of an answer. Above it, a login is refused at once, with the time to retry."""

SOFT_SECONDS: Final = 1.0
"""Maximum delay of a login because of failures from elsewhere."""

NAME_FAILURES: Final = 5
"""Number of failures for one name, from anywhere, that delay nobody else."""

NETWORK_FAILURES: Final = 20
"""Number of failures from an IPv4 /24 or an IPv6 /48 that delay nobody else there."""

AHEAD: Final = 4
"""Maximum number of passwords from an address without failures that are checked at the same time: a burst of right ones
is not delayed, and of a burst of guesses four do not wait for the first result."""

MOST_DOUBLINGS: Final = 64

Kind = Literal["password", "token", "certificate", "code"]
"""Kinds of secrets. Failures of one kind do not delay the others: a bot with a revoked token does not keep people at
its address from logging in."""

T = TypeVar("T")


class _Line:
    """The pending guesses of one source."""

    __slots__ = ("call", "moving", "running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[Waiting] = deque()
        self.call: IDelayedCall | None = None
        self.moving = False


class Source(Struct, frozen=True):
    """The source of a guess. `delayed`: the key whose failures delay it."""

    delayed: str
    pair: str = ""
    """The address together with the name."""
    network: str = ""
    name: str = ""


class Guesses:
    """Counts failures by source. An address is an IPv4 address or an IPv6 /64.

    An address from which a name has logged in is trusted with that name: other guesses from that address do not delay
    it, and its own failures are counted separately.
    """

    def __init__(self, clock: IReactorTime, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._exempt = Listed(lambda: limits.exempt)
        self.failures = Fading()  # by source
        self._names = Fading()
        self.names_elsewhere = Fading()
        """Failures at other nodes by name, as hashed by `_short`."""
        self.networks = Fading()
        self._trusted: dict[str, None] = {}  # pairs of address and name, the last one to log in at the end
        self._lines: dict[str, _Line] = {}

    async def check(
        self,
        kind: Kind,
        address: str,
        name: str,
        work: Callable[[], Awaitable[T]],
        wanted: Callable[[], bool] = always,
    ) -> T:
        """Returns the result of `work`, which is false for a wrong guess. Raises, before any work, Refused(slow-down)
        for a source that has to wait for long, and Gone if nobody wants the result. An exception of `work` is not
        counted. `name`: the owner of the secret, whether such an account exists or not."""
        if not self._counts(address):
            return await work()
        source = self._source(kind, address, name)
        self._refuse_long(source.delayed)
        soft = self._soft(source)
        if soft:
            await pause(self._clock, soft)
        await self._enter(source.delayed, wanted)
        try:
            result = await work()
            self._learn(source, right=bool(result))
        finally:
            self._leave(source.delayed)
        return result

    async def failed(self, kind: Kind, address: str) -> None:
        """Counts a wrong token or certificate, which was looked up without delay since it cannot be guessed. Returns
        when it may be answered, or raises Refused(slow-down)."""
        if not self._counts(address):
            return
        source = self._source(kind, address, "")
        wait = self._wait(source.delayed)
        self._learn(source, right=False)
        if wait > SILENT_SECONDS:
            raise slow_down(Why.TOO_MANY_FAILED_LOGINS, wait)
        if wait > 0:
            await pause(self._clock, wait)

    def _counts(self, address: str) -> bool:
        return bool(self._limits.guess_seconds) and address not in self._exempt

    def _source(self, kind: Kind, address: str, name: str) -> Source:
        key, name = counted(address), name.lower()
        customer = f"{kind} {key}"
        pair = f"{customer} {name}"
        return Source(pair if pair in self._trusted else customer, pair, neighbourhood(key), name)

    # Counting

    def _learn(self, source: Source, *, right: bool) -> None:
        now = self._clock.seconds()
        if not right:
            self.failures.add(source.delayed, now)
            if source.name:
                self._names.add(source.name, now)
                self.names_elsewhere.note(_short(source.name))
                self.networks.add(source.network, now)
        elif source.name:
            # Other failures are not forgotten: otherwise logins to an account of one's own would buy any number of
            # guesses at another's.
            self._trusted.pop(source.pair, None)
            self._trusted[source.pair] = None
            self.failures.forget(source.pair)
            if len(self._trusted) > MOST_KEYS:
                del self._trusted[next(iter(self._trusted))]

    def _delay(self, failures: float) -> float:
        if failures <= 0:
            return 0.0
        first, most = self._limits.guess_seconds, self._limits.guess_seconds_most or inf
        return float(min(first * 2 ** min(failures - 1, MOST_DOUBLINGS), most))

    def _wait(self, key: str) -> float:
        """Seconds until this source may guess."""
        last = self.failures.get(key)
        return 0.0 if last is None else last.at + self._delay(last.much) - self._clock.seconds()

    def _soft(self, source: Source) -> float:
        """Seconds for which others' failures delay this guess."""
        if not source.name or source.delayed == source.pair:  # nobody's secret, or trusted
            return 0.0
        now = self._clock.seconds()
        name = self._names.much(source.name, now) - NAME_FAILURES
        if len(self.names_elsewhere):
            name += self.names_elsewhere.much(_short(source.name), now)
        around = self.networks.much(source.network, now) - NETWORK_FAILURES
        return min(self._delay(max(name, around)), SOFT_SECONDS)

    def _refuse_long(self, key: str) -> None:
        wait = self._wait(key)
        if wait > SILENT_SECONDS:
            raise slow_down(Why.TOO_MANY_FAILED_LOGINS, wait)

    # One after another

    async def _enter(self, key: str, wanted: Callable[[], bool]) -> None:
        line = self._lines.setdefault(key, _Line())
        waiting = Waiting(Deferred(), wanted)
        line.waiting.append(waiting)
        self._advance(key, line)
        await waiting.turn

    def _leave(self, key: str) -> None:
        line = self._lines[key]
        line.running -= 1
        self._advance(key, line)

    def _advance(self, key: str, line: _Line) -> None:
        """Starts as many guesses as it may; refuses all of a source that has to wait for long."""
        if line.moving:  # a guess that is checked at once comes back here
            return
        line.moving = True
        try:
            while line.waiting and line.running < (1 if self.failures.much(key, self._clock.seconds()) else AHEAD):
                wait = self._wait(key)
                if 0 < wait <= SILENT_SECONDS:
                    if line.call is None:
                        line.call = self._clock.callLater(wait, self._wake, key, line)
                    break
                waiting = line.waiting.popleft()
                if not waiting.wanted():
                    waiting.turn.errback(Gone())
                elif wait > SILENT_SECONDS:
                    waiting.turn.errback(slow_down(Why.TOO_MANY_FAILED_LOGINS, wait))
                else:
                    line.running += 1
                    waiting.turn.callback(None)
        finally:
            line.moving = False
        if not line.running and not line.waiting and self._lines.get(key) is line:
            if line.call is not None:
                line.call.cancel()
            del self._lines[key]

    def _wake(self, key: str, line: _Line) -> None:
        line.call = None
        self._advance(key, line)


def _short(name: str) -> str:
    """A short hash to send to other nodes in place of a name, which may be a password that was typed in the wrong
    place. Few bits are enough for delays of a second, and say nothing about a password."""
    return sha256(name.encode()).hexdigest()[:5]


def slow_down(why: Why, seconds: float) -> Refused:
    """The refusal of a source that has to wait for long."""
    whole = int(seconds) + 1
    time = Sentence(Note.SECONDS, count=whole) if whole < 120 else Sentence(Note.MINUTES, count=-(-whole // 60))
    return Refused(why, retry=whole, time=time)
