"""Delays after wrong passwords and other secrets. A guess passes up to three gates, and waits at each for those before
it: that of its address, that of the network around the address, and that of the name.

An address and a network wait for longer after each failure. At a name, all strangers together may guess a few times a
minute. Addresses from which the account has logged in before are no strangers to its name: they have a gate of their
own there, and do not wait for their network, so that guessers lock no owner out.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Collection
from hashlib import sha256
from math import inf
from typing import Final, Literal, Protocol, TypeVar

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver.settings.tables import Limits
from chatserver.util.fair_queue import Gone, Waiting, always
from chatserver.util.rates import MOST_KEYS, Fading
from chatserver.util.waiting import pause
from chatserver.values.errors import Note, Refused, Sentence, Why
from chatserver.wire.addresses import Listed, counted, sources

SILENT_SECONDS: Final = 4.0
"""Maximum delay of an answer. Above it, a login is refused at once, with the time to retry."""

NETWORK_FAILURES: Final = 5
"""Number of failures, for each address that a network counts for, that delay nobody else there."""

NAME_FAILURES: Final = 5
"""Number of failures for one name that delay nobody else."""

NAME_SECONDS: Final = 15.0
"""Maximum delay between two guesses at a name, from wherever they come: at four a minute nobody guesses a password, and
its owner gets in from a new place if they try again."""

AHEAD: Final = 4
"""Maximum number of passwords from an address without failures that are checked at the same time: a burst of right ones
is not delayed, and of a burst of guesses four do not wait for the first result. A network has as many for each address
that it counts for."""

PLACES_SECONDS: Final = 5.0
"""How long it is remembered from where a name has logged in: guesses that are refused cost no query each."""

MOST_PLACES: Final = 1_024
"""Maximum number of names of which that is remembered."""

MOST_DOUBLINGS: Final = 64

Kind = Literal["password", "token", "secret", "certificate", "code"]
"""Kinds of secrets. Failures of one kind do not delay the others: a bot with a revoked token does not keep people at
its address from logging in."""

T = TypeVar("T")


class _Line:
    """The pending guesses at one gate."""

    __slots__ = ("call", "moving", "running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[Waiting] = deque()
        self.call: IDelayedCall | None = None
        self.moving = False


class Gate(Struct, frozen=True):
    """What a guess passes. `key`: of the failures that delay it. `times`: the number of addresses that it counts for,
    and `free`: the number of failures, for each of these, that delay nothing. `place`: what the key stands for."""

    key: str
    times: int = 1
    free: int = 0
    most: float = inf
    place: Note = Note.ADDRESS


class Places(Protocol):
    """The places from which people have logged in."""

    async def ask(self, name: str, /) -> Collection[str]:
        """Returns the addresses of an account by its name, as of `counted`. None if there is no such account."""
        ...


class Guesses:
    """Counts failures by source. An address is an IPv4 address or an IPv6 /64.

    An address from which a name has logged in is known for that name: other guesses from that address do not delay it,
    and its own failures are counted separately.
    """

    def __init__(self, clock: IReactorTime, limits: Limits, places: Places) -> None:
        self._clock = clock
        self._limits = limits
        self._places = places
        self._exempt = Listed(lambda: limits.exempt)
        self.failures = Fading()  # by the keys of gates
        self._known: dict[str, None] = {}  # pairs of address and name, the last one to log in at the end
        self._asked: dict[str, tuple[float, Collection[str]]] = {}  # by name: until when, and its places
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
        for a guess that would have to wait for long, and Gone if nobody wants the result. An exception of `work` is not
        counted. `name`: the owner of the secret, whether such an account exists or not."""
        if not self._counts(address):
            return await work()
        name = name.lower()
        source = _source(kind, address)
        pair = f"{source} {name}"
        gates = self._gates(kind, address, name)
        is_new = name and pair not in self._known and any(map(self._is_pressed, gates))
        if is_new and counted(address) in await self._places_of(name):
            self._know(pair)
            gates = self._gates(kind, address, name)
        for gate in gates:
            self._refuse_long(gate)
        passed = []
        try:
            for gate in gates:
                await self._enter(gate, wanted)
                passed.append(gate)
            result = await work()
            if not result:
                self._failed(gates)
            elif name:
                # Other failures are not forgotten: otherwise logins to an account of one's own would buy any number of
                # guesses at another's.
                self._know(pair)
                self.failures.forget(pair)
        finally:
            for gate in reversed(passed):
                self._leave(gate)
        return result

    async def failed(self, kind: Kind, address: str) -> None:
        """Counts a wrong token, certificate, or secret of a kept session, which was looked up without delay since it
        cannot be guessed. Returns when it may be answered, or raises Refused(slow-down)."""
        if not self._counts(address):
            return
        gate = Gate(_source(kind, address), most=self._most)
        wait = self._wait(gate)
        self._failed([gate])
        if wait > SILENT_SECONDS:
            raise _refusal(gate, wait)
        if wait > 0:
            await pause(self._clock, wait)

    def _counts(self, address: str) -> bool:
        return bool(self._limits.guess_seconds) and address not in self._exempt

    @property
    def _most(self) -> float:
        return self._limits.guess_seconds_most or inf

    def _gates(self, kind: Kind, address: str, name: str) -> list[Gate]:
        """The gates in the order in which a guess passes them. That of the name is last: a guess holds its place there
        for no longer than it is checked."""
        most, times = self._most, self._limits.network_times
        pair = f"{_source(kind, address)} {name}"
        known = pair in self._known
        key, *networks = sources(address)
        gates = [Gate(pair if known else f"{kind} {key}", most=most)]
        if times and not known:
            gates += [Gate(f"{kind} {one}", times, NETWORK_FAILURES, most, place=Note.NETWORK) for one in networks]
        if name:
            key = f"name {_short(name)}" + " known" * known
            gates.append(Gate(key, 1, NAME_FAILURES, min(most, NAME_SECONDS), Note.NAME))
        return gates

    async def _places_of(self, name: str) -> Collection[str]:
        until, places = self._asked.get(name, (0.0, frozenset[str]()))
        if until <= self._clock.seconds():
            places = await self._places.ask(name)
            if len(self._asked) >= MOST_PLACES:
                self._asked.clear()
            self._asked[name] = self._clock.seconds() + PLACES_SECONDS, places
        return places

    def _know(self, pair: str) -> None:
        self._known.pop(pair, None)
        self._known[pair] = None
        if len(self._known) > MOST_KEYS:
            del self._known[next(iter(self._known))]

    # Counting

    def _failed(self, gates: Collection[Gate]) -> None:
        for gate in gates:
            self.failures.add(gate.key, self._clock.seconds())

    def _is_pressed(self, gate: Gate) -> bool:
        """Whether guesses follow one another there, each after a delay."""
        return self.failures.much(gate.key, self._clock.seconds()) > gate.free * gate.times

    def _wait(self, gate: Gate) -> float:
        """Seconds until the next guess."""
        last = self.failures.get(gate.key)
        if last is None:
            return 0.0
        beyond = last.much / gate.times - gate.free
        if beyond <= 0:
            return 0.0
        delay = min(self._limits.guess_seconds * 2 ** min(beyond - 1, MOST_DOUBLINGS), gate.most) / gate.times
        return last.at + delay - self._clock.seconds()

    def _refuse_long(self, gate: Gate) -> None:
        wait = self._wait(gate)
        if wait > SILENT_SECONDS:
            raise _refusal(gate, wait)

    # One after another

    async def _enter(self, gate: Gate, wanted: Callable[[], bool]) -> None:
        line = self._lines.setdefault(gate.key, _Line())
        waiting = Waiting(Deferred(), wanted)
        line.waiting.append(waiting)
        self._advance(gate, line)
        await waiting.turn

    def _leave(self, gate: Gate) -> None:
        line = self._lines[gate.key]
        line.running -= 1
        self._advance(gate, line)

    def _advance(self, gate: Gate, line: _Line) -> None:
        """Starts as many guesses as it may; refuses all of a source that has to wait for long."""
        if line.moving:  # a guess that is checked at once comes back here
            return
        line.moving = True
        try:
            while line.waiting and line.running < (1 if self._is_pressed(gate) else AHEAD * gate.times):
                wait = self._wait(gate)
                if 0 < wait <= SILENT_SECONDS:
                    if line.call is None:
                        line.call = self._clock.callLater(wait, self._wake, gate, line)
                    break
                waiting = line.waiting.popleft()
                if not waiting.wanted():
                    waiting.turn.errback(Gone())
                elif wait > SILENT_SECONDS:
                    waiting.turn.errback(_refusal(gate, wait))
                else:
                    line.running += 1
                    waiting.turn.callback(None)
        finally:
            line.moving = False
        if not line.running and not line.waiting and self._lines.get(gate.key) is line:
            if line.call is not None:
                line.call.cancel()
            del self._lines[gate.key]

    def _wake(self, gate: Gate, line: _Line) -> None:
        line.call = None
        self._advance(gate, line)


def _source(kind: Kind, address: str) -> str:
    return f"{kind} {counted(address)}"


def _short(name: str) -> str:
    """A short hash in place of a name, which may be a password that was typed in the wrong place and is sent to other
    nodes. Few bits are enough for delays of seconds, and say nothing about a password."""
    return sha256(name.encode()).hexdigest()[:5]


def _refusal(gate: Gate, seconds: float) -> Refused:
    if gate.place is Note.NAME:
        return slow_down(Why.TOO_MANY_GUESSES_AT_NAME, seconds, gate.place)
    return slow_down(Why.TOO_MANY_FAILED_LOGINS, seconds, gate.place)


def slow_down(why: Why, seconds: float, place: Note) -> Refused:
    """The refusal of what has to wait for long. `place`: what has failed too often, an address, a network or a
    name."""
    whole = int(seconds) + 1
    time = Sentence(Note.SECONDS, count=whole) if whole < 120 else Sentence(Note.MINUTES, count=-(-whole // 60))
    return Refused(why, retry=whole, time=time, place=place)
