"""Running functions of a Connection: one transaction each, with the database's errors translated into ours."""

import select
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chatserver.errors import Unavailable

DEADLOCK = "40P01"  # PostgreSQL's code for the transaction that it rolled back to end a deadlock

T = TypeVar("T")
Kept = tuple[Connection, select.poll]
"""A connection, and a poll object that says whether there is something to read from it."""


class Conflict(Exception):
    """Another transaction did the same thing at the same moment. This one was rolled back; a retry sees the other."""


def transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Runs `work` in a transaction, in this thread. Raises Conflict and Unavailable."""
    with _Errors(engine), engine.begin() as db:
        return work(db)


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
        self._errors = _Errors(engine)
        self._kept: list[Kept] = []  # `append` and `pop` are thread-safe

    def run(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in this thread. Raises Conflict and Unavailable."""
        with self._errors:
            kept = self._take()
            db, _ = kept
            try:
                result = work(db)
            except IntegrityError:
                self._kept.append(kept)
                raise
            except BaseException:
                # The connection may be lost, and then the others are too: the next call opens a new one.
                _drop(db)
                self.close()
                raise
            self._kept.append(kept)
            return result

    def close(self) -> None:
        """Closes all connections that are not in use."""
        while (kept := self._pop()) is not None:
            _drop(kept[0])

    def _take(self) -> Kept:
        while (kept := self._pop()) is not None:
            db, news = kept
            if not news.poll(0):
                return kept
            # The database has sent something unasked: as a rule, that it ended the connection.
            _drop(db)
        return _keep(self._engine.connect())

    def _pop(self) -> Kept | None:
        try:
            return self._kept.pop()
        except IndexError:  # checking first would race with other threads
            return None


def _keep(db: Connection) -> Kept:
    driver: Any = db.connection.dbapi_connection
    news = select.poll()
    news.register(driver.fileno(), select.POLLIN)
    return db, news


def _drop(db: Connection) -> None:
    db.invalidate()
    db.close()


class _Errors:
    """A context in which errors of the database, SQLAlchemy's or the driver's, become Conflict and Unavailable."""

    def __init__(self, engine: Engine) -> None:
        driver = engine.dialect.loaded_dbapi
        # SQLAlchemy does not wrap the driver's error if the connection is lost while it returns to the pool.
        self._lost = (OperationalError, InterfaceError, PoolTimeout, driver.OperationalError, driver.InterfaceError)

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, IntegrityError):
            raise Conflict() from _Cause(error)
        if isinstance(error, self._lost):
            if getattr(getattr(error, "orig", error), "pgcode", None) == DEADLOCK:
                raise Conflict() from _Cause(error)
            raise Unavailable() from _Cause(error)


class _Cause(Exception):
    """The first line of the driver's message. SQLAlchemy's has the statement too, with what people wrote."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(getattr(error, "orig", None) or error).strip().split("\n")[0])
