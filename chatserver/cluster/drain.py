"""What `chatctl node` asks of this node: to send its clients to others, all of them, or as many as it has too many."""

import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from math import ceil, inf
from typing import Any, Final

from msgspec import Struct
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.cluster.node import Cluster
from chatserver.cluster.peers import EXCHANGE_SECONDS
from chatserver.net.connection.connection import Connection
from chatserver.net.connection.connections import MOVING, Connections
from chatserver.store.db.faults import Conflict
from chatserver.store.db.threads import Store
from chatserver.store.nodes.lease import Process
from chatserver.store.nodes.nodes import DRAIN, REBALANCE, done
from chatserver.util.waiting import pause, until
from chatserver.values.errors import Note, Sentence, Unavailable
from chatserver.values.stages import Stage

SLICE_SECONDS: Final = 0.2
"""Between two times at which connections are ended."""
PER_SECOND: Final = 500
"""So many at most are ended in a second for each other node: it logs in more than that, by token."""
LAST_RETRY_SECONDS: Final = 2
"""Within this time they are to connect again."""
LINGERING_SECONDS: Final = 10.0
"""After so long the last ones, which do not read, are cut off."""
TOLERATED: Final = 1.1
"""A node that has no more than this times its share is left alone: every move is an interruption for somebody."""


class Drain:
    """`withdraw` closes the ports; `retries` returns when the first and the last of so many clients are to come back
    where no other node serves."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        cluster: Cluster,
        connections: Connections,
        store: Store,
        me: Callable[[], Process],
        withdraw: Callable[[], Awaitable[None]],
        retries: Callable[[int], tuple[int, int]],
    ) -> None:
        self._clock = clock
        self._cluster = cluster
        self._connections = connections
        self._store = store
        self._me = me
        self._withdraw = withdraw
        self._retries = retries
        self._busy = False

    def asked(self, what: str) -> None:
        """Called each time the database is looked at, for as long as it is asked."""
        if self._busy or self._connections.closing or self._cluster.state != "serving":
            return
        work = {DRAIN: self._drain, REBALANCE: self._rebalance}.get(what)
        if work is not None:  # else only a later version knows it
            self._busy = True
            ensureDeferred(self._done(work)).addErrback(
                lambda failure: self.log.failure(
                    "This node could not do what it was asked to: {what}", failure, what=what
                )
            )

    async def _done(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        finally:
            self._busy = False

    async def _drain(self) -> None:
        self._cluster.state = "draining"
        self.log.info("Draining {count} connections: the ports are closed.", count=self._open)
        await self._withdraw()
        while not self._connections.closing and self._open:
            await self._shed(self._serving())
        await until(self._clock, lambda: not self._connections.open, LINGERING_SECONDS)
        for connection in list(self._connections.open):
            connection.abort()
        self._cluster.state = "drained"
        self.log.info("Drained: this node serves nobody, and can be stopped.")

    async def _rebalance(self) -> None:
        surplus = too_many(self._open, [node.facts.connections for node in self._cluster.serving])
        if surplus:
            self.log.info("Rebalancing: {count} of {all} connections move.", count=surplus, all=self._open)
            newest = sorted(self._serving(), key=lambda connection: connection.began, reverse=True)
            self._cluster.sheds = True
            try:
                await self._shed(newest[:surplus])
            finally:
                self._cluster.sheds = False
        while not self._connections.closing:
            try:
                await self._store.write(done, self._me(), REBALANCE)
            except (Unavailable, Conflict):
                await pause(self._clock, 1)
            else:
                await pause(self._clock, 2 * EXCHANGE_SECONDS)  # until this node sees that nothing is asked any more
                return

    @property
    def _open(self) -> int:
        return len(self._serving())

    def _serving(self) -> list[Connection]:
        return [one for one in self._connections.open if one.session.stage is not Stage.ENDING]

    async def _shed(self, which: Sequence[Connection]) -> None:
        """Ends these connections, some at a time: what has arrived of them is stored and answered first."""
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
        others = len(self._cluster.serving)
        if others:
            return _Plan(MOVING, ceil(PER_SECOND * SLICE_SECONDS) * others, 0, LAST_RETRY_SECONDS)
        return _Plan(ALONE, ceil(PER_SECOND * SLICE_SECONDS), *self._retries(count))


ALONE: Final = ("moving", Sentence(Note.STOPPING))
"""Reason and text where nobody else serves."""


class _Plan(Struct, frozen=True):
    """How many connections are ended at once, with which words, and when they are to come back."""

    words: tuple[str, Sentence]
    count: int
    first: int
    last: int


def too_many(mine: int, others: Sequence[int]) -> int:
    """How many of a node's connections should be other nodes', which have so many each."""
    share = ceil((mine + sum(others)) / (1 + len(others)))
    return mine - share if mine > share * TOLERATED else 0
