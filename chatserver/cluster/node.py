"""This node among others: publishes its own changes, and applies those of others."""

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatserver import __version__
from chatserver.background.read_marks import ReadMarks
from chatserver.cluster import frames
from chatserver.cluster.bus.bus import Bus
from chatserver.cluster.dead_nodes import DeadNodes
from chatserver.cluster.incoming import Incoming
from chatserver.cluster.outgoing import Outgoing
from chatserver.cluster.peers import Peers
from chatserver.cluster.presence import SharedPresence
from chatserver.cluster.read_marks import UnstoredMarks
from chatserver.cluster.shared_limits import SharedLimits
from chatserver.delivery.registry import Registry
from chatserver.login.guests import Guests
from chatserver.net.connection.connections import Connections
from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.session.other_nodes import Elsewhere
from chatserver.store.db.threads import Store
from chatserver.store.nodes.lease import Holder, Process
from chatserver.store.nodes.nodes import Facts, NodeNow, Said
from chatserver.sync.change_feed import ChangeFeed
from chatserver.sync.reconcile import Reconciler
from chatserver.sync.rewind import Rewind
from chatserver.util.quiet_log import Outage
from chatserver.values.events import Entry, News, Person, ReadMark, RoomFacts
from chatserver.values.seen import Seen

BEAT_SECONDS: Final = 1.0
"""Interval between frames that this node sends to itself, while other nodes are alive."""
DEAD_SECONDS: Final = 3.5
"""How long without such a frame until the bus is dead."""
UNDER_WAY_SECONDS: Final = 0.1
"""How long a frame may take before it counts as lost."""
REWOUND_SECONDS: Final = 10.0
"""How long nodes may take to find that the database was set back. Each notifies the others; within this time it is the
one event for all."""
FACTS_SECONDS: Final = 2.0
"""Interval between updates of this node's facts in the database."""
COMPARE_SECONDS: Final = 10.0
"""Interval between routine comparisons of room heads."""
MOST_AHEAD: Final = 10_000
"""Maximum number of frames that a node sends before it writes their number to the database. A frame whose number is
further ahead is not the node's own, and would have all its frames taken for old ones."""


class Local(Struct, frozen=True):
    """The parts of this server that other nodes affect."""

    registry: Registry
    roster: Roster
    presence: Presence
    marks: ReadMarks
    reconciler: Reconciler
    change_feed: ChangeFeed
    rewind: Rewind


class Lease(Holder, Protocol):
    """Keeps the lease of this node."""

    @property
    def cut_off(self) -> bool:
        """Whether another process may have taken the lease away without this one knowing."""

    @property
    def back_since(self) -> float:
        """When the first heartbeat was answered after this node was cut off, by the reactor's clock."""


class Requests(Protocol):
    """Carries out requests of `chatctl node`."""

    def requested(self, what: str) -> None:
        """Called again and again for as long as the database has the request."""


class Node(Elsewhere):
    """Starts and stops all parts of `cluster`."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        bus: Bus,
        store: Store,
        lease: Lease,
        local: Local,
        connections: Connections,
        guests: Guests,
    ) -> None:
        self._clock = clock
        self.bus = bus
        self._lease = lease
        self._registry = local.registry
        self._roster = local.roster
        self._typing = local.presence.typing
        self._reconciler = local.reconciler
        self._change_feed = local.change_feed
        self._rewind = local.rewind
        self._connections = connections
        self.outgoing = Outgoing(clock, bus, self.origin)
        self.presence = SharedPresence(clock, self.outgoing, local.roster, local.presence)
        self._unstored_marks = UnstoredMarks(clock, self.outgoing, self.presence, local.marks)
        self.incoming = Incoming(self)
        self.peers = Peers(clock, store, self)
        self._dead_nodes = DeadNodes(clock, store, guests)
        self.limits = SharedLimits(clock, self.outgoing, connections)
        self.lag: float | None = None
        """Round-trip time of the last frame that came back, in seconds; None: none has."""
        self.state = "serving"
        """Or "draining", "drained" (see `drain.py`), or "stopping"."""
        self.sheds = False
        """Whether some of this node's clients are sent to others."""
        self.held = False
        """Whether systemd has this node's sockets, too."""
        self._requests: Requests | None = None
        self._back = 0.0  # when a frame came back, or there was no need for one
        self._silence = Outage(clock)
        self._deaf = False  # frames were dropped since this node was cut off from the database
        self._mute: dict[str, tuple[int, float]] = {}  # by boot: the last frame that came, since when no other one did
        self._rewound_at = float("-inf")  # when this node started over because the database was set back
        self._rewound_untold = False  # no other node was known then
        self._facts = Facts()
        self._facts_at = float("-inf")
        self._beats: IDelayedCall | None = None
        self._compares: IDelayedCall | None = None

    def follow(self, requests: Requests) -> None:
        """Passes requests to this part from now on."""
        self._requests = requests

    def start(self, left_behind: Sequence[Person] = ()) -> None:
        """Begins to work together with other nodes, and sends and receives nothing before. `left_behind`: guests whose
        node was dead when this one started."""
        self._roster.nodes.join(self)
        self.outgoing.restart(self.origin)
        self.presence.start()
        self.bus.start(self.incoming)
        self.peers.start()
        self._dead_nodes.start(left_behind)
        self._back = self._clock.seconds()
        self._beats = self._clock.callLater(BEAT_SECONDS, self._beat)
        self._compare_later()

    async def stop(self) -> None:
        """Sends the rest, and receives nothing more."""
        for call in (self._beats, self._compares):
            if call is not None:
                call.cancel()
        self._beats = self._compares = None
        self.peers.stop()
        self._dead_nodes.stop()
        self._unstored_marks.stop()
        self.presence.stop()
        self.limits.stop()
        self.outgoing.stop()
        self._roster.nodes.leave()
        await self.bus.stop()

    def restarted(self) -> None:
        """This process has lost its lease, and serves anew with another boot. Others take it for another process, and
        it forgets their state."""
        self.outgoing.restart(self.origin)
        self.presence.restarted()
        self.peers.forget()
        self.peers_changed()
        self._change_feed.hurry()

    # Publishing

    @property
    def me(self) -> Process:
        """This process, with its present boot."""
        return self._lease.me

    @property
    def origin(self) -> str:
        return self._lease.me.boot

    @property
    def cut_off(self) -> bool:
        return self._lease.cut_off or self._change_feed.read_at < self._lease.back_since

    @property
    def moving(self) -> bool:
        return self.sheds or self.state != "serving"

    def announced(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        self.outgoing.entries(facts, entries, self._rewind.epoch)

    def found(self, room_id: int, seq: int) -> None:
        self.outgoing.part(frames.Head(room_id, seq), str(room_id))

    def heard(self, room_id: int, *, here: bool) -> None:
        if self.bus.by_room:
            if here:
                self.bus.hear(str(room_id))
            else:
                self.bus.unhear(str(room_id))
                self.incoming.unheard(str(room_id))

    def tell(self, account_id: int, news: News) -> None:
        self.outgoing.part(frames.told(account_id, news))

    def typed(self, room_id: int, account_id: int, name: str) -> None:
        self.outgoing.part(frames.Typed(room_id, account_id, name), str(room_id))

    def account_changed(self, account_id: int) -> None:
        self.presence.changed(account_id)

    def changed(self) -> None:
        self.outgoing.part(frames.Changed())

    def changes_read(self) -> None:
        self._listen_again()

    def suspected(self) -> None:
        self.outgoing.part(frames.Doubt())

    async def seen(self, account_id: int) -> dict[int, Seen]:
        return await self._unstored_marks.seen(account_id)

    def database_rewound(self, *, told: bool) -> None:
        """See `sync.rewind.Follower`."""
        if self.outgoing.boot != self.origin:
            self.restarted()
        if not told:
            self.rewound()

    def lease_lost(self) -> None:
        """See `sync.rewind.Follower`."""
        self.restarted()

    def rewound(self) -> None:
        """Notifies other nodes that the database was set back."""
        self._rewound_at = self._clock.seconds()
        self._rewound_untold = not self.outgoing.open
        self.outgoing.part(frames.Rewound())

    # Receiving: see `incoming.Taker`

    def is_deaf(self) -> bool:
        if self.cut_off and not self._deaf:
            self._deaf = True
            self.log.warn(
                "This node is cut off from the database, or was stopped, and others go on: what they say is delivered "
                "here once the database answers."
            )
        return self._deaf

    def _listen_again(self) -> None:
        """Reads what was dropped, once the database has shown what others have decided meanwhile."""
        if self._deaf and not self.cut_off:
            self._deaf = False
            self.log.info("What other nodes say is delivered again.")
            self.joined([frames.ALL])

    def take(self, boot: str, number: int, part: frames.Part) -> None:
        match part:
            case frames.Entries() if part.epoch and self._rewind.epoch and part.epoch != self._rewind.epoch:
                self.lost(str(part.room_id))  # it is read from the database once this epoch is known here, too
            case frames.Entries():
                self._registry.order.arrived(part.facts, [frames.unpacked(packed) for packed in part.entries])
            case frames.Head(room_id, seq):
                self._registry.order.reaches(room_id, seq)
            case frames.Heads(heads):
                for room_id, seq in heads.items():
                    self._registry.order.reaches(room_id, seq)
            case frames.Changed():
                self._change_feed.hurry()
            case frames.Told(account_id):
                news = frames.news(part)
                if news is not None:
                    if isinstance(news, ReadMark):
                        self._registry.logins.doubt(account_id)
                    self._roster.tell(self._roster.sessions(account_id), news)
            case frames.Typed(room_id, account_id, name):
                self._typing.typed_elsewhere(room_id, account_id, name)
            case frames.People():
                self.presence.received(boot, part)
            case frames.Counts():
                self.limits.take(boot, part)
            case frames.AskPeople(wanted) if wanted in ("", self.origin):
                self.presence.requested()
            case frames.AskSeen(boots=boots) if self.origin in boots:
                self._unstored_marks.requested(boot, part)
            case frames.SeenOf(wanted) if wanted == self.origin:
                self._unstored_marks.answered(boot, part)
            case frames.Doubt():
                self.suspect()
            case frames.Rewound() if self._clock.seconds() - self._rewound_at > REWOUND_SECONDS:
                self._rewound_at = self._clock.seconds()
                self._rewind.node_rewound()
            case _:
                pass

    def lost(self, *channels: str) -> None:
        """Frames are missing: reads the rooms and the changes that they were about from the store."""
        if frames.ALL in channels:  # it carries every room, or at least its head
            self._change_feed.hurry()
            self._reconciler.compare()
        else:
            self._reconciler.compare([int(channel) for channel in channels])

    def lost_of(self, boot: str) -> None:
        self.presence.want(boot)

    def joined(self, channels: Sequence[str]) -> None:
        self.lost(*channels)
        if frames.ALL in channels:
            self.presence.want("")

    # Health of the bus

    def _beat(self) -> None:
        self._beats = self._clock.callLater(BEAT_SECONDS, self._beat)
        now = self._clock.seconds()
        if not (self.outgoing.open and self.bus.connected):
            self._back = now
            return
        if now - self._back > DEAD_SECONDS:
            if self._silence.failed():
                self.log.warn(
                    "The bus is connected, and has carried nothing for {seconds:.1f} s. Connecting anew. {advice}",
                    seconds=now - self._back, advice=self.bus.advice,
                )  # fmt: skip
            self._back = now
            self.lag = None
            self.bus.reconnect()
        self.outgoing.part(frames.Beat(now))

    def came_back(self, beat: frames.Beat) -> None:
        self._back = self._clock.seconds()
        self.lag = self._back - beat.sent
        if self._silence.worked():
            self.log.info("The bus carries frames again.")

    def _compare(self) -> None:
        self._compare_later()
        self._reconciler.compare()

    def _compare_later(self) -> None:
        self._compares = self._clock.callLater(COMPARE_SECONDS, self._compare)

    # The other nodes: see `peers.Watcher`

    @property
    def serving(self) -> list[NodeNow]:
        """The other nodes to which clients can go."""
        return [node for node in self.peers.others if node.facts.state == "serving" and not node.ended]

    def say(self) -> Said:
        if self.peers.mine is not None and self.peers.mine.asked and self._requests is not None:
            self._requests.requested(self.peers.mine.asked)
        now = self._clock.seconds()
        if now - self._facts_at > FACTS_SECONDS or self._facts.state != self.state:
            self._facts_at = now
            self._facts = Facts(
                connections=len(self._connections.open),
                rooms=sum(1 for room in self._registry.rooms if room.subscribers),
                lag=None if self.lag is None else round(self.lag, 3),
                state=self.state,
                bus=True,
                speaks=frames.VERSION,
                held=self.held,
            )
        self.outgoing.flush()  # so that the number below covers all that is committed
        return Said(__version__, self.outgoing.numbers.get(frames.ALL, 0), self._change_feed.applied, self._facts)

    def peers_changed(self) -> None:
        others = self.peers.others
        self.outgoing.open = bool(others)
        if self._rewound_untold and others:
            self._rewound_untold = False
            self.outgoing.part(frames.Rewound())
        self.incoming.forget({node.boot for node in others})
        self._mute.clear()
        alive = {node.boot for node in others if node.version is not None}
        self.limits.peers(alive)
        self.presence.peers(alive)
        self._reconciler.compare()
        if self._compares is not None:
            self._compares.cancel()
            self._compare_later()

    def saw(self, node: NodeNow) -> None:
        top = self.incoming.top(node.boot)
        if node.frames > top:
            self._clock.callLater(UNDER_WAY_SECONDS, self._check_came, node)
        elif top > node.frames + MOST_AHEAD:
            self.incoming.begin_anew(node.boot)

    def _check_came(self, node: NodeNow) -> None:
        top, now = self.incoming.top(node.boot), self._clock.seconds()
        if node.frames <= top:
            return
        self._reconciler.compare()
        known, since = self._mute.get(node.boot, (-1, now))
        if known != top or not self.bus.connected or self._silence.lasts:
            self._mute[node.boot] = top, now
        elif now - since > DEAD_SECONDS:
            self._mute[node.boot] = top, float("inf")  # logged once
            self.log.warn(
                "Node {name} is alive, and nothing of it comes over the bus: what is said there is heard late here. "
                "Look whether both have the same bus.url.",
                name=node.name,
            )

    def suspect(self) -> None:
        """Finds at once what a node has stored without publishing it, and later writes within a second."""
        self._reconciler.expect()
        self._reconciler.compare()

    def lapsed(self, node: NodeNow) -> None:
        self._dead_nodes.bury(node)
