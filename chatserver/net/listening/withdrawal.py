"""Closes a port while its number stays in use elsewhere: connections that the kernel has already accepted are served;
later ones go to the other process.

The kernel resets connections that are still in the queue of a socket that is closed, even if another socket shares the
port. So first a filter in the kernel drops the packets that would begin a connection there: a client repeats its own
after a second, and by then the socket is gone. Handshakes that have begun are completed meanwhile.
"""

import ctypes
import select
import socket
import struct
from typing import Any, Final

from twisted.internet.interfaces import IListeningPort, IReactorTime

from chatserver.net.listening.ports import SO_DETACH_FILTER, closed, listen_again
from chatserver.util.waiting import pause

HANDSHAKE_SECONDS: Final = 0.3
"""How long handshakes that have begun may take: longer than a packet takes around the world, and shorter than the
second after which a client repeats its first one (RFC 6298, 2.1)."""
MOST_ROUNDS: Final = 1000
"""Maximum number of rounds. Each accepts at least one connection, and usually all that wait."""

SO_ATTACH_FILTER: Final = 26
"""Number of a socket option of Linux, socket(7). Python has no name for it."""
NO_NEWCOMERS: Final = (
    (0x30, 0, 0, 13),  # load the byte of the TCP header that has its flags
    (0x54, 0, 0, 0x12),  # SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # then drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # else let it pass
)
"""A classic BPF program: code, jump if true, jump if false, operand."""


async def withdraw(clock: IReactorTime, port: IListeningPort, *, held: bool) -> None:
    """Closes a port once every connection in its queue is accepted.

    `held`: systemd has the socket, too, and nobody may wait in its queue for a process that accepts no one. A TCP
    socket stops listening for all who have it, until `restore`; a Unix socket cannot, and stays open.
    """
    listening: Any = port
    sock: socket.socket | None = getattr(listening, "socket", None)
    if sock is None:  # not a port of Twisted's own
        await closed(port)
        return
    inet = sock.family != socket.AF_UNIX
    if inet and _drop_newcomers(sock):
        await pause(clock, HANDSHAKE_SECONDS)
        if not listening.connected:
            return  # closed meanwhile, because the server stops
    _accept_all(listening, sock)
    if not held:
        await closed(port)
    elif inet:
        listening.stopReading()
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        sock.shutdown(socket.SHUT_RD)


def restore(port: IListeningPort) -> None:
    """Lets newcomers wait again at a socket that systemd has: this server ends, and another one will accept them."""
    sock: socket.socket | None = getattr(port, "socket", None)
    if sock is not None and sock.family != socket.AF_UNIX:
        listen_again(sock)


def _drop_newcomers(sock: socket.socket) -> bool:
    """Returns whether the kernel drops them."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in NO_NEWCOMERS))
    program = struct.pack("HL", len(NO_NEWCOMERS), ctypes.addressof(code))
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    except OSError:  # not Linux
        return False
    return True


def _accept_all(listening: Any, sock: socket.socket) -> None:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    for _ in range(MOST_ROUNDS):
        if not poll.poll(0):
            return
        listening.doRead()
