"""What the other nodes do once one is dead: its sessions are closed, and its guests leave."""

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.store.db.faults import Conflict
from chatserver.store.db.threads import Store
from chatserver.store.nodes.nodes import NodeNow
from chatserver.store.sessions import bury, tidy
from chatserver.values.errors import Unavailable
from chatserver.values.events import Person

TIDY_SECONDS: Final = 80.0
"""So long after a death, and after the start, the database is looked through for what came late: the last commit of a
dead process (see `reconcile.DOUBT_SECONDS`), and guests whose sessions were not recorded."""


class Burial:
    """`dismiss` is called with each guest that has no node any more."""

    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store, dismiss: Callable[[Person], None]) -> None:
        self._clock = clock
        self._store = store
        self._dismiss = dismiss
        self._under_way: set[str] = set()  # boots
        self._next: IDelayedCall | None = None
        self._stopped = False

    def start(self, left_behind: Sequence[Person]) -> None:
        """These guests were found at the start."""
        for guest in left_behind:
            self._dismiss(guest)
        self._later()

    def stop(self) -> None:
        """What is left to do is done by the others, or by the next start."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def bury(self, dead: NodeNow) -> None:
        """This process is dead. May be called again, until it has no lease any more."""
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
        for guest in guests:
            self._dismiss(guest)
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
            self._dismiss(guest)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable, Conflict):  # the store has logged that
            self.log.failure("What dead nodes have left was not tidied up. This is tried again.", failure)
        self._later()  # and then sessions have been recorded that waited for the database
