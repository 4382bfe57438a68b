"""Whether the server serves, as far as it knows without a query."""

from typing import Final

from chatserver.operation.companion import Quiet, Running
from chatserver.store.nodes.lease import BEAT_SECONDS

PATIENCE_SECONDS: Final = 3 * BEAT_SECONDS
"""How long a heartbeat may take until the database counts as away. A busy one takes tenths of a second."""


class Health(Quiet):
    def __init__(self, running: Running) -> None:
        self._running = running
        self._starting = True
        self._stopping = False

    def started(self) -> None:
        self._starting = False

    def stopping(self) -> None:
        self._stopping = True

    def problem(self) -> str:
        """Why no client should be sent here, in one line; "" if all is well."""
        if self._stopping:
            return "The server is stopping."
        if self._starting:
            return "The server is starting."
        if self._running.cluster is not None and self._running.cluster.state != "serving":
            return f"This node is {self._running.cluster.state}: others go on."
        if not self._running.lease.check():
            return "This server does not have the lease of its node. Its log says why."
        silence = self._running.lease.unanswered_seconds
        if silence > PATIENCE_SECONDS:
            return f"The database has not answered for {silence:.0f} s."
        if self._running.store.away:
            return "The database refuses calls, or does not answer them. The server's log says why."
        return ""
