"""Removing erased words from SQLite's index of words where SQLite does not do that by itself: before version 3.42 it
only notes that they do not count any more, and drops them when it merges the parts of the index."""

from sqlite3 import sqlite_version_info
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, exists, func, literal_column, select

from chatserver.events import EDITED, ERASED
from chatserver.store.schema import AccountRow, EntryRow, ErasureRow
from chatserver.store.search import SECURE_DELETE

PAGES: Final = 200
"""What one step merges: some hundredths of a second."""


class Mark(Struct, frozen=True):
    """Up to where the log of erasures was looked at: SQLite's number of the last entry, and of erased accounts."""

    row: int = -1
    accounts: int = 0


def anything_erased(db: Connection, since: Mark) -> tuple[bool, Mark]:
    """Whether words were erased or replaced since the mark that an earlier call has returned, which the index still
    has; and the new mark."""
    if db.dialect.name != "sqlite" or sqlite_version_info >= SECURE_DELETE:
        return False, since
    row: ColumnElement[int] = literal_column("entry.rowid")
    accounts = db.scalar(select(func.count()).where(AccountRow.erased_at.is_not(None))) or 0
    now = Mark(db.scalar(select(func.max(row)).select_from(EntryRow)) or 0, accounts)
    changed = exists().where(row > since.row, EntryRow.kind.in_((EDITED, ERASED)))
    if since.row < 0:
        return False, now
    return accounts > since.accounts or bool(db.scalar(select(changed | exists(select(ErasureRow))))), now


def merge(db: Connection, *, first: bool) -> bool:
    """One step of merging the whole index. Returns whether another one is needed."""
    driver: Any = db.connection.dbapi_connection
    before = driver.total_changes
    pages = -PAGES if first else PAGES  # FTS5: a negative number makes it merge all parts
    db.exec_driver_sql("INSERT INTO entry_search (entry_search, rank) VALUES ('merge', ?)", (pages,))
    return bool(driver.total_changes - before >= 2)
