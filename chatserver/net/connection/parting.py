"""The last moment of all connections when the server stops: everything is sent, and the server waits for the peers.

An orderly end by Twisted's transports takes several turns of the reactor for each connection. With ten thousand of them
that would be most of the time that a restart takes.
"""

import select
import socket
from typing import Any, Final

from twisted.internet import tcp
from twisted.internet.interfaces import IReactorTime

from chatserver.net.way import queued

DISCARDED_BYTES: Final = 65536
"""Maximum number of bytes that are read at a time, and discarded."""
LINGER_SECONDS: Final = 0.1
"""How long a peer that has received everything may keep its connection open: programs such as nc close only when a key
is pressed. By then, everything that the peer sent before it received the end has arrived."""
LINES: Final = 500
"""Maximum number of ends that are logged one by one; the others are logged as a number. Ten thousand lines would take
as long as everything else. The table `session` has them all."""


class Parting:
    """Takes over connections whose last bytes are in the kernel, and closes each once its peer has closed it or has
    received everything.

    The server still reads from the peer: closing earlier would make the kernel answer with a reset, which destroys the
    last words on their way (RFC 1122, 4.2.2.13).
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.closing = False
        """The server is stopping, and reads no more."""
        self.begun = False
        """The server says goodbye: connections end the short way."""
        self._clock = clock
        self._settled = 0.0  # when the latest connection has lingered
        self._poll = select.poll()
        self._transports: dict[int, Any] = {}
        self._lines = LINES
        self.unlogged = 0
        """Number of ends that the log has no line for."""

    def stop_reading(self) -> None:
        self.closing = True

    def begin(self) -> None:
        self.begun = True

    def may_log(self) -> bool:
        """Whether the log has room for the end of one more connection."""
        if not self.begun:
            return True
        if self._lines:
            self._lines -= 1
            return True
        self.unlogged += 1
        return False

    def cork(self, transport: Any) -> None:
        """Has the kernel send the last words together with the end, on a plain TCP connection: one packet, which wakes
        the peer once."""
        if isinstance(transport, tcp.Server):
            try:
                transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            except OSError:
                pass  # it is a Unix socket

    def take(self, transport: Any) -> None:
        """`transport` is a plain one of Twisted's, with an empty buffer. It will not call its protocol again."""
        transport.stopReading()
        transport.stopWriting()
        try:
            transport.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer was faster
        descriptor = transport.socket.fileno()
        self._transports[descriptor] = transport
        self._poll.register(descriptor, select.POLLIN)
        self._settled = self._clock.seconds() + LINGER_SECONDS

    def all_gone(self) -> bool:
        """Closes the connections that can be closed, and returns whether none is left."""
        for descriptor, _ in self._poll.poll(0) if self._transports else ():
            try:
                over = not self._transports[descriptor].socket.recv(DISCARDED_BYTES)
            except BlockingIOError:
                over = False
            except OSError:
                over = True
            if over:
                self._close(descriptor)
        if self._clock.seconds() >= self._settled:
            received = [each for each, transport in self._transports.items() if not queued(transport.socket)]
            for descriptor in received:
                self._close(descriptor)
        return not self._transports

    def _close(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        self._transports.pop(descriptor).socket.close()
