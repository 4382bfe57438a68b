"""Words that SQLite's index of words has although their messages are erased or removed: SQLite only notes that they do
not count any more, and drops them when it merges the parts of the index.

Before version 3.42 that is so for all words. Later versions delete erased words from the index; those of old entries
that retention removes are noted, too, since deleting them takes a hundred times as long.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import sqlite_version_info
from time import monotonic
from typing import Any, Final

from msgspec import Struct, structs
from sqlalchemy import ColumnElement, Connection, exists, func, literal_column, select

from chatserver.store.db.schema import AccountRow, EntryRow, ErasureRow, RoomRow
from chatserver.store.search import SECURE_DELETE
from chatserver.values.events import EDITED, ERASED

PAGES: Final = 60
"""What one step merges: one or two hundredths of a second."""

REMOVED_SECONDS: Final = 3600.0
"""Retention goes on all the time: for what it has removed the index is merged only so often, and for an erasure at
once."""


class Mark(Struct, frozen=True):
    """Up to where the log of erasures was looked at: SQLite's number of the last entry, and how many accounts were
    erased; and how many entries retention had removed when the index was merged, at `merged` by the monotonic clock."""

    row: int = -1
    accounts: int = 0
    removed: int = 0
    merged: float = 0.0


def anything_erased(db: Connection, since: Mark) -> tuple[bool, Mark]:
    """Whether words were erased, replaced or removed since the mark that an earlier call has returned, which the index
    still has, so that it is to be merged now; and the new mark."""
    if db.dialect.name != "sqlite":
        return False, since
    removed = db.scalar(select(func.sum(RoomRow.first_seq - 1))) or 0
    now = structs.replace(since, removed=removed, merged=monotonic())
    erased = False
    if sqlite_version_info < SECURE_DELETE:
        row: ColumnElement[int] = literal_column("entry.rowid")
        accounts = db.scalar(select(func.count()).where(AccountRow.erased_at.is_not(None))) or 0
        now = structs.replace(now, row=db.scalar(select(func.max(row)).select_from(EntryRow)) or 0, accounts=accounts)
        changed = exists().where(row > since.row, EntryRow.kind.in_((EDITED, ERASED)))
        if since.row >= 0:
            erased = accounts > since.accounts or bool(db.scalar(select(changed | exists(select(ErasureRow)))))
    if not since.merged:  # what was removed before the start may not be merged yet
        return erased, structs.replace(now, removed=0)
    if erased or (removed > since.removed and now.merged - since.merged > REMOVED_SECONDS):
        return True, now
    return False, structs.replace(now, removed=since.removed, merged=since.merged)


@contextmanager
def noted(db: Connection) -> Iterator[None]:
    """A block of a transaction in which the words of what is removed are only noted in SQLite's index."""
    lazy = db.dialect.name == "sqlite" and sqlite_version_info >= SECURE_DELETE
    if lazy:
        db.exec_driver_sql(_SECURE_DELETE, (0,))
    yield
    if lazy:
        with db.begin_nested():
            pass  # a savepoint makes SQLite write its notes now
        db.exec_driver_sql(_SECURE_DELETE, (1,))


_SECURE_DELETE: Final = "INSERT INTO entry_search (entry_search, rank) VALUES ('secure-delete', ?)"


def merge(db: Connection, *, first: bool) -> bool:
    """One step of merging the whole index. Returns whether another one is needed."""
    driver: Any = db.connection.dbapi_connection
    before = driver.total_changes
    pages = -PAGES if first else PAGES  # FTS5: a negative number makes it merge all parts
    db.exec_driver_sql("INSERT INTO entry_search (entry_search, rank) VALUES ('merge', ?)", (pages,))
    return bool(driver.total_changes - before >= 2)
