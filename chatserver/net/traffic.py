"""How much a connection has carried, as the kernel counts it: no byte costs anything to count here."""

import socket
import struct
from typing import Any, Final

from msgspec import Struct

from chatserver.net.acknowledged import socket_beneath

_LAST_RECEIVED: Final = struct.Struct("@52xI")
"""The field tcpi_last_data_recv of `struct tcp_info` (linux/tcp.h): milliseconds ago."""
_ACKED_AND_RECEIVED: Final = struct.Struct("@120xQQ")
"""The fields tcpi_bytes_acked and tcpi_bytes_received: both came with Linux 4.1."""


class Traffic(Struct, frozen=True):
    """Bytes from and to the peer; with TLS, as they were encrypted. `sent` are those that the peer's kernel has.
    `idle`: seconds since bytes came last."""

    received: int
    sent: int
    idle: float = 0


def traffic(transport: Any) -> Traffic | None:
    """What a transport has carried so far. None if there is no socket, or if its kernel does not count: for Unix
    sockets and after the connection is closed."""
    try:
        found = socket_beneath(transport).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except (AttributeError, OSError):
        return None
    if len(found) < _ACKED_AND_RECEIVED.size:
        return None
    acked, received = _ACKED_AND_RECEIVED.unpack_from(found)
    return Traffic(received, acked, _LAST_RECEIVED.unpack_from(found)[0] / 1000)
