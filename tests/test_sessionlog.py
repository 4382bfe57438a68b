"""Logins and their ends are written down: many at once, a little later, and surely."""

from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from chatserver.errors import Unavailable
from chatserver.sessionlog import FLUSH_SECONDS, RETRY_SECONDS, SessionLog
from chatserver.store import sessions
from chatserver.store.sessions import Change, Closed

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)


class Store:
    """Writes nothing; says what it was given, and fails while it is away."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.away = False
        self.gate: Deferred[None] | None = None

    async def write(self, work: object, changes: list[Change]) -> None:
        assert work is sessions.record
        if self.gate is not None:
            await self.gate
        if self.away:
            raise Unavailable()
        self.written.append([change.id for change in changes])


def session_log() -> tuple[SessionLog, Store, Clock]:
    clock, store = Clock(), Store()
    stand_in: Any = store
    return SessionLog(clock, stand_in), store, clock


def closed(id: str) -> Closed:
    return Closed(id, 1, AT, "quit")


def test_many_at_once() -> None:
    """What comes within a moment is written together."""
    book, store, clock = session_log()
    for id in "abc":
        book.add(closed(id))
    assert (store.written, book.written) == ([], False)
    clock.advance(FLUSH_SECONDS)
    assert (store.written, book.written) == ([["a", "b", "c"]], True)


def test_the_database_is_away() -> None:
    """What could not be written is kept, before what came later, until it can."""
    book, store, clock = session_log()
    store.away = True
    book.add(closed("a"))
    clock.advance(FLUSH_SECONDS)
    book.add(closed("b"))
    clock.pump([RETRY_SECONDS] * 3)
    assert (store.written, book.written) == ([], False)
    store.away = False
    clock.advance(RETRY_SECONDS)
    assert (store.written, book.written) == ([["a", "b"]], True)


def test_one_writing_at_a_time() -> None:
    """What comes while it is being written waits for the next time, and is not forgotten."""
    book, store, clock = session_log()
    gate = store.gate = Deferred()
    book.add(closed("a"))
    clock.advance(FLUSH_SECONDS)
    book.add(closed("b"))
    ensureDeferred(book.flush())
    assert (store.written, book.written) == ([], False)
    store.gate = None
    gate.callback(None)
    clock.advance(FLUSH_SECONDS)
    assert (store.written, book.written) == ([["a"], ["b"]], True)
