"""Runs the store's functions in threads, for the reactor: one transaction for each call."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from chatserver.errors import Unavailable
from chatserver.store import changes, rooms, search, sessions
from chatserver.store.database import durability_warnings, open_statements
from chatserver.store.transactions import Statements, transact, transact_with_retry
from chatserver.store.workers import Workers

P = ParamSpec("P")
T = TypeVar("T")
Run = Callable[[Callable[[Connection], Any]], Any]


class Store:
    """Runs functions of a Connection in threads.

    Every coroutine raises Unavailable if the database does not answer; the work may have been committed all the same.
    """

    log = Logger()

    def __init__(self, engine: Engine, reactor: Any, writers: int, readers: int) -> None:
        self._engine = engine
        self._write: Run = partial(transact_with_retry, engine)
        self._statements = open_statements(engine, writers + readers)
        if self._statements is None:
            self._append: Run = partial(transact, engine)
            self._read: Run = partial(transact, engine.execution_options(read_only=True))
        else:
            self._kept = Statements(self._statements)
            self._append = self._kept.run
            self._read = partial(transact, self._statements)
        self._reactor: IReactorFromThreads = reactor
        # Two pools, so that a message never waits for a read.
        self._writers, self._readers = Workers(writers, "writers"), Workers(readers, "readers")
        self._reachable = True

    def prepare(self, node: str, rooms_to_have: list[str], at: datetime) -> int:
        """Prepares the database for serving. Blocks.

        Closes the sessions that a crash of this node left open, dismisses their guests, creates the default rooms, and
        logs a warning for each setting that makes the database unsafe. Returns the number of sessions closed.
        """
        for warning in durability_warnings(self._engine):
            self.log.warn("{warning}", warning=warning)

        def work(db: Connection) -> int:
            search.tune(db)
            rooms.ensure(db, rooms_to_have, at)
            rooms.dismiss_guests(db, at)
            changes.prune(db, at)
            return sessions.close_left_open(db, node, at)

        return transact(self._engine, work)

    def stop(self) -> None:
        """Ends the threads and closes the connections. Does not wait for calls that the database does not answer: their
        threads end with the process."""
        for pool in (self._writers, self._readers):
            if pool.busy:
                self.log.warn("The database does not answer. Calls in progress are abandoned.")
            else:
                pool.stop()
        self._engine.dispose()
        if self._statements is not None:
            self._kept.close()
            self._statements.dispose()

    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work` in a transaction, which is committed when this returns.

        After a conflict with another transaction it runs once more. Raises Conflict if that conflicts too.
        """
        return await self._in_thread(self._writers, self._write, lambda db: work(db, *args, **kwargs))

    async def append(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `write`, for work that is one statement: on PostgreSQL without BEGIN and COMMIT, and without a retry.

        Raises Conflict, so that the caller can retry the messages of a batch one by one.
        """
        return await self._in_thread(self._writers, self._append, lambda db: work(db, *args, **kwargs))

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work`, which must only read. Waits for no writer; on PostgreSQL each statement has its own snapshot."""
        return await self._in_thread(self._readers, self._read, lambda db: work(db, *args, **kwargs))

    async def _in_thread(self, pool: Workers, run: Run, work: Callable[[Connection], T]) -> T:
        try:
            result: T = await deferToThreadPool(self._reactor, pool, run, work)  # type: ignore[arg-type]  # see Workers
        except Unavailable as error:
            if self._reachable:
                self._reachable = False
                self.log.error(
                    "The database does not answer ({cause}). Commands are refused until it does. Start the database.",
                    cause=str(error.__cause__),
                )
            raise
        if not self._reachable:
            self._reachable = True
            self.log.info("The database answers again.")
        return result
