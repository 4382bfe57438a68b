"""Finding messages by their words: a GIN index on Postgres, FTS5 on SQLite; never a scan."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, column, func, literal_column, or_, select, table

from chatserver.events import MESSAGE, PRIVATE, Entry, Person, RoomFacts
from chatserver.store.messages import ENTRY_COLUMNS, ENTRY_JOINS, as_entry
from chatserver.store.places import Place, facts_of, may_read, open_membership
from chatserver.store.schema import EntryRow, Membership, Room

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORD = re.compile(r"\w+")

# SQLite's index: its rowid is made of an entry's room and seq (see the first migration).
_INDEX = table("entry_search", column("rowid"), column("entry_search"))
_SEQ_BITS = 36


def words(asked: str) -> list[str]:
    """What is looked for: the words, without what stands between them."""
    return _WORD.findall(asked.lower())


def search(
    db: Connection, who: Person, place: Place | None, wanted: list[str], before: int | None, limit: int, at: datetime
) -> tuple[list[tuple[RoomFacts, Entry]], int | None]:
    """Messages that have all the words, newest first, in one room or (None) in all that the person may read; and the
    `before` that continues, where there are more: a seq in one room, milliseconds since 1970 over all."""
    query = _matching(db, who, wanted, place).where(
        EntryRow.kind == MESSAGE,
        may_read(who, at),
        or_(Room.kind != PRIVATE, Room.past_open, EntryRow.seq >= Membership.joined_seq),
    )
    if place is not None:
        query = query.where(EntryRow.room_id == place.facts.id).order_by(EntryRow.seq.desc())
        if before is not None:
            query = query.where(EntryRow.seq < before)
    else:
        query = query.order_by(EntryRow.at.desc(), EntryRow.room_id, EntryRow.seq.desc())
        if before is not None:
            query = query.where(EntryRow.at < EPOCH + timedelta(milliseconds=min(before, 10**14)))
    rows = db.execute(query.limit(limit + 1)).all()
    more = len(rows) > limit
    if more and place is None and rows[limit - 1].at == rows[limit].at:
        # A page ends between two moments, so that the next one begins just there.
        rows = [row for row in rows[:limit] if row.at != rows[limit].at] or rows[:limit]
    rows = rows[:limit]
    facts = facts_of(db, who, {row.room_id for row in rows})
    found = [(facts[room_id], as_entry(*entry)) for room_id, *entry in rows]
    if not more:
        return found, None
    last = rows[-1]
    return found, last.seq if place is not None else (last.at - EPOCH) // timedelta(milliseconds=1)


# Who migrated the database owns the index, and nobody else may do this; then it is left to the database's own time.
_TIDY = """
SELECT gin_clean_pending_list(oid) FROM pg_class
WHERE oid = to_regclass('ix_entry_search') AND pg_has_role(relowner, 'USAGE')
"""


def tune(db: Connection) -> None:
    """Has SQLite's index of words put its parts together seldom: it does that within somebody's commit. With the usual
    four parts at a time one message in a hundred waits for it, with eight one in some hundreds."""
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("INSERT INTO entry_search (entry_search, rank) VALUES ('automerge', 8)")


def tidy(db: Connection) -> None:
    """Sorts the words of new messages into Postgres's index. It keeps them on a list at first, and somebody's message
    would wait a tenth of a second once that is full."""
    if db.dialect.name == "postgresql":
        db.exec_driver_sql(_TIDY)


def _matching(db: Connection, who: Person, wanted: list[str], place: Place | None) -> Select[*tuple[Any, ...]]:
    """Entries with all the words, their rooms, and the person's memberships there."""
    joins = ENTRY_JOINS.join(Room, Room.id == EntryRow.room_id).outerjoin(Membership, open_membership(who.id))
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
    if place is not None:
        first = place.facts.id << _SEQ_BITS
        query = query.where(row.between(first, first + (1 << _SEQ_BITS) - 1))
    return query
