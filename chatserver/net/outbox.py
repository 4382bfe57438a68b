"""Flow control of one connection: sends bytes at once while the socket accepts them, limits how many wait, and pauses
reading while no more commands can be accepted."""

import socket
import struct
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any, Final, Protocol

from twisted.internet import tcp
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from chatserver.session import FULL_BYTES, Link, NoLink, takes_nothing

UNSENT_BYTES = 131072
"""At most so much waits in the kernel beyond the peer's window. Otherwise the kernel would take megabytes for a client
that does not read, with the memory and the time that writing them costs."""
INTERNET = (socket.AF_INET, socket.AF_INET6)


class Owner(Link, Protocol):
    """The link whose `send` and `writable` an outbox sets."""

    def drained(self) -> None:
        """It is writable again."""

    def stalled(self) -> None:
        """The client has taken nothing for too long."""


class Gone(NoLink):
    def drained(self) -> None:
        pass

    def stalled(self) -> None:
        pass


GONE: Final = Gone()


def _socket_beneath(transport: Any) -> Any:
    """The socket of a transport, also of one of TLS, whose own handle is OpenSSL's; None where there is none."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport.getHandle() if hasattr(transport, "getHandle") else None


@implementer(IPushProducer)
class Outbox:
    """Its states: *free* (bytes go straight into the socket, by the link's `send`), *waiting* (older bytes wait in the
    transport), *full* (more than `FULL_BYTES` wait: the link is not writable until nothing waits any more), *held*
    (bytes are collected until `release`), *closed*. Independently of them, reading is paused or not.

    On plain TCP (`direct`) data goes straight into the socket: `transport.write` would cost two epoll_ctl calls and a
    turn of the reactor for each recipient, and `writeSomeData` twice the time of the socket's own `send`. Other
    transports (TLS) are written to in the ordinary way.
    """

    def __init__(self, link: Owner, transport: Any, clock: IReactorTime, stalled_seconds: float) -> None:
        self._link: Owner = link
        self._transport = transport
        self._clock = clock
        self._stalled_seconds = stalled_seconds
        self._pending = 0  # bytes given to the transport since it was last empty
        self._held: list[bytes] | None = None
        self._open = True
        self._stall: IDelayedCall | None = None
        self.reading = True
        self.direct = isinstance(transport, tcp.Connection) and not transport.TLS
        self._socket = _socket_beneath(transport)
        if hasattr(socket, "TCP_NOTSENT_LOWAT") and getattr(self._socket, "family", None) in INTERNET:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        link.writable = True
        self._clear_the_way()
        # A pull producer is called whenever the transport has become empty: just what a direct sender wants to know.
        transport.registerProducer(self, not self.direct)

    def write(self, data: bytes) -> None:
        """Sends these bytes after all before them. Once closed, does nothing."""
        if self._held is not None:
            self._held.append(data)
        elif data and self._open:
            try:
                sent = self._link.send(data)
            except OSError:  # full, or lost: the transport finds out for itself
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
            self._transport.write(data)
            if self.direct:
                self._wait_for(data)

    def hold(self) -> bool:
        """Collects what is written until `release`. Returns False and changes nothing if it is held already."""
        if self._held is not None or not self._open:
            return False
        self._held = []
        self._link.send = takes_nothing
        return True

    def release(self) -> None:
        held, self._held = self._held, None
        self._clear_the_way()
        if held:
            self.write(b"".join(held))

    def read(self, wanted: bool) -> None:
        """Pauses reading, or resumes it."""
        if wanted is not self.reading:
            self.reading = wanted
            self._transport.resumeProducing() if wanted else self._transport.pauseProducing()

    def close(self) -> None:
        """What was written still goes out; nothing more is taken."""
        if self._open:
            self.release()
            self._shut()
            self._transport.unregisterProducer()

    def _clear_the_way(self) -> None:
        """Lets bytes go straight into the socket, if nothing waits before them."""
        if self.direct and self._open and not self._pending and self._held is None:
            self._link.send = self._socket.send

    def _wait_for(self, data: bytes) -> None:
        self._link.send = takes_nothing
        self._pending += len(data)
        if self._pending > FULL_BYTES:
            self._full()

    def _shut(self) -> None:
        self._open = False
        self._link.send = takes_nothing
        self._link.writable = False
        self._stop_watching()

    def _full(self) -> None:
        self._link.writable = False
        if self._stall is None and self._stalled_seconds:
            self._watch(self._queued())

    # Called by the transport

    def resumeProducing(self) -> None:
        """The transport is empty."""
        self._pending = 0
        self._clear_the_way()
        self._stop_watching()
        if self._open and not self._link.writable:
            self._link.writable = True
            self._link.drained()

    def pauseProducing(self) -> None:
        """The transport is full (TLS)."""
        if self._open:
            self._full()

    def stopProducing(self) -> None:
        """The connection is lost: lets go of it, so that no circle of references keeps the memory of both."""
        if self._open:
            self._shut()
        self._link = GONE

    # A link that takes nothing at all

    def _watch(self, queued: int) -> None:
        self._stall = self._clock.callLater(self._stalled_seconds, self._check, queued)

    def _check(self, before: int) -> None:
        self._stall = None
        queued = self._queued()
        if queued < before:  # slow, but alive
            self._watch(queued)
        else:
            self._link.stalled()

    def _queued(self) -> int:
        """Bytes in the kernel's send queue that the peer has not acknowledged (tcp(7), SIOCOUTQ)."""
        try:
            kernel = struct.unpack("i", ioctl(self._socket.fileno(), TIOCOUTQ, b"\0\0\0\0"))[0]
        except (OSError, AttributeError):
            return 0
        return int(kernel)

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
