"""Internet addresses and networks: the canonical form for bans, and the keys of quotas.

A quota counts an address by itself and together with its network, which may use as much as a few of its addresses: see
`sources` and `share`.

Two rules hold everywhere. An IPv4 address that a socket for both families shows as an IPv6 one (`::ffff:192.0.2.1`,
RFC 4291, 2.5.5.2) is the IPv4 address. A single IPv6 address stands for its /64, because one customer or one machine
usually has all of that network.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from chatserver.values.errors import Refused, Why

CUSTOMER_BITS = 64
"""Number of leading bits of an IPv6 address that identify the customer or the machine."""
SITE_BITS = 48
"""Number of leading bits of the IPv6 network that one site usually gets (RFC 6177)."""
REMEMBERED = 4096
"""Maximum number of addresses whose network, or look-up in a list of networks, is remembered."""

_NETWORKS = ("/24", f"/{SITE_BITS}")


def canonical(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address for an IPv4-mapped one, otherwise the same."""
    return (isinstance(ip, IPv6Address) and ip.ipv4_mapped) or ip


def counted(address: str) -> str:
    """The key by which quotas count an address: an IPv4 address by itself, an IPv6 address with its /64.

    Anything else, such as the empty address of a Unix socket, counts as it is.
    """
    if ":" not in address:
        return address
    try:
        ip = canonical(ip_address(address.partition("%")[0]))
    except ValueError:
        return address
    return str(_customer(ip) if isinstance(ip, IPv6Address) else ip)


@lru_cache(REMEMBERED)
def neighbourhood(key: str) -> str:
    """The network whose share of a quota an address uses: its /24, or its /48 for IPv6. `key` is what `counted`
    returned; anything that is no internet address is a network of its own."""
    if ":" in key:
        try:
            return str(ip_network(key).supernet(new_prefix=SITE_BITS))
        except ValueError:
            return key
    head, dot, _ = key.rpartition(".")
    return f"{head}.0/24" if dot else key


def sources(address: str) -> tuple[str, ...]:
    """The keys by which quotas count an address: its own and that of its network, if it has any."""
    key = counted(address)
    network = neighbourhood(key)
    return (key,) if network == key else (key, network)


def is_network(key: str) -> bool:
    """Whether `sources` returned this key for a network."""
    return key.endswith(_NETWORKS)


def share(key: str, limit: int, times: int) -> int:
    """The limit for a key, if `limit` is that of an address and a network may use as much as `times` addresses. 0:
    none."""
    return limit * times if is_network(key) else limit


class Networks:
    """Networks of the settings, such as `192.0.2.0/24`, to look addresses up in."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = [ip_network(network) for network in networks]
        self._known = lru_cache(REMEMBERED)(self._contains)

    def __contains__(self, address: str) -> bool:
        """Whether an address is in one of them, in whatever form a socket shows it."""
        return bool(self._networks) and self._known(address)

    def _contains(self, address: str) -> bool:
        try:
            ip = canonical(ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        return any(ip in network for network in self._networks)


class Listed(Networks):
    """The networks of a setting that may change while the server runs. `setting` returns the same list until then."""

    def __init__(self, setting: Callable[[], Sequence[str]]) -> None:
        self._setting = setting
        self._follow()

    def _follow(self) -> None:
        self._listed = self._setting()
        super().__init__(self._listed)

    def __contains__(self, address: str) -> bool:
        if self._setting() is not self._listed:
            self._follow()
        return super().__contains__(address)


def address(text: str) -> str:
    """An address or a network in canonical form: a network without host bits, an IPv6 address as its /64.

    Raises Refused.
    """
    try:
        network = ip_network("" if "%" in text else text, strict=False)
    except ValueError:
        raise Refused(Why.NO_ADDRESS) from None
    if isinstance(network, IPv6Network):
        first = canonical(network.network_address)
        if isinstance(first, IPv4Address) and network.prefixlen >= 96:
            network = IPv4Network((first, network.prefixlen - 96))
        elif "/" not in text:
            network = _customer(network.network_address)
    if isinstance(network, IPv4Network) and network.prefixlen == 32:
        return str(network.network_address)
    return str(network)


def is_address(word: str) -> bool:
    """Whether this is meant as an address: it has a character that no name has."""
    return not {".", ":", "/"}.isdisjoint(word)


def _customer(ip: IPv6Address) -> IPv6Network:
    return IPv6Network((ip, CUSTOMER_BITS), strict=False)
