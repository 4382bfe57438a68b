"""Runs the store's functions in threads, for the reactor: one transaction for each call."""

from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.clock import Clock
from chatserver.errors import TooSlow, Unavailable
from chatserver.store import changes, entries, lease, rooms, search, sessions
from chatserver.store.checkpoint import empty_log, is_log_empty
from chatserver.store.database import open_reading, open_statements
from chatserver.store.database_file import Displaced, watched_file
from chatserver.store.durability import durability_warnings
from chatserver.store.transactions import FREE_SPACE, START, Errors, Statements, transact, transact_with_retry
from chatserver.store.workers import Call, Workers

P = ParamSpec("P")
T = TypeVar("T")
Run = Callable[[Callable[[Any], Any]], Any]

OUTAGE_SECONDS = 10.0
"""If other kinds of calls succeed and none has failed for this long, an outage is over."""

HASTY_SECONDS = 2.0
"""The deadline while the database does not answer: commands wait for each other, and each should not take ten seconds
to be refused."""


class Store:
    """Runs functions of a Connection in threads.

    Every coroutine raises Unavailable if the database does not answer; the work may have been committed all the same,
    or may be committed later. `deadline` is the longest wait for an answer, in seconds, including the wait for a
    thread; `read_seconds` is the longest time of one query that only reads. With 0 there is no limit.
    """

    log = Logger()

    def __init__(
        self, engine: Engine, reactor: Any, writers: int, readers: int, deadline: float = 0, read_seconds: float = 0
    ) -> None:
        self._engine = engine
        self._file = watched_file(engine)
        self._write: Run = partial(transact_with_retry, engine)
        self._statements = open_statements(engine, writers + readers)
        self._reading = open_reading(engine, writers + readers, read_seconds)
        self._read: Run = partial(transact, self._reading)
        if self._statements is None:
            self._append: Run = partial(transact, engine)
        else:
            self._kept = Statements(self._statements)
            self._append = self._kept.run
        self._errors = Errors(engine)
        self._reactor = reactor
        # Two pools, so that a message never waits for a read.
        self._writers = Workers(writers, "writers", self._finished)
        self._readers = Workers(readers, "readers", self._finished)
        self._deadline = deadline
        self._patience = {self._writers: deadline, self._readers: deadline}
        self._waiting: dict[Call, Workers] = {}
        self._timer: IDelayedCall | None = None  # for the call whose deadline is the next
        # What does not work: writing or reading, or only some kinds of calls while the disk is full. That is one
        # outage, with one line in the log at its beginning and one at its end.
        self._failing: set[Workers | Run] = set()
        self._failed = 0.0

    def run(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in a transaction, in this thread: for the start, before the reactor runs."""
        return transact_with_retry(self._engine, work)

    def prepare(self, me: lease.Process, rooms_to_have: list[str], clock: Clock) -> int:
        """Prepares the database for serving. Blocks.

        Closes the sessions that a crash of this node left open, dismisses their guests, creates the default rooms, and
        logs a warning for each setting that makes the database unsafe. Returns the number of sessions closed.
        """
        if self._file is not None:
            try:
                self._file.watch()
            except Displaced as error:
                raise Unavailable() from error
        exposed = self._file.exposed() if self._file is not None else ""
        for warning in [*durability_warnings(self._engine), *filter(None, [exposed])]:
            self.log.warn("{warning}", warning=warning)

        def work(db: Connection) -> int:
            search.tune(db)
            clock.start_at(entries.newest_at(db))
            at = clock()
            rooms.ensure(db, rooms_to_have, at)
            lease.release_dead(db, me)
            rooms.dismiss_guests(db, at, me.node)
            changes.prune(db, at)
            return sessions.close_left_open(db, me.node, at)

        return transact(self._engine, work)

    def stop(self) -> None:
        """Ends the threads and closes the connections. Does not wait for calls that the database does not answer: their
        threads end with the process."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for pool in (self._writers, self._readers):
            if pool.busy:
                self.log.warn("The database does not answer. Calls in progress are abandoned.")
            else:
                pool.stop()
        if self._file is None or not self._file.leave():
            self._engine.dispose()
        if self._statements is not None:
            self._kept.close()
            self._statements.dispose()
            self._reading.dispose()

    def hurry(self, seconds: float) -> None:
        """Shortens the deadline of all calls, also of those in progress, so that stopping does not take longer."""
        if not self._deadline or seconds < self._deadline:
            self._deadline = seconds
            self._patience = {pool: min(seconds, known or seconds) for pool, known in self._patience.items()}
            until = self._reactor.seconds() + seconds
            for call in self._waiting:
                call.until = min(call.until or until, until)
            self._set_timer()

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
        """Runs `work`, which must only read. Waits for no writer; on PostgreSQL each statement has its own snapshot.

        Raises TooSlow if a query takes longer than `read_seconds`.
        """
        return await self._in_thread(self._readers, self._read, lambda db: work(db, *args, **kwargs))

    async def empty_log(self) -> bool:
        """Empties SQLite's write-ahead log, if it has anything in it. Returns whether it is empty now; it is not if a
        long read still needs it."""
        if is_log_empty(self._engine):
            return True
        return await self._in_thread(self._writers, self._raw, empty_log)

    def _raw(self, work: Callable[[Engine], T]) -> T:
        with self._errors:
            return work(self._engine)

    async def _in_thread(self, pool: Workers, run: Run, work: Callable[[Any], T]) -> T:
        call = Call(run, work)
        if patience := self._patience[pool]:
            call.until = self._reactor.seconds() + patience
            if self._timer is None:
                self._timer = self._reactor.callLater(patience, self._expire)
            elif patience < self._deadline:
                self._waiting[call] = pool
                self._set_timer()
        self._waiting[call] = pool
        pool.submit(call)
        try:
            result: T = await call.answer
        except TooSlow:
            raise
        except Unavailable as error:
            self._note_failure(pool, run, error)
            raise
        if self._failing:
            self._note_success(pool, run)
        return result

    def _note_failure(self, pool: Workers, run: Run, error: Unavailable) -> None:
        remedy = getattr(error.__cause__, "remedy", START)
        if not self._failing:
            self.log.error(
                "The database does not answer ({cause}). Commands are refused until it does. {remedy}",
                cause=str(error.__cause__),
                remedy=remedy,
            )
        self._failing.add(run if remedy == FREE_SPACE else pool)
        self._failed = self._reactor.seconds()

    def _note_success(self, pool: Workers, run: Run) -> None:
        self._patience[pool] = self._deadline
        self._failing -= {pool, run}
        if not self._failing or self._reactor.seconds() - self._failed > OUTAGE_SECONDS:
            self._failing.clear()
            self.log.info("The database answers again.")

    def _finished(self, call: Call, well: bool, result: Any) -> None:
        """In the thread."""
        self._reactor.callFromThread(self._answer, call, well, result)

    def _answer(self, call: Call, well: bool, result: Any) -> None:
        if not call.over:
            call.over = True
            del self._waiting[call]
            if well:
                call.answer.callback(result)
            else:
                call.answer.errback(result)

    def _set_timer(self) -> None:
        """There is one timer: one for each call would take longer than handing the call to a thread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            seconds = min(call.until for call in self._waiting) - self._reactor.seconds()
            self._timer = self._reactor.callLater(max(seconds, 0), self._expire)

    def _expire(self) -> None:
        """Answers the calls whose deadline has passed."""
        self._timer = None
        now = self._reactor.seconds() + 0.001  # the timer may be a little early
        expired = {call: pool for call, pool in self._waiting.items() if call.until <= now}
        for call, pool in reversed(expired.items()):  # those that wait for a thread first, so that none begins now
            call.over = True
            del self._waiting[call]
            pool.abandon(call)
            # Until a call succeeds, the others need not wait as long to learn the same.
            self._patience[pool] = min(HASTY_SECONDS, self._deadline)
        self._set_timer()
        for call in expired:
            call.answer.errback(_no_answer(self._deadline))


class _NoAnswer(Exception):
    pass


def _no_answer(seconds: float) -> Failure:
    error = Unavailable()
    error.__cause__ = _NoAnswer(f"no answer for {seconds:g} s")
    return Failure(error)
