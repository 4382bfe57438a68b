"""Jobs that run again and again, in small steps, in the background."""

from typing import ClassVar

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.store.db.faults import Conflict
from chatserver.values.errors import Unavailable


class Job:
    """A subclass implements `look`. After a failure, it is called again in `poll_seconds`.

    `look` checks `running` before each step. On `stop`, the step under way is finished, and the next start goes on
    from there.
    """

    log = Logger()
    poll_seconds: ClassVar[float]
    complaint: ClassVar[str]
    """Log line for a failure."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._next: IDelayedCall | None = None
        self.running = False

    async def look(self) -> float:
        """Looks for work and does it. Returns the seconds until the next call."""
        raise NotImplementedError

    def start(self) -> None:
        self.running = True
        self._begin()

    def stop(self) -> None:
        self.running = False
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self) -> None:
        self._next = None
        ensureDeferred(self.look()).addErrback(self._failed).addCallback(self._again)

    def _again(self, seconds: float) -> None:
        if self.running:
            self._next = self._clock.callLater(seconds, self._begin)

    def _failed(self, failure: Failure) -> float:
        if not failure.check(Unavailable, Conflict):  # the store has logged the one, and the other passes
            self.log.failure(self.complaint, failure)
        return self.poll_seconds
