"""Logins and their ends are written to the database: many at once, a little later, and reliably."""

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
    """Records the ids that it was given to write, and fails while it is unavailable."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.unavailable = False
        self.gate: Deferred[None] | None = None

    async def write(self, work: object, changes: list[Change]) -> None:
        assert work is sessions.record
        if self.gate is not None:
            await self.gate
        if self.unavailable:
            raise Unavailable()
        self.written.append([change.id for change in changes])


def session_log() -> tuple[SessionLog, Store, Clock]:
    clock, store = Clock(), Store()
    stand_in: Any = store
    return SessionLog(clock, stand_in), store, clock


def closed(id: str) -> Closed:
    return Closed(id, 1, AT, "quit")


def test_changes_are_written_together() -> None:
    """All changes within `FLUSH_SECONDS` are written in one call."""
    log, store, clock = session_log()
    for id in "abc":
        log.add(closed(id))
    assert (store.written, log.written) == ([], False)
    clock.advance(FLUSH_SECONDS)
    assert (store.written, log.written) == ([["a", "b", "c"]], True)


def test_the_database_is_unavailable() -> None:
    """Changes that could not be written are retried until they can be, together with later ones and in order."""
    log, store, clock = session_log()
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
    log, store, clock = session_log()
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
