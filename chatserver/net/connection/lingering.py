"""After the last words of a connection: the peer gets time to take them, and what it sends is thrown away."""

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver.net.connection.parts import Parts
from chatserver.net.door import Doorway
from chatserver.net.way import queued, socket_beneath

LINGER_SECONDS = 2.0
"""Time for the peer to take the last words, where nothing else says how long it may take."""

DISCARDED_BYTES = 16 << 20
"""What a client may send after its connection has ended: more than the buffers of both kernels hold. Whoever sends more
does not mean to read the last words."""

READING_SECONDS: Final = 0.2
"""Nobody reads the last words and presses a key in less."""


class Lingering:
    """The last moment of one connection, which has said everything."""

    __slots__ = ("_call", "_clock", "_discarded", "_door", "_for_people", "_since")

    def __init__(self, clock: IReactorTime, door: Doorway, *, for_people: bool) -> None:
        self._clock = clock
        self._door = door
        self._for_people = for_people
        self._since = clock.seconds()
        self._discarded = 0
        self._call: IDelayedCall | None = None

    def wait(self, seconds: float, then: Callable[[], None]) -> None:
        """So long from now on, and no longer."""
        self.stop()
        self._call = self._clock.callLater(seconds, then)

    def stop(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None  # one that has run still refers to what it called

    def received(self, data: bytes) -> None:
        """These bytes have come, and are thrown away."""
        self._discarded += len(data)
        if self._is_enter(data) or self._discarded > DISCARDED_BYTES:
            self._door.transport.abortConnection()

    def _is_enter(self, data: bytes) -> bool:
        """Whether this is what a person types who has read the last words, and waits for their `nc` to end. A reset
        ends it, and destroys nothing: they have arrived. Otherwise it would wait for another key."""
        read = self._clock.seconds() - self._since >= READING_SECONDS and not queued(
            socket_beneath(self._door.transport)
        )
        return self._for_people and data in (b"\n", b"\r\n") and read


def patience(parts: Parts, *, logged_in: bool) -> float:
    """Seconds for the peer to take the last words. A slow one may take its time for answers, but not while the server
    wants to stop; a client that has not logged in has few to take, and over TLS perhaps never will."""
    if parts.parting.closing:
        return parts.shutdown.flush_seconds
    return max(parts.limits.stalled_seconds if logged_in else 0, LINGER_SECONDS)
