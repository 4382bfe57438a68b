"""The log of connections: one line when each begins, and one when it ends."""

import socket
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.net.counts import traffic
from chatserver.net.door import Doorway
from chatserver.net.way import secured, socket_beneath
from chatserver.session.session import Session
from chatserver.util import audit_log
from chatserver.util.quiet_log import Unlogged
from chatserver.values.stages import Stage

BURST: Final = 500
"""Maximum number of beginnings that are logged at once: more than people and their programs open in a moment, except
when all come back after a restart."""
PER_SECOND: Final = 20.0
"""Maximum number of beginnings logged per second in the long run: about 500 MB a day."""
PAGES: Final = 10
"""Maximum number of refused web pages that are logged in ten seconds."""


class ConnectionLog:
    """A connection whose beginning is in the log has its end there, too.

    In a flood of connections most begin without a line, and one line says how many. Those of them that log in still
    have a line when they end.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._at = clock.seconds()
        self._unlogged = Unlogged(clock, self._tell)
        self._pages = Unlogged(clock, self._tell_pages, PAGES)

    def began(self, session: Session, way: str) -> bool:
        """Returns whether the log has a line for it. `way`: see `way_of`."""
        now = self._clock.seconds()
        self._left = min(BURST, self._left + (now - self._at) * PER_SECOND)
        self._at = now
        if self._left < 1:
            self._unlogged.add()
            return False
        self._left -= 1
        audit_log.began(session.address, session.id, way)
        return True

    def ended(self, session: Session, reason: str, door: Doorway, *, way: str, commands: int, began: float) -> None:
        """`commands`: how many the session gave. `began`: when, in seconds of the reactor's clock."""
        facts: dict[str, Any] = {"door": way}
        if session.stage is not Stage.NEW:
            facts["dialect"] = session.dialect.name
        facts["commands"] = commands
        carried = traffic(door.transport)
        if carried is not None:
            facts |= {"received": carried.received, "sent": carried.sent}
        facts["seconds"] = round(self._clock.seconds() - began, 1)
        audit_log.ended(session.address, session.who.name, reason, session=session.id, **facts)

    def page_refused(self, address: str, why: str) -> None:
        if self._pages.may_log():
            self.log.warn("A web page open at {address} may not connect: {why}", address=address, why=why)

    def _tell_pages(self, count: int) -> None:
        self.log.warn("{count} more connections of web pages were refused.", count=count)

    def _tell(self, count: int) -> None:
        self.log.warn("{count} more connections began than the log has lines for.", count=count)


def way_of(door: Doorway) -> str:
    """How a client is connected, as `server.listen` names it: `tcp`, `ssl`, `unix`, `ws:tcp` ..."""
    transport = door.transport
    if secured(transport):
        kind = "ssl"
    else:
        kind = "unix" if getattr(socket_beneath(transport), "family", None) == socket.AF_UNIX else "tcp"
    return door.prefix + kind
