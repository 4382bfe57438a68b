"""Flow control of one connection: sends bytes at once while the socket accepts them, limits how many wait, and pauses
reading while there is no room for commands."""

import socket
from typing import Any, Final, Protocol

from twisted.internet import tcp
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from chatserver.net.limits.account_share import Unsent
from chatserver.net.way import INTERNET, acknowledged, is_over, missing, queued, socket_beneath, waiting
from chatserver.session.link import FULL_BYTES, Link, NoLink, takes_nothing
from chatserver.settings.tables import Limits

UNSENT_BYTES = 131072
"""Maximum number of bytes that wait in the kernel beyond the peer's window. Otherwise the kernel would take megabytes
for a client that does not read, with the memory and the time that writing them costs."""


class Owner(Link, Protocol):
    """The link whose `send` and `writable` an outbox sets."""

    def drained(self) -> None:
        """The link is writable again."""

    def stalled(self) -> None:
        """The client has received nothing for too long."""


class Gone(NoLink):
    def drained(self) -> None:
        pass

    def stalled(self) -> None:
        pass


GONE: Final = Gone()


@implementer(IPushProducer)
class Outbox:
    """Sends what is written to a link.

    Its states: *free* (bytes go straight into the socket, by the link's `send`), *waiting* (older bytes wait in the
    transport), *full* (more than `FULL_BYTES` wait, or anything at all if the account is `crowded`: the link is not
    writable until nothing waits any more), *held* (bytes are collected until `release`), *closed*. Reading is paused or
    not, independently of them.

    On plain TCP (`direct`) data goes straight into the socket: `transport.write` would cost two epoll_ctl calls and a
    turn of the reactor for each recipient, and `writeSomeData` twice the time of the socket's own `send`. The other
    transports (TLS) are written to as usual.
    """

    def __init__(self, link: Owner, transport: Any, clock: IReactorTime, limits: Limits) -> None:
        """While the link is full, its peer must acknowledge in every `stalled_seconds` (0: no limit)
        `least_bytes_per_second` on average, and at least one byte."""
        self._link: Owner = link
        self._transport = transport
        self._clock = clock
        self._limits = limits
        self._pending = 0  # bytes given to the transport since it was last empty; over TLS, since it was last full
        self._unsent: Unsent | None = None
        self._held: list[bytes] | None = None
        self._open = True
        self._stall: IDelayedCall | None = None
        self._written = 0
        self._arrived = 0
        self.reading = True
        self.direct = isinstance(transport, tcp.Connection) and not transport.TLS
        self._socket = socket_beneath(transport)
        if hasattr(socket, "TCP_NOTSENT_LOWAT") and getattr(self._socket, "family", None) in INTERNET:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        link.writable = True
        self._clear_the_way()
        # Twisted calls a pull producer whenever the transport has become empty, as a direct sender needs.
        left = waiting(transport)  # the answers to requests before that for a WebSocket
        transport.registerProducer(self, not self.direct)
        if left and self.direct:
            self._wait_for(left)

    def write(self, data: bytes) -> None:
        """Sends these bytes after all earlier ones. Does nothing once closed."""
        if self._held is not None:
            self._held.append(data)
        elif data and self._open:
            self._send(data)

    def _send(self, data: bytes) -> None:
        size = len(data)
        self._written += size
        try:
            sent = self._link.send(data)
        except OSError:  # full, or lost: the transport finds out for itself
            sent = 0
        if sent == size:
            return
        data = data[sent:]
        full = not self._link.writable
        self._transport.write(data)
        if self.direct:
            self._wait_for(len(data))
        elif full:
            self._add(len(data))

    def hold(self) -> bool:
        """Collects what is written until `release`. Returns False and changes nothing if it already does."""
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

    @property
    def written(self) -> int:
        """Number of bytes given to `write` so far, which are all that was sent to a person."""
        return self._written + sum(map(len, self._held or ()))

    @property
    def idle(self) -> bool:
        """Whether no bytes wait here, in the transport or in this turn."""
        return self._open and not self._held and not waiting(self._transport)

    def taken(self) -> int:
        """How many bytes of `written` have reached the client's host, as far as that is known."""
        left = missing(self._transport, self._socket)
        if left is not None:
            self._arrived = max(self._arrived, self._written - left)
        return self._arrived

    def is_over(self) -> None:
        """The connection, which the server closed, is lost."""
        if is_over(self._transport):
            self._arrived = self._written

    def share(self, unsent: Unsent) -> None:
        """Counts what waits here for an account."""
        self._unsent = unsent
        unsent.bytes += self._pending

    def reload(self) -> None:
        """Applies changed limits: a peer that reads nothing has `stalled_seconds` from now on."""
        if self._open and not self._link.writable:
            self._stop_watching()
            self._full()

    def read(self, wanted: bool) -> None:
        """Pauses reading, or resumes it."""
        if wanted is not self.reading:
            self.reading = wanted
            self._transport.resumeProducing() if wanted else self._transport.pauseProducing()

    def close(self) -> None:
        """Sends what was written, and takes nothing more."""
        if self._open:
            self.release()
            self._shut()
            self._transport.unregisterProducer()

    def _clear_the_way(self) -> None:
        """Lets bytes go straight into the socket, if no others wait."""
        if self.direct and self._open and not self._pending and self._held is None:
            self._link.send = self._socket.send

    def _wait_for(self, size: int) -> None:
        self._link.send = takes_nothing
        self._add(size)
        if self._pending > FULL_BYTES or (self._unsent is not None and self._unsent.crowded):
            self._full()

    def _add(self, size: int) -> None:
        self._pending += size
        if self._unsent is not None:
            self._unsent.bytes += size

    def _forget(self) -> None:
        """No bytes wait any more."""
        if self._unsent is not None:
            self._unsent.bytes -= self._pending
        self._pending = 0

    def _shut(self) -> None:
        self._open = False
        self._link.send = takes_nothing
        self._link.writable = False
        self._stop_watching()

    def _full(self) -> None:
        self._link.writable = False
        if self._stall is None:
            self._watch(self._taken())

    # Called by the transport

    def resumeProducing(self) -> None:
        """The transport is empty."""
        self._forget()
        self._clear_the_way()
        self._stop_watching()
        if self._open and not self._link.writable:
            self._link.writable = True
            self._link.drained()

    def pauseProducing(self) -> None:
        """The transport is full (TLS)."""
        if self._open:
            self._add(waiting(self._transport))
            self._full()

    def stopProducing(self) -> None:
        """The connection is lost. Lets go of it, so that no circle of references keeps the memory of both. The socket
        is still there."""
        self.taken()
        if self._open:
            self._shut()
        self._forget()
        self._link = GONE

    # A peer that reads too little

    def _watch(self, taken: int) -> None:
        seconds = self._limits.stalled_seconds
        if seconds:
            least = max(seconds * self._limits.least_bytes_per_second, 1)
            self._stall = self._clock.callLater(seconds, self._check, taken + least)

    def _check(self, enough: float) -> None:
        self._stall = None
        taken = self._taken()
        if taken >= enough:  # slow, but alive
            self._watch(taken)
        else:
            self._link.stalled()

    def _taken(self) -> int:
        """Number of bytes that the peer has received, up to a constant. The kernel's queue alone would not tell: it is
        filled again as fast as the peer reads."""
        taken = acknowledged(self._socket)
        return self._pending - waiting(self._transport) - queued(self._socket) if taken is None else taken

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
