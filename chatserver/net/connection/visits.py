"""What the log says of connections: one line when each begins, and one when it ends."""

import socket
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol

from chatserver.net.acknowledged import socket_beneath
from chatserver.net.traffic import traffic
from chatserver.util import audit_log
from chatserver.util.unlogged import Unlogged
from chatserver.values.stages import Stage

if TYPE_CHECKING:
    from chatserver.net.connection.connection import Connection
    from chatserver.net.doorway import Doorway

BURST: Final = 500
"""So many connections that begin at once are logged: more than people and their programs open in a moment, except when
all come back after a restart."""
PER_SECOND: Final = 20.0
"""And so many in the long run: a day of it are some 500 MB."""


class Visits:
    """A connection whose beginning is in the log has its end there, too. In a flood of connections most begin without a
    line, and their number is logged instead; those of them that log in still have a line when they end."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._at = clock.seconds()
        self._unlogged = Unlogged(clock.callLater, self._tell)

    def began(self, connection: "Connection") -> bool:
        """Returns whether it is logged."""
        now = self._clock.seconds()
        self._left = min(BURST, self._left + (now - self._at) * PER_SECOND)
        self._at = now
        if self._left < 1:
            self._unlogged.add()
            return False
        self._left -= 1
        session = connection.session
        audit_log.began(session.address, session.id, connection.way)
        return True

    def ended(self, connection: "Connection", reason: str) -> None:
        session = connection.session
        if connection.logged or session.who.account_id:
            facts: dict[str, Any] = {"door": connection.way}
            if session.stage is not Stage.NEW:
                facts["dialect"] = session.dialect.name
            facts["commands"] = connection.commands
            carried = traffic(connection.door.transport)
            if carried is not None:
                facts |= {"received": carried.received, "sent": carried.sent}
            facts["seconds"] = round(self._clock.seconds() - connection.began, 1)
            audit_log.ended(session.address, session.who.name, reason, session=session.id, **facts)

    def _tell(self, count: int) -> None:
        self.log.warn("{count} more connections began than the log has lines for.", count=count)


def way(door: "Doorway") -> str:
    """How a client has come, as `server.listen` says it: `tcp`, `ssl`, `unix`, `ws:tcp` ..."""
    transport = door.transport
    if isinstance(transport, TLSMemoryBIOProtocol):
        kind = "ssl"
    else:
        kind = "unix" if getattr(socket_beneath(transport), "family", None) == socket.AF_UNIX else "tcp"
    return door.prefix + kind
