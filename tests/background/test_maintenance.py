"""Maintenance of the database in the background."""

from typing import Any

from twisted.internet.task import Clock

from chatserver.background.maintenance import AGAIN_SECONDS, LOG_SECONDS, Maintenance
from chatserver.util.clock import Clock as ServerClock
from chatserver.values.errors import Unavailable
from tests.support.hall import START


class Log:
    """A store whose write-ahead log can be emptied, or not."""

    def __init__(self) -> None:
        self.outcomes: list[bool | Exception] = []

    async def read(self, work: Any, *given: Any) -> Any:
        return (False, *given) if given else []

    async def empty_log(self) -> bool:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_the_log_is_emptied_regularly() -> None:
    """It is emptied twice a minute, and sooner after it could not be; stopping ends that."""
    clock, log = Clock(), Log()
    maintenance = Maintenance(clock, log, ServerClock(lambda: START))  # type: ignore[arg-type]
    maintenance.start()
    log.outcomes = [True, False, Unavailable(), True]
    for seconds, left in ((LOG_SECONDS, 3), (LOG_SECONDS, 2), (AGAIN_SECONDS, 1), (AGAIN_SECONDS, 0)):
        clock.advance(seconds - 0.1)
        assert len(log.outcomes) == left + 1
        clock.advance(0.1)
        assert len(log.outcomes) == left
    maintenance.stop()
    assert not clock.getDelayedCalls()
