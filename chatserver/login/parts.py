"""The parts that logging in uses."""

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from chatserver.background.read_marks import ReadMarks
from chatserver.background.session_rows import SessionRows
from chatserver.delivery.registry import Registry
from chatserver.login.guests import Guests
from chatserver.login.hashing import Hasher
from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.settings.tables import Settings
from chatserver.store.db.threads import Store
from chatserver.sync.epochs import Epochs
from chatserver.sync.reconcile import Reconciler
from chatserver.util.clock import Clock


class LoginParts(Struct, frozen=True):
    """Parts of the handshake, and of the objects that it makes."""

    settings: Settings
    clock: IReactorTime
    """The reactor: it measures delays."""
    now: Clock
    """Stamps accounts and sessions."""
    store: Store
    hasher: Hasher
    """Computes the hashes of passwords in its threads."""
    registry: Registry
    roster: Roster
    presence: Presence
    """Notifies others that somebody came or went."""
    session_rows: SessionRows
    """Records that sessions began and ended."""
    marks: ReadMarks
    """Knows how far an account has read, also at other nodes."""
    guests: Guests
    """Dismisses guests whose account was created and who were not logged in."""
    epochs: Epochs
    """Knows the epoch of the logs."""
    reconciler: Reconciler
    """Notified of each write whose fate is unknown."""
