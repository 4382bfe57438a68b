"""Runs the store's functions in threads, for the reactor: one transaction for each call.

`Store` is what other packages use. `Workers` is a pool of threads that grows to the number of concurrent calls, and
replaces threads that do not come back.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread, get_ident
from time import perf_counter
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine, event
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.store.db import own_schema
from chatserver.store.db.database_file import Displaced, empty_log, is_log_empty, watched_file
from chatserver.store.db.durability import durability_warnings
from chatserver.store.db.engine import one_snapshot, open_reading, open_statements
from chatserver.store.db.epochs import Epoch, ensure_at
from chatserver.store.db.faults import FREE_SPACE, HELD, START, Conflict, Errors, Locked
from chatserver.store.db.transactions import Statements, cut, transact, transact_with_retry
from chatserver.util.quiet_log import Unlogged
from chatserver.values.errors import Busy, Refused, TooSlow, Unavailable, Why

P = ParamSpec("P")
T = TypeVar("T")

OUTAGE_SECONDS = 10.0
"""How long no call may have failed until an outage is over, if other kinds of calls succeed."""

OUTAGE_LINES = 3
"""Maximum number of outages that are logged in ten seconds: some faults come and go with each command."""
SLOW_LINES = 20
"""Maximum number of slow statements that are logged in ten seconds."""

HASTY_SECONDS = 2.0
"""How long a call may take while the database does not answer: commands wait for each other, and not every one should
take ten seconds to be refused."""

HELD_SECONDS = 15.0
"""How long a call whose deadline passes is taken to wait for what another program holds, a room or the whole SQLite
file, after another call has waited for it. Those that wait queue behind each other, each for `lock_timeout` anew."""

ALIVE_SECONDS = 3.0
"""How long the database is known to answer after a call that has succeeded: the lease is renewed every second."""

ERRORS: Final = ("conflict", "fault", "too-slow", "unavailable")
"""Ways in which a call can fail: a conflict with another transaction, a bug, `read_seconds`, the database."""


class Run(Protocol):
    """How a call is run in its thread: in a transaction, as one statement, or without a connection."""

    def __call__(self, work: Any, /) -> Any: ...


class Call:
    """Work for a thread, and the Deferred of its result.

    `over`: its caller has been answered, so that its result goes nowhere. `what`: the function of the store that `work`
    calls.
    """

    __slots__ = ("answer", "over", "run", "seconds", "thread", "until", "what", "work")

    def __init__(self, run: Run, work: Any, what: Any = None) -> None:
        self.run = run
        self.work = work
        self.what = what or work
        self.seconds = 0.0  # that it took in its thread
        self.until = 0.0  # its deadline, by the clock of the reactor
        self.answer: Deferred[Any] = Deferred()
        self.over = False
        self.thread = 0  # the id of the thread that has begun it


class Caller(Protocol):
    """The part that submits calls."""

    def finished(self, call: Call, well: bool, result: Any) -> None:
        """Called in the thread after each call: with True and the result, or with False and a Failure."""


class Workers:
    """Runs calls of `caller` in at most `most` threads.

    Twisted's own pool hands each call over in Python, which takes as long as many statements do; here a queue in C does
    it. A new thread starts only if all others are busy: a thread that has just run finds its data in the CPU's caches.
    """

    def __init__(self, most: int, name: str, caller: Caller) -> None:
        self._most = most
        self.name = name
        self._caller = caller
        self._started = 0
        self._threads: dict[int, Thread] = {}
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        # Setting and popping an item are thread-safe: the thread that pops a call from `_queued` decides whether
        # it begins.
        self._queued: dict[Call, bool] = {}
        self._under_way: dict[Call, bool] = {}
        self._abandoned: set[int] = set()

    @property
    def busy(self) -> bool:
        """Whether a call is unfinished. Abandoned calls do not count."""
        return bool(self._under_way)

    def submit(self, call: Call) -> None:
        """Runs `call.run(call.work)` in a thread."""
        self._under_way[call] = self._queued[call] = True
        if len(self._threads) < min(len(self._under_way), self._most):
            self._start()
        self._calls.put(call)

    def abandon(self, call: Call) -> None:
        """Gives up a call that takes too long.

        If a thread has begun it, another thread takes its place at once. The connection that it uses is cut, and the
        thread ends when the call returns.
        """
        unfinished = self._under_way.pop(call, False)
        begun = not self._queued.pop(call, False)
        if unfinished and begun and self._threads.pop(call.thread, None) is not None:
            self._abandoned.add(call.thread)
            cut(call.thread)
            if len(self._threads) < len(self._under_way):
                self._start()

    def stop(self) -> None:
        """Finishes all calls, then ends the threads."""
        threads = list(self._threads.values())
        self._calls.put(None)
        for thread in threads:
            thread.join()

    def _start(self) -> None:
        # A daemon, so that it ends with the process if the database never answers.
        thread = Thread(target=self._work, name=f"{self.name}-{self._started}", daemon=True)
        self._started += 1
        thread.start()
        assert thread.ident is not None
        self._threads[thread.ident] = thread

    def _work(self) -> None:
        me = get_ident()
        while (call := self._calls.get()) is not None:
            call.thread = me
            if self._queued.pop(call, False):
                began = perf_counter()
                try:
                    result, well = call.run(call.work), True
                except BaseException:
                    result, well = Failure(), False
                call.seconds = perf_counter() - began
                self._under_way.pop(call, False)
                self._caller.finished(call, well, result)
                del result
            if me in self._abandoned:
                self._abandoned.discard(me)
                return
            del call  # keep nothing alive while waiting for the next one
        self._calls.put(None)  # for the next thread


class Recovering(Protocol):
    """A part that was refused as `unavailable`, and may try again after the outage."""

    def answered(self) -> None:
        """The database answers again."""


class Finding(Protocol):
    """The part that is told in which epoch the database is."""

    def epoch_found(self, epoch: Epoch | None) -> None:
        """A new connection has found this epoch. Called before the result of anything that is done on it."""


class Store:
    """Runs functions of a Connection in threads.

    Every coroutine raises Unavailable if the database does not answer; the work may have been committed all the same,
    or may be committed later. `deadline` is the longest wait for an answer, in seconds, including the wait for a
    thread; `read_seconds` is the longest time of one query that only reads. With 0 there is no limit.
    """

    log = Logger()

    def __init__(
        self,
        engine: Engine,
        reactor: Any,
        writers: int,
        readers: int,
        deadline: float = 0,
        read_seconds: float = 0,
        slow_seconds: float = 0,
    ) -> None:
        self._engine = engine
        self._file = watched_file(engine)
        self._write: Run = partial(transact_with_retry, engine)
        self._statements = open_statements(engine, writers + readers)
        self._reading = open_reading(engine, writers + readers, read_seconds)
        self._read: Run = partial(transact, self._reading)
        self._snapshot: Run = partial(transact, one_snapshot(self._reading))
        if self._statements is None:
            self._append: Run = partial(transact, engine)
        else:
            self._kept = Statements(self._statements)
            self._append = self._kept.run
        self._errors = Errors(engine)
        self._reactor = reactor
        # Two pools, so that a message never waits for a read.
        self._threads = writers, readers
        self._writers = Workers(writers, "writers", self)
        self._readers = Workers(readers, "readers", self)
        self._deadline = deadline
        self._patience = {self._writers: deadline, self._readers: deadline}
        self._waiting: dict[Call, Workers] = {}
        self._timer: IDelayedCall | None = None  # for the call whose deadline is the next
        # The pools that fail, or only some kinds of calls while the disk is full. Together they are one outage, with
        # one line in the log at its beginning and one at its end.
        self._failing: set[Workers | Run] = set()
        self._failed = 0.0
        self._away_since = 0.0
        self._told_away = False  # the log has the beginning of this outage
        self._held = self._succeeded = float("-inf")
        self._held_by = Why.ROOM_BUSY
        self._outages = Unlogged(reactor, self._tell_outages, OUTAGE_LINES)
        self.slow_seconds = slow_seconds
        """Calls that take this long in their thread are logged; 0: none."""
        self._slow = Unlogged(reactor, self._tell_slow, SLOW_LINES)
        self._recovering: list[Recovering] = []
        self._finding: Finding | None = None
        self.errors: Counter[str] = Counter()
        """Calls that failed, by what went wrong: one of ERRORS."""

    def notify(self, part: Recovering) -> None:
        """Has `part` notified at the end of each outage."""
        self._recovering.append(part)

    def watch(self, part: Finding) -> None:
        """Has `part` told the epoch that each new connection finds, on PostgreSQL, from `open` on."""
        self._finding = part

    def load(self) -> dict[str, tuple[int, int, int]]:
        """For each thread pool: its maximum size, the number of busy threads, and the number of queued calls."""
        calls = list(self._waiting.items())
        found = {}
        for name, pool, most in zip(("writers", "readers"), (self._writers, self._readers), self._threads, strict=True):
            begun = [bool(call.thread) for call, its in calls if its is pool]
            found[name] = most, sum(begun), len(begun) - sum(begun)
        return found

    def run(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in a transaction, in this thread: for the start, before the reactor runs."""
        return transact_with_retry(self._engine, work)

    def open(self) -> None:
        """Watches the file of SQLite from now on, and logs a warning for each setting that makes the database unsafe.

        Blocks. Raises Unavailable if the file has vanished.
        """
        exposed = ""
        if self._file is not None:
            try:
                self._file.watch()
            except Displaced as error:
                raise Unavailable() from error
            exposed = self._file.exposed()
        if self._statements is not None:
            for engine in (self._engine, self._statements, self._reading):
                event.listen(engine, "connect", self._connected)
        for warning in [
            *durability_warnings(self._engine),
            *own_schema.warnings(self._engine),
            *filter(None, [exposed]),
        ]:
            self.log.warn("{warning}", warning=warning)

    def _connected(self, connection: Any, _record: Any) -> None:
        """Only a new connection leads to another server, which may lack something. The epoch without that begins before
        anything is written."""
        found = ensure_at(connection, self._engine.url)
        if self._finding is not None:
            self._reactor.callFromThread(self._finding.epoch_found, found)

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

    @property
    def away(self) -> bool:
        """Whether the database did not answer lately."""
        return bool(self._failing)

    def knock(self, answered: Callable[[], None]) -> int:
        """Has a thread of each pool take a call that does not need the database; `answered` is then called in the
        reactor. Returns how many times that will be. There is no deadline: it shows whether the threads move."""
        pools = (self._writers, self._readers)
        for pool in pools:
            call = Call(lambda _: self._reactor.callFromThread(answered), None)
            call.over = True  # nobody awaits its result
            pool.submit(call)
        return len(pools)

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
        return await self._in_thread(self._writers, self._write, lambda db: work(db, *args, **kwargs), work)

    async def append(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `write`, for work that is one statement: on PostgreSQL without BEGIN and COMMIT, and without a retry.

        Raises Conflict, so that the caller can retry the messages of a batch one by one.
        """
        return await self._in_thread(self._writers, self._append, lambda db: work(db, *args, **kwargs), work)

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work`, which must only read. Waits for no writer; on PostgreSQL each statement has its own snapshot.

        Raises TooSlow if a query takes longer than `read_seconds`.
        """
        return await self._in_thread(self._readers, self._read, lambda db: work(db, *args, **kwargs), work)

    async def read_at_once(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `read`, but all statements of `work` see the same snapshot."""
        return await self._in_thread(self._readers, self._snapshot, lambda db: work(db, *args, **kwargs), work)

    async def empty_log(self) -> bool:
        """Empties SQLite's write-ahead log, if it has anything in it. Returns whether it is empty now; it is not if a
        long read still needs it."""
        if is_log_empty(self._engine):
            return True
        return await self._in_thread(self._writers, self._raw, empty_log)

    def _raw(self, work: Callable[[Engine], T]) -> T:
        with self._errors:
            return work(self._engine)

    async def _in_thread(self, pool: Workers, run: Run, work: Callable[[Any], T], what: Any = None) -> T:
        call = Call(run, work, what)
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
            self.errors["too-slow"] += 1
            raise
        except Busy as error:
            self.errors["conflict"] += 1
            self._held, self._held_by = self._reactor.seconds(), error.why
            self._log_busy(error)
            raise
        except Unavailable as error:
            self.errors["unavailable"] += 1
            self._note_failure(pool, run, error, call.until - patience if patience else self._reactor.seconds())
            raise
        except Refused:
            raise
        except Exception as error:
            self.errors["conflict" if isinstance(error, (Conflict, Locked)) else "fault"] += 1
            if isinstance(error, Locked):
                self._held, self._held_by = self._reactor.seconds(), Why.ROOM_BUSY
            raise
        self._succeeded = self._reactor.seconds()
        if self._failing:
            self._note_success(pool, run)
        return result

    def _note_failure(self, pool: Workers, run: Run, error: Unavailable, since: float) -> None:
        remedy = getattr(error.__cause__, "remedy", START)
        if not self._failing:
            self._away_since = since
            self._told_away = self._outages.may_log()
            if self._told_away:
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
            if self._told_away:
                seconds = round(self._reactor.seconds() - self._away_since, 1)
                self.log.info("The database answers again. It was away for {seconds} s.", seconds=seconds)
            for part in self._recovering:
                part.answered()

    def finished(self, call: Call, well: bool, result: Any) -> None:
        """Called in the thread that has run `call`."""
        self._reactor.callFromThread(self._answer, call, well, result)

    def _answer(self, call: Call, well: bool, result: Any) -> None:
        if self.slow_seconds and call.seconds >= self.slow_seconds:
            self._log_slow(call)
        if not call.over:
            call.over = True
            del self._waiting[call]
            if well:
                call.answer.callback(result)
            else:
                call.answer.errback(result)

    def _log_slow(self, call: Call) -> None:
        """Names the function of the store, not its statements: their text adds nothing, and their values are secret."""
        if self._slow.may_log():
            pool = self._writers.name if call.run in (self._write, self._append, self._raw) else self._readers.name
            what = f"{call.what.__module__.removeprefix('chatserver.')}.{call.what.__qualname__}"
            self.log.warn(
                "Slow: {statement} took {seconds} s in the database ({pool}).",
                statement=what, seconds=round(call.seconds, 3), pool=pool,
            )  # fmt: skip

    def _log_busy(self, error: Busy) -> None:
        """The database is well, but somebody waits in vain."""
        if self._slow.may_log():
            remedy = getattr(error.__cause__, "remedy", START)
            self.log.warn("A command waited in vain ({cause}). {remedy}", cause=str(error.__cause__), remedy=remedy)

    def _tell_outages(self, count: int) -> None:
        self.log.error("The database was away {count} more times, each time for a moment.", count=count)

    def _tell_slow(self, count: int) -> None:
        self.log.warn("{count} more statements were slow.", count=count)

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
        held = now - self._held < HELD_SECONDS and now - self._succeeded < ALIVE_SECONDS
        for call, pool in reversed(expired.items()):  # those that wait for a thread first, so that none begins now
            call.over = True
            del self._waiting[call]
            pool.abandon(call)
            if not held:  # until a call succeeds, the others need not wait as long to learn the same
                self._patience[pool] = min(HASTY_SECONDS, self._deadline)
        self._set_timer()
        for call, pool in expired.items():
            error = Busy(self._held_by) if held and pool is self._writers else Unavailable()
            call.answer.errback(_no_answer(error, self._deadline))


class _NoAnswer(Exception):
    remedy = START


class _NoLock(Exception):
    remedy = HELD


def _no_answer(error: Unavailable, seconds: float) -> Failure:
    cause = _NoLock if isinstance(error, Busy) else _NoAnswer
    error.__cause__ = cause(f"no answer for {seconds:g} s")
    return Failure(error)
