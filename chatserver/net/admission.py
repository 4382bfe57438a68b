"""Whether an address may connect: quotas, before anything is said."""

from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from chatserver.config import Limits
from chatserver.store.moderation import NetworkBan

OFFENCE_SECONDS = 60.0


class Admission:
    """Counts connections, and offences of the last minute. Addresses are counted as they are, IPv6 by its /64."""

    def __init__(self, limits: Limits, seconds: Callable[[], float], now: Callable[[], datetime]) -> None:
        self.bans: list[NetworkBan] = []
        self._now = now
        self._limits = limits
        self._seconds = seconds
        self._open: Counter[str] = Counter()
        self._pending: Counter[str] = Counter()
        self._opens = 0
        self._pendings = 0
        self._offences: dict[str, deque[float]] = {}

    def refusal(self, address: str) -> str | None:
        """Why a new connection of this address is not taken, in a line for people; None where it is."""
        limits, key = self._limits, network(address)
        banned = self.ban(address)
        if banned is not None:
            return banned
        if self._offended(key):
            return _too_many("There was too much trouble from your address. Try again in a minute.")
        if _reached(self._open[key], limits.connections_per_address):
            return _too_many("There are too many connections from your address. Close one first.")
        if _reached(self._pending[key], limits.pending_per_address):
            return _too_many("Too many from your address have not logged in yet. Try again in a moment.")
        if _reached(self._opens, limits.connections) or _reached(self._pendings, limits.pending_connections):
            return _too_many("The server has as many connections as it can take. Try again in a moment.")
        return None

    def ban(self, address: str) -> str | None:
        """What an address that is banned is told; None where it is not."""
        try:
            ip = _canonical(ip_address(address.partition("%")[0]))
        except ValueError:
            return None
        for ban in self.bans:
            if ip in ban.network and (ban.until is None or ban.until > self._now()):
                return f"Your address is banned from this server{': ' + ban.reason if ban.reason else ''}."
        return None

    def opened(self, address: str) -> None:
        key = network(address)
        self._open[key] += 1
        self._pending[key] += 1
        self._opens += 1
        self._pendings += 1

    def logged_in(self, address: str) -> None:
        """One that was pending is so no more."""
        _decrease(self._pending, network(address))
        self._pendings -= 1

    def closed(self, address: str, *, pending: bool) -> None:
        if pending:
            self.logged_in(address)
        _decrease(self._open, network(address))
        self._opens -= 1

    def offence(self, address: str) -> None:
        """Something that no chat client does. It counts against the address for a minute."""
        most = self._limits.offences_per_address
        if most:
            self._offences.setdefault(network(address), deque(maxlen=most)).append(self._seconds())

    def _offended(self, key: str) -> bool:
        offences = self._offences.get(key)
        if offences is None:
            return False
        if self._seconds() - offences[-1] > OFFENCE_SECONDS:
            del self._offences[key]
            return False
        return len(offences) == offences.maxlen and self._seconds() - offences[0] <= OFFENCE_SECONDS

    def sweep(self) -> None:
        """Forgets addresses that have been quiet; to be called now and then."""
        for key in list(self._offences):
            self._offended(key)


def network(address: str) -> str:
    """What is counted together: an IPv4 address, or an IPv6 /64, which one customer has whole."""
    if ":" not in address:
        return address
    try:
        ip = _canonical(ip_address(address.partition("%")[0]))
    except ValueError:
        return address
    return str(ip if isinstance(ip, IPv4Address) else IPv6Network((ip, 64), strict=False))


def _canonical(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address as itself, also where a socket for both shows it as one of IPv6 (RFC 4291, 2.5.5.2)."""
    return getattr(ip, "ipv4_mapped", None) or ip


def _too_many(words: str) -> str:
    return f"{words} (too-many-connections)"


def _reached(count: int, limit: int) -> bool:
    return 0 < limit <= count


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
