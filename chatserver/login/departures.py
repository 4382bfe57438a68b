"""When a session ends: the parts of the server that know it forget it, and its end is recorded."""

from msgspec import Struct

from chatserver.background.read_marks import MarkLog
from chatserver.background.session_rows import SessionLog
from chatserver.delivery.registry import Registry
from chatserver.login.guests import Guests
from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.session.session import Session
from chatserver.store.sessions import Closed
from chatserver.sync.change_feed import Watch
from chatserver.util.clock import Clock
from chatserver.values.events import GUEST


class Departures(Struct, frozen=True):
    """The counterpart of `Entrance` in `welcome.py`."""

    presence: Presence
    registry: Registry
    roster: Roster
    watch: Watch
    marks: MarkLog
    session_log: SessionLog
    guests: Guests
    now: Clock

    def left(self, session: Session, reason: str, *, announced: bool) -> None:
        """Call this once for each session that was logged in, while it is still registered. `announced`: others in its
        rooms are notified, unless the server is stopping and nobody is left to be."""
        if announced:
            self.presence.going(session)
        self.registry.subscriptions.remove(session)
        self.roster.remove(session)
        self.watch.left(session)
        self.marks.ended(session)
        self.session_log.add(Closed(session.id, session.who.account_id, self.now(), reason))
        if session.who.kind == GUEST:
            self.guests.dismiss(session)
