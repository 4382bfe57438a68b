"""Running functions of a Connection: one transaction each, with the database's errors translated into ours.

A connection that a thread uses is noted, so that the reactor can cut it if the database does not answer.
"""

import os
import select
import socket
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine

from chatserver.store.db.database_file import watched_file
from chatserver.store.db.faults import Cause, Conflict, Errors
from chatserver.values.errors import Unavailable

T = TypeVar("T")
Kept = tuple[Connection, select.poll, Any]
"""A connection, a poll object that says whether there is something to read from it, and the driver's connection."""

REPLICATION: Final = (
    "synchron",
    "synkron",
    "senkron",
    "sincr",
    "síncr",
    "синхрон",
    "同步",
    "同期",
    "동기",
)
"""A part of the word "synchronous" in each language of PostgreSQL's messages. The driver hands over a warning's text
without its code, and only a superuser may choose the language."""

IN_USE: dict[int, Any] = {}
"""By the id of the thread: the driver's connection that its current call uses, or None before it has one. `cut` removes
the item, so that the thread knows not to use the connection again. Getting, setting and removing an item are atomic."""


def transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Runs `work` in a transaction, in this thread. Raises Conflict, Unavailable, and Unstorable where the database
    refuses a value."""
    me = get_ident()
    IN_USE[me] = None
    try:
        with Errors(engine), engine.connect() as db:
            driver: Any = db.connection.dbapi_connection
            use(driver)
            with db.begin():
                result = work(db)
            _check_commit(driver)
            file = watched_file(engine)
            if file is not None:
                file.check(driver)  # what was committed to a file that has been replaced since is lost
            if me not in IN_USE:
                db.invalidate()
            return result
    finally:
        IN_USE.pop(me, None)


def transact_with_retry(engine: Engine, work: Callable[[Connection], T]) -> T:
    """As `transact`, but retries `work` once after a Conflict. Raises Conflict if that conflicts too."""
    try:
        return transact(engine, work)
    except Conflict:
        return transact(engine, work)


class Statements:
    """Runs work that is one statement, on an engine in autocommit mode.

    Checking a connection out of SQLAlchemy's pool, and beginning and ending a transaction on it, takes as long as a
    short statement. So connections are kept here from one call to the next, as many as there are concurrent calls.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._errors = Errors(engine)
        self._kept: list[Kept] = []  # `append` and `pop` are thread-safe

    def run(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in this thread. Raises Conflict and Unavailable."""
        me = get_ident()
        IN_USE[me] = None
        try:
            with self._errors:
                kept = self._take()
                db, _, driver = kept
                try:
                    use(driver)
                    result = work(db)
                    _check_commit(driver)
                except self._errors.harmless:
                    self._keep(kept)
                    raise
                except BaseException:
                    # The connection may be lost, and then the others are too: the next call opens a new one.
                    _drop(db)
                    self.close()
                    raise
                self._keep(kept)
                return result
        finally:
            IN_USE.pop(me, None)

    def close(self) -> None:
        """Closes all connections that are not in use."""
        while (kept := self._pop()) is not None:
            _drop(kept[0])

    def _keep(self, kept: Kept) -> None:
        if get_ident() in IN_USE:
            self._kept.append(kept)
        else:
            _drop(kept[0])  # it was cut

    def _take(self) -> Kept:
        while (kept := self._pop()) is not None:
            db, news, _ = kept
            if not news.poll(0):
                return kept
            # The database has sent something unasked: as a rule, that it ended the connection.
            _drop(db)
        return _as_kept(self._engine.connect())

    def _pop(self) -> Kept | None:
        try:
            return self._kept.pop()
        except IndexError:  # checking first would race with other threads
            return None


def _as_kept(db: Connection) -> Kept:
    driver: Any = db.connection.dbapi_connection
    news = select.poll()
    news.register(driver.fileno(), select.POLLIN)
    return db, news, driver


def _drop(db: Connection) -> None:
    db.invalidate()
    db.close()


def _check_commit(driver: Any) -> None:
    """Raises Unavailable if PostgreSQL has committed only locally: its wait for a synchronous standby was cancelled,
    which it reports by a warning. A failover may lose what was committed."""
    if unconfirmed := take_unconfirmed(driver):
        raise Unavailable() from Cause(Exception(unconfirmed))


class Notices:
    """Takes the place of the list in which psycopg2 keeps notices, and keeps only this one.

    The warning comes if the wait for the standby is cancelled: the transaction is committed, but only locally.
    """

    __slots__ = ("unconfirmed",)

    def __init__(self) -> None:
        self.unconfirmed = ""

    def append(self, notice: str) -> None:
        """Called by the driver, in the thread that executes the statement."""
        if any(word in notice.lower() for word in REPLICATION):
            self.unconfirmed = notice


def take_unconfirmed(connection: Any) -> str:
    """The warning about the last commit on a connection of the driver; nearly always empty."""
    notices = getattr(connection, "notices", None)
    if notices is None or not notices.unconfirmed:
        return ""
    unconfirmed: str = notices.unconfirmed
    notices.unconfirmed = ""
    return unconfirmed


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
