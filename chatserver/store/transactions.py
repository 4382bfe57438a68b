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
        self._kept: list[Connection] = []  # `append` and `pop` are safe between threads

    def run(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in this thread. Raises Conflict and Unavailable."""
        with self._errors:
            db = self._pop()
            while db is not None and _ended(db):
                _drop(db)
                db = self._pop()
            if db is None:
                db = self._engine.connect()
            try:
                result = work(db)
            except IntegrityError:
                self._kept.append(db)
                raise
            except BaseException:
                # It may be lost, and where one is, the others are: the next call finds none of them.
                _drop(db)
                self.close()
                raise
            self._kept.append(db)
            return result

    def close(self) -> None:
        """Lets go of all connections but those in use."""
        while (db := self._pop()) is not None:
            _drop(db)

    def _pop(self) -> Connection | None:
        try:
            return self._kept.pop()
        except IndexError:  # asked for first, another thread might take it in between
            return None


def _ended(db: Connection) -> bool:
    """Whether the database has said something since it was last asked: as a rule, that this connection is over."""
    driver: Any = db.connection.dbapi_connection
    news = select.poll()
    news.register(driver.fileno(), select.POLLIN)
    return bool(news.poll(0))


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
