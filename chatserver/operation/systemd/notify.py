"""Notifies systemd of the server: sd_notify(3), a datagram to the socket named in the environment.

Twenty lines of our own: sdnotify is no longer maintained, and systemd-python is compiled against systemd's headers.
"""

import os
import socket
from functools import cache
from typing import Final

from twisted.internet.interfaces import IDelayedCall

from chatserver.operation.companion import Quiet, Running

STATUS_SECONDS: Final = 5.0
STOPPING_SECONDS: Final = 10.0
"""Maximum time that stopping takes besides the times in [shutdown]."""


def notify(*lines: str) -> None:
    """Sends systemd these assignments, such as `READY=1`, in one message. Does nothing without systemd, never blocks
    and never raises."""
    address = address_from_environment()
    if address is None:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sock:
            sock.sendto("\n".join(lines).encode(errors="replace"), address)
    except OSError:
        pass  # systemd is restarting, or its queue is full


@cache
def address_from_environment() -> str | None:
    """The address to send to. Removed once read, so that no child can speak for the server."""
    path = os.environ.pop("NOTIFY_SOCKET", "")
    if path.startswith("/"):
        return path
    if path.startswith("@"):
        return "\0" + path[1:]  # a name without a file
    return None


class SystemdNotify(Quiet):
    """Tells systemd that the server serves, the number of clients, and its stop."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._told = ""
        self._next: IDelayedCall | None = None

    def prepare(self) -> None:
        notify("STATUS=Opening the ports")

    def started(self) -> None:
        if address_from_environment() is not None:
            self._running.reactor.callWhenRunning(self._ready)

    def stopping(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        shutdown = self._running.settings.shutdown
        seconds = shutdown.drain_seconds + shutdown.flush_seconds + STOPPING_SECONDS
        count = len(self._running.connections.open)
        notify(
            "STOPPING=1", f"STATUS=Stopping, with {_count(count, 'connection')}",
            f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}",
        )  # fmt: skip

    def _ready(self) -> None:
        self._told = self._status()
        notify("READY=1", f"STATUS={self._told}")
        self._next = self._running.reactor.callLater(STATUS_SECONDS, self._tell)

    def _tell(self) -> None:
        status = self._status()
        if status != self._told:
            self._told = status
            notify(f"STATUS={status}")
        self._next = self._running.reactor.callLater(STATUS_SECONDS, self._tell)

    def _status(self) -> str:
        connections, rooms = len(self._running.connections.open), len(self._running.registry.rooms.heads())
        return f"Serving {_count(connections, 'connection')} in {_count(rooms, 'room')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
