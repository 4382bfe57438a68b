"""Sends clients of this node to others, as `chatctl node` requests: all of them, or the excess."""

import random
from collections.abc import Coroutine, Sequence
from math import ceil, inf
from typing import Any, Final, Protocol

from msgspec import Struct
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.cluster.node import Node
from chatserver.cluster.peers import EXCHANGE_SECONDS
from chatserver.net.connection.connection import Connection
from chatserver.net.connection.connections import MOVING, Connections
from chatserver.store.db.faults import Conflict
from chatserver.store.db.threads import Store
from chatserver.store.nodes.nodes import DRAIN, REBALANCE, done
from chatserver.util.waiting import pause, until
from chatserver.values.errors import Note, Sentence, Unavailable
from chatserver.values.stages import Stage

SLICE_SECONDS: Final = 0.2
"""Interval between slices of connections that are ended."""
PER_SECOND: Final = 500
"""Maximum number of connections ended per second for each other node, which logs in more than that, by token."""
LAST_RETRY_SECONDS: Final = 2
"""Maximum time until clients connect again."""
LINGERING_SECONDS: Final = 10.0
"""How long to wait for the last ones, which do not read, before closing them."""
TOLERATED: Final = 1.1
"""Multiple of its share that a node may have without moving any: every move interrupts somebody."""


class Server(Protocol):
    """The server that is to be drained."""

    async def withdraw(self) -> None:
        """Closes all ports without losing anybody."""

    def retries(self, connections: int) -> tuple[int, int]:
        """The seconds after which the first and the last of `connections` clients come back to this server."""


class Drain:
    """Carries out requests to `node`. See `node.Requests`."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        node: Node,
        connections: Connections,
        store: Store,
        server: Server,
    ) -> None:
        self._clock = clock
        self._node = node
        self._connections = connections
        self._store = store
        self._server = server
        self._busy = False

    def requested(self, what: str) -> None:
        if self._busy or self._connections.closing or self._node.state != "serving":
            return
        if what in (DRAIN, REBALANCE):  # else only a later version knows it
            self._busy = True
            ensureDeferred(self._do(self._drain() if what == DRAIN else self._rebalance())).addErrback(
                lambda failure: self.log.failure(
                    "This node could not do what it was asked to: {what}", failure, what=what
                )
            )

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self._busy = False

    async def _drain(self) -> None:
        self._node.state = "draining"
        self.log.info("Draining {count} connections: the ports are closed.", count=self._open)
        await self._server.withdraw()
        while not self._connections.closing and self._open:
            await self._shed(self._serving())
        await until(self._clock, lambda: not self._connections.open, LINGERING_SECONDS)
        for connection in list(self._connections.open):
            connection.abort()
        self._node.state = "drained"
        self.log.info("Drained: this node serves nobody, and can be stopped.")

    async def _rebalance(self) -> None:
        surplus = too_many(self._open, [node.facts.connections for node in self._node.serving])
        if surplus:
            self.log.info("Rebalancing: {count} of {all} connections move.", count=surplus, all=self._open)
            newest = sorted(self._serving(), key=lambda connection: connection.began, reverse=True)
            self._node.sheds = True
            try:
                await self._shed(newest[:surplus])
            finally:
                self._node.sheds = False
        while not self._connections.closing:
            try:
                await self._store.write(done, self._node.me, REBALANCE)
            except (Unavailable, Conflict):
                await pause(self._clock, 1)
            else:
                await pause(self._clock, 2 * EXCHANGE_SECONDS)  # until this node sees that the request is gone
                return

    @property
    def _open(self) -> int:
        return len(self._serving())

    def _serving(self) -> list[Connection]:
        return [one for one in self._connections.open if one.session.stage is not Stage.ENDING]

    async def _shed(self, which: Sequence[Connection]) -> None:
        """Ends these connections, some at a time, after storing and answering what they have sent."""
        at = 0
        while at < len(which) and not self._connections.closing:
            plan = self._plan(len(which))
            some = [one for one in which[at : at + plan.count] if one in self._connections.open]
            at += plan.count
            for connection in some:
                connection.retire()
            seconds = self._connections.shutdown.drain_seconds or inf
            await until(self._clock, lambda some=some: not any(one.busy for one in some), seconds)  # type: ignore[misc]
            for connection in some:
                connection.hang_up(*plan.words, retry=random.randint(plan.first, plan.last))
            await pause(self._clock, SLICE_SECONDS)

    def _plan(self, count: int) -> "_Plan":
        others = len(self._node.serving)
        if others:
            return _Plan(MOVING, ceil(PER_SECOND * SLICE_SECONDS) * others, 0, LAST_RETRY_SECONDS)
        return _Plan(ALONE, ceil(PER_SECOND * SLICE_SECONDS), *self._server.retries(count))


ALONE: Final = ("moving", Sentence(Note.STOPPING))
"""Reason and text where nobody else serves."""


class _Plan(Struct, frozen=True):
    """Number of connections to end at once, the text to send, and when to reconnect."""

    words: tuple[str, Sentence]
    count: int
    first: int
    last: int


def too_many(mine: int, others: Sequence[int]) -> int:
    """Returns the number of connections to move to others. `others`: their numbers of connections."""
    share = ceil((mine + sum(others)) / (1 + len(others)))
    return mine - share if mine > share * TOLERATED else 0
