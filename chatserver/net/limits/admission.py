"""Whether an address may connect, how soon, and which connection makes way for it: bans, quotas and rates, before
anything is sent.

Connections that have not logged in make way for others, so that nobody can use up the share of all strangers.
"""

from collections import Counter
from ipaddress import ip_address
from sys import maxsize
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.net.counts import ConnectionCounts
from chatserver.net.limits.crowd import Crowd, Newcomer, Placed, Rank
from chatserver.settings.tables import Limits
from chatserver.store.moderation import NetworkBan
from chatserver.util import audit_log
from chatserver.util.quiet_log import Unlogged
from chatserver.util.rates import Draining
from chatserver.values.errors import Note, Sentence
from chatserver.wire.addresses import Listed, canonical, counted, is_network, neighbourhood, share, sources

SPARED_SECONDS: Final = 1.0
"""How long a connection does not make way for others of its address or network. Bytes that the client sent when it
connected, usually a login, may have arrived without having been read."""
THINNING_SECONDS: Final = 0.25
"""Interval between enforcements of the quotas of addresses and networks."""
FULL_SECONDS: Final = 10
"""How long a client is to wait before it reconnects if the server, or the share of its address, is full."""
LOG_SECONDS: Final = 1.0
LOG_LINES: Final = 20
"""Maximum number of lines in the log about refused connections in `LOG_SECONDS`, with one at most for each address:
they must not fill the log."""

TOLD: Final = 4
"""Maximum number of refused connections of one address that are told why in `LOG_SECONDS`. Further ones are closed as
soon as they are accepted: a protocol and a few words for each would take twenty times as long."""

REFUSALS: Final = ("address-full", "banned", "offences", "rate", "server-full")
"""The reasons of refusals, in one word."""
CROWDED: Final = (
    "too-many-connections",
    Sentence(Note.CROWDED),
)
"""Reason and text for a connection that makes way before it has logged in."""
CROWDED_SECONDS: Final = 5
"""How long such a client is to wait before it connects again."""
LEAVING: Final = 256
"""Maximum number of connections that made way and may take the time to read why; then the first one is cut off. Each
still has its socket, and there must not be many of those besides `limits.connections`."""


class Admission:
    """Counts connections, and the recent behaviour of addresses and networks. An IPv6 address counts for its /64.

    Bans end by the reactor's clock, too: the database says how long a ban lasts from the moment it is read. No step of
    this host's clock ends a ban early or late, and nobody has to read it again.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, limits: Limits, counts: ConnectionCounts) -> None:
        self._bans: list[NetworkBan] = []
        self._bans_read = 0.0
        self._clock = clock
        self._counts = counts
        self._limits = limits
        self._exempt = Listed(lambda: limits.exempt)
        self._uncounted: set[Newcomer] = set()  # connections whose address was exempt when they came
        self._open: Counter[str] = Counter()
        self._opens = 0
        self.open_elsewhere: dict[str, int] = {}
        """Number of connections that are counted at other nodes, by address and network; below, of pending ones."""
        self.pending_elsewhere: dict[str, int] = {}
        self.networks_elsewhere: dict[str, int] = {}
        self._pending = Crowd()
        self._leaving: dict[Newcomer, None] = {}  # they made way, and are still open
        self._crowded: set[str] = set()  # addresses above their quota
        self._crowded_networks: set[str] = set()
        self._thinning = False
        self.arrivals = Draining(lambda key: share(key, limits.connections_per_minute, limits.network_times))
        self.offences = Draining(lambda key: share(key, limits.offences_per_address, limits.network_times))
        self._logged: set[str] = set()
        self._told: Counter[str] = Counter()
        self._second = 0.0  # when the present `LOG_SECONDS` began
        self._unlogged = Unlogged(clock, self._tell_unlogged)

    def exempt(self, address: str) -> bool:
        """Whether no quota or rate counts this address, by `limits.exempt`."""
        return address in self._exempt

    # Before a connection is counted

    def refusal(self, address: str) -> Sentence | None:
        """The reason why a new connection from this address is refused, in one sentence; None if it is not."""
        banned = self.ban(address)
        if banned is not None:
            self._counts.turned_away["banned"] += 1
            self._log(address, "banned")
            return banned
        if self.exempt(address):
            return None
        now = self._clock.seconds()
        for key in sources(address):
            place = Note.NETWORK if is_network(key) else Note.ADDRESS
            retry = self.offences.retry(key, now)
            if retry:
                return self._refuse(address, "offences", Sentence(Note.OFFENCES, place=place), retry)
            retry = self.arrivals.retry(key, now)
            if retry:
                return self._refuse(address, "rate", Sentence(Note.ADDRESS_RATE, place=place), retry)
            if self._is_full(key) and self._pending.first_of(key) is None:
                return self._refuse(address, "address-full", Sentence(Note.ADDRESS_FULL, place=place), FULL_SECONDS)
        if (self._is_all_full or self._is_pending_full) and self._first_of_all(counted(address)) is None:
            return self._refuse(address, "server-full", Sentence(Note.SERVER_FULL), FULL_SECONDS)
        return None

    def tells(self, address: str) -> bool:
        """Counts a refused connection, and returns whether it is told why."""
        self._begin_second()
        key = counted(address)
        self._told[key] += 1
        return self._told[key] <= TOLD

    def delay(self, address: str) -> float:
        """How many seconds to delay a new connection from this address."""
        if self.exempt(address):
            return 0
        now = self._clock.seconds()
        rates = (self.arrivals, self.offences)
        return max(rate.delay(key, now) for key in sources(address) for rate in rates)

    def ban(self, address: str) -> Sentence | None:
        """The text for a banned address; None if it is not banned."""
        if not self._bans:
            return None
        try:
            ip = canonical(ip_address(address.partition("%")[0]))
        except ValueError:
            return None
        passed = self._clock.seconds() - self._bans_read
        for ban in self._bans:
            if ip in ban.network and (ban.seconds_left is None or ban.seconds_left > passed):
                return Sentence(Note.ADDRESS_IS_BANNED, reason=ban.reason)
        return None

    @property
    def bans(self) -> list[NetworkBan]:
        """The banned networks, as read from the database just now."""
        return self._bans

    @bans.setter
    def bans(self, bans: list[NetworkBan]) -> None:
        self._bans = bans
        self._bans_read = self._clock.seconds()

    # The life of a connection

    def opened(self, address: str, who: Newcomer) -> None:
        """Counts a new connection that is not logged in. Others make way for it where there are too many."""
        self.arrived(address, who)
        self.came(address)

    def came(self, address: str, much: float = 1.0) -> None:
        """Counts the arrival of a client, or a part of one."""
        if not self.exempt(address):
            self._count(self.arrivals, address, much)

    def arrived(self, address: str, who: Newcomer) -> None:
        """Counts it without its address's rate: the client's address is not known yet, or this was counted before in
        another form."""
        if self.exempt(address):
            self._uncounted.add(who)
            return
        limits, key = self._limits, counted(address)
        for source in sources(address):
            if self._is_full(source):
                self._make_way(self._pending.first_of(source))
        if self._is_all_full or self._is_pending_full:
            self._make_way(self._first_of_all(key))
        self._open.update(sources(address))
        self._opens += 1
        self._pending.add(key, who, self._clock.seconds())
        network = neighbourhood(key)
        pending, around = self._pending.of_address(key), self._pending.of_network(network)
        if 0 < limits.pending_per_address < pending + self.pending_elsewhere.get(key, 0):
            self._crowded.add(key)
        if 0 < limits.pending_per_network < around + self.networks_elsewhere.get(network, 0):
            self._crowded_networks.add(network)
        self._thin_soon()

    def logged_in(self, address: str, who: Newcomer) -> None:
        """A connection that was pending has logged in."""
        self._pending.remove(counted(address), who)

    def closed(self, address: str, who: Newcomer, *, pending: bool) -> None:
        """A connection is gone. One that has made way is not counted down again."""
        self._leaving.pop(who, None)
        if who in self._uncounted:
            self._uncounted.discard(who)
            return
        key = counted(address)
        if self._pending.remove(key, who) or not pending:
            self._left(key)

    def offence(self, address: str) -> None:
        """Counts something that no chat client does against the address, for a minute."""
        if not self.exempt(address):
            self._count(self.offences, address)

    def offend(self, address: str, what: str) -> None:
        """Counts an offence, and writes it to the audit log. `what`: in one word."""
        self.offence(address)
        audit_log.offence(address, what)

    def _count(self, rate: Draining, address: str, much: float = 1.0) -> None:
        """Counts an address, and its network, too, up to the address's limit: one bad client does not slow its
        neighbours."""
        now = self._clock.seconds()
        for key in sources(address):
            rate.count(key, now, much)
            if rate.delay(key, now):
                break

    def sweep(self) -> None:
        """Forgets addresses with nothing left to count. Call this now and then."""
        self.arrivals.sweep(self._clock.seconds())
        self.offences.sweep(self._clock.seconds())

    # For other nodes: the addresses and networks that have at least this many connections here

    def many_open(self, least: int) -> dict[str, int]:
        return {key: count for key, count in self._open.items() if count >= least}

    def many_pending(self, least: int) -> dict[str, int]:
        return self._pending.many(least)

    def many_around(self, least: int) -> dict[str, int]:
        return self._pending.many_of_networks(least)

    # Making way

    def _is_full(self, key: str) -> bool:
        most = share(key, self._limits.connections_per_address, self._limits.network_times)
        return 0 < most <= self._open[key] + self.open_elsewhere.get(key, 0)

    @property
    def _is_all_full(self) -> bool:
        return 0 < self._limits.connections <= self._opens

    @property
    def _is_pending_full(self) -> bool:
        return 0 < self._limits.pending_connections <= len(self._pending)

    def _first_of_all(self, key: str) -> Placed | None:
        """The connection that makes way for one of this address. One whose login is being checked does so only if
        strangers use up their share by that, and then for an address that has fewer."""
        found = self._pending.first_of_all()
        if found is None and self._is_pending_full:
            largest = self._pending.largest
            if self._pending.of_address(largest) > self._pending.of_address(key) + 1:
                who = self._pending.first(largest, Rank.CHECKED)
                return None if who is None else (largest, who)
        return found

    def _make_way(self, leaving: Placed | None) -> None:
        if leaving is None:
            return
        key, who = leaving
        if self._pending.remove(key, who):
            self._left(key)
            if who.make_way():
                self._leaving[who] = None
                if len(self._leaving) > LEAVING:
                    first = next(iter(self._leaving))
                    del self._leaving[first]
                    first.abort()

    def _make_way_all(self, leaving: list[Placed]) -> None:
        for one in leaving:
            self._make_way(one)

    def _left(self, key: str) -> None:
        self._opens -= 1
        for source in sources(key):
            self._open[source] -= 1
            if self._open[source] <= 0:
                del self._open[source]

    def _thin_soon(self) -> None:
        if (self._crowded or self._crowded_networks) and not self._thinning:
            self._thinning = True
            self._clock.callLater(THINNING_SECONDS, self._thin)

    def _thin(self) -> None:
        """The oldest connections of addresses and networks that have too many make way."""
        self._thinning = False
        until = self._clock.seconds() - SPARED_SECONDS
        for key in list(self._crowded):
            elsewhere = self.pending_elsewhere.get(key, 0)
            most = _share(self._limits.pending_per_address, self._pending.of_address(key), elsewhere)
            self._make_way_all(self._pending.too_many_of_address(key, most, until))
            if self._pending.of_address(key) <= most:
                self._crowded.discard(key)
        for network in list(self._crowded_networks):
            elsewhere = self.networks_elsewhere.get(network, 0)
            most = _share(self._limits.pending_per_network, self._pending.of_network(network), elsewhere)
            self._make_way_all(self._pending.too_many_of_network(network, most, until))
            if self._pending.of_network(network) <= most:
                self._crowded_networks.discard(network)
        self._thin_soon()

    # Refusals

    def _refuse(self, address: str, why: str, problem: Sentence, retry: int) -> Sentence:
        self._counts.turned_away[why] += 1
        self._log(address, why)
        return Sentence(Note.TURNED_AWAY, problem=problem, seconds=retry)

    def _log(self, address: str, why: str) -> None:
        if self._may_log(address):
            audit_log.refused(address, why)
        else:
            self._unlogged.add()

    def _tell_unlogged(self, count: int) -> None:
        self.log.warn("{count} more connections were refused than the log has lines for.", count=count)

    def _may_log(self, address: str) -> bool:
        """Whether the log may have one more line about a refused connection from this address now."""
        self._begin_second()
        if len(self._logged) >= LOG_LINES or address in self._logged:
            return False
        self._logged.add(address)
        return True

    def _begin_second(self) -> None:
        now = self._clock.seconds()
        if now - self._second >= LOG_SECONDS:
            self._second = now
            self._logged.clear()
            self._told.clear()


def _share(limit: int, here: int, elsewhere: int) -> int:
    """Maximum number of connections that stay here if all nodes together may have `limit`: each node gives up the same
    part."""
    if not limit:
        return maxsize
    return limit if here + elsewhere <= limit else max(limit * here // (here + elsewhere), 1)
