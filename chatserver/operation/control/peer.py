"""Who is at the other end of a Unix socket, as the kernel knows it."""

import os
import socket
import struct
from typing import Any, Final

_CREDENTIALS: Final = struct.Struct("3i")
"""`struct ucred` of unix(7): process, user, group."""


def uid_of(peer: Any) -> int:
    """The user whose process connected, or listens. Raises OSError."""
    found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


def is_trusted(uid: int) -> bool:
    """Whether that user may do what this process's may: it is the same, or root."""
    return uid in (0, os.geteuid())
