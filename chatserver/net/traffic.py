"""How much a connection has carried, as the kernel counts it: no byte costs anything to count here."""

import socket
import struct
from typing import Any, Final

from msgspec import Struct

_ACKED_AND_RECEIVED: Final = struct.Struct("@QQ")
_OFFSET: Final = 120
"""Of tcpi_bytes_acked in `struct tcp_info` (linux/tcp.h); tcpi_bytes_received follows it. Both came with Linux 4.1."""


class Traffic(Struct, frozen=True):
    """Bytes from and to the peer; with TLS, as they were encrypted. `sent` are those that the peer's kernel has."""

    received: int
    sent: int


def traffic(transport: Any) -> Traffic | None:
    """What a transport has carried so far. None if there is no socket, or if its kernel does not count: for Unix
    sockets and after the connection is closed."""
    try:
        found = transport.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except (AttributeError, OSError):
        return None
    if len(found) < _OFFSET + _ACKED_AND_RECEIVED.size:
        return None
    acked, received = _ACKED_AND_RECEIVED.unpack_from(found, _OFFSET)
    return Traffic(received, acked)
