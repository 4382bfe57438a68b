"""Logins and their ends are written to the database: many at once, a little later, and reliably."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from chatserver.background.session_rows import (
    FLUSH_SECONDS,
    MAX_ATTEMPTS,
    MAX_FAILED_WRITES,
    RETRY_SECONDS,
    SessionRows,
)
from chatserver.store import sessions
from chatserver.store.db.faults import Conflict
from chatserver.store.sessions import Closed, Opened
from chatserver.values.errors import Unavailable
from chatserver.values.seen import Seen

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)


class Store:
    """Records the ids that it was given to write, and fails while it is unavailable."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.marked: list[dict[int, dict[int, Seen]]] = []
        self.unavailable = False
        self.bug = False
        self.poison: set[str] = set()
        self.calls = 0
        self.gate: Deferred[None] | None = None

    async def write(self, work: object, changes: Any) -> None:
        if self.gate is not None:
            await self.gate
        self.calls += 1
        if self.unavailable:
            raise Unavailable()
        if work is sessions.mark:
            self.marked.append(dict(changes))
            return
        assert work is sessions.record
        if self.bug or self.poison & {change.id for change in changes}:
            raise Conflict() if self.poison else RuntimeError("injected")
        self.written.append([change.id for change in changes])


def session_rows() -> tuple[SessionRows, Store, Clock]:
    clock, store = Clock(), Store()
    stand_in: Any = store
    return SessionRows(clock, stand_in), store, clock


def closed(id: str) -> Closed:
    return Closed(id, 1, AT, "quit")


def test_changes_are_written_together() -> None:
    """All changes within `FLUSH_SECONDS` are written in one call."""
    log, store, clock = session_rows()
    for id in "abc":
        log.add(closed(id))
    assert (store.written, log.written) == ([], False)
    clock.advance(FLUSH_SECONDS)
    assert (store.written, log.written) == ([["a", "b", "c"]], True)


def test_the_database_is_unavailable() -> None:
    """Changes that could not be written are retried until they can be, together with later ones and in order."""
    log, store, clock = session_rows()
    store.unavailable = True
    log.add(closed("a"))
    clock.advance(FLUSH_SECONDS)
    log.add(closed("b"))
    clock.pump([RETRY_SECONDS] * 3)
    assert (store.written, log.written) == ([], False)
    store.unavailable = False
    clock.advance(RETRY_SECONDS)
    assert (store.written, log.written) == ([["a", "b"]], True)


def test_one_write_at_a_time() -> None:
    """A change that is added during a write is in the next write, and is not lost."""
    log, store, clock = session_rows()
    gate = store.gate = Deferred()
    log.add(closed("a"))
    clock.advance(FLUSH_SECONDS)
    log.add(closed("b"))
    ensureDeferred(log.flush())
    assert (store.written, log.written) == ([], False)
    store.gate = None
    gate.callback(None)
    clock.advance(FLUSH_SECONDS)
    assert (store.written, log.written) == ([["a"], ["b"]], True)


# Errors other than a database that does not answer


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """The lines of the log, without tracebacks."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.info and str(event["log_namespace"]).startswith("chatserver"):
            lines.append(formatEvent(event))

    observer: Any = observe
    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)


def rows(store: Store) -> list[str]:
    return [id for ids in store.written for id in ids]


def test_a_bug_loses_no_row(log_lines: list[str]) -> None:
    """As long as no row can be written, all are kept, however long that takes. The log has one line when that begins
    and one when it is over."""
    log, store, clock = session_rows()
    store.bug = True
    ids = [f"{n}" for n in range(1000)]
    for id in ids:
        log.add(closed(id))
    clock.pump([RETRY_SECONDS] * 3 * MAX_ATTEMPTS)
    log.add(closed("later"))
    clock.pump([RETRY_SECONDS])
    assert (store.written, log.written) == ([], False)
    assert store.calls <= (3 * MAX_ATTEMPTS + 1) * MAX_FAILED_WRITES
    assert log_lines == ["Sessions could not be recorded. Trying again until they are."]
    store.bug = False
    clock.advance(RETRY_SECONDS)
    assert (rows(store), log.written) == ([*ids, "later"], True)
    assert log_lines[1:] == ["Sessions are recorded again."]
    clock.pump([RETRY_SECONDS] * 10)
    assert len(log_lines) == 2


def test_a_row_that_always_fails(log_lines: list[str]) -> None:
    """It keeps no other row from being written. It is retried, and dropped at last, with a line in the log that names
    it."""
    log, store, clock = session_rows()
    store.poison = {"7"}
    for n in range(20):
        log.add(closed(f"{n}"))
    clock.advance(FLUSH_SECONDS)
    assert rows(store) == [f"{n}" for n in range(20) if n != 7]
    for n in range(20, 30):
        log.add(closed(f"{n}"))
        clock.advance(RETRY_SECONDS)
        assert rows(store)[-1] == f"{n}"
    assert log.written
    assert ["session 7" in line for line in log_lines] == [False, True, False]
    assert f"it failed {MAX_ATTEMPTS} times" in log_lines[1]


def test_a_row_that_fails_alone() -> None:
    """Without another row that can be written, the fault may be everybody's: it is retried for as long as it takes."""
    log, store, clock = session_rows()
    store.poison = {"7"}
    log.add(closed("7"))
    clock.pump([RETRY_SECONDS] * 5 * MAX_ATTEMPTS)
    assert not log.written
    store.poison = set()
    clock.advance(RETRY_SECONDS)
    assert (store.written, log.written) == ([["7"]], True)


def test_the_order_within_a_session() -> None:
    """A session's end is not written before its beginning, which would leave it open for ever."""
    log, store, clock = session_rows()
    store.poison = {"7"}
    log.add(Opened("7", 1, "node", "address", AT))
    log.add(closed("8"))
    log.add(closed("7"))
    clock.advance(FLUSH_SECONDS)
    assert store.written == [["8"]]
    store.poison = set()
    clock.advance(RETRY_SECONDS)
    assert (store.written[1:], log.written) == ([["7", "7"]], True)


def test_read_marks() -> None:
    """Read marks are written with what waits, and again until that works; what waits is known meanwhile."""
    log, store, clock = session_rows()
    store.unavailable = True
    log.mark(1, {5: Seen(3)})
    clock.advance(FLUSH_SECONDS)
    log.mark(1, {5: Seen(0, ((5, 6),)), 6: Seen(1)})
    assert (log.unwritten(1), log.written) == ({5: Seen(3, ((5, 6),)), 6: Seen(1)}, False)
    store.unavailable = False
    store.gate = Deferred()
    clock.advance(RETRY_SECONDS)
    log.mark(1, {5: Seen(4)})
    assert log.unwritten(1) == {5: Seen(6), 6: Seen(1)}
    store.gate.callback(None)
    store.gate = None
    assert store.marked == [{1: {5: Seen(3, ((5, 6),)), 6: Seen(1)}}, {1: {5: Seen(4)}}]
    assert (log.unwritten(1), log.written) == ({}, True)
