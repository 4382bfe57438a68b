"""Pinned messages of a room."""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, literal_column, select, update

from chatserver.store.db.schema import EntryRow
from chatserver.store.entries import AS_OF, ENTRY_COLUMNS, ENTRY_JOINS, append_event, as_entry
from chatserver.store.visibility import RoomAccess
from chatserver.values.errors import Refused, Why
from chatserver.values.events import ERASED, PINNED, UNPINNED, Entry, Person

MOST: Final = 50
"""Maximum number of pinned messages in a room."""

_IS_PINNED: Final[ColumnElement[bool]] = literal_column("entry.pinned")  # as in the index


def is_pinned(db: Connection, room_id: int, seq: int) -> bool:
    return bool(db.scalar(select(EntryRow.pinned).where(EntryRow.room_id == room_id, EntryRow.seq == seq)))


def pin(db: Connection, who: Person, access: RoomAccess, seq: int, at: datetime) -> Entry:
    """Pins a message. The room must be locked. Raises Refused(not-allowed) if too many are pinned."""
    room_id = access.facts.id
    pinned = db.scalar(select(func.count()).select_from(EntryRow).where(EntryRow.room_id == room_id, _IS_PINNED)) or 0
    if pinned >= MOST:
        raise Refused(Why.TOO_MANY_PINS, most=MOST)
    _set(db, room_id, seq, pinned=True)
    return append_event(db, room_id, PINNED, who, at, of=seq)


def unpin(db: Connection, who: Person, access: RoomAccess, seq: int, at: datetime) -> Entry:
    """The room must be locked."""
    _set(db, access.facts.id, seq, pinned=None)
    return append_event(db, access.facts.id, UNPINNED, who, at, of=seq)


def _set(db: Connection, room_id: int, seq: int, *, pinned: bool | None) -> None:
    message = (EntryRow.room_id == room_id, EntryRow.seq == seq, EntryRow.state.is_distinct_from(ERASED))
    db.execute(update(EntryRow).where(*message).values(pinned=pinned))


def page(db: Connection, access: RoomAccess, before: int | None, limit: int) -> tuple[list[Entry], bool]:
    """The pinned messages below `before` (None: of all) that the person may read, newest first, and whether there are
    more."""
    here = (EntryRow.room_id == access.facts.id, EntryRow.seq >= access.floor, _IS_PINNED)
    query = select(*ENTRY_COLUMNS, AS_OF).select_from(ENTRY_JOINS).where(*here)
    if before is not None:
        query = query.where(EntryRow.seq < before)
    rows = db.execute(query.order_by(EntryRow.seq.desc()).limit(limit + 1)).all()
    return [as_entry(*row) for row in rows[:limit]], len(rows) > limit
