"""The way from the reactor to the store: threads of its own, one transaction a call."""

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
from chatserver.store.transactions import Statements, transact
from chatserver.store.workers import Workers

P = ParamSpec("P")
T = TypeVar("T")
Run = Callable[[Callable[[Connection], Any]], Any]


class Store:
    """Runs functions of a Connection. Every method raises Unavailable where the database does not answer;
    what was asked may have been done even then, or not. Raises Conflict where another transaction was first."""

    log = Logger()

    def __init__(self, engine: Engine, reactor: Any, writers: int, readers: int) -> None:
        self._engine = engine
        self._write: Run = partial(transact, engine)
        self._statements = open_statements(engine, writers + readers)
        if self._statements is None:
            self._append: Run = self._write
            self._read: Run = partial(transact, engine.execution_options(read_only=True))
        else:
            self._kept = Statements(self._statements)
            self._append = self._kept.run
            self._read = partial(transact, self._statements)
        self._reactor: IReactorFromThreads = reactor
        # Two pools: a message is never kept waiting by those who read.
        self._writers, self._readers = Workers(writers, "writers"), Workers(readers, "readers")
        self._reachable = True

    def prepare(self, node: str, rooms_to_have: list[str], at: datetime) -> int:
        """Before serving: closes the sessions that a crash of this node left open, makes the rooms that are to exist,
        warns of what makes the database unsafe. Blocks. Gives the number of sessions closed."""
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
        """Ends the threads and the connections. A call that the database does not answer is not waited for: its thread
        ends with the process."""
        for pool in (self._writers, self._readers):
            if pool.busy:
                self.log.warn("The database does not answer: calls are given up.")
            else:
                pool.stop()
        self._engine.dispose()
        if self._statements is not None:
            self._kept.close()
            self._statements.dispose()

    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work` in a transaction, which is committed when this returns."""
        return await self._in_thread(self._writers, self._write, lambda db: work(db, *args, **kwargs))

    async def append(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for work that is one statement: on Postgres without a BEGIN and COMMIT around it."""
        return await self._in_thread(self._writers, self._append, lambda db: work(db, *args, **kwargs))

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work`, which only reads and waits for no writer; on Postgres each statement sees its own moment."""
        return await self._in_thread(self._readers, self._read, lambda db: work(db, *args, **kwargs))

    async def _in_thread(self, pool: Workers, run: Run, work: Callable[[Connection], T]) -> T:
        try:
            result: T = await deferToThreadPool(self._reactor, pool, run, work)  # type: ignore[arg-type]  # see Workers
        except Unavailable as error:
            if self._reachable:
                self._reachable = False
                self.log.error(
                    "The database does not answer ({cause}). Commands are refused until it does; start it.",
                    cause=str(error.__cause__),
                )
            raise
        if not self._reachable:
            self._reachable = True
            self.log.info("The database answers again.")
        return result
