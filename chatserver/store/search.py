"""Searching messages by words: a GIN index on PostgreSQL, FTS5 on SQLite; never a scan."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, column, func, literal_column, select, table

from chatserver.events import MESSAGE, Entry, Person, RoomFacts
from chatserver.store.entries import ENTRY_COLUMNS, ENTRY_JOINS, as_entry
from chatserver.store.schema import EntryRow, MembershipRow, RoomRow
from chatserver.store.visibility import RoomAccess, facts_of, is_entry_readable, open_membership

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORD = re.compile(r"\w+")

# SQLite's index: its rowid combines an entry's room and seq (see the first migration).
_INDEX = table("entry_search", column("rowid"), column("entry_search"))
_SEQ_BITS = 36


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
) -> tuple[list[tuple[RoomFacts, Entry]], int | None]:
    """Messages that contain all the words, newest first, in one room or (None) in all that the person may read; and the
    `before` of the next page, None if there is none: a seq in one room, milliseconds since 1970 over all rooms."""
    query = _matching(db, who, wanted, access).where(EntryRow.kind == MESSAGE, is_entry_readable(who))
    if access is not None:
        query = query.where(EntryRow.room_id == access.facts.id).order_by(EntryRow.seq.desc())
        if before is not None:
            query = query.where(EntryRow.seq < before)
    else:
        query = query.order_by(EntryRow.at.desc(), EntryRow.room_id, EntryRow.seq.desc())
        if before is not None:
            query = query.where(EntryRow.at < EPOCH + timedelta(milliseconds=min(before, 10**14)))
    rows = db.execute(query.limit(limit + 1)).all()
    more = len(rows) > limit
    if more and access is None and rows[limit - 1].at == rows[limit].at:
        # End the page between two times, so that the next one begins exactly there.
        rows = [row for row in rows[:limit] if row.at != rows[limit].at] or rows[:limit]
    rows = rows[:limit]
    facts = facts_of(db, who, {row.room_id for row in rows})
    found = [(facts[room_id], as_entry(*entry)) for room_id, *entry in rows]
    if not more:
        return found, None
    last = rows[-1]
    return found, last.seq if access is not None else (last.at - EPOCH) // timedelta(milliseconds=1)


# Only the owner of the index may do this, the user who migrated the database. For others autovacuum does it later.
_TIDY = """
SELECT gin_clean_pending_list(oid) FROM pg_class
WHERE oid = to_regclass('ix_entry_search') AND pg_has_role(relowner, 'USAGE')
"""


def tune(db: Connection) -> None:
    """Makes SQLite merge the segments of its index of words less often, because it does so within somebody's commit. At
    the default of four segments one message in a hundred waits for a merge, at eight one in several hundred."""
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("INSERT INTO entry_search (entry_search, rank) VALUES ('automerge', 8)")


def tidy(db: Connection) -> None:
    """Merges the pending list of PostgreSQL's index of words into the index. A message that filled the list would wait
    a tenth of a second for the merge."""
    if db.dialect.name == "postgresql":
        db.exec_driver_sql(_TIDY)


def _matching(db: Connection, who: Person, wanted: list[str], access: RoomAccess | None) -> Select[*tuple[Any, ...]]:
    """Entries that contain all the words, joined with their rooms and the person's memberships."""
    joins = ENTRY_JOINS.join(RoomRow, RoomRow.id == EntryRow.room_id).outerjoin(MembershipRow, open_membership(who.id))
    query = select(EntryRow.room_id, *ENTRY_COLUMNS)
    if db.dialect.name == "postgresql":
        asked = func.plainto_tsquery("simple", " ".join(wanted))
        return query.select_from(joins).where(literal_column("entry.search").op("@@")(asked))
    row = _INDEX.c.rowid
    joins = joins.join(
        _INDEX,
        and_(EntryRow.room_id == row.op(">>")(_SEQ_BITS), EntryRow.seq == row.op("&")((1 << _SEQ_BITS) - 1)),
    )
    query = query.select_from(joins).where(_INDEX.c.entry_search.op("MATCH")(" ".join(f'"{word}"' for word in wanted)))
    if access is not None:
        first = access.facts.id << _SEQ_BITS
        query = query.where(row.between(first, first + (1 << _SEQ_BITS) - 1))
    return query
