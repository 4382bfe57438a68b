"""Networks: those of the settings, and those whose addresses share a quota."""

import pytest

from chatserver.wire.addresses import REMEMBERED, Listed, Networks, counted, neighbourhood


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("local", "local"),
        ("lo:cal", "lo:cal"),
    ],
)
def test_neighbourhoods(address: str, network: str) -> None:
    """An address shares a quota with its /24, or with its /48 if it is an IPv6 one."""
    assert neighbourhood(counted(address)) == network


def test_addresses_in_networks() -> None:
    """An address is found in a network in whatever form a socket shows it, and the memory for that is bounded."""
    networks = Networks(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::1"])
    for address in ("192.0.2.255", "::ffff:192.0.2.1", "198.51.100.7", "2001:db8:ffff::1%eth0", "::1"):
        assert address in networks
        assert address not in Networks()
    for address in ("192.0.3.0", "198.51.100.8", "2001:db9::1", "::2", "local", ""):
        assert address not in networks
    for n in range(REMEMBERED + 1000):
        assert f"2001:db8::{n:x}" in networks
    assert networks._known.cache_info().currsize <= REMEMBERED


def test_networks_that_change() -> None:
    """Those of a setting are the ones that it has at the moment, and are read again only when it has changed."""
    setting = ["192.0.2.0/24"]
    networks = Listed(lambda: setting)
    assert ("192.0.2.1" in networks, "198.51.100.1" in networks) == (True, False)
    before = networks._networks
    assert ("192.0.2.2" in networks, networks._networks is before) == (True, True)
    setting = ["198.51.100.0/24"]
    assert ("192.0.2.1" in networks, "198.51.100.1" in networks) == (False, True)
    setting = []
    assert "198.51.100.1" not in networks
