"""Searching messages: a GIN index on PostgreSQL, FTS5 on SQLite; newest or best first, and for a limited time. What is
found is decided by the texts alone (`store/wanted.py`), so that both databases answer alike.

SQLite's index keeps words of messages that were erased or removed: SQLite only notes that they do not count any more,
and drops them when it merges the segments of the index. Before version 3.42 that is so for all words. Later versions
delete erased words from the index; those of old entries that retention removes are noted, too, because deleting them
takes a hundred times as long.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from sqlite3 import sqlite_version_info
from time import monotonic
from typing import Any, Final

from msgspec import Struct, structs
from sqlalchemy import ColumnElement, Connection, exists, func, literal_column, select
from sqlalchemy.exc import OperationalError

from chatserver.store.db.faults import is_canceled
from chatserver.store.db.schema import AccountRow, EntryRow, ErasureRow, MembershipRow, RoomRow
from chatserver.store.entries import as_entry, before_time
from chatserver.store.search_walk import (
    CHECKED,
    COLUMNS,
    Behind,
    Deadline,
    Hit,
    Index,
    Walk,
    behind,
    mark_of,
    matches,
    newest_first,
    read,
)
from chatserver.store.visibility import RoomAccess, facts_of, is_entry_readable, open_membership
from chatserver.store.wanted import Wanted
from chatserver.values.errors import Refused, Why
from chatserver.values.events import EDITED, ERASED, MESSAGE, Entry, Person, RoomFacts

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
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

MOST_BEHIND: Final = (32, 2_048)
"""Maximum number of rooms, and of entries in them, that are not in the index and are read at once, before the logs are
walked."""

_MILLISECOND_BITS: Final = 42

Found = tuple[list[tuple[RoomFacts, Entry]], int | None]


def search(
    db: Connection,
    who: Person,
    access: RoomAccess | None,
    wanted: Wanted,
    before: int | None,
    limit: int,
    until: Deadline | None = None,
) -> Found:
    """Messages that are wanted, in one room or (None) in all that the person may read, the newest or the best first;
    and the `before` of the next page, None if there is none: see `cursor`.

    Ends at the deadline `until`, by default half of the connection's limit for reading. Then the page may be short or
    empty although there is a next one. Raises Refused(slow-down) if nothing at all could be looked at in that time.
    """
    until = until or deadline(db)
    if not wanted:
        return [], None
    if wanted.best:
        hits, _ = _hits(db, who, access, wanted, None, RARE, until)
        ranked = [(best_cursor(wanted, hit.entry), hit) for hit in sorted(hits, key=newest_first)]
        ranked.sort(key=lambda one: one[0], reverse=True)  # stable for equal ones
        hits = [hit for place, hit in ranked if before is None or place < before]
        stop = None
    else:
        hits, stop = _hits(db, who, access, wanted, before, limit + 1, until)
    if stop is not None:
        return _named(db, who, hits), stop
    return page(db, who, access, wanted, hits, limit)


def cursor(wanted: Wanted, entry: Entry, *, one_room: bool) -> int:
    """The `before` of a page that goes on after an entry: the seq in one room, milliseconds since 1970 over all rooms;
    in the order of the best, these behind the score."""
    if wanted.best:
        return best_cursor(wanted, entry)
    return entry.seq if one_room else _milliseconds(entry.at)


def best_cursor(wanted: Wanted, entry: Entry) -> int:
    return (wanted.score(entry) << _MILLISECOND_BITS) + min(_milliseconds(entry.at), (1 << _MILLISECOND_BITS) - 1)


def _milliseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)


def _hits(
    db: Connection,
    who: Person,
    access: RoomAccess | None,
    wanted: Wanted,
    before: int | None,
    most: int,
    until: Deadline,
) -> tuple[list[Hit], int | None]:
    """The newest that are wanted, at least `most` of them if there are as many; and, if the time was spent before, the
    `before` with which to go on."""
    if access is None:
        end_at = wanted.until
        if before is not None:
            page_at = EPOCH + timedelta(milliseconds=min(before, 10**14))
            end_at = page_at if end_at is None else min(page_at, end_at)
        hits = _by_index(db, who, None, wanted, (0, 0), until)
        if hits is not None:
            return [hit for hit in hits if end_at is None or hit.entry.at < end_at], None
        hits, newest = Walk(db, wanted, most, until).rooms(who, end_at)
        if newest is None:
            return hits, None
        stop = _milliseconds(newest) + 1
    else:
        low, high = access.floor, access.seq if before is None else min(access.seq, before - 1)
        if wanted.since is not None:
            low = before_time(db, access.facts.id, wanted.since, access.floor, access.seq) + 1
        if wanted.until is not None:
            high = min(high, before_time(db, access.facts.id, wanted.until, access.floor, access.seq))
        # Within one room, SQLite's index is in the order of the log.
        if db.dialect.name == "postgresql":
            hits = _by_index(db, who, access, wanted, (low, access.seq), until)
            if hits is not None:
                return [hit for hit in hits if low <= hit.entry.seq <= high], None
        hits, rest = Walk(db, wanted, most, until).room(access.facts.id, low, high)
        if rest is None:
            return hits, None
        stop = rest + 1
    if before is not None and stop >= before:
        raise Refused(Why.SEARCH_TOO_LONG, retry=1)
    return hits, stop


def deadline(db: Connection, searches: int = 1) -> Deadline:
    """When a search that begins now has to end, if it is one of this many."""
    seconds = db.get_execution_options().get("read_seconds", 0)
    return Deadline(seconds * SHARE / searches)


def _by_index(
    db: Connection, who: Person, access: RoomAccess | None, wanted: Wanted, where: tuple[int, int], until: Deadline
) -> list[Hit] | None:
    """All messages that are wanted and that the person may read, newest first; None if more than RARE may be, too many
    are not in the index, or it would take too long."""
    hits = _not_indexed(db, who, access, wanted, where, until)
    if hits is None:
        return None
    index = Index(db, wanted)
    joins = index.join.join(RoomRow, RoomRow.id == EntryRow.room_id).outerjoin(MembershipRow, open_membership(who.id))
    query = select(*COLUMNS, EntryRow.room_id, is_entry_readable(who).label("readable")).select_from(joins)
    query = query.where(index.match, EntryRow.kind == MESSAGE)
    if access is not None:
        query = query.where(EntryRow.room_id == access.facts.id)
    seconds = db.get_execution_options().get("read_seconds", 0)
    limited = seconds and index.postgres
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
    # That they may be read is not a condition of the query, which would look at all that may not if they were many.
    width = len(COLUMNS)
    found = {(hit.room_id, hit.entry.seq): hit for hit in hits}
    for place, row in enumerate(rows):
        if place % CHECKED == CHECKED - 1 and until.passed():
            return None
        if row.readable and wanted.score(entry := as_entry(*row[:width])):
            found[row[width], entry.seq] = Hit(row[width], entry)
    return sorted(found.values(), key=newest_first)


def _not_indexed(
    db: Connection, who: Person, access: RoomAccess | None, wanted: Wanted, where: tuple[int, int], until: Deadline
) -> list[Hit] | None:
    """What is wanted and not in the index yet; None if that is too much to read at once."""
    most_rooms, most_entries = MOST_BEHIND
    if access is None:
        left = behind(db, who, wanted.language, most_rooms + 1)
    else:
        known = mark_of(db, access.facts.id, wanted.language)
        left = [Behind(access.facts.id, max(where[0], known + 1), where[1])]
    if len(left) > most_rooms or sum(one.high - one.low + 1 for one in left) > most_entries:
        return None
    hits: list[Hit] = []
    for one in left:
        rows = list(read(db, one.room_id, one.low, one.high)) if one.low <= one.high else []
        found, looked = matches(wanted, one.room_id, rows, until)
        if looked < len(rows):
            return None
        hits += found
    return hits


def page(db: Connection, who: Person, access: RoomAccess | None, wanted: Wanted, hits: list[Hit], limit: int) -> Found:
    """The first page of these, which are in the order wanted."""
    one_room = access is not None
    if len(hits) <= limit:
        return _named(db, who, hits), None
    count, before = cut([hit.entry for hit in hits], limit, wanted, one_room=one_room)
    return _named(db, who, hits[:count]), before


def cut(found: list[Entry], count: int, wanted: Wanted, *, one_room: bool) -> tuple[int, int]:
    """`count`, or a few less, so that the next page begins exactly with the first one left out; and its `before`."""
    places = [cursor(wanted, entry, one_room=one_room) for entry in found[: count + 1]]
    kept = sum(place != places[count] for place in places[:count]) or count
    return kept, places[kept - 1]


def _named(db: Connection, who: Person, hits: list[Hit]) -> list[tuple[RoomFacts, Entry]]:
    facts = facts_of(db, who, {hit.room_id for hit in hits})
    return [(facts[hit.room_id], hit.entry) for hit in hits]


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
    """Merges the pending list of PostgreSQL's index of words into the index."""
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
