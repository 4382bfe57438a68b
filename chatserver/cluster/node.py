"""This node among others: what it tells them, and what it does about what they tell."""

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatserver import __version__
from chatserver.background.read_marks import MarkLog
from chatserver.cluster import frames
from chatserver.cluster.bus.bus import Bus
from chatserver.cluster.dead_nodes import Burial
from chatserver.cluster.incoming import Incoming
from chatserver.cluster.limits import Counts
from chatserver.cluster.outgoing import Outgoing
from chatserver.cluster.peers import Peers
from chatserver.cluster.presence import People
from chatserver.cluster.read_marks import Screens
from chatserver.delivery.registry import Registry
from chatserver.presence.other_nodes import Elsewhere
from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.store.db.threads import Store
from chatserver.store.nodes.lease import Process
from chatserver.store.nodes.nodes import Facts, NodeNow, Said
from chatserver.sync.change_feed import Watch
from chatserver.sync.reconcile import Reconciler
from chatserver.util.quiet_log import Outage
from chatserver.values.events import Entry, News, Person, RoomFacts
from chatserver.values.seen import Seen

BEAT_SECONDS: Final = 1.0
"""While others are there, so often a frame is sent that comes back."""
DEAD_SECONDS: Final = 3.5
"""A bus on which no such frame has come back for so long is dead."""
UNDER_WAY_SECONDS: Final = 0.1
"""A frame may be under way for so long before it is taken for lost."""
REWOUND_SECONDS: Final = 10.0
"""Nodes find within so long that the database was set back; each tells the others, and it is the same for all."""
FACTS_SECONDS: Final = 2.0
"""So often a node says anew how much it has to do."""
COMPARE_SECONDS: Final = 10.0
"""So often heads are compared whatever happens."""
MOST_AHEAD: Final = 10_000
"""So many frames no node sends before it says in the database how many it has sent. A number that is further ahead is
not its own, and would have all its frames taken for old ones."""


def _ignore(_: object) -> None:
    pass


class Cluster(Elsewhere):
    """`start_over` ends all connections: the database was set back, as another node says. `dismiss` is called with each
    guest whose node is dead."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        bus: Bus,
        store: Store,
        me: Callable[[], Process],
        registry: Registry,
        roster: Roster,
        presence: Presence,
        marks: MarkLog,
        reconciler: Reconciler,
        watch: Watch,
        start_over: Callable[[], None],
        connections: Callable[[], int],
        dismiss: Callable[[Person], None] = _ignore,
    ) -> None:
        self._clock = clock
        self.bus = bus
        self._me = me
        self._registry = registry
        self._roster = roster
        self._reconciler = reconciler
        self._watch = watch
        self._start_over = start_over
        self._connections = connections
        self.outgoing = Outgoing(clock, bus, me().boot)
        self.people = People(clock, self.outgoing, roster, presence)
        self._screens = Screens(clock, self.outgoing, self.people, marks)
        self.incoming = Incoming(lambda: me().boot, self._take, self._lost, self._came_back, self.people.want)
        self.peers = Peers(clock, store, me, self._say, self._peers_changed, self._saw, self._suspect, self._lapsed)
        self._burial = Burial(clock, store, dismiss)
        self.counts: Counts | None = None
        """What the limits count over all nodes; None: each counts for itself."""
        self.lag: float | None = None
        """How long the last frame took that came back, in seconds; None: none has."""
        self.state = "serving"
        """Or "draining", "drained" (see `drain.py`), or "stopping"."""
        self.sheds = False
        """Whether some of this node's clients are sent to others."""
        self.held = False
        """Whether systemd has this node's sockets, too."""
        self.asked: Callable[[str], None] = lambda what: None
        """Called again and again with what `chatctl node` asks of this node."""
        self._back = 0.0  # when a frame came back, or there was no need for one
        self._silence = Outage(clock)
        self._mute: dict[str, tuple[int, float]] = {}  # by boot: the last frame that came, since when no other one did
        self._rewound_at = float("-inf")  # when this node started over because the database was set back
        self._rewound_untold = False  # nobody was known then who could be told
        self._facts = Facts()
        self._facts_at = float("-inf")
        self._beats: IDelayedCall | None = None
        self._compares: IDelayedCall | None = None

    def start(self, left_behind: Sequence[Person] = ()) -> None:
        """Begins to work together with other nodes. Before that, nothing is told and nothing is heard. `left_behind`:
        guests who had a dead node when this one started."""
        self._roster.nodes.join(self)
        self.outgoing.restart(self.origin)
        self.people.start()
        self.bus.start(self.incoming.received, self._joined)
        self.peers.start()
        self._burial.start(left_behind)
        self._back = self._clock.seconds()
        self._beats = self._clock.callLater(BEAT_SECONDS, self._beat)
        self._compare_later()

    async def stop(self) -> None:
        """Says what is left to say, and hears nothing more."""
        for call in (self._beats, self._compares):
            if call is not None:
                call.cancel()
        self._beats = self._compares = None
        self.peers.stop()
        self._burial.stop()
        self._screens.stop()
        self.people.stop()
        if self.counts is not None:
            self.counts.stop()
        self.outgoing.stop()
        self._roster.nodes.leave()
        await self.bus.stop()

    def restarted(self) -> None:
        """This process has lost its lease, and serves anew with another boot: the others take it for another one, and
        what it knew of them does not count any more."""
        self.outgoing.restart(self.origin)
        self.people.restarted()
        self.peers.forget()
        self._peers_changed()
        self._watch.hurry()

    # What this node tells

    @property
    def origin(self) -> str:
        return self._me().boot

    @property
    def moving(self) -> bool:
        return self.sheds or self.state != "serving"

    def announced(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        self.outgoing.entries(facts, entries)

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

    def account_changed(self, account_id: int) -> None:
        self.people.changed(account_id)

    def changed(self) -> None:
        self.outgoing.part(frames.Changed())

    def suspected(self) -> None:
        self.outgoing.part(frames.Doubt())

    async def seen(self, account_id: int) -> dict[int, Seen]:
        return await self._screens.seen(account_id)

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
        """Tells other nodes that the database was set back."""
        self._rewound_at = self._clock.seconds()
        self._rewound_untold = not self.outgoing.open
        self.outgoing.part(frames.Rewound())

    # What others tell

    def _take(self, boot: str, number: int, part: frames.Part) -> None:
        match part:
            case frames.Entries():
                self._registry.order.arrived(part.facts, [frames.unpacked(packed) for packed in part.entries])
            case frames.Head(room_id, seq):
                self._registry.order.reaches(room_id, seq)
            case frames.Heads(heads):
                for room_id, seq in heads.items():
                    self._registry.order.reaches(room_id, seq)
            case frames.Changed():
                self._watch.hurry()
            case frames.Told(account_id):
                news = frames.news(part)
                if news is not None:
                    self._roster.tell(self._roster.sessions(account_id), news)
            case frames.People():
                self.people.heard(boot, part)
            case frames.Counts() if self.counts is not None:
                self.counts.take(boot, part)
            case frames.AskPeople(wanted) if wanted in ("", self.origin):
                self.people.asked()
            case frames.AskSeen(boots=boots) if self.origin in boots:
                self._screens.asked(boot, part)
            case frames.SeenOf(wanted) if wanted == self.origin:
                self._screens.answered(boot, part)
            case frames.Doubt():
                self._suspect()
            case frames.Rewound() if self._clock.seconds() - self._rewound_at > REWOUND_SECONDS:
                self._rewound_at = self._clock.seconds()
                self._start_over()
            case _:
                pass

    def _lost(self, *channels: str) -> None:
        """Frames are missing: what they said of rooms is read from the store, and so are changes."""
        if frames.ALL in channels:  # it tells of every room, if only how far its log goes
            self._watch.hurry()
            self._reconciler.compare()
        else:
            self._reconciler.compare([int(channel) for channel in channels])

    def _joined(self, channels: Sequence[str]) -> None:
        """The bus is connected, or hears more channels: what came before that may be missing."""
        self._lost(*channels)
        if frames.ALL in channels:
            self.people.want("")

    # Whether the bus works

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

    def _came_back(self, beat: frames.Beat) -> None:
        self._back = self._clock.seconds()
        self.lag = self._back - beat.sent
        if self._silence.worked():
            self.log.info("The bus carries frames again.")

    def _compare(self) -> None:
        self._compare_later()
        self._reconciler.compare()

    def _compare_later(self) -> None:
        self._compares = self._clock.callLater(COMPARE_SECONDS, self._compare)

    # The other nodes

    @property
    def serving(self) -> list[NodeNow]:
        """The other nodes to which clients can go."""
        return [node for node in self.peers.others if node.facts.state == "serving" and not node.ended]

    def _say(self) -> Said:
        if self.peers.mine is not None and self.peers.mine.asked:
            self.asked(self.peers.mine.asked)
        now = self._clock.seconds()
        if now - self._facts_at > FACTS_SECONDS or self._facts.state != self.state:
            self._facts_at = now
            self._facts = Facts(
                connections=self._connections(),
                rooms=sum(1 for room in self._registry.rooms if room.subscribers),
                lag=None if self.lag is None else round(self.lag, 3),
                state=self.state,
                bus=True,
                speaks=frames.VERSION,
                held=self.held,
            )
        self.outgoing.flush()  # so that the number below tells of all that is committed
        return Said(__version__, self.outgoing.numbers.get(frames.ALL, 0), self._watch.applied, self._facts)

    def _peers_changed(self) -> None:
        others = self.peers.others
        self.outgoing.open = bool(others)
        if self._rewound_untold and others:
            self._rewound_untold = False
            self.outgoing.part(frames.Rewound())
        self.incoming.forget({node.boot for node in others})
        self._mute.clear()
        if self.counts is not None:
            self.counts.peers({node.boot for node in others if node.version is not None})
        self.people.peers({node.boot for node in others if node.version is not None})
        self._reconciler.compare()
        if self._compares is not None:
            self._compares.cancel()
            self._compare_later()

    def _saw(self, node: NodeNow) -> None:
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
            self._mute[node.boot] = top, float("inf")  # that is said once
            self.log.warn(
                "Node {name} is alive, and nothing of it comes over the bus: what is said there is heard late here. "
                "Look whether both have the same bus.url.",
                name=node.name,
            )

    def _suspect(self) -> None:
        """What a node has stored and told nobody is found at once, and what comes later within a second."""
        self._reconciler.expect()
        self._reconciler.compare()

    def _lapsed(self, node: NodeNow) -> None:
        self._burial.bury(node)
