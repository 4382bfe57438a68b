"""Counts of all connections of this process: their number, their endings, and the bytes that they carried. The kernel
counts the bytes, so that they cost nothing here."""

import socket
import struct
from collections import Counter
from collections.abc import Hashable
from typing import Any, Final

from msgspec import Struct

from chatserver.net.way import socket_beneath

OTHER: Final = "other"
ENDINGS: Final = frozenset(
    {
        "banned", "certificate-removed", "disabled", "eof", "erased", "failed-logins", "fault", "fenced", "foreign",
        "handshake", "kicked", "logout", "lost", "moving", "password", "quit", "refused", "rewound", "session-ended",
        "shutdown", "stalled", "strikes", "timeout", "token-expired", "token-revoked", "too-many-connections",
        "undecodable",
    }
)  # fmt: skip
"""Reasons for the end of a connection, in one word. Others count as OTHER."""

_LAST_RECEIVED: Final = struct.Struct("@52xI")
"""The field tcpi_last_data_recv of `struct tcp_info` (linux/tcp.h): milliseconds ago."""
_ACKED_AND_RECEIVED: Final = struct.Struct("@120xQQ")
"""The fields tcpi_bytes_acked and tcpi_bytes_received: both came with Linux 4.1."""


class Traffic(Struct, frozen=True):
    """Bytes from and to the peer; with TLS, as they were encrypted. `sent` are those that the peer's kernel has.
    `idle`: seconds since the last bytes came."""

    received: int
    sent: int
    idle: float = 0


NOTHING: Final = Traffic(0, 0)


def traffic(transport: Any) -> Traffic | None:
    """Number of bytes that a transport has carried so far. None if there is no socket, or if its kernel does not count:
    for Unix sockets and after the connection is closed."""
    try:
        found = socket_beneath(transport).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except (AttributeError, OSError):
        return None
    if len(found) < _ACKED_AND_RECEIVED.size:
        return None
    acked, received = _ACKED_AND_RECEIVED.unpack_from(found)
    return Traffic(received, acked, _LAST_RECEIVED.unpack_from(found)[0] / 1000)


class ConnectionCounts:
    """Counters, which only go up."""

    def __init__(self) -> None:
        self.accepted = 0
        """Number of connections that got as far as a door."""
        self.turned_away: Counter[str] = Counter()
        """Number of other connections, by the reason of their refusal."""
        self.endings: Counter[str] = Counter()
        """Number of ended connections, by reason."""
        self.refusals: Counter[str] = Counter()
        """Number of answers with an error, by error word."""
        self.logins: Counter[str] = Counter()
        """Number of attempts to log in, by error word; "ok" for successful ones."""
        self.bytes_received = 0
        self.bytes_sent = 0
        self._seen: dict[Hashable, Traffic] = {}  # bytes that are counted already, by connection

    def look(self, who: Hashable, transport: Any) -> None:
        """Counts the bytes of an open connection since the last look."""
        now = traffic(transport)
        if now is not None:
            before = self._seen.get(who, NOTHING)
            self._seen[who] = now
            self.bytes_received += now.received - before.received
            self.bytes_sent += now.sent - before.sent

    def ended(self, who: Hashable, transport: Any, reason: str) -> None:
        """Call this once for each connection, if possible before its socket is closed: later, its bytes since the last
        look are lost."""
        self.endings[reason if reason in ENDINGS else OTHER] += 1
        self.look(who, transport)

    def gone(self, who: Hashable) -> None:
        """Forgets a connection that has ended, and has no socket any more."""
        self._seen.pop(who, None)
