"""Which connections somebody between could read."""

from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from twisted.internet.interfaces import ISSLTransport

OVERHEARD: Final = (
    "{where} is open to other hosts, without TLS: everybody on the way can read what is sent there. Use ssl: in place "
    "of tcp:, or add :interface=127.0.0.1, with a proxy before it."
)
"""What administrators are told about a listener that is `plain`."""
LOCAL_NAMES: Final = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})


def exposed(transport_or_host: Any) -> bool:
    """Whether bytes cross a network as they are: not over TLS, a Unix socket or loopback.

    `transport_or_host`: the transport of a connection, which is judged by its ends; or the interface of a listener, ""
    for all.
    """
    if isinstance(transport_or_host, str):
        return not is_loopback(transport_or_host)
    if ISSLTransport.providedBy(transport_or_host):
        return False
    here, there = transport_or_host.getHost(), transport_or_host.getPeer()
    return _beyond(here) and _beyond(there) and here.host != there.host


def plain(port: Any) -> bool:
    """Whether a listening port is open to others than this host, without TLS."""
    host = getattr(port.getHost(), "host", None)
    return host is not None and not getattr(getattr(port, "factory", None), "secured", False) and exposed(host)


def _beyond(address: Any) -> bool:
    host = getattr(address, "host", None)  # a Unix socket has none
    return host is not None and not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether an address, or one of the usual names, is this host's own. "" and "::" are all addresses."""
    if host in LOCAL_NAMES:
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
