"""A database that does not answer: each call ends by its deadline, and later calls find threads and connections."""

import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from chatserver.store.db import engine
from chatserver.store.db.engine import open_engine, open_ready, parse_url
from chatserver.store.db.faults import Locked
from chatserver.store.db.threads import Store
from chatserver.store.db.transactions import transact
from chatserver.store.messages import Draft, append
from chatserver.store.visibility import find_room
from chatserver.values.errors import TooSlow, Unavailable, Why
from tests.store.conftest import AT, Tables
from tests.support.hanging import Relay, stopped
from tests.support.postgres import PostgresServer
from tests.support.process import wait_until

SECONDS = 30
DEADLINE = 10.0


class Reactor(Clock):
    """A clock that the test advances, and calls from threads that the test runs."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = SimpleQueue()

    def callFromThread(self, call: Callable[..., None], *args: Any) -> None:
        self._calls.put((call, args))

    def turn(self) -> None:
        while True:
            try:
                call, args = self._calls.get_nowait()
            except Empty:
                return
            call(*args)


class Bench:
    """A store with two threads for writing and two for reading."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._before = set(threading.enumerate())
        self.reactor = Reactor()
        self.store = Store(engine, self.reactor, 2, 2, DEADLINE)

    def threads(self) -> set[threading.Thread]:
        """The store's threads."""
        return {
            thread
            for thread in set(threading.enumerate()) - self._before
            if thread.name.startswith(("writers", "readers"))
        }

    def begin(self, call: Any) -> list[Any]:
        """The list gets the result, or the name of the exception."""
        results: list[Any] = []
        deferred: Deferred[Any] = ensureDeferred(call)
        deferred.addCallbacks(results.append, lambda failure: results.append(failure.type))
        return results

    def wait(self, results: list[Any]) -> None:
        def ended() -> bool:
            self.reactor.turn()
            return bool(results)

        wait_until(ended, SECONDS, "the call has ended")

    def result(self, call: Any) -> Any:
        results = self.begin(call)
        self.wait(results)
        return results[0]


@pytest.fixture
def bench(empty_url: str) -> Iterator[Bench]:
    one = Bench(open_engine(parse_url(empty_url)))
    yield one
    one.store.stop()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.append(str(event.get("log_format", "")).format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def one(db: Connection) -> int:
    return int(db.exec_driver_sql("SELECT 1").scalar_one())


def test_all_threads_hang(bench: Bench, logged: list[str]) -> None:
    """Every call ends by its own deadline, whether a thread has begun it or not, and soon once it is known that the
    database hangs; a result that comes later is discarded. The log has one line when that begins, and one at its end,
    when the waiting part is notified, once."""
    go_on, begun = threading.Event(), []

    def hang(_db: Connection) -> None:
        begun.append(threading.current_thread())
        go_on.wait(SECONDS)

    store, clock = bench.store, bench.reactor
    ends: list[float] = []
    store.notify(SimpleNamespace(answered=lambda: ends.append(clock.seconds())))
    hung = [bench.begin(store.read(hang)) for _ in range(3)]
    wait_until(lambda: len(begun) == 2)
    clock.advance(4)
    late = bench.begin(store.read(hang))
    assert bench.result(store.write(one)) == 1
    clock.advance(5.9)
    assert not any([*hung, late])
    clock.advance(0.1)
    assert hung == [[Unavailable]] * 3
    assert not late
    wait_until(lambda: len(begun) == 3, what="a new thread has begun the call that waited")
    hasty = bench.begin(store.read(hang))
    clock.advance(2)
    assert hasty == [Unavailable]
    assert not late
    clock.advance(2)
    assert late == [Unavailable]
    assert bench.result(store.write(one)) == 1
    go_on.set()
    assert ends == []
    assert bench.result(store.read(one)) == 1
    assert ends == [14]
    clock.turn()
    assert hung == [[Unavailable]] * 3
    assert [line for line in logged if "answer" in line] == [
        "The database does not answer (no answer for 10 s). Commands are refused until it does. Start the database.",
        "The database answers again. It was away for 14.0 s.",
    ]
    assert len(clock.getDelayedCalls()) <= 1


def test_no_deadline(sqlite_url: str) -> None:
    """With a deadline of 0 a call may take any time."""
    bench = Bench(open_engine(parse_url(sqlite_url)))
    bench.store = Store(bench.engine, bench.reactor, 1, 1, 0)
    go_on = threading.Event()
    results = bench.begin(bench.store.write(lambda _db: go_on.wait(SECONDS)))
    bench.reactor.advance(1e6)
    assert not results
    go_on.set()
    bench.wait(results)
    assert results == [True]
    bench.store.stop()


def test_hurrying(bench: Bench) -> None:
    """A server that stops shortens the deadline, also of calls in progress; `stop` waits for none of them."""
    go_on, began = threading.Event(), threading.Event()

    def hang(_db: Connection) -> None:
        began.set()
        go_on.wait(SECONDS)

    results = bench.begin(bench.store.write(hang))
    assert began.wait(SECONDS)
    bench.reactor.advance(1)
    bench.store.hurry(2)
    bench.reactor.advance(2)
    assert results == [Unavailable]
    late = bench.begin(bench.store.write(hang))
    bench.store.stop()
    assert not late
    assert not bench.reactor.getDelayedCalls()
    go_on.set()


def test_a_long_statement_is_interrupted(sqlite_url: str) -> None:
    """SQLite stops a statement whose call was abandoned, and the next write does not wait for it."""
    bench = Bench(open_engine(parse_url(sqlite_url)))
    began = threading.Event()

    def count_forever(db: Connection) -> None:
        began.set()
        db.exec_driver_sql("WITH RECURSIVE n AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n")

    results = bench.begin(bench.store.write(count_forever))
    assert began.wait(SECONDS)
    threading.Event().wait(0.2)  # until the statement runs
    bench.reactor.advance(DEADLINE)
    assert results == [Unavailable]
    assert bench.result(bench.store.write(one)) == 1
    bench.store.stop()


ENDLESS = "WITH RECURSIVE n AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n"


def test_a_query_that_reads_for_too_long(empty_url: str, logged: list[str]) -> None:
    """The database ends it after `read_seconds`. That is no outage, and the same connection serves the next query."""
    bench = Bench(open_engine(parse_url(empty_url)))
    bench.store.stop()
    bench.store = Store(bench.engine, bench.reactor, 1, 1, DEADLINE, read_seconds=0.2)
    driver = bench.result(bench.store.read(lambda db: id(db.connection.dbapi_connection)))
    assert bench.result(bench.store.read(lambda db: db.exec_driver_sql(ENDLESS).scalar())) is TooSlow
    assert bench.result(bench.store.read(one)) == 1
    assert bench.result(bench.store.read(lambda db: id(db.connection.dbapi_connection))) == driver
    # The limit is for reading only.
    long = "SELECT pg_sleep(0.4)" if "postgresql" in empty_url else f"{ENDLESS.replace('n)', 'n LIMIT 3000000)')}"
    assert bench.result(bench.store.write(lambda db: db.exec_driver_sql(long).scalar())) is not TooSlow
    assert not [line for line in logged if "answer" in line]
    bench.store.stop()


def use_threads(bench: Bench) -> None:
    """Opens a connection for each kind of call."""
    for call in (bench.store.append, bench.store.write, bench.store.read):
        assert bench.result(call(one)) == 1


def abandon(bench: Bench) -> None:
    """Each kind of call is answered at the deadline, and its thread comes back although the database does not."""
    hung = [bench.begin(call(one)) for call in (bench.store.append, bench.store.write, bench.store.read)]
    threading.Event().wait(0.3)  # until they wait for the database
    bench.reactor.turn()
    assert not any(hung)
    threads = bench.threads()
    bench.reactor.advance(DEADLINE)
    assert hung == [[Unavailable]] * 3
    wait_until(lambda: not any(thread.is_alive() for thread in threads), what="the abandoned threads have ended")


@pytest.mark.slow
def test_postgres_is_stopped(postgres_server: PostgresServer) -> None:
    """All processes of PostgreSQL are stopped, and continue later: on new connections."""
    bench = Bench(open_engine(parse_url(postgres_server.url()), 3))
    use_threads(bench)
    with stopped(postgres_server):
        abandon(bench)
        assert bench.result(bench.store.read(one)) is Unavailable  # cannot connect within 5 s
    use_threads(bench)
    bench.store.stop()


def test_a_host_that_vanished(empty_postgres_url: str) -> None:
    """Nothing comes back from the host of the database, but its packets are acknowledged, so that TCP sees no fault."""
    url = parse_url(empty_postgres_url)
    assert url.port is not None
    relay = Relay(url.port)
    bench = Bench(open_engine(url.set(host="127.0.0.1", port=relay.port), 3))
    use_threads(bench)
    relay.deaf = True
    abandon(bench)
    relay.deaf = False
    use_threads(bench)
    bench.store.stop()
    relay.close()


def test_no_process_is_left_behind(empty_postgres_url: str) -> None:
    """PostgreSQL does not notice the end of a connection while it waits for a lock: the next connection ends it, so
    that it is not committed later."""
    bench = Bench(open_engine(parse_url(empty_postgres_url), 3))
    transact(bench.engine, lambda db: db.exec_driver_sql("CREATE SCHEMA chatserver CREATE TABLE one (id int)"))

    def waiting() -> bool:
        query = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'INSERT INTO one%%' AND wait_event_type = 'Lock'"
        return transact(bench.engine, lambda db: bool(db.exec_driver_sql(query).all()))

    def insert(db: Connection) -> None:
        db.exec_driver_sql("INSERT INTO one VALUES (1)")

    with bench.engine.begin() as other:
        other.exec_driver_sql("LOCK TABLE one")
        results = bench.begin(bench.store.write(insert))
        wait_until(waiting, what="the statement waits for the lock")
        bench.reactor.advance(DEADLINE)
        assert results == [Unavailable]
        assert bench.result(bench.store.append(one)) == 1
        wait_until(lambda: not waiting(), 5, "the process has ended")
    assert bench.result(bench.store.read(lambda db: db.exec_driver_sql("SELECT count(*) FROM one").scalar())) == 0
    bench.store.stop()


def test_tcp_ends_dead_connections(empty_postgres_url: str) -> None:
    """Every connection has keepalives of a few seconds, and a limit for unacknowledged data."""
    engine = open_engine(parse_url(empty_postgres_url))

    def options(db: Connection) -> list[int]:
        driver: Any = db.connection.dbapi_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as tcp:
            names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            return [
                tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                *(tcp.getsockopt(socket.IPPROTO_TCP, name) for name in names),
            ]

    assert transact(engine, options) == [1, 5, 2, 3, 10_000]
    engine.dispose()


def test_the_failure_is_no_traceback(bench: Bench) -> None:
    """The exception names the reason, for the log."""
    go_on = threading.Event()
    failures: list[Failure] = []
    ensureDeferred(bench.store.read(lambda _db: go_on.wait(SECONDS))).addErrback(failures.append)
    bench.reactor.advance(DEADLINE)
    error: Any = failures[0].value
    assert str(error.__cause__) == "no answer for 10 s"
    go_on.set()


async def refusal(call: Any) -> Why:
    """Why a call is refused."""
    with pytest.raises(Unavailable) as refused:
        await call
    return refused.value.why


def test_a_room_that_is_held(tables: Tables, logged: list[str]) -> None:
    """Who waits in vain for a room that another program's transaction holds is told that the room is busy, and the log
    where to look. The database is not away, and other rooms go on."""
    if not tables.postgres:
        return
    ana = tables.person("ana")
    tables.room("books", ana)
    tables.room("films", ana)

    def lock(name: str) -> Callable[[Connection], int]:
        def work(db: Connection) -> int:
            db.exec_driver_sql("SET LOCAL lock_timeout = 50")
            return find_room(db, ana, name, lock=True).seq

        return work

    bench = Bench(open_engine(tables.engine.url, 3))
    with tables.engine.begin() as other:
        find_room(other, ana, "books", lock=True)
        assert bench.result(refusal(bench.store.write(lock("books")))) is Why.ROOM_BUSY
        assert bench.result(bench.store.write(lock("films"))) == 1
    assert not bench.store.away
    [line] = logged
    assert line.startswith("A command waited in vain (canceling statement due to lock timeout)")
    assert line.endswith("look for it in pg_stat_activity.")
    bench.store.stop()


def test_several_wait_for_a_room(tables: Tables) -> None:
    """Who waits behind others for a room that is held, until the deadline passes, is told that the room is busy, as
    long as the database answers otherwise."""
    if not tables.postgres:
        return
    ana = tables.person("ana")
    books = tables.room("books", ana)
    bench = Bench(open_engine(tables.engine.url, 3))
    for why in (Why.ROOM_BUSY, Why.UNAVAILABLE):
        with tables.engine.begin() as other:
            find_room(other, ana, "books", lock=True)
            drafts = [Draft(books.id, ana.id, "hello", None)]
            held = bench.begin(bench.store.append(append, drafts, AT))
            bench.wait(held)
            assert held == [Locked]
            waiting = bench.begin(refusal(bench.store.write(lambda db: find_room(db, ana, "books", lock=True).seq)))
            wait_until(tables._is_waiting, what="it waits for the room")
            bench.reactor.advance(DEADLINE - 1)
            if why is Why.ROOM_BUSY:
                bench.result(bench.store.read(one))
            bench.reactor.advance(1)
            assert waiting == [why]
            assert bench.store.away == (why is Why.UNAVAILABLE)
        assert bench.result(bench.store.write(one)) == 1
    bench.store.stop()


def test_a_file_that_is_held(sqlite_url: str, logged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite another program's transaction holds everything. Those that wait for the first one that waits are told
    the same, as long as the database can be read."""
    open_ready(parse_url(sqlite_url)).dispose()
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    bench = Bench(open_engine(parse_url(sqlite_url), 3))
    other = sqlite3.connect(str(bench.engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert bench.result(refusal(bench.store.write(one))) is Why.DATABASE_BUSY
    assert not bench.store.away
    assert [line.partition(" (")[0] for line in logged] == ["A command waited in vain"]
    monkeypatch.undo()
    waiting = [bench.begin(refusal(bench.store.write(one))) for _ in range(2)]
    bench.reactor.advance(DEADLINE - 1)
    bench.result(bench.store.read(one))
    bench.reactor.advance(1)
    assert waiting == [[Why.DATABASE_BUSY]] * 2
    assert not bench.store.away
    other.execute("ROLLBACK")
    other.close()
    assert bench.result(bench.store.write(one)) == 1
    bench.store.stop()


def test_a_transaction_that_lasts(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite, who waits in vain for a transaction of the same server is told that the database is busy, too."""
    open_ready(parse_url(sqlite_url)).dispose()
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    bench = Bench(open_engine(parse_url(sqlite_url), 3))
    begun, end = threading.Event(), threading.Event()

    def lasting(db: Connection) -> int:
        begun.set()
        assert end.wait(30)
        return one(db)

    answered = bench.begin(bench.store.write(lasting))
    assert begun.wait(30)
    assert bench.result(refusal(bench.store.write(one))) is Why.DATABASE_BUSY
    end.set()
    bench.wait(answered)
    assert answered == [1]
    bench.store.stop()
