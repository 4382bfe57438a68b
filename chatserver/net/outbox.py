"""What goes out to one client: at once where the link is free, and never without bound."""

import socket
import struct
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from chatserver.session import FULL_BYTES, Session, takes_nothing

UNSENT_BYTES = 131072
"""So much may wait in the kernel beyond what the peer's window takes. Else it would take megabytes for who does not
read, and the memory with that, and the time to write it."""
INTERNET = (socket.AF_INET, socket.AF_INET6)


def _socket_beneath(transport: Any) -> Any:
    """The socket of a transport, also of one of TLS, whose own handle is OpenSSL's; None where there is none."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport.getHandle() if hasattr(transport, "getHandle") else None


@implementer(IPushProducer)
class Outbox:
    """Sets `Session.writable` to False once more than `FULL_BYTES` wait; calls `drained` when nothing waits any more.

    On plain TCP (`direct`), data goes straight into the socket where nothing waits before it, by `Session.send`:
    `transport.write` would cost two epoll_ctl and a turn of the reactor for each recipient, and `writeSomeData` twice
    the time of the socket's own `send`. Other transports (TLS) take the ordinary way.
    """

    def __init__(self, session: Session, transport: Any, clock: IReactorTime, stalled_seconds: float) -> None:
        self._session = session
        self._transport = transport
        self._clock = clock
        self._stalled_seconds = stalled_seconds
        self._pending = 0  # bytes given to the transport since it was last empty
        self._held: list[bytes] | None = None
        self._open = True
        self._stall: IDelayedCall | None = None
        self.direct = isinstance(transport, tcp.Connection) and not transport.TLS
        self._socket = _socket_beneath(transport)
        if hasattr(socket, "TCP_NOTSENT_LOWAT") and getattr(self._socket, "family", None) in INTERNET:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._clear_the_way()
        # A pull producer is asked whenever the transport has become empty: just what a direct sender wants to know.
        transport.registerProducer(self, not self.direct)

    def write(self, data: bytes) -> None:
        """Sends these bytes after all before them. Once closed, does nothing."""
        if self._held is not None:
            self._held.append(data)
        elif data and self._open:
            try:
                sent = self._session.send(data)
            except OSError:  # full, or lost: the transport finds out for itself
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
            self._transport.write(data)
            if self.direct:
                self._wait_for(data)

    def hold(self) -> None:
        """Collects what is written until `release`, so that it goes out in one piece."""
        self._held = []
        self._session.send = takes_nothing

    def release(self) -> None:
        held, self._held = self._held, None
        self._clear_the_way()
        if held:
            self.write(b"".join(held))

    def close(self) -> None:
        """What was written still goes out; nothing more is taken."""
        if self._open:
            self.release()
            self._shut()
            self._transport.unregisterProducer()

    def _clear_the_way(self) -> None:
        """Lets bytes go straight into the socket, where nothing is before them."""
        if self.direct and self._open and not self._pending and self._held is None:
            self._session.send = self._socket.send

    def _wait_for(self, data: bytes) -> None:
        self._session.send = takes_nothing
        self._pending += len(data)
        if self._pending > FULL_BYTES:
            self._full()

    def _shut(self) -> None:
        self._open = False
        self._session.send = takes_nothing
        self._session.writable = False
        self._stop_watching()

    def _full(self) -> None:
        self._session.writable = False
        if self._stall is None and self._stalled_seconds:
            self._watch(self._queued())

    # The transport's side of the bargain

    def resumeProducing(self) -> None:
        self._pending = 0
        self._clear_the_way()
        self._stop_watching()
        if not self._session.writable and self._open:
            self._session.writable = True
            self._session.drained()

    def pauseProducing(self) -> None:
        self._full()

    def stopProducing(self) -> None:
        """The connection is lost."""
        self._shut()

    # A link that takes nothing at all

    def _watch(self, queued: int) -> None:
        self._stall = self._clock.callLater(self._stalled_seconds, self._check, queued)

    def _check(self, before: int) -> None:
        self._stall = None
        queued = self._queued()
        if queued < before:  # slow, but alive
            self._watch(queued)
        else:
            self._session.hang_up("stalled", "Your side has taken nothing for too long. Connect again to read on.")
            self._transport.abortConnection()

    def _queued(self) -> int:
        """Bytes in the kernel's send queue, which the peer has not acknowledged (tcp(7), SIOCOUTQ)."""
        try:
            kernel = struct.unpack("i", ioctl(self._socket.fileno(), TIOCOUTQ, b"\0\0\0\0"))[0]
        except (OSError, AttributeError):
            return 0
        return int(kernel)

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
