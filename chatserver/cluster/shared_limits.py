"""Counts behind the limits of addresses and accounts, over all nodes. Each node publishes changes once a second.

There are two kinds. Numbers of connections are published for keys that have a good part of a limit, and added up over
the nodes that are alive. Events, such as wrong passwords, are counted at each node as if they had happened there, so
that they fade in the same way, and stay known when a node ends.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import nlargest
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver.cluster import frames
from chatserver.cluster.outgoing import Outgoing
from chatserver.net.connection.connections import Connections
from chatserver.util.rates import RateTable

TELL_SECONDS: Final = 1.0
"""Interval between updates. For as long, a limit may be exceeded, since nodes lack each other's counts."""
WHOLE_SECONDS: Final = 15.0
"""Interval between updates of everything, in case frames were lost."""
STALE_SECONDS: Final = 3 * WHOLE_SECONDS
"""How long another node's numbers of connections are valid without an update: if the bus is dead, they may be gone."""
WHOLES: Final = 2
"""Number of updates of everything when a node comes, which may not know this one yet at the first."""
MOST_TOLD: Final = 500
"""Maximum number of keys of a kind in an update, those with the most first; the rest follows."""
MOST_WHOLE: Final = 2_000
"""Maximum number of keys of a kind in an update of everything."""
PART: Final = 16
"""Share of its limit, one sixteenth, from which on an address is published."""
LEAST_OF_ACCOUNT: Final = 2
"""Minimum number of connections of an account to publish: nearly all accounts have one."""
PART_BYTES: Final = 6_000
"""Size of the keys and numbers in one part of a frame, about."""


class Many(Protocol):
    """Connections that are counted here."""

    def __call__(self, least: int) -> Mapping[str, int]:
        """Returns their number by key, for keys that have at least `least`."""


class Limit(Protocol):
    """The limit for which they are counted."""

    def __call__(self) -> int:
        """Returns its present value. 0: there is none."""


class Gauge:
    """Numbers of connections, by key. `sums` becomes the numbers at other nodes. Keys with less than `least` are not
    published."""

    def __init__(
        self,
        many: Many,
        limit: Limit,
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
        """Returns changes since the last update; 0: the key is not published any more."""
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
        """Returns everything to publish."""
        self._told = dict(nlargest(MOST_WHOLE, self._here().items(), key=lambda one: one[1]))
        return self._told

    def _here(self) -> Mapping[str, int]:
        limit = self._limit()
        return self._many(max(limit // PART, self._least)) if limit else {}

    def take(self, boot: str, counts: Mapping[str, Sequence[float]], *, first: bool) -> None:
        """Takes what another node has published."""
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


class SharedLimits:
    """Publishes the counts of `connections` and the login, while other nodes are alive."""

    def __init__(self, clock: IReactorTime, outgoing: Outgoing, connections: Connections) -> None:
        self._clock = clock
        self._outgoing = outgoing
        self._gauges = _gauges(connections)
        self._rates = _rates(connections)
        self._others: set[str] = set()  # by boot
        self._told_at: dict[str, float] = {}  # when each has published everything
        self._wholes = 0
        self._whole_at = 0.0
        self._next: IDelayedCall | None = None

    def stop(self) -> None:
        self.peers(())

    def peers(self, boots: Collection[str]) -> None:
        """These other nodes are alive. Numbers of connections at any other one do not count any more."""
        for boot in self._others.difference(boots):
            self._forget(boot)
        if not self._others.issuperset(boots):
            self._wholes = WHOLES
        self._others = set(boots)
        if not boots and self._next is not None:
            self._next.cancel()
            self._next = None
            for one in self._rates.values():
                one.news = None
        elif boots and self._next is None:
            for one in self._rates.values():
                one.news = {}
            self._next = self._clock.callLater(TELL_SECONDS, self._tell)

    def take(self, boot: str, part: frames.Counts) -> None:
        """Takes what another node has published."""
        if boot not in self._others:
            return  # it would not be forgotten
        if part.kind in self._gauges:
            if part.first:
                self._told_at[boot] = self._clock.seconds()
            self._gauges[part.kind].take(boot, part.counts, first=part.first)
        elif part.kind in self._rates:
            one, now = self._rates[part.kind], self._clock.seconds()
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
        for kind, one in self._rates.items():
            if one.news:
                self._say(kind, {key: (much,) for key, much in _taken(one.news).items()})
            if whole:  # after the news, which it contains
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
    """Removes and returns the counts to publish."""
    if len(news) <= MOST_TOLD:
        some = dict(news)
        news.clear()
        return some
    some = dict(nlargest(MOST_TOLD, news.items(), key=lambda one: one[1]))
    for key in some:
        del news[key]
    return some


def _portions(counts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Divides counts among parts that fit into a frame."""
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


def _gauges(connections: Connections) -> dict[str, Gauge]:
    """Numbers of connections, by the kind in `frames.Counts`."""
    limits, admission, allowances = connections.limits, connections.admission, connections.allowances
    guests = connections.handshake.authenticator.guests
    return {
        "open": Gauge(admission.many_open, lambda: limits.connections_per_address, admission.open_elsewhere),
        "pending": Gauge(admission.many_pending, lambda: limits.pending_per_address, admission.pending_elsewhere),
        "around": Gauge(admission.many_around, lambda: limits.pending_per_network, admission.networks_elsewhere),
        "guests": Gauge(guests.many, lambda: limits.guests_per_address, guests.elsewhere),
        "accounts": Gauge(
            allowances.many, lambda: limits.connections_per_account, allowances.elsewhere, LEAST_OF_ACCOUNT
        ),
    }


def _rates(connections: Connections) -> dict[str, RateTable[Any]]:
    """Events that are counted, by the kind in `frames.Counts`."""
    admission = connections.admission
    return {
        "arrivals": admission.arrivals, "offences": admission.offences, **connections.handshake.authenticator.shared,
    }  # fmt: skip
