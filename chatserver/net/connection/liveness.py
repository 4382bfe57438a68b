"""Pings a silent client, and disconnects it if it stays silent."""

from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

RECHECK_SECONDS: Final = 1.0
"""Minimum interval between looks, so that a client that is not being read costs nothing in between."""


class Watched(Protocol):
    """The client of a connection."""

    @property
    def is_read(self) -> bool:
        """Whether the server reads the client. While it does not, silence means nothing."""
        ...

    def ping(self) -> None: ...

    def silent(self) -> None:
        """The client has not answered the ping."""


class Liveness:
    """Pings a client after `ping_seconds` of silence, and gives it up after `pong_seconds` more."""

    __slots__ = ("_call", "_client", "_clock", "_ping_seconds", "_pong_seconds", "heard")

    def __init__(self, clock: IReactorTime, client: Watched, ping_seconds: float, pong_seconds: float) -> None:
        self._clock = clock
        self._client = client
        self._ping_seconds = ping_seconds
        self._pong_seconds = pong_seconds
        self.heard = clock.seconds()
        """When the last bytes came, in seconds of the clock."""
        self._call: IDelayedCall = clock.callLater(ping_seconds, self._look)

    def change(self, ping_seconds: float, pong_seconds: float) -> None:
        """Applies changed times."""
        if (ping_seconds, pong_seconds) != (self._ping_seconds, self._pong_seconds):
            self._ping_seconds = ping_seconds
            self._pong_seconds = pong_seconds
            self.stop()
            self._look_later(self.heard + ping_seconds - self._clock.seconds())

    def stop(self) -> None:
        if self._call.active():
            self._call.cancel()
        del self._call  # a call that has run still refers to this object

    def _look(self) -> None:
        left = self.heard + self._ping_seconds - self._clock.seconds()
        if left > 0 or not self._client.is_read:
            self._look_later(left)
            return
        self._client.ping()
        self._call = self._clock.callLater(self._pong_seconds, self._look_again, self.heard)

    def _look_again(self, heard: float) -> None:
        if self.heard > heard or not self._client.is_read:
            self._look_later(self.heard + self._ping_seconds - self._clock.seconds())
        else:
            self._client.silent()

    def _look_later(self, seconds: float) -> None:
        self._call = self._clock.callLater(max(seconds, RECHECK_SECONDS), self._look)
