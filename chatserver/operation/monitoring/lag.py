"""How late the reactor calls: what is due waits while something else keeps the reactor busy."""

from typing import Final

from twisted.internet.interfaces import IDelayedCall

from chatserver.operation.companion import Quiet
from chatserver.operation.running import Running

PROBE_SECONDS: Final = 0.25
"""Often enough to see what a person would feel, and seldom enough to cost nothing."""


class Lag(Quiet):
    def __init__(self, running: Running) -> None:
        self._clock = running.reactor
        self._seen = running.lag
        self._call: IDelayedCall | None = None

    def started(self) -> None:
        self._wait()

    def _wait(self) -> None:
        self._call = self._clock.callLater(PROBE_SECONDS, self._probe, self._clock.seconds() + PROBE_SECONDS)

    def _probe(self, due: float) -> None:
        self._seen.observe(max(self._clock.seconds() - due, 0.0))
        self._wait()

    def stopped(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
