"""What the limits of addresses and accounts count, over all nodes: each tells the others once a second what is new.

Two kinds of numbers are told. How many connections there are, of those that have a good part of a limit: they are added
up over the nodes that are alive. And how often something happened, such as a wrong password: each node counts what the
others tell as if it had happened there, so that it fades in the same way, and stays known when a node ends.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from heapq import nlargest
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver.cluster import frames
from chatserver.cluster.outgoing import Outgoing
from chatserver.net.connection.connections import Connections
from chatserver.settings.tables import Limits
from chatserver.util.rates import Rates

TELL_SECONDS: Final = 1.0
"""So long a limit may be exceeded by what the other nodes do not know yet."""
WHOLE_SECONDS: Final = 15.0
"""So often everything is told, in case that frames were lost."""
STALE_SECONDS: Final = 3 * WHOLE_SECONDS
"""What was told of connections counts no more if nothing has come for so long: the bus is dead, they may be gone."""
WHOLES: Final = 2
"""So many times in a row it is told when a node comes, which may not know this one yet the first time."""
MOST_TOLD: Final = 500
"""So many keys of a kind are told in a second, those with the most first; the rest follows."""
MOST_WHOLE: Final = 2_000
PART: Final = 16
"""An address is told once it has this part of its limit at one node: one over sixteen."""
LEAST_OF_ACCOUNT: Final = 2
"""Nearly all accounts have one connection, which need not be told."""
PART_BYTES: Final = 6_000
"""Of the keys and numbers of one part of a frame, about."""


class Gauge:
    """How many connections there are, by key. `many` returns those that have at least so many here, `limit` what they
    are counted for, and `sums` becomes what there is at other nodes. Keys with less than `least` are not told."""

    def __init__(
        self,
        many: Callable[[int], Mapping[str, int]],
        limit: Callable[[], int],
        sums: dict[str, int],
        least: int = 1,
    ) -> None:
        self._many = many
        self._limit = limit
        self._sums = sums
        self._least = least
        self._told: dict[str, int] = {}
        self._of: dict[str, dict[str, int]] = {}  # by boot

    def news(self) -> dict[str, int]:
        """What differs from what was told; 0: it is not told of any more."""
        here, told = self._here(), self._told
        changed = {key: count for key, count in here.items() if told.get(key) != count}
        changed |= {key: 0 for key in told if key not in here}
        if len(changed) > MOST_TOLD:
            changed = dict(nlargest(MOST_TOLD, changed.items(), key=lambda one: abs(one[1] - told.get(one[0], 0))))
        for key, count in changed.items():
            if count:
                told[key] = count
            else:
                del told[key]
        return changed

    def whole(self) -> dict[str, int]:
        """All that is to be known."""
        self._told = dict(nlargest(MOST_WHOLE, self._here().items(), key=lambda one: one[1]))
        return self._told

    def _here(self) -> Mapping[str, int]:
        limit = self._limit()
        return self._many(max(limit // PART, self._least)) if limit else {}

    def take(self, boot: str, counts: Mapping[str, Sequence[float]], *, first: bool) -> None:
        """Another node has told that."""
        if first:
            self.forget(boot)
        known = self._of.setdefault(boot, {})
        for key, (count,) in counts.items():
            self._add(key, int(count) - known.pop(key, 0))
            if count:
                known[key] = int(count)

    def forget(self, boot: str) -> None:
        for key, count in self._of.pop(boot, {}).items():
            self._add(key, -count)

    def _add(self, key: str, more: int) -> None:
        total = self._sums.get(key, 0) + more
        if total > 0:
            self._sums[key] = total
        else:
            self._sums.pop(key, None)


class Counts:
    """`gauges` and `shared` by name. `outgoing` tells, as long as others are alive."""

    def __init__(
        self, clock: IReactorTime, outgoing: Outgoing, gauges: Mapping[str, Gauge], shared: Mapping[str, Rates[Any]]
    ) -> None:
        self._clock = clock
        self._outgoing = outgoing
        self._gauges = gauges
        self._shared = shared
        self._others: set[str] = set()  # by boot
        self._told_at: dict[str, float] = {}  # when each has told everything
        self._wholes = 0
        self._whole_at = 0.0
        self._next: IDelayedCall | None = None

    def stop(self) -> None:
        self.peers(())

    def peers(self, boots: Collection[str]) -> None:
        """These other nodes are alive. What was told of the connections at any other one does not count any more."""
        for boot in self._others.difference(boots):
            self._forget(boot)
        if not self._others.issuperset(boots):
            self._wholes = WHOLES
        self._others = set(boots)
        if not boots and self._next is not None:
            self._next.cancel()
            self._next = None
            for one in self._shared.values():
                one.news = None
        elif boots and self._next is None:
            for one in self._shared.values():
                one.news = {}
            self._next = self._clock.callLater(TELL_SECONDS, self._tell)

    def take(self, boot: str, part: frames.Counts) -> None:
        """Another node tells that."""
        if boot not in self._others:
            return  # it would not be forgotten
        if part.kind in self._gauges:
            if part.first:
                self._told_at[boot] = self._clock.seconds()
            self._gauges[part.kind].take(boot, part.counts, first=part.first)
        elif part.kind in self._shared:
            one, now = self._shared[part.kind], self._clock.seconds()
            for key, told in part.counts.items():
                if part.whole:
                    one.merge(key, told, now)
                else:
                    one.learn(key, told[0], now)

    def _forget(self, boot: str) -> None:
        self._told_at.pop(boot, None)
        for gauge in self._gauges.values():
            gauge.forget(boot)

    def _tell(self) -> None:
        self._next = self._clock.callLater(TELL_SECONDS, self._tell)
        now = self._clock.seconds()
        for boot, at in list(self._told_at.items()):
            if now - at > STALE_SECONDS:
                self._forget(boot)
        whole = self._wholes > 0 or now >= self._whole_at + WHOLE_SECONDS
        if whole:
            self._wholes = max(self._wholes - 1, 0)
            self._whole_at = now
        for kind, gauge in self._gauges.items():
            if whole:
                self._say(kind, {key: (count,) for key, count in gauge.whole().items()}, whole=True, first=True)
            else:
                self._say(kind, {key: (count,) for key, count in gauge.news().items()})
        for kind, one in self._shared.items():
            if one.news:
                self._say(kind, {key: (much,) for key, much in _taken(one.news).items()})
            if whole:  # after what is new, which it contains
                self._say(kind, one.latest(MOST_WHOLE, now), whole=True)

    def _say(
        self, kind: str, counts: Mapping[str, tuple[float, ...]], *, whole: bool = False, first: bool = False
    ) -> None:
        for some in _portions(counts):
            self._outgoing.part(frames.Counts(kind, some, whole, first))
            first = False
        if first:
            self._outgoing.part(frames.Counts(kind, {}, whole, first))


def _taken(news: dict[str, float]) -> dict[str, float]:
    """Takes out what is told now."""
    if len(news) <= MOST_TOLD:
        some = dict(news)
        news.clear()
        return some
    some = dict(nlargest(MOST_TOLD, news.items(), key=lambda one: one[1]))
    for key in some:
        del news[key]
    return some


def _portions(counts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """As many as fit into a part of a frame at a time."""
    some: dict[str, Any] = {}
    size = 0
    for key, told in counts.items():
        bytes = 8 + 2 * len(key.encode()) + 8 * len(told)
        if some and size + bytes > PART_BYTES:
            yield some
            some, size = {}, 0
        some[key] = told
        size += bytes
    if some:
        yield some


def counts_of(clock: IReactorTime, outgoing: Outgoing, limits: Limits, connections: Connections) -> Counts:
    """All that is counted over all nodes."""
    admission, allowances = connections.admission, connections.allowances
    authenticator = connections.handshake.authenticator
    gauges = {
        "open": Gauge(admission.many_open, lambda: limits.connections_per_address, admission.open_elsewhere),
        "pending": Gauge(admission.many_pending, lambda: limits.pending_per_address, admission.pending_elsewhere),
        "around": Gauge(admission.many_around, lambda: limits.pending_per_network, admission.networks_elsewhere),
        "guests": Gauge(authenticator.guests.many, lambda: limits.guests_per_address, authenticator.guests.elsewhere),
        "accounts": Gauge(
            allowances.many, lambda: limits.connections_per_account, allowances.elsewhere, LEAST_OF_ACCOUNT
        ),
    }
    shared: dict[str, Rates[Any]] = {
        "arrivals": admission.arrivals, "offences": admission.offences, **authenticator.shared,
    }  # fmt: skip
    return Counts(clock, outgoing, gauges, shared)
