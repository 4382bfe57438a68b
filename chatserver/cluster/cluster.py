"""This node among others: what it tells them, and what it does about what they tell."""

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatserver import __version__
from chatserver.cluster import frames
from chatserver.cluster.bus import Bus
from chatserver.cluster.incoming import Incoming
from chatserver.cluster.outgoing import Outgoing
from chatserver.cluster.peers import Peers
from chatserver.delivery.registry import Registry
from chatserver.elsewhere import NOWHERE, Elsewhere
from chatserver.events import Entry, News, RoomFacts
from chatserver.reconcile import Reconciler
from chatserver.roster import Roster
from chatserver.store.lease import Process
from chatserver.store.nodes import Facts, NodeNow, Said
from chatserver.store.threads import Store
from chatserver.watch import Watch

BEAT_SECONDS: Final = 1.0
"""While others are there, so often a frame is sent that comes back."""
DEAD_SECONDS: Final = 3.5
"""A bus on which no such frame has come back for so long is dead."""
FACTS_SECONDS: Final = 2.0
"""So often a node says anew how much it has to do."""
COMPARE_SECONDS: Final = 10.0
"""So often heads are compared whatever happens."""


class Cluster(Elsewhere):
    """`start_over` ends all connections: the database was set back, as another node says."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        bus: Bus,
        store: Store,
        me: Callable[[], Process],
        registry: Registry,
        roster: Roster,
        reconciler: Reconciler,
        watch: Watch,
        start_over: Callable[[], None],
        connections: Callable[[], int],
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
        self.incoming = Incoming(lambda: me().boot, self._take, self._lost, self._came_back)
        self.peers = Peers(
            clock, store, me, self._say, self._peers_changed, self._saw, reconciler.suspect, self._lapsed
        )
        self.lag: float | None = None
        """How long the last frame took that came back, in seconds; None: none has."""
        self.state = "serving"
        self._seen_frames: dict[str, int] = {}  # by boot, what the database said that it had sent
        self._back = 0.0  # when a frame came back, or there was no need for one
        self._facts = Facts()
        self._facts_at = float("-inf")
        self._beats: IDelayedCall | None = None
        self._compares: IDelayedCall | None = None

    def start(self) -> None:
        """Begins to work together with other nodes. Before that, nothing is told and nothing is heard."""
        self._registry.elsewhere = self
        self.bus.start(self.incoming.received, self._joined)
        self.peers.start()
        self._back = self._clock.seconds()
        self._beats = self._clock.callLater(BEAT_SECONDS, self._beat)
        self._compares = self._clock.callLater(COMPARE_SECONDS, self._compare)

    async def stop(self) -> None:
        """Says what is left to say, and hears nothing more."""
        for call in (self._beats, self._compares):
            if call is not None:
                call.cancel()
        self._beats = self._compares = None
        self.peers.stop()
        self.outgoing.stop()
        self._registry.elsewhere = NOWHERE
        await self.bus.stop()

    # What this node tells

    @property
    def origin(self) -> str:
        return self._me().boot

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

    def tell(self, account_id: int, news: News) -> None:
        self.outgoing.part(frames.told(account_id, news))

    def changed(self) -> None:
        self.outgoing.part(frames.Changed())

    def rewound(self) -> None:
        self.outgoing.part(frames.Rewound())

    # What others tell

    def _take(self, boot: str, number: int, part: frames.Part) -> None:
        match part:
            case frames.Entries():
                self._registry.arrived(part.facts, [frames.unpacked(packed) for packed in part.entries])
            case frames.Head(room_id, seq):
                self._registry.reaches(room_id, seq)
            case frames.Changed():
                self._watch.hurry()
            case frames.Told(account_id):
                news = frames.news(part)
                if news is not None:
                    self._roster.tell(self._roster.sessions(account_id), news)
            case frames.Rewound():
                self._start_over()
            case _:
                pass

    def _lost(self, channel: str) -> None:
        """Frames are missing: what they said of rooms is read from the store, and so are changes."""
        self._reconciler.compare()
        if channel == frames.ALL:
            self._watch.hurry()

    def _joined(self, channels: Sequence[str]) -> None:
        """The bus is connected, or hears more channels: what came before that may be missing."""
        for channel in channels:
            self._lost(channel)

    # Whether the bus works

    def _beat(self) -> None:
        self._beats = self._clock.callLater(BEAT_SECONDS, self._beat)
        now = self._clock.seconds()
        if not (self.outgoing.open and self.bus.connected):
            self._back = now
            return
        if now - self._back > DEAD_SECONDS:
            self.log.warn("The bus has carried nothing for {seconds:.1f} s.", seconds=now - self._back)
            self._back = now
            self.lag = None
            self.bus.reconnect()
        self.outgoing.part(frames.Beat(now))

    def _came_back(self, beat: frames.Beat) -> None:
        self._back = self._clock.seconds()
        self.lag = self._back - beat.sent

    def _compare(self) -> None:
        self._compares = self._clock.callLater(COMPARE_SECONDS, self._compare)
        self._reconciler.compare()

    # The other nodes

    def _say(self) -> Said:
        now = self._clock.seconds()
        if now - self._facts_at > FACTS_SECONDS or self._facts.state != self.state:
            self._facts_at = now
            self._facts = Facts(
                connections=self._connections(),
                rooms=sum(1 for room in self._registry.rooms if room.subscribers),
                lag=None if self.lag is None else round(self.lag, 3),
                state=self.state,
            )
        return Said(__version__, self.outgoing.frames, self._watch.applied, self._facts)

    def _peers_changed(self) -> None:
        others = self.peers.others
        self.outgoing.open = bool(others)
        self.incoming.forget({node.boot for node in others})
        self._seen_frames = {node.boot: self._seen_frames.get(node.boot, node.frames) for node in others}
        self._reconciler.compare()

    def _saw(self, node: NodeNow) -> None:
        before = self._seen_frames.get(node.boot, 0)
        self._seen_frames[node.boot] = node.frames
        # Of frames about rooms that this node does not hear, it cannot know whether they came.
        known = before if self.bus.by_room else self.incoming.top(node.boot)
        if node.frames > known:
            self._reconciler.compare()

    def _lapsed(self, node: NodeNow) -> None:
        pass
