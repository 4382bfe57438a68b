"""Running functions of a Connection: one transaction each, with the database's errors translated into ours."""

import select
from collections.abc import Callable
from sqlite3 import (
    SQLITE_CONSTRAINT_CHECK,
    SQLITE_CONSTRAINT_FOREIGNKEY,
    SQLITE_CONSTRAINT_NOTNULL,
    SQLITE_FULL,
    SQLITE_INTERRUPT,
    SQLITE_MISMATCH,
)
from threading import get_ident
from types import TracebackType
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chatserver.store.db.database_file import watched_file
from chatserver.store.db.faults import shown
from chatserver.store.db.in_use import IN_USE, use
from chatserver.store.db.notices import take_unconfirmed
from chatserver.values.errors import TooSlow, Unavailable, Unstorable

DEADLOCK: Final = "40P01"
"""PostgreSQL's code for the transaction that it rolled back to end a deadlock."""

READ_ONLY: Final = "25006"
"""PostgreSQL's code for a write on a standby: the primary is another server now."""

IDLE: Final = "25P03"
"""PostgreSQL's code for a connection that it ended because its transaction was left alone for too long."""

START: Final = "Start the database."
FREE_SPACE: Final = "Free some space on the database's disk."
COMMIT: Final = "Another transaction holds a lock for too long: look for it in pg_stat_activity."

LOCK_TIMEOUT: Final = "55P03"
"""PostgreSQL's code for a statement that has waited for a lock for too long."""

DISK_FULL: Final = "53100"
"""PostgreSQL's code."""

CANCELED: Final = "57014"
"""PostgreSQL's code for a statement that ran into statement_timeout, or that an operator has canceled."""

BROKEN: Final = (
    *("23502", "23503", "23514"),
    *(SQLITE_CONSTRAINT_NOTNULL, SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_CONSTRAINT_CHECK, SQLITE_MISMATCH),
)
"""The codes of both databases for a constraint that a value breaks by itself. Other constraints are broken together
with a row that another transaction has inserted."""

T = TypeVar("T")
Kept = tuple[Connection, select.poll, Any]
"""A connection, a poll object that says whether there is something to read from it, and the driver's connection."""


class Locked(Exception):
    """Another transaction holds a room, and does not end soon. Nothing was stored."""


class Conflict(Exception):
    """Another transaction did the same thing at the same moment. This one was rolled back; a retry sees the other."""


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
        raise Unavailable() from _Cause(Exception(unconfirmed))


def is_canceled(error: BaseException) -> bool:
    """Whether a statement was ended because it took too long."""
    return _code(getattr(error, "orig", error)) in (CANCELED, SQLITE_INTERRUPT)


def _is_not_sent(error: BaseException) -> bool:
    """Whether the driver could not even send a value: a number that is too large for SQLite, half of a surrogate pair,
    or for PostgreSQL a text with NUL."""
    return isinstance(error, (OverflowError, UnicodeEncodeError)) or (
        isinstance(error, ValueError) and "NUL (0x00)" in str(error)
    )


def _code(error: BaseException) -> str | int | None:
    """The code that PostgreSQL or SQLite gives an error."""
    return getattr(error, "pgcode", None) or getattr(error, "sqlite_errorcode", None)


class Errors:
    """A context in which errors of the database, SQLAlchemy's or the driver's, become Conflict and Unavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        driver = engine.dialect.loaded_dbapi
        # SQLAlchemy does not wrap the driver's error if the connection is lost while it returns to the pool.
        self._lost = (OperationalError, InterfaceError, PoolTimeout, driver.OperationalError, driver.InterfaceError)
        self._database_error = driver.DatabaseError
        self._limited = bool(engine.get_execution_options().get("read_seconds"))
        self._data_errors = (DataError, driver.DataError)
        hasty = engine.get_execution_options().get("hasty")
        self._locked: tuple[type[Exception], ...] = (driver.errors.LockNotAvailable,) if hasty else ()
        self.harmless = (IntegrityError, *self._data_errors, *self._locked, ValueError, OverflowError)
        """Errors of one statement: the connection is as good as before."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is None or isinstance(error, Unavailable):
            return
        cause = getattr(error, "orig", error)
        code = _code(cause)
        if code in BROKEN or isinstance(error, self._data_errors) or _is_not_sent(error):
            raise Unstorable() from None  # the driver's message has the value
        if isinstance(error, IntegrityError):
            raise Conflict() from _Cause(error)
        if self._limited and is_canceled(error):
            raise TooSlow() from _Cause(error)
        if isinstance(error, self._locked):
            raise Locked() from _Cause(error)
        if isinstance(error, self._lost):
            if code == DEADLOCK:
                raise Conflict() from _Cause(error)
            raise Unavailable() from _Cause(error)
        if code == READ_ONLY:
            self._engine.dispose()  # the next call opens a new connection, perhaps to the primary
        # SQLite has no other class for a file that is damaged, nor psycopg2 for some broken connections.
        if type(cause) is self._database_error or code in (READ_ONLY, IDLE):
            raise Unavailable() from _Cause(error)


class _Cause(Exception):
    """The first line of the driver's message. SQLAlchemy's has the statement too, with what people wrote."""

    def __init__(self, error: BaseException) -> None:
        cause = getattr(error, "orig", None) or error
        super().__init__(shown(error) or str(cause).strip().split("\n")[0])
        full = getattr(cause, "pgcode", None) == DISK_FULL or getattr(cause, "sqlite_errorcode", None) == SQLITE_FULL
        remedy = FREE_SPACE if full else COMMIT if getattr(cause, "pgcode", None) == LOCK_TIMEOUT else START
        self.remedy: str = getattr(cause, "remedy", remedy)
        """What the log says to do about it."""
