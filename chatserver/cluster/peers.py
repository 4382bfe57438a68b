"""The other nodes: which are alive, and what the database says of them. It is asked a few times a second."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatserver.errors import Unavailable
from chatserver.store.lease import LAPSE_SECONDS, Process
from chatserver.store.nodes import NodeNow, Said, exchange
from chatserver.store.threads import Store
from chatserver.store.transactions import Conflict

EXCHANGE_SECONDS: Final = 0.4
"""A node learns so soon of others that came or ended, and of frames that it was sent and did not get."""


class Watched(Struct):
    """Another node. `since`: when it had another beat, by this process's clock, or when it could not be looked at."""

    now: NodeNow
    since: float


class Peers:
    """`say` returns what this node has to say. `changed` is called when other nodes came or went; `saw` with what the
    database says of each, each time; `suspect` if one may have died, perhaps with something committed that it told
    nobody; `lapsed` with one that is dead: call `forget` once that is recorded."""

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
        self._said: Said | None = None
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

    def _exchange(self) -> None:
        self._next = None
        ensureDeferred(self._look()).addErrback(
            lambda failure: self.log.failure("The other nodes could not be looked at.", failure)
        ).addCallback(self._again)

    def _again(self, _: object) -> None:
        if self._running:
            self._next = self._clock.callLater(EXCHANGE_SECONDS, self._exchange)

    async def _look(self) -> None:
        said = self._say()
        try:
            found = await self._store.write(exchange, self._me(), None if said == self._said else said)
        except (Unavailable, Conflict):  # the store has logged that
            for watched in self._others.values():  # nobody could show that it is alive
                watched.since = self._clock.seconds()
            return
        self._said = said
        if self._running:
            self._compare(found)

    def _compare(self, found: list[NodeNow]) -> None:
        me = self._me()
        self.mine = next((node for node in found if node.boot == me.boot), None)
        now = self._clock.seconds()
        known, self._others = self._others, {}
        for node in found:
            if node.name == me.node:
                continue
            before = known.get(node.boot)
            if before is None or before.now.beat != node.beat:
                self._others[node.boot] = Watched(node, now)
            else:
                self._others[node.boot] = Watched(node, before.since)
                if before.now.connected and not node.connected:
                    self._suspect()
        if self._others.keys() != known.keys():
            for boot, gone in known.items():
                if boot not in self._others:
                    self.log.info("Node {name} is gone.", name=gone.now.name)
                    self._suspect()
            for boot, came in self._others.items():
                if boot not in known:
                    self.log.info("Node {name} is there.", name=came.now.name)
            self._changed()
        for watched in list(self._others.values()):
            self._saw(watched.now)
            if watched.now.ended or now - watched.since > LAPSE_SECONDS:
                self._suspect()
                self._lapsed(watched.now)
