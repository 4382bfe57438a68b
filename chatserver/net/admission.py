"""Whether an address may connect: bans and quotas, before anything is said."""

from collections import Counter, deque
from collections.abc import Callable
from ipaddress import ip_address

from chatserver.config import Limits
from chatserver.errors import banned_text
from chatserver.store.moderation import NetworkBan
from chatserver.wire.addresses import canonical, counted

OFFENCE_SECONDS = 60.0


class Admission:
    """Counts connections, and the offences of the last minute. An IPv6 address counts for its /64.

    `seconds` is the reactor's clock, by which bans end too: what the database says of a ban is how long it lasts from
    the moment it was read. So no step of this host's clock ends a ban early or late, and nobody has to read it again.
    """

    def __init__(self, limits: Limits, seconds: Callable[[], float]) -> None:
        self._bans: list[NetworkBan] = []
        self._bans_read = 0.0
        self._limits = limits
        self._seconds = seconds
        self._open: Counter[str] = Counter()
        self._pending: Counter[str] = Counter()
        self._opens = 0
        self._pendings = 0
        self._offences: dict[str, deque[float]] = {}

    def refusal(self, address: str) -> str | None:
        """Why a new connection from this address is refused, in one line for people; None if it is not."""
        limits, key = self._limits, counted(address)
        banned = self.ban(address)
        if banned is not None:
            return banned
        if self._offended(key):
            return _too_many("There were too many failed attempts from your address. Try again in a minute.")
        if _reached(self._open[key], limits.connections_per_address):
            return _too_many("There are too many connections from your address. Close one first.")
        if _reached(self._pending[key], limits.pending_per_address):
            return _too_many("Too many connections from your address have not logged in. Try again in a moment.")
        if _reached(self._opens, limits.connections) or _reached(self._pendings, limits.pending_connections):
            return _too_many("The server has too many connections. Try again in a moment.")
        return None

    def ban(self, address: str) -> str | None:
        """What a banned address is told; None if it is not banned."""
        try:
            ip = canonical(ip_address(address.partition("%")[0]))
        except ValueError:
            return None
        passed = self._seconds() - self._bans_read
        for ban in self._bans:
            if ip in ban.network and (ban.seconds_left is None or ban.seconds_left > passed):
                return banned_text(ban.reason, "Your address is")
        return None

    @property
    def bans(self) -> list[NetworkBan]:
        """The banned networks, as they were just read from the database."""
        return self._bans

    @bans.setter
    def bans(self, bans: list[NetworkBan]) -> None:
        self._bans = bans
        self._bans_read = self._seconds()

    def opened(self, address: str) -> None:
        key = counted(address)
        self._open[key] += 1
        self._pending[key] += 1
        self._opens += 1
        self._pendings += 1

    def logged_in(self, address: str) -> None:
        """A connection that was pending has logged in."""
        _decrease(self._pending, counted(address))
        self._pendings -= 1

    def closed(self, address: str, *, pending: bool) -> None:
        if pending:
            self.logged_in(address)
        _decrease(self._open, counted(address))
        self._opens -= 1

    def offence(self, address: str) -> None:
        """Counts something that no chat client does against the address, for a minute."""
        most = self._limits.offences_per_address
        if most:
            self._offences.setdefault(counted(address), deque(maxlen=most)).append(self._seconds())

    def _offended(self, key: str) -> bool:
        offences = self._offences.get(key)
        if offences is None:
            return False
        if self._seconds() - offences[-1] > OFFENCE_SECONDS:
            del self._offences[key]
            return False
        return len(offences) == offences.maxlen and self._seconds() - offences[0] <= OFFENCE_SECONDS

    def sweep(self) -> None:
        """Forgets addresses without recent offences; to be called now and then."""
        for key in list(self._offences):
            self._offended(key)


def _too_many(words: str) -> str:
    return f"{words} (too-many-connections)"


def _reached(count: int, limit: int) -> bool:
    return 0 < limit <= count


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
