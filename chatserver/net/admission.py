"""Whether an address may connect: quotas, before anything is said."""

from collections import Counter, deque
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

from chatserver.config import Limits

OFFENCE_SECONDS = 60.0


class Admission:
    """Counts connections, and offences of the last minute. Addresses are counted as they are, IPv6 by its /64."""

    def __init__(self, limits: Limits, seconds: Callable[[], float]) -> None:
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
        if self._offended(key):
            return "There was too much trouble from your address. Try again in a minute."
        if _reached(self._open[key], limits.connections_per_address):
            return "There are too many connections from your address. Close one first."
        if _reached(self._pending[key], limits.pending_per_address):
            return "Too many from your address have not logged in yet. Try again in a moment."
        if _reached(self._opens, limits.connections) or _reached(self._pendings, limits.pending_connections):
            return "The server has as many connections as it can take. Try again in a moment."
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
        ip = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip.ipv4_mapped or IPv6Network((ip, 64), strict=False))


def _reached(count: int, limit: int) -> bool:
    return 0 < limit <= count


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
