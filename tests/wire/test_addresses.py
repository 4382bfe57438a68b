"""Addresses and networks: canonical forms, and what is counted together."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.values.errors import ErrorWord, Refused
from chatserver.wire.addresses import address, canonical, counted, is_address
from chatserver.wire.sentences import english


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("10.1.2.3/255.0.0.0", "10.0.0.0/8"),
        ("2001:DB8:0::1", "2001:db8::/64"),
        ("2001:db8::1/128", "2001:db8::1/128"),
        ("2001:db8:1:2:3::/48", "2001:db8:1::/48"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.77/120", "192.0.2.0/24"),
    ],
)
def test_addresses(typed: str, known: str) -> None:
    """Every spelling of an address has the same canonical form; a single IPv6 address stands for its /64."""
    assert address(typed) == known
    assert address(known) == known
    assert is_address(typed)


@pytest.mark.parametrize(
    "typed",
    ["", "ana", "192.0.2", "192.0.2.256", "192.0.2.1/33", "192.0.2.1 ", "1", "fe80::1%eth0", "fe80::1%\x1b[0m",
     "١.2.3.4", "192.0.2.1/24/24", "::1/129", "/", "192.0.2.1\n", "0x7f.0.0.1", "192.0.2.01"],
)  # fmt: skip
def test_no_addresses(typed: str) -> None:
    """Anything else is refused, and never quoted."""
    with pytest.raises(Refused, match="NO_ADDRESS") as refused:
        address(typed)
    assert refused.value.error is ErrorWord.BAD_COMMAND
    assert english(refused.value.sentence).isprintable()


@given(st.one_of(st.ip_addresses().map(str), st.text()))
def test_they_stay_as_they_are(typed: str) -> None:
    """The canonical form of a ban can be typed again to lift it."""
    try:
        known = address(typed)
    except Refused:
        return
    assert address(known) == known
    assert is_address(known)


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("/run/chat:1.sock", "/run/chat:1.sock"),
    ],
)
def test_counted(peer: str, key: str) -> None:
    """An IPv4 address counts by itself, IPv6 by its /64, and whatever is no address as it is."""
    assert counted(peer) == key


@given(st.ip_addresses())
def test_one_rule(ip: IPv4Address | IPv6Address) -> None:
    """A ban of an address covers the addresses that quotas count together with it."""
    assert counted(str(ip)) == address(str(ip))
    assert canonical(ip) in ip_network(counted(str(ip)))
    assert canonical(canonical(ip)) == canonical(ip)


def test_canonical() -> None:
    """An IPv4 address is the same whichever socket shows it."""
    for spelling in ("192.0.2.1", "::ffff:192.0.2.1"):
        assert canonical(ip_address(spelling)) == ip_address("192.0.2.1")
    assert canonical(ip_address("::1")) == ip_address("::1")
