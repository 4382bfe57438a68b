"""The other nodes: which are alive, and what the database says of them. It is asked a few times a second.

A node is dead if the kernel says so, since it ran on this machine, or if its heartbeat has stood still for as long as a
lease lasts. Only time counts in which this process looked and the database answered: after an outage, or a stop of this
process, everybody first has the time to show up.
"""

from collections.abc import Callable
from typing import Final

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
"""A node learns so soon of others that came or ended, and of frames that it was sent and did not get."""
COUNTED_SECONDS: Final = 2 * EXCHANGE_SECONDS
"""Of the time between two looks so much counts at most: who did not look does not know who was there meanwhile."""
OUTAGE_SECONDS: Final = 5.0
"""After an outage everybody has this much more time: connections that hang are noticed only after a while."""


class Watched(Struct):
    """Another node. `still`: for how many seconds its heartbeat has stood still, as far as this process has looked."""

    now: NodeNow
    still: float = 0.0


class Peers:
    """`say` returns what this node has to say. `changed` is called when other nodes came or went; `saw` with what the
    database says of each, each time; `suspect` if one may have died, perhaps with something committed that it told
    nobody; `lapsed` with one that is dead, each time until its lease is taken away."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        me: Callable[[], Process],
        say: Callable[[], Said],
        changed: Callable[[], None],
        saw: Callable[[NodeNow], None],
        suspect: Callable[[], None],
        lapsed: Callable[[NodeNow], None],
    ) -> None:
        self._clock = clock
        self._store = store
        self._me = me
        self._say = say
        self._changed = changed
        self._saw = saw
        self._suspect = suspect
        self._lapsed = lapsed
        self._others: dict[str, Watched] = {}  # by boot
        self.mine: NodeNow | None = None
        """This node, as the database has it."""
        self._said: tuple[str, Said] | None = None  # by the process with this boot
        self._looked: float | None = None  # when the database answered last; None: there was an outage since
        self._next: IDelayedCall | None = None
        self._running = False

    @property
    def others(self) -> list[NodeNow]:
        """Those that are alive, as far as is known."""
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
        """This process serves anew: whom it finds next has just come."""
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
        me, said = self._me(), self._say()
        new = (me.boot, said) != self._said
        try:
            found = await self._store.write(exchange, me, said if new else None)
        except (Unavailable, Conflict):  # the store has logged that
            self._looked = None
            for watched in self._others.values():  # nobody could show that it is alive
                watched.still = -OUTAGE_SECONDS
            return
        if me.boot != self._me().boot:  # it has lost its lease meanwhile
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
            self._suspect()
        if gone or came or started:  # what a node stored before it first looked here, it told nobody
            self._changed()
        for watched in list(self._others.values()):
            self._saw(watched.now)
        for node in dead:
            self._lapsed(node)
