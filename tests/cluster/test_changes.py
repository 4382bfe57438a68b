"""The table `change` on PostgreSQL, where transactions commit in another order than that of their ids."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy import Engine, select

from chatserver.store import change_rows
from chatserver.store.db import database_clock
from chatserver.store.db.engine import open_engine, open_ready, parse_url
from chatserver.store.db.schema import ChangeRow
from chatserver.store.db.transactions import transact
from chatserver.sync.change_feed import MISSING_SECONDS, ChangeFeed
from tests.support.hall import START, Hall

MANY = 300
"""More than come between two looks."""


class Library(Hall):
    """A server that follows changes. `followed`: their ids, in that order."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder, engine=open_engine(parse_url(url)))
        store: Any = self.inline
        self.change_feed = ChangeFeed(
            self.clock, store, self.registry, self.roster, self.reconciler, self.session_rows, self.rewind
        )
        self.followed: list[int] = []

        async def follow(change: change_rows.Change) -> None:
            self.followed.append(change.id)

        self.change_feed._handlers.follow = follow  # type: ignore[method-assign]
        self.change_feed.start()
        self.passes(1)

    def note(self, count: int = 1) -> int:
        """Others commit so many changes, of which the id of the last one is returned."""
        return max(transact(self.engine, lambda db: change_rows.note(db, "bans", 0, START)) for _ in range(count))

    def is_applied(self, id: int) -> bool:
        """Whether all changes up to this one are, as soon as whoever else uses the server has ended what it does; long
        before they are given up."""
        begun, since = self.clock.seconds(), monotonic()
        while self.clock.seconds() - begun < MISSING_SECONDS / 2 and monotonic() - since < 30:
            self.passes(0.5)
            if self.change_feed.applied == id:
                return True
            sleep(0.05)
        return False


@pytest.fixture
def library(tmp_path: Path, postgres_url: str) -> Iterator[Library]:
    library = Library(tmp_path, postgres_url)
    yield library
    library.change_feed.stop()
    library.close()


def test_a_transaction_that_takes_long(library: Library) -> None:
    """However many changes come after it, one that commits late is followed, once, and is missing until then."""
    with library.engine.connect() as slow:
        late = change_rows.note(slow, "bans", 0, START)
        newest = library.note(MANY)
        library.passes(5)
        assert library.followed == list(range(late + 1, newest + 1))
        assert library.change_feed.applied == late - 1
        slow.commit()
    assert library.is_applied(newest)
    assert library.followed == [*range(late + 1, newest + 1), late]


def test_a_transaction_that_is_undone(library: Library) -> None:
    """Its id is not waited for once it is over."""
    with library.engine.connect() as undone:
        gone = change_rows.note(undone, "bans", 0, START)
        newest = library.note()
        library.passes(2)
        assert library.change_feed.applied == gone - 1
        undone.rollback()
    assert library.is_applied(newest)
    assert library.followed == [newest]


def test_one_that_began_before_the_server(library: Library, tmp_path: Path) -> None:
    """Changes written before the start and committed after it are followed, too; no others from before are."""
    with library.engine.connect() as slow:
        late = change_rows.note(slow, "bans", 0, START)
        library.note(10)
        url = library.engine.url.render_as_string(hide_password=False)
        second = Library(tmp_path, url)
        assert second.followed == []
        slow.commit()
    assert second.is_applied(library.note())
    assert second.followed[0] == late
    second.change_feed.stop()
    second.close()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_ready(parse_url(database_url))
    yield engine
    engine.dispose()


def test_old_changes_are_removed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that everybody has read are removed in steps, and the newest one stays, so that no id is given again."""
    monkeypatch.setattr(change_rows, "PRUNED_AT_ONCE", 3)
    now = transact(engine, database_clock.now)

    def note(ago: timedelta) -> int:
        return transact(engine, lambda db: change_rows.note(db, "bans", 0, now - ago))

    for _ in range(7):
        last = note(2 * change_rows.KEPT)
    assert [transact(engine, change_rows.prune_some) for _ in range(3)] == [True, True, False]
    assert transact(engine, lambda db: list(db.scalars(select(ChangeRow.id)))) == [last]
    new = note(timedelta())
    assert new > last
    assert not transact(engine, change_rows.prune_some)
    assert transact(engine, lambda db: list(db.scalars(select(ChangeRow.id)))) == [new]
