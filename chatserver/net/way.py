"""The way to a client: its encryption, the certificate shown on it, and how many of the bytes sent have arrived, as the
kernel, OpenSSL and Twisted know it."""

import socket
import struct
from fcntl import ioctl
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from termios import TIOCOUTQ
from typing import Any, Final

from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, dump_certificate
from twisted.internet.interfaces import ISSLTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol

LOCAL_NAMES: Final = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})
TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)  # Linux
RECORD_BYTES: Final = 22
"""Size of a TLS 1.3 record beyond the bytes sent in it; in 1.2 it is as much or more (RFC 8446, 5.2)."""
SEGMENT_BYTES: Final = 1400
"""Size of the data in one TCP segment, which is acknowledged as a whole."""
INTERNET: Final = (socket.AF_INET, socket.AF_INET6)
CLOSE_WAIT: Final = 8
"""Number of the state tcpi_state, the first byte of `struct tcp_info`, in which the peer has closed its side
(include/net/tcp_states.h)."""
BYTES_ACKED: Final = struct.Struct("120xQ")
"""The field tcpi_bytes_acked of `struct tcp_info` (linux/tcp.h, since Linux 4.1)."""


# Encryption


def exposed(transport_or_host: Any) -> bool:
    """Whether bytes cross a network unencrypted: not over TLS, a Unix socket or loopback.

    `transport_or_host`: the transport of a connection, judged by its two ends; or the interface of a listener, "" for
    all.
    """
    if isinstance(transport_or_host, str):
        return not is_loopback(transport_or_host)
    if ISSLTransport.providedBy(transport_or_host):
        return False
    here, there = transport_or_host.getHost(), transport_or_host.getPeer()
    return _beyond(here) and _beyond(there) and here.host != there.host


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


def secured(transport: Any) -> bool:
    """Whether a connection is behind TLS."""
    return isinstance(transport, TLSMemoryBIOProtocol)


def fingerprint(transport: Any) -> str:
    """The SHA-256, in hex, of the DER form of the certificate that a client has shown; "" if there is none. No chain is
    checked: TLS itself proves that the client has the key."""
    shown = transport.getPeerCertificate() if secured(transport) else None
    return "" if shown is None else sha256(dump_certificate(FILETYPE_ASN1, shown)).hexdigest()


# Acknowledged bytes


def socket_beneath(transport: Any) -> Any:
    """The socket beneath a transport. A TLS transport has one too, though its own handle is OpenSSL's. None where there
    is none."""
    transport = _beneath(transport)
    return transport.getHandle() if hasattr(transport, "getHandle") else None


def acknowledged(of: Any) -> int | None:
    """Number of bytes that the peer of a TCP socket has acknowledged so far; None where the kernel does not tell."""
    if TCP_INFO is None:
        return None
    try:
        info = of.getsockopt(socket.IPPROTO_TCP, TCP_INFO, BYTES_ACKED.size)
    except (OSError, AttributeError):
        return None
    return int(BYTES_ACKED.unpack(info)[0]) if len(info) == BYTES_ACKED.size else None


def queued(of: Any) -> int:
    """Number of bytes in the kernel's send queue that the peer has not acknowledged (tcp(7), SIOCOUTQ)."""
    try:
        return int(struct.unpack("i", ioctl(of.fileno(), TIOCOUTQ, b"\0\0\0\0"))[0])
    except (OSError, AttributeError):
        return 0


def waiting(transport: Any) -> int:
    """Number of bytes that a Twisted transport has not given to the kernel yet. No public name tells."""
    transport = _beneath(transport)
    left = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    return left + int(getattr(transport, "_tempDataLen", 0))


def missing(transport: Any, of: Any) -> int | None:
    """Number of bytes written to a transport that its peer has not acknowledged; None if its socket is closed. Over TLS
    it may be slightly more than there are, since the bytes on their way are encrypted."""
    if not hasattr(of, "fileno") or of.fileno() < 0:
        return None
    sent = waiting(transport) + queued(of)
    if (
        getattr(transport, "_tlsConnection", None) is not None and 0 < sent <= SEGMENT_BYTES
    ):  # whole records, most likely
        sent = max(sent - RECORD_BYTES, 0)
    return sent + _not_encrypted(transport)


def _not_encrypted(transport: Any) -> int:
    """Number of bytes that wait in Twisted's TLS layer, which has no public name for it either."""
    count = 0
    while isinstance(transport, ProtocolWrapper):
        pieces = (*getattr(transport, "_appSendBuffer", ()), *getattr(_aggregator(transport), "_buffer", ()))
        count += sum(map(len, pieces))
        transport = transport.transport
    return count


def _aggregator(transport: Any) -> Any:
    return getattr(transport, "_aggregator", None)


def is_over(transport: Any) -> bool:
    """Whether the peer of a TLS connection that the server has ended has announced its end, too: then it has read
    everything."""
    while isinstance(transport, ProtocolWrapper):
        connection = getattr(transport, "_tlsConnection", None)
        if connection is not None:
            return bool(connection.get_shutdown() & SSL.RECEIVED_SHUTDOWN)
        transport = transport.transport
    return False


def has_ended(of: Any) -> bool:
    """Whether the peer of a socket has closed its sending side. Not everything may be read yet."""
    try:
        if of.family in INTERNET and TCP_INFO is not None:
            return int(of.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1)[0]) == CLOSE_WAIT
        return not bytes(of.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except (OSError, AttributeError):
        return False


def has_left(of: Any) -> bool:
    """Whether the peer of a socket has gone, or closed its sending side, and nothing that it sent is left to read."""
    try:
        return not bytes(of.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except (BlockingIOError, AttributeError):
        return False
    except OSError:
        return True


def _beneath(transport: Any) -> Any:
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
