"""How much of what was sent has been received: what the kernel and Twisted know of it."""

import socket
import struct
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any, Final

from twisted.protocols.policies import ProtocolWrapper

TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)  # Linux
BYTES_ACKED: Final = struct.Struct("120xQ")
"""The field tcpi_bytes_acked of `struct tcp_info` (linux/tcp.h, since Linux 4.1)."""


def socket_beneath(transport: Any) -> Any:
    """The socket of a transport, also of one of TLS, whose own handle is OpenSSL's; None where there is none."""
    transport = _beneath(transport)
    return transport.getHandle() if hasattr(transport, "getHandle") else None


def acknowledged(of: Any) -> int | None:
    """Bytes that the peer of a TCP socket has acknowledged so far; None where the kernel does not tell."""
    if TCP_INFO is None:
        return None
    try:
        info = of.getsockopt(socket.IPPROTO_TCP, TCP_INFO, BYTES_ACKED.size)
    except (OSError, AttributeError):
        return None
    return int(BYTES_ACKED.unpack(info)[0]) if len(info) == BYTES_ACKED.size else None


def queued(of: Any) -> int:
    """Bytes in the kernel's send queue that the peer has not acknowledged (tcp(7), SIOCOUTQ)."""
    try:
        return int(struct.unpack("i", ioctl(of.fileno(), TIOCOUTQ, b"\0\0\0\0"))[0])
    except (OSError, AttributeError):
        return 0


def waiting(transport: Any) -> int:
    """Bytes that a transport of Twisted has not given to the kernel yet. It does not tell by any public name."""
    transport = _beneath(transport)
    left = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    return left + int(getattr(transport, "_tempDataLen", 0))


def _beneath(transport: Any) -> Any:
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
