"""Internet addresses and networks, in the one form that bans know them by."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from chatserver.errors import ErrorWord, Refused

WHOSE = 64
"""Bits of an IPv6 address that tell whose it is: a household or a machine may use all addresses behind them."""


def address(text: str) -> str:
    """Without the bits of a host where it is a network; one IPv6 address alone stands for its /64. Raises Refused."""
    try:
        network = ip_network("" if "%" in text else text, strict=False)
    except ValueError:
        raise Refused(
            ErrorWord.BAD_COMMAND, "This address is no IPv4 or IPv6 address, and no network such as 192.0.2.0/24."
        ) from None
    if isinstance(network, IPv6Network):
        inner = network.network_address.ipv4_mapped  # as a socket for both shows an IPv4 peer
        if inner is not None and network.prefixlen >= 96:
            network = IPv4Network((inner, network.prefixlen - 96))
        elif "/" not in text:
            network = network.supernet(new_prefix=WHOSE)
    if isinstance(network, IPv4Network) and network.prefixlen == 32:
        return str(network.network_address)
    return str(network)


def is_address(word: str) -> bool:
    """Whether this is meant as an address: no name has one of these characters."""
    return not {".", ":", "/"}.isdisjoint(word)
