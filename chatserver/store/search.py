"""Searching messages by words: a GIN index on PostgreSQL, FTS5 on SQLite; newest first, and for a limited time.

SQLite's index keeps words of messages that were erased or removed: SQLite only notes that they do not count any more,
and drops them when it merges the segments of the index. Before version 3.42 that is so for all words. Later versions
delete erased words from the index; those of old entries that retention removes are noted, too, because deleting them
takes a hundred times as long.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from sqlite3 import sqlite_version_info
from time import monotonic
from typing import Any, Final

from msgspec import Struct, structs
from sqlalchemy import ColumnElement, Connection, and_, exists, func, literal_column, select
from sqlalchemy.exc import OperationalError

from chatserver.store.db.faults import is_canceled
from chatserver.store.db.schema import AccountRow, EntryRow, ErasureRow, MembershipRow, RoomRow
from chatserver.store.entries import ENTRY_COLUMNS, ENTRY_JOINS, as_entry
from chatserver.store.search_walk import INDEX, SEQ_BITS, Deadline, Walk, newest_first, phrase
from chatserver.store.visibility import RoomAccess, facts_of, is_entry_readable, open_membership
from chatserver.values.errors import Refused, Why
from chatserver.values.events import EDITED, ERASED, MESSAGE, Entry, Person, RoomFacts

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WORD = re.compile(r"\w+")

RARE: Final = 1000
"""Maximum number of rare messages: if no more than these have the words, the index finds all of them at once, and they
are sorted. Otherwise the logs are walked from their ends."""

SHARE: Final = 0.5
"""Share of a query's time limit after which a search ends with its results so far: its last step takes some time."""

INDEX_SHARE: Final = 0.25
"""Share of it that the index may take on PostgreSQL, which reads everything about a word before the first row comes."""

SECURE_DELETE: Final = (3, 42)
"""The first version of SQLite that can delete words from its index. An older one keeps them until it merges the
segments that have them."""

Found = tuple[list[tuple[RoomFacts, Entry]], int | None]


def words(asked: str) -> list[str]:
    """The words to search for, without blanks and punctuation."""
    return _WORD.findall(asked.lower())


def search(
    db: Connection,
    who: Person,
    access: RoomAccess | None,
    wanted: list[str],
    before: int | None,
    limit: int,
    until: Deadline | None = None,
) -> Found:
    """Messages that contain all the words, newest first, in one room or (None) in all that the person may read; and the
    `before` of the next page, None if there is none: a seq in one room, milliseconds since 1970 over all rooms.

    Ends at the deadline `until`, by default half of the connection's limit for reading. Then the page may be short or
    empty although there is a next one. Raises Refused(slow-down) if nothing at all could be looked at in that time.
    """
    seconds = db.get_execution_options().get("read_seconds", 0)
    end_at = None if before is None else EPOCH + timedelta(milliseconds=min(before, 10**14))
    # Within one room, SQLite's index is in the order of the log.
    if access is None or db.dialect.name == "postgresql":
        rows = _by_index(db, who, access, wanted, before, end_at, seconds)
        if rows is not None:
            return _page(db, who, access, rows, limit)
    walk = Walk(db, wanted, limit + 1, until or deadline(db))
    if access is not None:
        rows, rest = walk.room(
            access.facts.id, access.floor, access.seq if before is None else min(access.seq, before - 1)
        )
        if rest is None:
            return _page(db, who, access, rows, limit)
        _check_progress(before is None or rest + 1 < before)
        return _named(db, who, rows), rest + 1
    rows, newest = walk.rooms(who, end_at)
    if newest is None:
        return _page(db, who, access, rows, limit)
    stop = (newest - EPOCH) // timedelta(milliseconds=1) + 1
    _check_progress(before is None or stop < before)
    return _named(db, who, rows), stop


def deadline(db: Connection, searches: int = 1) -> Deadline:
    """When a search that begins now has to end, if it is one of this many."""
    seconds = db.get_execution_options().get("read_seconds", 0)
    return Deadline(seconds * SHARE / searches)


def _check_progress(progress: bool) -> None:
    if not progress:
        raise Refused(Why.SEARCH_TOO_LONG, retry=1)


def _by_index(
    db: Connection,
    who: Person,
    access: RoomAccess | None,
    wanted: list[str],
    before: int | None,
    end_at: datetime | None,
    seconds: float,
) -> list[Any] | None:
    """All messages with the words that the person may read, newest first; None if more than RARE have them."""
    joins = ENTRY_JOINS.join(RoomRow, RoomRow.id == EntryRow.room_id).outerjoin(MembershipRow, open_membership(who.id))
    query = select(EntryRow.room_id, *ENTRY_COLUMNS, is_entry_readable(who).label("readable"))
    if db.dialect.name == "postgresql":
        asked = func.plainto_tsquery("simple", " ".join(wanted))
        query = query.select_from(joins).where(literal_column("entry.search").op("@@")(asked))
    else:
        row = INDEX.c.rowid
        found = and_(EntryRow.room_id == row.op(">>")(SEQ_BITS), EntryRow.seq == row.op("&")((1 << SEQ_BITS) - 1))
        query = query.select_from(joins.join(INDEX, found)).where(INDEX.c.entry_search.op("MATCH")(phrase(wanted)))
    query = query.where(EntryRow.kind == MESSAGE)
    if access is not None:
        query = query.where(EntryRow.room_id == access.facts.id)
    limited = seconds and db.dialect.name == "postgresql"
    try:
        if limited:
            db.exec_driver_sql(f"SET statement_timeout = {round(seconds * INDEX_SHARE * 1000)}")
        rows = db.execute(query.limit(RARE + 1)).all()
    except OperationalError as error:
        if limited and is_canceled(error):
            return None
        raise
    finally:
        if limited:
            db.exec_driver_sql("RESET statement_timeout")
    if len(rows) > RARE:
        return None
    # Not conditions of the query, which would look at all that are later if they were many.
    if access is not None:
        rows = [row for row in rows if before is None or row.seq < before]
    else:
        rows = [row for row in rows if end_at is None or row.at < end_at]
    return sorted((row for row in rows if row.readable), key=newest_first)


def _page(db: Connection, who: Person, access: RoomAccess | None, rows: list[Any], limit: int) -> Found:
    """The first page of these rows, which are newest first."""
    more = len(rows) > limit
    if more and access is None and rows[limit - 1].at == rows[limit].at:
        # End the page between two times, so that the next one begins exactly there.
        rows = [row for row in rows[:limit] if row.at != rows[limit].at] or rows[:limit]
    rows = rows[:limit]
    found = _named(db, who, rows)
    if not more:
        return found, None
    last = rows[-1]
    return found, last.seq if access is not None else (last.at - EPOCH) // timedelta(milliseconds=1)


def _named(db: Connection, who: Person, rows: list[Any]) -> list[tuple[RoomFacts, Entry]]:
    facts = facts_of(db, who, {row.room_id for row in rows})
    width = 1 + len(ENTRY_COLUMNS)
    return [(facts[row.room_id], as_entry(*row[1:width])) for row in rows]


# Only the owner of the index may do this, the user who migrated the database. For others autovacuum does it later.
_TIDY = """
SELECT gin_clean_pending_list(oid) FROM pg_class
WHERE oid = to_regclass('ix_entry_search') AND pg_has_role(relowner, 'USAGE')
"""


def tune(db: Connection) -> None:
    """Sets up SQLite's index of words, for all connections and for good.

    It merges its segments less often, because it does so within somebody's commit: at the default of four segments one
    message in a hundred waits for a merge, at eight one in several hundred. It deletes erased words from the index,
    instead of noting that they do not count any more.
    """
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("INSERT INTO entry_search (entry_search, rank) VALUES ('automerge', 8)")
        if sqlite_version_info >= SECURE_DELETE:
            db.exec_driver_sql("INSERT INTO entry_search (entry_search, rank) VALUES ('secure-delete', 1)")


def tidy(db: Connection) -> None:
    """Merges the pending list of PostgreSQL's index of words into the index. A message that filled the list would wait
    a tenth of a second for the merge."""
    if db.dialect.name == "postgresql":
        db.exec_driver_sql(_TIDY)


MERGE_PAGES: Final = 60
"""Number of pages that one step merges: one or two hundredths of a second."""

MERGE_SECONDS: Final = 3600.0
"""Interval between merges of the index after retention, which goes on all the time; after an erasure it is merged at
once."""


class MergeMark(Struct, frozen=True):
    """Up to where the log of erasures was looked at: SQLite's number of the last entry, and how many accounts were
    erased; and how many entries retention had removed when the index was merged, at `merged` by the monotonic clock."""

    row: int = -1
    accounts: int = 0
    removed: int = 0
    merged: float = 0.0


def anything_erased(db: Connection, since: MergeMark) -> tuple[bool, MergeMark]:
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
    if not since.merged:  # entries removed before the start may not be merged yet
        return erased, structs.replace(now, removed=0)
    if erased or (removed > since.removed and now.merged - since.merged > MERGE_SECONDS):
        return True, now
    return False, structs.replace(now, removed=since.removed, merged=since.merged)


@contextmanager
def noting_removals(db: Connection) -> Iterator[None]:
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


def merge_index(db: Connection, *, first: bool) -> bool:
    """One step of merging the whole index. Returns whether another one is needed."""
    driver: Any = db.connection.dbapi_connection
    before = driver.total_changes
    pages = -MERGE_PAGES if first else MERGE_PAGES  # FTS5: a negative number makes it merge all parts
    db.exec_driver_sql("INSERT INTO entry_search (entry_search, rank) VALUES ('merge', ?)", (pages,))
    return bool(driver.total_changes - before >= 2)
