"""Cleans up after dead nodes: closes their sessions, and dismisses their guests."""

from collections.abc import Sequence
from typing import Final

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.login.guests import Guests
from chatserver.store.db.faults import Conflict
from chatserver.store.db.threads import Store
from chatserver.store.nodes.nodes import NodeNow
from chatserver.store.sessions import bury, tidy
from chatserver.values.errors import Unavailable
from chatserver.values.events import Person

TIDY_SECONDS: Final = 80.0
"""How long after a death, and after the start, the database is searched for late writes: the last commit of a dead
process (see `reconcile.DOUBT_SECONDS`), and guests whose sessions were not recorded."""


class DeadNodes:
    """`guests` dismisses guests without a node."""

    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store, guests: Guests) -> None:
        self._clock = clock
        self._store = store
        self._guests = guests
        self._under_way: set[str] = set()  # boots
        self._next: IDelayedCall | None = None
        self._stopped = False

    def start(self, left_behind: Sequence[Person]) -> None:
        """`left_behind`: guests without a node, found at the start."""
        self._dismiss(left_behind)

    def stop(self) -> None:
        """The other nodes, or the next start, do the rest."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def bury(self, dead: NodeNow) -> None:
        """Cleans up after a dead process. May be called again until it has no lease any more."""
        if dead.boot not in self._under_way:
            self._under_way.add(dead.boot)
            ensureDeferred(self._bury(dead)).addErrback(
                lambda failure: self.log.failure("The sessions of node {name} are still open.", failure, name=dead.name)
            ).addCallback(lambda _: self._under_way.discard(dead.boot))

    async def _bury(self, dead: NodeNow) -> None:
        try:
            guests = await self._store.write(bury, dead)
        except (Unavailable, Conflict):  # `bury` is called again
            return
        if guests is None:
            return
        self.log.warn(
            "Node {name} (process {pid} on {host}) is dead: it {why}. Its sessions are closed.",
            name=dead.name, pid=dead.pid, host=dead.host,
            why="does not run any more" if dead.ended else "has sent no heartbeat",
        )  # fmt: skip
        self._dismiss(guests)

    def _dismiss(self, guests: Sequence[Person]) -> None:
        for guest in guests:
            self._guests.not_admitted(guest)
        self._later()

    def _later(self) -> None:
        if self._stopped:
            return
        if self._next is None:
            self._next = self._clock.callLater(TIDY_SECONDS, self._start_tidying)
        else:
            self._next.reset(TIDY_SECONDS)

    def _start_tidying(self) -> None:
        self._next = None
        ensureDeferred(self._tidy()).addErrback(self._failed)

    async def _tidy(self) -> None:
        for guest in await self._store.write(tidy):
            self._guests.not_admitted(guest)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable, Conflict):  # the store has logged that
            self.log.failure("What dead nodes have left was not tidied up. This is tried again.", failure)
        self._later()  # by then, sessions are recorded that waited for the database
