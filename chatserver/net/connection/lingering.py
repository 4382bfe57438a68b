"""After the last words of a connection: the peer gets time to receive them, and the server discards what it sends."""

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver.net.connection.parts import Parts
from chatserver.net.door import Doorway
from chatserver.net.way import queued, socket_beneath

LINGER_SECONDS = 2.0
"""How long the peer may take to receive the last words, where no other limit applies."""

DISCARDED_BYTES = 16 << 20
"""Maximum number of bytes that a client may send after its connection has ended: more than the buffers of both kernels
hold. A client that sends more does not mean to read the last words."""

READING_SECONDS: Final = 0.2
"""Minimum time in which a person reads the last words and presses a key."""


class Lingering:
    """The last moment of one connection, when everything is sent."""

    __slots__ = ("_call", "_clock", "_discarded", "_door", "_for_people", "_since")

    def __init__(self, clock: IReactorTime, door: Doorway, *, for_people: bool) -> None:
        self._clock = clock
        self._door = door
        self._for_people = for_people
        self._since = clock.seconds()
        self._discarded = 0
        self._call: IDelayedCall | None = None

    def wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Calls `then` after this time, in place of any call before."""
        self.stop()
        self._call = self._clock.callLater(seconds, then)

    def stop(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None  # a call that has run still refers to its method

    def received(self, data: bytes) -> None:
        """Discards bytes that have come."""
        self._discarded += len(data)
        if self._is_enter(data) or self._discarded > DISCARDED_BYTES:
            self._door.transport.abortConnection()

    def _is_enter(self, data: bytes) -> bool:
        """Whether a person has read the last words and presses Enter, because `nc` would not end without it. A reset
        ends it at once, and destroys nothing: the last words have arrived."""
        read = self._clock.seconds() - self._since >= READING_SECONDS and not queued(
            socket_beneath(self._door.transport)
        )
        return self._for_people and data in (b"\n", b"\r\n") and read


def patience(parts: Parts, *, logged_in: bool) -> float:
    """How many seconds the peer has to receive the last words. A slow one gets time for its answers, but not while the
    server stops; a client that has not logged in has few to receive, and over TLS perhaps never will."""
    if parts.parting.closing:
        return parts.shutdown.flush_seconds
    return max(parts.limits.stalled_seconds if logged_in else 0, LINGER_SECONDS)
