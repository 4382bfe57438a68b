"""Connections that can be overheard on the way."""

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory

from chatserver.net.listening.endpoints import examine, plain
from chatserver.net.listening.tls import Shown
from chatserver.net.way import exposed
from tests.support.certificate import write_certificate


def at(host: str | None) -> Any:
    if host is None:
        return UNIXAddress(b"/run/chat.socket")
    return IPv6Address("TCP", host, 1) if ":" in host else IPv4Address("TCP", host, 1)


@pytest.mark.parametrize(
    ("host", "open_to_others"),
    [
        ("", True), ("0.0.0.0", True), ("::", True), ("192.0.2.1", True), ("chat.example.org", True),
        ("::ffff:192.0.2.1", True), ("127.0.0.1", False), ("127.3.2.1", False), ("::1", False), ("localhost", False),
        ("::ffff:127.0.0.1", False), ("fe80::1%eth0", True),
    ],
)  # fmt: skip
def test_interfaces(host: str, open_to_others: bool) -> None:
    assert exposed(host) is open_to_others


@pytest.mark.parametrize(
    ("here", "there", "leaves_the_host"),
    [
        ("192.0.2.1", "198.51.100.7", True),
        ("127.0.0.1", "127.0.0.1", False),
        ("192.0.2.1", "192.0.2.1", False),  # somebody on this host, who uses its name
        ("2001:db8::1", "2001:db8::2", True),
        ("::1", "::1", False),
        (None, None, False),
    ],
)
def test_connections(here: str | None, there: str | None, leaves_the_host: bool) -> None:
    transport = StringTransport(at(there), at(here))
    assert exposed(transport) is leaves_the_host


def test_tls(tmp_path: Any) -> None:
    """Traffic over TLS cannot be overheard, wherever the client is."""
    key, certificate = write_certificate(tmp_path)
    identity = examine(f"ssl:1:privateKey={key}:certKey={certificate}").identity
    assert identity is not None
    inner: Any = SimpleNamespace(makeConnection=lambda transport: None)
    factory = TLSMemoryBIOFactory(Shown(identity), False, inner)
    secure = factory.protocol(factory, inner)
    secure.makeConnection(StringTransport(at("198.51.100.7"), at("192.0.2.1")))
    assert exposed(secure) is False


@pytest.mark.parametrize(
    ("host", "secured", "overheard"),
    [("0.0.0.0", False, True), ("0.0.0.0", True, False), ("127.0.0.1", False, False), (None, False, False)],
)
def test_ports(host: str | None, secured: bool, overheard: bool) -> None:
    """The warnings of a server that starts."""
    port = SimpleNamespace(getHost=lambda: at(host), factory=SimpleNamespace(secured=secured))
    assert plain(port) is overheard
