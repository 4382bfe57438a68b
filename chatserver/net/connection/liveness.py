"""Whether a silent client is still there: it is pinged, and disconnected if it stays silent."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

RECHECK_SECONDS = 1.0
"""The least time to the next look, so that a client that is not being read costs nothing in between."""


class Liveness:
    """Calls `ask` after `ping_seconds` of silence, and `give_up` after `pong_seconds` more.

    `is_read`: while the server itself does not read the client, its silence says nothing.
    """

    __slots__ = ("_ask", "_call", "_clock", "_give_up", "_is_read", "_ping_seconds", "_pong_seconds", "heard")

    def __init__(
        self,
        clock: IReactorTime,
        ping_seconds: float,
        pong_seconds: float,
        ask: Callable[[], None],
        give_up: Callable[[], None],
        is_read: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._ping_seconds = ping_seconds
        self._pong_seconds = pong_seconds
        self._ask = ask
        self._give_up = give_up
        self._is_read = is_read
        self.heard = clock.seconds()  # when the last bytes came
        self._call: IDelayedCall = clock.callLater(ping_seconds, self._look)

    def change(self, ping_seconds: float, pong_seconds: float) -> None:
        """These times hold from now on."""
        if (ping_seconds, pong_seconds) != (self._ping_seconds, self._pong_seconds):
            self._ping_seconds = ping_seconds
            self._pong_seconds = pong_seconds
            self.stop()
            self._look_later(self.heard + ping_seconds - self._clock.seconds())

    def stop(self) -> None:
        if self._call.active():
            self._call.cancel()
        del self._call  # one that has run still refers to this object

    def _look(self) -> None:
        left = self.heard + self._ping_seconds - self._clock.seconds()
        if left > 0 or not self._is_read():
            self._look_later(left)
            return
        self._ask()
        self._call = self._clock.callLater(self._pong_seconds, self._look_again, self.heard)

    def _look_again(self, heard: float) -> None:
        if self.heard > heard or not self._is_read():
            self._look_later(self.heard + self._ping_seconds - self._clock.seconds())
        else:
            self._give_up()

    def _look_later(self, seconds: float) -> None:
        self._call = self._clock.callLater(max(seconds, RECHECK_SECONDS), self._look)
