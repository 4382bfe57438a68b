"""The other nodes that are alive, and their rows in the database. This process reads these a few times a second.

A node is dead if the kernel says so, since it ran on this machine, or if its heartbeat has stood still for as long as a
lease lasts. Time counts only while this process looks and the database answers: after an outage, or a stop of this
process, all nodes get time to show up first.
"""

from typing import Final, Protocol

from msgspec import Struct
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatserver.store.db.faults import Conflict
from chatserver.store.db.threads import Store
from chatserver.store.nodes.lease import LAPSE_SECONDS, Process
from chatserver.store.nodes.nodes import NodeNow, Said, exchange
from chatserver.values.errors import Unavailable

EXCHANGE_SECONDS: Final = 0.4
"""Interval between looks, which show nodes that came or ended, and frames that were lost."""
COUNTED_SECONDS: Final = 2 * EXCHANGE_SECONDS
"""Maximum time that counts between two looks: a process that did not look does not know who was alive meanwhile."""
OUTAGE_SECONDS: Final = 5.0
"""How much more time all nodes have after an outage: a connection that hangs is noticed only after a while."""


class Watched(Struct):
    """Another node. `still`: how long its heartbeat has stood still while this process looked, in seconds."""

    now: NodeNow
    still: float = 0.0


class Watcher(Protocol):
    """The node that watches the others."""

    @property
    def me(self) -> Process:
        """This process."""

    def say(self) -> Said:
        """Returns the facts to publish in the database."""

    def peers_changed(self) -> None:
        """Other nodes came or went."""

    def saw(self, node: NodeNow) -> None:
        """Called at each look for each other node."""

    def suspect(self) -> None:
        """A node may have died, perhaps with something committed that it has not published."""

    def lapsed(self, node: NodeNow) -> None:
        """This node is dead. Called at each look until its lease is taken away."""


class Peers:
    """Looks at the other nodes, and notifies `watcher`."""

    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store, watcher: Watcher) -> None:
        self._clock = clock
        self._store = store
        self._watcher = watcher
        self._others: dict[str, Watched] = {}  # by boot
        self.mine: NodeNow | None = None
        """This node, as the database has it."""
        self._said: tuple[str, Said] | None = None  # last, with the boot that it was said for
        self._looked: float | None = None  # when the database answered last; None: there was an outage since
        self._next: IDelayedCall | None = None
        self._running = False

    @property
    def others(self) -> list[NodeNow]:
        """The nodes that are alive, as far as is known."""
        return [watched.now for watched in self._others.values()]

    def start(self) -> None:
        self._running = True
        self._exchange()

    def stop(self) -> None:
        self._running = False
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def forget(self) -> None:
        """This process serves anew: all that it finds next have just come."""
        self._others.clear()
        self._looked = None

    def _exchange(self) -> None:
        self._next = None
        ensureDeferred(self._look()).addErrback(
            lambda failure: self.log.failure("The other nodes could not be looked at.", failure)
        ).addCallback(self._again)

    def _again(self, _: object) -> None:
        if self._running:
            self._next = self._clock.callLater(EXCHANGE_SECONDS, self._exchange)

    async def _look(self) -> None:
        me, said = self._watcher.me, self._watcher.say()
        new = (me.boot, said) != self._said
        try:
            found = await self._store.write(exchange, me, said if new else None)
        except (Unavailable, Conflict):  # the store has logged that
            self._looked = None
            for watched in self._others.values():  # none could show that it is alive
                watched.still = -OUTAGE_SECONDS
            return
        if me.boot != self._watcher.me.boot:  # it has lost its lease meanwhile
            return
        self._said = me.boot, said
        if self._running:
            self._compare(me, found)

    def _compare(self, me: Process, found: list[NodeNow]) -> None:
        self.mine = next((node for node in found if node.boot == me.boot), None)
        now = self._clock.seconds()
        passed = 0.0 if self._looked is None else min(now - self._looked, COUNTED_SECONDS)
        self._looked = now
        doubtful = started = False
        known, self._others = self._others, {}
        for node in found:
            if node.name == me.node:
                continue
            before = known.get(node.boot)
            if before is None or before.now.beat != node.beat:
                self._others[node.boot] = Watched(node)
            else:
                self._others[node.boot] = Watched(node, before.still + passed)
            if before is not None:
                doubtful |= before.now.connected and not node.connected
                started |= node.facts.speaks > before.now.facts.speaks
        gone = [watched.now for boot, watched in known.items() if boot not in self._others]
        came = [watched.now for boot, watched in self._others.items() if boot not in known]
        for node in gone:
            self.log.info("Node {name} is gone.", name=node.name)
        for node in came:
            self.log.info("Node {name} is there.", name=node.name)
        dead = [one.now for one in self._others.values() if one.now.ended or one.still > LAPSE_SECONDS]
        if gone or dead or doubtful:
            self._watcher.suspect()
        if gone or came or started:  # a node publishes nothing before its first look
            self._watcher.peers_changed()
        for watched in list(self._others.values()):
            self._watcher.saw(watched.now)
        for node in dead:
            self._watcher.lapsed(node)
