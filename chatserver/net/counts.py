"""What has become of all connections of this process: how many came and ended, and what they carried."""

from collections import Counter
from collections.abc import Hashable
from typing import Any, Final

from chatserver.net.traffic import Traffic, traffic

OTHER: Final = "other"
ENDINGS: Final = frozenset(
    {
        "banned", "certificate-removed", "disabled", "eof", "erased", "failed-logins", "fault", "fenced", "foreign",
        "handshake", "kicked", "logout", "lost", "moving", "password", "quit", "refused", "rewound", "shutdown",
        "stalled", "strikes", "timeout", "token-expired", "token-revoked", "too-many-connections", "undecodable",
    }
)  # fmt: skip
"""Why a connection ends, in one word; whatever else somebody gives as a reason counts as OTHER."""

NOTHING: Final = Traffic(0, 0)


class ConnectionCounts:
    """Only goes up."""

    def __init__(self) -> None:
        self.accepted = 0
        """Connections that got as far as a door."""
        self.turned_away: Counter[str] = Counter()
        """Others, by why they were refused."""
        self.endings: Counter[str] = Counter()
        """By reason."""
        self.refusals: Counter[str] = Counter()
        """Answers with an error, by error word."""
        self.logins: Counter[str] = Counter()
        """By error word; "ok": of those who were let in."""
        self.bytes_received = 0
        self.bytes_sent = 0
        self._seen: dict[Hashable, Traffic] = {}  # what of a connection's bytes is counted already

    def look(self, who: Hashable, transport: Any) -> None:
        """Counts what an open connection has carried since the last look, as the kernel knows it."""
        now = traffic(transport)
        if now is not None:
            before = self._seen.get(who, NOTHING)
            self._seen[who] = now
            self.bytes_received += now.received - before.received
            self.bytes_sent += now.sent - before.sent

    def ended(self, who: Hashable, transport: Any, reason: str) -> None:
        """To be called once for each connection, before its socket is closed where the server can choose that: nobody
        knows later what it carried since the last look."""
        self.endings[reason if reason in ENDINGS else OTHER] += 1
        self.look(who, transport)

    def gone(self, who: Hashable) -> None:
        """A connection that has ended has no socket any more, and is not looked at again."""
        self._seen.pop(who, None)
