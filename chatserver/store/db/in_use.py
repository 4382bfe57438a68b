"""The connection that each thread is using, so that the reactor can cut it if the database does not answer."""

import os
import socket
from threading import get_ident
from typing import Any

IN_USE: dict[int, Any] = {}
"""By the id of the thread: the driver's connection that its current call uses, or None before it has one. `cut` removes
the item, so that the thread knows not to use the connection again. Getting, setting and removing an item are atomic."""


def note(connection: Any) -> None:
    """Call this for a new connection, in the thread that has opened it: setting it up is a part of the call."""
    me = get_ident()
    if me in IN_USE:
        IN_USE[me] = connection


class Abandoned(Exception):
    """Nobody waits for this call any more."""


def use(connection: Any) -> None:
    """Call this before the first statement. Raises Abandoned if the call has waited for the connection for too long."""
    me = get_ident()
    if me not in IN_USE:
        raise Abandoned()
    IN_USE[me] = connection


def cut(thread: int) -> None:
    """Makes the statement that a thread is waiting for fail, and returns at once. Can be called from any thread.

    On PostgreSQL this shuts down the connection's socket, so that the driver sees the end of the connection; the server
    may still commit the transaction. SQLite stops the statement as soon as it can.
    """
    driver = IN_USE.pop(thread, None)
    try:
        if hasattr(driver, "interrupt"):
            driver.interrupt()
        elif driver is not None:
            # A duplicate of the descriptor, because closing the socket object closes its descriptor.
            with socket.socket(fileno=os.dup(driver.fileno())) as tcp:
                if tcp.family in (socket.AF_INET, socket.AF_INET6):
                    _LEFT_BEHIND.append((driver.get_backend_pid(), tcp.getsockname()[1]))
                tcp.shutdown(socket.SHUT_RDWR)
    except Exception:
        pass  # the connection has ended in the meantime


_LEFT_BEHIND: list[tuple[int, int]] = []
"""PostgreSQL's processes whose connections were cut: the id, and the port on this side."""

_TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid = %s AND client_port = %s AND application_name = %s AND usename = current_user"
)


def end_left_behind(connection: Any, application_name: str) -> None:
    """Ends the processes of PostgreSQL whose connections were cut. Call this for a new connection.

    A process does not notice the end of its connection while it waits for a lock or for a synchronous standby, so that
    every retry would leave another one behind. The port tells it from a process of the same id on another host.
    """
    while _LEFT_BEHIND:
        try:
            left = _LEFT_BEHIND.pop()
        except IndexError:  # another thread was faster
            return
        with connection.cursor() as cursor:
            cursor.execute(_TERMINATE, (*left, application_name))
        connection.rollback()
