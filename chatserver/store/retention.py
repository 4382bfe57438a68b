"""Retention: the oldest entries of rooms are removed, and so are old rows of `session`, in short steps.

The rows of a room in `entry` are exactly those from `room.first_seq` to `room.last_seq`: entries are removed from the
front only, and numbers go on. The `first_seq` of a room without entries is greater than its `last_seq`.

A retry of a message stays free. The row of a removed message that has an id goes on to hold that id, its number and its
time, and no text: its `room_id` is the negative one of its room, its kind `spent`. So the statements that store
messages find it where they look for any id (see `store.saying`). These rows are removed in turn once they are older
than `id_days`, if that is set.

A step first removes what nobody else locks, and moves `first_seq` last, so that messages to the room wait only for the
commit. It gives up rather than wait for a lock: an edit of a message locks the room first.
"""

from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, delete, func, not_, or_, select, text, update
from sqlalchemy.exc import OperationalError

from chatserver.settings.tables import Retention
from chatserver.store import mentions, search
from chatserver.store.db import database_clock
from chatserver.store.db.schema import EntryRow, MentionRow, RoomRow, SessionRow
from chatserver.values.events import ERASED

LEAST_AGE: Final = timedelta(minutes=1)
"""No entry is removed sooner. By then every node has published it, and joining again counts no more."""

SPENT: Final = "spent"
"""The kind of a row that only holds the id of a removed message."""

PAGE: Final = 500
"""Number of rooms looked up at a time."""

MOST_ENTRIES: Final = 1000
"""Maximum number of entries removed in one step."""

ENTRY_CHARACTERS: Final = 50
"""Cost of removing an entry without its text, in characters of a text."""

LOCK_MILLISECONDS: Final = 40
"""How long a step waits for a lock."""

_LOCK_NOT_AVAILABLE: Final = "55P03"
_ONE_NODE: Final = text("SELECT pg_try_advisory_xact_lock(4001)")


class Step(Struct, frozen=True):
    """The result of one transaction: how many rows it removed, whether there are more to remove at once, and for how
    many seconds it changed rows, without the commit. `busy`: it removed nothing, because others hold the lock."""

    removed: int = 0
    more: bool = False
    seconds: float = 0.0
    busy: bool = False


class Rule(Struct, frozen=True):
    """Limits on the log of a room: maximum age in days, and maximum number of entries; 0: no limit. `own`: the room's
    own limits, for days and for entries, where they are not None."""

    days: float
    entries: int
    own: tuple[float | None, int | None] = (None, None)


class Standing(Struct, frozen=True):
    """A room's entries that are left, and the time of the oldest one. `excess`: how many of them `rule` will remove
    now."""

    first: int
    last: int
    oldest: datetime | None
    rule: Rule
    excess: int = 0

    @property
    def entries(self) -> int:
        return self.last - self.first + 1


# Entries


def due(db: Connection, settings: Retention, after: int) -> list[int]:
    """The rooms with ids above `after`, up to PAGE of them, that have something to remove."""
    now = database_clock.now(db)
    kept = func.coalesce(RoomRow.keep_entries, settings.entries)
    too_many = and_(kept > 0, RoomRow.last_seq - RoomRow.first_seq + 1 > kept)
    own_days = RoomRow.keep_days > 0
    too_old = and_(RoomRow.keep_days.is_(None), EntryRow.at < _ago(now, settings.days)) if settings.days else None
    limited = or_(too_many, own_days) if too_old is None else or_(too_many, own_days, too_old)
    old = and_(limited, EntryRow.at < now - LEAST_AGE)
    columns = RoomRow.id, RoomRow.keep_days, kept.label("kept"), EntryRow.at, RoomRow.first_seq, RoomRow.last_seq
    oldest = and_(EntryRow.room_id == RoomRow.id, EntryRow.seq == RoomRow.first_seq)
    query = select(*columns).join(EntryRow, oldest).where(old)
    found: list[int] = []
    while len(found) < PAGE:
        rows = db.execute(query.where(RoomRow.id > after).order_by(RoomRow.id).limit(PAGE)).all()
        for row in rows:
            many = row.kept and row.last_seq - row.first_seq + 1 > row.kept
            if many or row.keep_days is None or row.at < _ago(now, row.keep_days):
                found.append(row.id)
        if len(rows) < PAGE:
            break
        after = rows[-1].id
    return found[:PAGE]


def standing(
    db: Connection, room_id: int, settings: Retention, own: tuple[float | None, int | None] | None
) -> Standing:
    """The size of a room's log, and how much would be removed if its own limits were `own` (None: as they are)."""
    room = db.execute(_ROOM.where(RoomRow.id == room_id)).one()
    days, entries = own or (room.keep_days, room.keep_entries)
    rule = Rule(
        settings.days if days is None else days, settings.entries if entries is None else entries, (days, entries)
    )
    oldest = db.scalar(select(EntryRow.at).where(EntryRow.room_id == room_id, EntryRow.seq == room.first_seq))
    stays = _first_to_stay(db, room, rule, room.last_seq + 1)
    return Standing(room.first_seq, room.last_seq, oldest, rule, stays - room.first_seq)


def keep(db: Connection, room_id: int, days: float | None, entries: int | None) -> None:
    """Sets a room's own limits. None: those of the settings; 0: everything is kept."""
    db.execute(update(RoomRow).where(RoomRow.id == room_id).values(keep_days=days, keep_entries=entries))


def step(db: Connection, room_id: int, settings: Retention, size: int) -> Step:
    """Removes some of a room's oldest entries: as many as have about `size` characters, since the index of words takes
    time for each word, but at least one and at most MOST_ENTRIES."""
    if not _is_alone(db):
        return Step(busy=True)
    room = db.execute(_ROOM.where(RoomRow.id == room_id)).one_or_none()
    if room is None:  # an import that failed was undone
        return Step()
    rule = Rule(
        settings.days if room.keep_days is None else room.keep_days,
        settings.entries if room.keep_entries is None else room.keep_entries,
    )
    end = _end(db, room, size)
    stays = _first_to_stay(db, room, rule, end)
    if stays == room.first_seq:
        return Step()
    begun = monotonic()
    try:
        with db.begin_nested():
            remove(db, room_id, room.first_seq, stays)
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != _LOCK_NOT_AVAILABLE:
            raise
        return Step(busy=True)
    return Step(stays - room.first_seq, stays == end <= room.last_seq, monotonic() - begun)


_ROOM: Final = select(
    *(RoomRow.id, RoomRow.first_seq, RoomRow.last_seq),
    *(RoomRow.keep_days, RoomRow.keep_entries, RoomRow.pace_seconds),
)


def _end(db: Connection, room: Any, size: int) -> int:
    """The entry behind those of a step."""
    end = min(room.first_seq + MOST_ENTRIES, room.last_seq + 1)
    here = (EntryRow.room_id == room.id, EntryRow.seq >= room.first_seq, EntryRow.seq < end)
    total = func.sum(func.length(EntryRow.text) + ENTRY_CHARACTERS).over(order_by=EntryRow.seq)
    some = select(EntryRow.seq, total.label("total")).where(*here).subquery()
    too_much = db.scalar(select(func.min(some.c.seq)).where(some.c.total > size))
    return int(end if too_much is None else max(too_much, room.first_seq + 1))


def _first_to_stay(db: Connection, room: Any, rule: Rule, end: int) -> int:
    """The first entry of a room that is to stay, but at most `end`. Times in a log never go back, so all before it are
    to go."""
    now = database_clock.now(db)
    # In a room with a pace, an author's last message decides when they may send the next one.
    young = EntryRow.at >= now - max(LEAST_AGE, timedelta(seconds=room.pace_seconds))
    goes: list[ColumnElement[bool]] = []
    if rule.entries:
        goes.append(EntryRow.seq <= room.last_seq - rule.entries)
    if rule.days:
        goes.append(EntryRow.at < _ago(now, rule.days))
    if not goes:
        return int(room.first_seq)
    here = (EntryRow.room_id == room.id, EntryRow.seq >= room.first_seq, EntryRow.seq < end)
    first = select(EntryRow.seq).where(*here, or_(young, not_(or_(*goes)))).order_by(EntryRow.seq).limit(1)
    stays = db.scalar(first)
    return end if stays is None else stays


def remove(db: Connection, room_id: int, first: int, stays: int) -> None:
    """Removes the entries of a room from `first`, its first one, to before `stays`, whatever the rules are."""
    gone = (EntryRow.room_id == room_id, EntryRow.seq >= first, EntryRow.seq < stays)
    spent = {"room_id": -room_id, "kind": SPENT, "text": "", "state": ERASED, "reactions": None, "pinned": None}
    with search.noting_removals(db):
        db.execute(update(EntryRow).where(*gone, EntryRow.client_id.is_not(None)).values(spent))
        db.execute(delete(EntryRow).where(*gone))
    moved = update(RoomRow).where(RoomRow.id == room_id, RoomRow.first_seq == first).values(first_seq=stays)
    if not db.execute(moved).rowcount:
        raise RuntimeError(f"The entries of room {room_id} were removed by somebody else at the same time.")
    mentions.forget(db, MentionRow.room_id == room_id, MentionRow.seq < stays)


def _ago(now: datetime, days: float) -> datetime:
    return now - timedelta(days=min(days, (now - _EARLIEST).days))


_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _is_alone(db: Connection) -> bool:
    """Whether no other node removes anything at this moment."""
    if db.dialect.name != "postgresql":
        return True
    db.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
    return bool(db.scalar(_ONE_NODE))


# The ids of removed messages


def spent(db: Connection, settings: Retention, after: int) -> list[int]:
    """The rooms with ids above `after`, up to PAGE of them, whose oldest ids of removed messages are to go."""
    if not settings.id_days:
        return []
    oldest = (
        select(EntryRow.at).where(EntryRow.room_id == -RoomRow.id).order_by(EntryRow.seq).limit(1).scalar_subquery()
    )
    old = (RoomRow.id > after, RoomRow.first_seq > 1, oldest < _ago(database_clock.now(db), settings.id_days))
    return list(db.scalars(select(RoomRow.id).where(*old).order_by(RoomRow.id).limit(PAGE)))


def forget(db: Connection, room_id: int, settings: Retention, size: int) -> Step:
    """Removes some of the ids of a room's removed messages; for `size` see `step`."""
    begun = monotonic()
    if not settings.id_days or not _is_alone(db):
        return Step(busy=bool(settings.id_days))
    here, count = EntryRow.room_id == -room_id, min(max(size // ENTRY_CHARACTERS, 1), MOST_ENTRIES)
    some = select(EntryRow.seq, EntryRow.at).where(here).order_by(EntryRow.seq).limit(count).subquery()
    last = db.scalar(select(func.max(some.c.seq)).where(some.c.at < _ago(database_clock.now(db), settings.id_days)))
    if last is None:
        return Step()
    removed = db.execute(delete(EntryRow).where(here, EntryRow.seq <= last)).rowcount
    return Step(removed, removed == count, monotonic() - begun)


# Sessions


def end_sessions(db: Connection, settings: Retention, after: str, size: int) -> tuple[Step, str]:
    """Removes the rows of sessions that ended long ago, among the next `size` that began long ago; `after` is the id of
    the last one looked at, or "". Also returns that id for the next step."""
    begun = monotonic()
    if not settings.session_days or not _is_alone(db):
        return Step(busy=bool(settings.session_days)), after
    until = _ago(database_clock.now(db), settings.session_days)
    # An id begins with the time in milliseconds: `SessionIds` in `net/connection/connections.py`.
    began = f"{round(until.timestamp() * 1000):012x}"
    some = select(SessionRow.id).where(SessionRow.id > after, SessionRow.id < began).order_by(SessionRow.id)
    ids = list(db.scalars(some.limit(size)))
    if not ids:
        return Step(), after
    ended = (SessionRow.id >= ids[0], SessionRow.id <= ids[-1], SessionRow.disconnected_at < until)
    removed = db.execute(delete(SessionRow).where(*ended)).rowcount
    return Step(removed, len(ids) == size, monotonic() - begun), ids[-1]
