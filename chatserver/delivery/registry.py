"""The parts of delivery: subscriptions to rooms, and the ordered delivery of each room's log."""

from twisted.internet.interfaces import IReactorTime

from chatserver.delivery.gaps import Gaps
from chatserver.delivery.order import Order, Rewinding
from chatserver.delivery.pages import Pages
from chatserver.delivery.pending_logins import PendingLogins
from chatserver.delivery.renamed import Names
from chatserver.delivery.room import Rooms
from chatserver.delivery.subscriptions import Subscriptions
from chatserver.presence.roster import Roster
from chatserver.session.other_nodes import Elsewhere


class Registry:
    """Makes these parts. `order`: publishes entries. `subscriptions`: of sessions to rooms. `rooms`: those in memory.
    `logins`: those under way. `names`: of accounts and direct rooms."""

    def __init__(self, clock: IReactorTime, pages: Pages, roster: Roster, rewinding: Rewinding) -> None:
        self._nodes = roster.nodes
        self.seconds = clock.seconds
        self.rooms = Rooms(roster.nodes)
        self.logins = PendingLogins(self.rooms, roster.nodes)
        self.names = Names(clock, roster, self.logins)
        gaps = Gaps(clock, pages)
        self.subscriptions = Subscriptions(clock, pages, roster, self.rooms, self.names, self.logins, gaps)
        self.order = Order(clock, roster, self.rooms, self.names, gaps, self.subscriptions, rewinding)
        gaps.follow(self.order)
        roster.follow(self.rooms)

    @property
    def elsewhere(self) -> Elsewhere:
        """The other nodes."""
        return self._nodes.now
