"""Errors of the database: translated into ours, and what may be shown of them, which is never a value that somebody
wrote."""

import re
from sqlite3 import (
    SQLITE_BUSY,
    SQLITE_CONSTRAINT_CHECK,
    SQLITE_CONSTRAINT_FOREIGNKEY,
    SQLITE_CONSTRAINT_NOTNULL,
    SQLITE_FULL,
    SQLITE_INTERRUPT,
    SQLITE_MISMATCH,
)
from types import TracebackType
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chatserver.values.errors import Busy, TooSlow, Unavailable, Unstorable, Why

DEADLOCK: Final = "40P01"
"""PostgreSQL's code for the transaction that it rolled back to end a deadlock."""

READ_ONLY: Final = "25006"
"""PostgreSQL's code for a write on a standby: the primary is another server now."""

IDLE: Final = "25P03"
"""PostgreSQL's code for a connection that it ended because its transaction was left alone for too long."""

START: Final = "Start the database."
FREE_SPACE: Final = "Free some space on the database's disk."
HELD: Final = "Another transaction holds a lock for too long: look for it in pg_stat_activity."

LOCK_TIMEOUT: Final = "55P03"
"""PostgreSQL's code for a statement that has waited for a lock for too long."""

REMEDIES: Final[dict[str | int | None, str]] = {
    LOCK_TIMEOUT: HELD,
    SQLITE_BUSY: "Another program holds a lock on the database for too long: look for it with fuser or lsof.",
}
"""By the code of an error, the remedy, where it is not to start the database."""

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

_QUOTING: Final = ("22", "42601")
"""Beginnings of the SQLSTATEs whose message may quote a value: data exceptions, and the syntax of a value such as a
search. Other messages quote names of tables, columns, users and hosts."""
_RAISING: Final = "pl_exec.c"
"""Where in PostgreSQL's source the errors come from that a function or a trigger raises: they may say anything."""

_SQLITE_VALUES: Final = re.compile(
    r"^(fts5: .*?near|no such column:|malformed MATCH expression:|unknown special query:).*"
)
_QUOTED: Final = re.compile(r"\"[^\"]*\"?|'[^']*'?|\[[^]]*\]?")


class Locked(Exception):
    """Another transaction holds a room, and does not end soon. Nothing was stored."""


class Conflict(Exception):
    """Another transaction did the same thing at the same moment. This one was rolled back; a retry sees the other."""


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
            raise Conflict() from Cause(error)
        if self._limited and is_canceled(error):
            raise TooSlow() from Cause(error)
        if isinstance(error, self._locked):
            raise Locked() from Cause(error)
        if isinstance(error, self._lost):
            if code == DEADLOCK:
                raise Conflict() from Cause(error)
            if code in (LOCK_TIMEOUT, SQLITE_BUSY):
                raise Busy(Why.ROOM_BUSY if code == LOCK_TIMEOUT else Why.DATABASE_BUSY) from Cause(error)
            raise Unavailable() from Cause(error)
        if code == READ_ONLY:
            self._engine.dispose()  # the next call opens a new connection, perhaps to the primary
        # SQLite has no other class for a file that is damaged, nor psycopg2 for some broken connections.
        if type(cause) is self._database_error or code in (READ_ONLY, IDLE):
            raise Unavailable() from Cause(error)


class Cause(Exception):
    """The first line of the driver's message. SQLAlchemy's has the statement too, with what people wrote."""

    def __init__(self, error: BaseException) -> None:
        cause = getattr(error, "orig", None) or error
        super().__init__(shown(error) or str(cause).strip().split("\n")[0])
        full = getattr(cause, "pgcode", None) == DISK_FULL or getattr(cause, "sqlite_errorcode", None) == SQLITE_FULL
        remedy = FREE_SPACE if full else REMEDIES.get(_code(cause), START)
        self.remedy: str = getattr(cause, "remedy", remedy)
        """The remedy that the log names."""


def shown(error: BaseException) -> str | None:
    """The first line of the driver's message, without what could be a value; None if this is no error of a database.

    The lines that follow it have rows and statements, and SQLAlchemy adds a statement of its own.
    """
    cause: Any = getattr(error, "orig", None) if isinstance(error, DBAPIError) else error
    if cause is None or type(cause).__module__.partition(".")[0] not in ("psycopg2", "sqlite3"):
        return None
    lines = str(cause).strip().split("\n")
    code = getattr(cause, "pgcode", None)
    first = lines[0].removesuffix("\r")
    if code is None:
        return _SQLITE_VALUES.sub(r"\1 ...", first)
    if cause.diag.source_file == _RAISING:
        return f"a function of the database has raised SQLSTATE {code}"
    return _QUOTED.sub('"..."', first) if code.startswith(_QUOTING) else first
