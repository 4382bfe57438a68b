"""Running functions of a Connection: one transaction each, and the database's errors as ours."""

import select
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chatserver.errors import Unavailable

DEADLOCK = "40P01"  # PostgreSQL's code: two transactions waited for each other, and this one was given up

T = TypeVar("T")
Kept = tuple[Connection, select.poll]
"""A connection, and what tells whether there is something to read from it."""


class Conflict(Exception):
    """Somebody else's transaction did the same at the same moment; nothing was done. Once more, and it is seen."""


def transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Runs `work` in a transaction, in this thread. Raises Conflict and Unavailable."""
    with _Errors(engine), engine.begin() as db:
        return work(db)


class Statements:
    """Runs work that is one statement, for an engine on which each is a transaction of its own.

    To take a connection from SQLAlchemy's pool, and to begin and end a transaction on it, takes as long as a short
    statement. So connections are kept here from one call to the next: as many as there are calls at a time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._errors = _Errors(engine)
        self._kept: list[Kept] = []  # `append` and `pop` are safe between threads

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
                # It may be lost, and where one is, the others are: the next call finds none of them.
                _drop(db)
                self.close()
                raise
            self._kept.append(kept)
            return result

    def close(self) -> None:
        """Lets go of all connections but those in use."""
        while (kept := self._pop()) is not None:
            _drop(kept[0])

    def _take(self) -> Kept:
        while (kept := self._pop()) is not None:
            db, news = kept
            if not news.poll(0):
                return kept
            # It has said something since it was last asked: as a rule, that it is over.
            _drop(db)
        return _keep(self._engine.connect())

    def _pop(self) -> Kept | None:
        try:
            return self._kept.pop()
        except IndexError:  # asked for first, another thread might take it in between
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
    """Around the use of an engine: what the database raises, SQLAlchemy's or the driver's, becomes ours."""

    def __init__(self, engine: Engine) -> None:
        driver = engine.dialect.loaded_dbapi
        # Where a connection is lost while it goes back to the pool, SQLAlchemy does not wrap the driver's.
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
    """Why, in the first of the driver's lines: SQLAlchemy's text holds the statement, with what people wrote."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(getattr(error, "orig", None) or error).strip().split("\n")[0])
