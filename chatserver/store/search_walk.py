"""Searching from the end of the logs backwards: the newest messages with a common word, without looking at the rest.

What is behind the mark of a room (`store/words.py`) is in the index; what is newer is read.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from math import inf
from time import monotonic
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Connection, and_, case, cast, column, func, literal, select, table
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.exc import OperationalError

from chatserver.store.db.faults import is_canceled
from chatserver.store.db.schema import EntryRow, MembershipRow, RoomRow, SearchMarkRow
from chatserver.store.entries import AS_OF, ENTRY_COLUMNS, ENTRY_JOINS, as_entry
from chatserver.store.visibility import FIRST_READABLE, is_readable, open_membership
from chatserver.store.wanted import Wanted
from chatserver.store.words import SEQ_BITS, marked
from chatserver.values.events import MESSAGE, Entry, Person

_ROWID: Final = table("entry_search", column("rowid"), column("entry_search"))
_TABLE: Final = table("entry_search", column("room_id"), column("seq"), column("words"))
"""The index of words on SQLite and on PostgreSQL: see `store/words.py`."""

STEPS: Final = {"postgresql": (2_048, 65_536), "sqlite": (65_536, 1_048_576)}
"""Number of entries that a step covers in the index, at first and at most. PostgreSQL reads the words of each of them,
SQLite queries its index."""

READ_STEP: Final = 1_024
"""Number of entries behind no mark that a step reads."""

QUICK_SECONDS: Final = 0.05
"""Maximum duration of a step after which the next one covers twice as many entries."""

COLUMNS: Final = (*ENTRY_COLUMNS, AS_OF)
"""What `as_entry` makes a message of."""

CHECKED: Final = 64
"""Number of texts that are looked at between two looks at the time: a long one may take milliseconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


class Hit(Struct, frozen=True):
    """A message that was found."""

    room_id: int
    entry: Entry


def newest_first(hit: Hit) -> tuple[int, int, int]:
    """The order of messages found over all rooms."""
    return _ago(hit.entry.at), hit.room_id, -hit.entry.seq


def _ago(at: datetime) -> int:
    return (_EPOCH - at) // timedelta(microseconds=1)


class Deadline:
    """The time at which a search ends with what it has found: `seconds` from now. 0: no limit."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds if seconds else inf

    def passed(self) -> bool:
        return monotonic() > self._end


class Index:
    """The index of words, asked for what is wanted: `join` with entries, its `match`, and its columns of a place."""

    def __init__(self, db: Connection, wanted: Wanted) -> None:
        self.postgres = db.dialect.name == "postgresql"
        if self.postgres:
            self.join: Any = ENTRY_JOINS.join(
                _TABLE, and_(EntryRow.room_id == _TABLE.c.room_id, EntryRow.seq == _TABLE.c.seq)
            )
            self.match: Any = _TABLE.c.words.op("@@")(cast(literal(wanted.for_postgres()), TSQUERY))
            return
        row = _ROWID.c.rowid
        found = and_(EntryRow.room_id == row.op(">>")(SEQ_BITS), EntryRow.seq == row.op("&")((1 << SEQ_BITS) - 1))
        self.join = ENTRY_JOINS.join(_ROWID, found)
        self.match = _ROWID.c.entry_search.op("MATCH")(wanted.for_sqlite())

    def between(self, room_id: int, low: int, high: int) -> Any:
        """The matches at these places, newest first."""
        query = select(*COLUMNS).select_from(self.join).where(EntryRow.kind == MESSAGE)
        if self.postgres:
            # Not a condition that the index of words could answer: it would read all that it has about the words.
            query = query.where(func.coalesce(self.match, False), _TABLE.c.room_id == room_id)
            return query.where(_TABLE.c.seq.between(low, high)).order_by(_TABLE.c.seq.desc())
        first = room_id << SEQ_BITS
        query = query.where(self.match, _ROWID.c.rowid.between(first + low, first + high))
        return query.order_by(_ROWID.c.rowid.desc())


def read(db: Connection, room_id: int, low: int, high: int) -> Any:
    """The messages from one place to another, newest first, without the index."""
    here = (EntryRow.room_id == room_id, EntryRow.seq.between(low, high), EntryRow.kind == MESSAGE)
    query = select(*COLUMNS).select_from(ENTRY_JOINS).where(*here)
    return db.execute(query.order_by(EntryRow.seq.desc()))


def mark_of(db: Connection, room_id: int, language: str) -> int:
    """Up to which entry the index has a room."""
    here = (SearchMarkRow.room_id == room_id, SearchMarkRow.language == language)
    return db.scalar(select(SearchMarkRow.seq).where(*here)) or 0


class Behind(Struct, frozen=True):
    """A room that has entries which are not in the index: those from `low` on."""

    room_id: int
    low: int
    high: int


def behind(db: Connection, who: Person, language: str, most: int) -> list[Behind]:
    """The rooms that a person may read in which something is not in the index, up to `most`."""
    known = marked(language)
    query = select(RoomRow.id, FIRST_READABLE.label("floor"), known.label("known"), RoomRow.last_seq)
    query = query.outerjoin(MembershipRow, open_membership(who.id))
    query = query.outerjoin(SearchMarkRow, SearchMarkRow.room_id == RoomRow.id)
    left = (RoomRow.last_seq > known, RoomRow.last_seq >= RoomRow.first_seq)
    rows = db.execute(query.where(is_readable(who), *left).limit(most))
    return [Behind(row.id, max(row.floor, row.known + 1), row.last_seq) for row in rows]


class Walk:
    """The way of one search. Finds up to `most` messages."""

    def __init__(self, db: Connection, wanted: Wanted, most: int, deadline: Deadline) -> None:
        self._db = db
        self._wanted = wanted
        self._most = most
        self._deadline = deadline
        self._step, self._most_step = STEPS[db.dialect.name]
        self._index = Index(db, wanted)
        self._marks: dict[int, int] = {}

    def room(self, room_id: int, floor: int, seq: int) -> tuple[list[Hit], int | None]:
        """The newest messages from `floor` to `seq`; and, if the time was spent before there were enough, the seq from
        which to go on downwards."""
        hits: list[Hit] = []
        rest: int | None = seq
        while rest is not None and len(hits) < self._most:
            step = self._look(room_id, floor, rest, self._most - len(hits))
            if step is None:
                return hits, rest
            hits += step[0]
            rest = step[1]
            if rest is not None and len(hits) < self._most and self._deadline.passed():
                return hits, rest
        return hits, None

    def rooms(self, who: Person, before: datetime | None) -> tuple[list[Hit], datetime | None]:
        """The newest messages of all rooms that a person may read, below a time, newest first; and, if the time was
        spent before there were enough, the time of the newest entry that was not looked at."""
        # The rooms whose next entry is the newest come first. Times are negated, for the heap.
        known = self._ends(who) if before is None else self._ends_before(who, before)
        oldest = inf if self._wanted.since is None else _ago(self._wanted.since)
        heap = [(_ago(at), room_id, floor, seq) for room_id, floor, seq, at in known]
        heapify(heap)
        hits: list[Hit] = []  # the newest that were found, newest first
        step: tuple[list[Hit], int | None] | None = [], None
        while heap:
            ago, room_id, floor, seq = heap[0]
            if ago > oldest or (len(hits) == self._most and _ago(hits[-1].entry.at) < ago):
                break
            newest = _EPOCH - timedelta(microseconds=ago)
            # Pages begin at whole milliseconds: what has the time of this one's first entry is looked at in any case.
            progress = before is None or newest < before - timedelta(milliseconds=1)
            if step is None or (progress and self._deadline.passed()):
                return [hit for hit in hits if hit.entry.at > newest], newest
            step = self._look(room_id, floor, seq, self._most)
            if step is None:
                continue
            heappop(heap)
            found, rest = step
            if found:
                hits = sorted(hits + found, key=newest_first)[: self._most]
            if rest is not None:
                heappush(heap, (_ago(self._time_of(room_id, rest)), room_id, floor, rest))
        return hits, None

    def _look(self, room_id: int, floor: int, seq: int, most: int) -> tuple[list[Hit], int | None] | None:
        """One step: the matches from `seq` downwards, and where the next step begins; None behind the last one. None if
        PostgreSQL has given up the step."""
        if room_id not in self._marks:
            self._marks[room_id] = mark_of(self._db, room_id, self._wanted.language)
        known = self._marks[room_id]
        low = max(floor, known + 1, seq - READ_STEP + 1) if seq > known else max(floor, seq - self._step + 1)
        if seq < low:
            return [], None
        begun = monotonic()
        try:
            if seq > known:
                rows = list(read(self._db, room_id, low, seq))
            else:
                rows = list(self._db.execute(self._index.between(room_id, low, seq).limit(most)))
        except OperationalError as error:
            if self._index.postgres and is_canceled(error):
                return None
            raise
        rest = low - 1
        if seq <= known:
            if monotonic() - begun < QUICK_SECONDS:
                self._step = min(2 * self._step, self._most_step)
            if len(rows) == most:
                rest = rows[-1].seq - 1
        hits, looked = matches(self._wanted, room_id, rows, self._deadline)
        if looked < len(rows):
            rest = rows[looked].seq
        if len(hits) > most:
            hits = hits[:most]
            rest = hits[-1].entry.seq - 1
        return hits, rest if rest >= floor else None

    def _ends(self, who: Person) -> list[tuple[int, int, int, datetime]]:
        """For each room that the person may read: id, first seq to look at, last one, and its time at most."""
        query = select(RoomRow.id, FIRST_READABLE, RoomRow.last_seq, RoomRow.last_at)
        rows = self._db.execute(query.outerjoin(MembershipRow, open_membership(who.id)).where(is_readable(who)))
        return [(id, floor, seq, at or _LATEST) for id, floor, seq, at in rows]

    def _ends_before(self, who: Person, before: datetime) -> list[tuple[int, int, int, datetime]]:
        """As `_ends`, below a time. Found by halving, in all rooms at once: a log has no gaps, and its times never go
        back."""
        floor = FIRST_READABLE.label("floor")
        half = (
            select(RoomRow.id.label("room_id"), floor, (floor - 1).label("low"), RoomRow.last_seq.label("high"))
            .outerjoin(MembershipRow, open_membership(who.id))
            .where(is_readable(who))
            .cte("half", recursive=True)
        )
        earlier = EntryRow.at < before
        half = half.union_all(
            select(
                half.c.room_id,
                half.c.floor,
                case((earlier, EntryRow.seq), else_=half.c.low),
                case((earlier, half.c.high), else_=EntryRow.seq - 1),
            )
            .join(
                EntryRow, and_(EntryRow.room_id == half.c.room_id, EntryRow.seq == (half.c.low + half.c.high + 1) // 2)
            )
            .where(half.c.low < half.c.high)
        )
        last = and_(EntryRow.room_id == half.c.room_id, EntryRow.seq == half.c.low)
        query = select(half.c.room_id, half.c.floor, half.c.low, EntryRow.at).join(EntryRow, last)
        rows = self._db.execute(query.where(half.c.low >= half.c.high, half.c.low >= half.c.floor))
        return [(room_id, floor, seq, at) for room_id, floor, seq, at in rows]

    def _time_of(self, room_id: int, seq: int) -> datetime:
        at = self._db.scalar(select(EntryRow.at).where(EntryRow.room_id == room_id, EntryRow.seq == seq))
        return at or _LATEST


def matches(wanted: Wanted, room_id: int, rows: Sequence[Any], deadline: Deadline) -> tuple[list[Hit], int]:
    """Those rows of `COLUMNS` that are wanted; and how many were looked at, at least one, until the deadline."""
    hits: list[Hit] = []
    for looked, row in enumerate(rows):
        if looked % CHECKED == CHECKED - 1 and deadline.passed():
            return hits, looked
        entry = as_entry(*row)
        if wanted.score(entry):
            hits.append(Hit(room_id, entry))
    return hits, len(rows)
