"""PostgreSQL's notifications, over two connections of their own: one receives, one sends."""

import os
import socket
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import psycopg2
from msgspec import Struct
from sqlalchemy import Engine

from chatserver.store.db import own_schema
from chatserver.store.db.engine import APPLICATION, DEAD_PEERS
from chatserver.store.nodes.nodes import LOCKS

CHANNEL: Final = "chatserver_"
"""How the channel's name begins. The rest is secret: see `store/nodes/secret.py`."""
NAME: Final = f"{APPLICATION} bus"
"""The name of both connections in pg_stat_activity."""
TRIES: Final = 10
"""Maximum number of attempts to take the advisory lock: the process of the previous connection may still have to
end."""
MOST_POLLS: Final = 16
"""Maximum number of reads of a connection in one go, if there is always more."""

# The server keeps neither a notification nor a lock for a node that has vanished: its own defaults are hours. What a
# notification says is committed already, so nobody waits for the disk.
SETTINGS: Final = (
    f"{own_schema.OPTION} -c synchronous_commit=off -c statement_timeout=10000 -c jit=off -c idle_session_timeout=0 "
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000"
)

_MOVED: Final = ("25", "57")
"""How the codes of errors begin which say that this is not the primary, or that the server is about to stop."""

_LOCK: Final = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_WAIT: Final = "SELECT pg_sleep(0.1)"
_PROCESS: Final = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_END: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid = %s AND backend_start = %s AND application_name = %s AND usename = current_user"
)
_NAME_CHANNEL: Final = "SELECT set_config('chatserver.channel', %s, false)"
"""Both statements that name the channel are followed by another one at once: pg_stat_activity shows the last one to
whoever watches all roles."""
_HIDE: Final = "SELECT 1"
_SEND: Final = "SELECT pg_notify(current_setting('chatserver.channel'), frame) FROM unnest(%s) AS frame"


class Lost(Exception):
    """A connection is gone, or of no use. What was given to `send` has perhaps been sent."""


class Refused(Exception):
    """The database has not sent these frames, but perhaps sends others."""


class Backend(Struct, frozen=True):
    """The process of PostgreSQL that serves a connection."""

    pid: int
    since: datetime


class Line:
    """Both connections. `open`, `send` and `close_sender` block, and are called in one thread; `fileno`, `read` and
    `close` in the reactor's, once it is open; `cut` anywhere."""

    def __init__(self, engine: Engine, secret: str) -> None:
        self._channel = f"{CHANNEL}{secret}"
        _, options = engine.dialect.create_connect_args(engine.url)
        self._options: dict[str, Any] = {
            "target_session_attrs": "read-write",  # only the primary sends notifications
            **options,
            "connect_timeout": 5,
            "application_name": NAME,
            "client_encoding": "UTF8",
            "options": SETTINGS,
            **DEAD_PEERS,
        }
        self._listener: Any = None
        self._sender: Any = None
        # Duplicates of their descriptors, which stay ours when the driver closes its own by itself.
        self._heard: socket.socket | None = None
        self._said: socket.socket | None = None
        self.backend: Backend | None = None
        """The process of PostgreSQL behind the receiving connection."""

    def open(self, node: str, former: Backend | None) -> None:
        """Connects, subscribes to the channel, and takes the advisory lock of the node. `former` is the process of the
        previous connection, which may have it. Raises Lost."""
        try:
            self._sender, self._said = self._connect()
            with self._sender.cursor() as cursor:
                cursor.execute(_NAME_CHANNEL, (self._channel,))
                cursor.execute(_HIDE)
            self._listener, self._heard = self._connect()
            with self._listener.cursor() as cursor:
                cursor.execute(_PROCESS)
                row = cursor.fetchone()
                cursor.execute(f'LISTEN "{self._channel}"')
                cursor.execute(_HIDE)
                if row is not None and row[0] == self._listener.get_backend_pid():
                    self.backend = Backend(*row)
                    _lock(cursor, node, former)
                # Else there is a pooler in between, which would keep the lock when the node is gone.
        except Exception as error:  # whatever it is, the next attempt may not have it
            raise Lost(_words(error)) from None

    def _connect(self) -> tuple[Any, socket.socket]:
        connection = psycopg2.connect(**self._options)
        connection.autocommit = True
        return connection, socket.socket(fileno=os.dup(connection.fileno()))

    def send(self, frames: Sequence[bytes]) -> None:
        """Sends frames, in this order. Raises Lost or Refused."""
        try:
            with self._sender.cursor() as cursor:
                cursor.execute(_SEND, ([frame.decode() for frame in frames],))
        except (psycopg2.Error, OSError) as error:
            code = getattr(error, "pgcode", None)
            if self._sender.closed or not code or code.startswith(_MOVED):
                raise Lost(_words(error)) from None
            raise Refused(_words(error)) from None
        except Exception as error:  # such as a frame that is no UTF-8, or has a NUL
            raise Refused(type(error).__name__) from None

    def fileno(self) -> int:
        """The descriptor of the connection that listens; -1 once it is closed."""
        return -1 if self._heard is None else self._heard.fileno()

    def read(self) -> tuple[list[bytes], bool]:
        """The frames that have arrived, without waiting, and whether there may be more that the socket does not show:
        TLS buffers bytes. Raises Lost."""
        found: list[bytes] = []
        listener = self._listener
        try:
            for _ in range(MOST_POLLS):
                listener.poll()
                if not listener.notifies:
                    return found, False
                found += [one.payload.encode() for one in listener.notifies]
                listener.notifies.clear()
        except (psycopg2.Error, OSError) as error:
            raise Lost(_words(error)) from None
        return found, True

    def cut(self) -> None:
        """Makes everything that uses a connection fail, and returns at once."""
        for end in (self._heard, self._said):
            try:
                if end is not None:
                    end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended

    def close(self) -> None:
        """Closes the receiving connection."""
        _close(self._listener, self._heard)

    def close_sender(self) -> None:
        _close(self._sender, self._said)


def _lock(cursor: Any, node: str, former: Backend | None) -> None:
    if former is not None:
        cursor.execute(_END, (former.pid, former.since, NAME))
    for _ in range(TRIES):
        cursor.execute(_LOCK, (LOCKS, node))
        if cursor.fetchone()[0]:
            return
        cursor.execute(_WAIT)


def _close(*several: Any) -> None:
    for one in several:
        try:
            if one is not None:
                one.close()
        except Exception:
            pass  # it has ended


def _words(error: BaseException) -> str:
    """The driver's message, without the statement, which contains frames."""
    diagnosis = getattr(error, "diag", None)
    primary = getattr(diagnosis, "message_primary", None)
    return " ".join((primary or str(error).partition("LINE ")[0]).split()) or type(error).__name__
