"""Searching from the end of the logs backwards: the newest messages with a common word, without looking at the rest."""

from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from math import inf
from time import monotonic
from typing import Any, Final

from sqlalchemy import Connection, and_, case, column, func, literal_column, select, table
from sqlalchemy.exc import OperationalError

from chatserver.store.db.faults import is_canceled
from chatserver.store.db.schema import EntryRow, MembershipRow, RoomRow
from chatserver.store.entries import ENTRY_COLUMNS, ENTRY_JOINS
from chatserver.store.visibility import FIRST_READABLE, is_readable, open_membership
from chatserver.values.events import MESSAGE, Person

INDEX = table("entry_search", column("rowid"), column("entry_search"))
"""SQLite's index of words. Its rowid combines an entry's room and seq (see the first migration)."""

SEQ_BITS: Final = 36

STEPS: Final = {"postgresql": (2_048, 65_536), "sqlite": (65_536, 1_048_576)}
"""Number of entries that a step covers, at first and at most. PostgreSQL reads each of them, SQLite queries its
index."""

QUICK_SECONDS: Final = 0.05
"""Maximum duration of a step after which the next one covers twice as many entries."""

_LATEST: Final = datetime.max.replace(tzinfo=UTC)


def phrase(wanted: list[str]) -> str:
    """Words as a query of FTS5."""
    return " ".join(f'"{word}"' for word in wanted)


class Deadline:
    """The time at which a search ends with what it has found: `seconds` from now. 0: no limit."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds if seconds else inf

    def passed(self) -> bool:
        return monotonic() > self._end


class Walk:
    """Looks for up to `most` messages with these words, step by step, until the deadline."""

    def __init__(self, db: Connection, wanted: list[str], most: int, deadline: Deadline) -> None:
        self._db = db
        self._postgres = db.dialect.name == "postgresql"
        self._most = most
        self._deadline = deadline
        self._step, self._most_step = STEPS[db.dialect.name]
        query = select(EntryRow.room_id, *ENTRY_COLUMNS)
        if self._postgres:
            asked = func.plainto_tsquery("simple", " ".join(wanted))
            # Not a condition that the index of words could answer: it would read all that it has about the words.
            match: Any = func.coalesce(literal_column("entry.search").op("@@")(asked), False)
            self._query = query.select_from(ENTRY_JOINS).where(match, EntryRow.kind == MESSAGE)
        else:
            row = INDEX.c.rowid
            found = and_(EntryRow.room_id == row.op(">>")(SEQ_BITS), EntryRow.seq == row.op("&")((1 << SEQ_BITS) - 1))
            match = INDEX.c.entry_search.op("MATCH")(phrase(wanted))
            self._query = query.select_from(ENTRY_JOINS.join(INDEX, found)).where(match, EntryRow.kind == MESSAGE)

    def room(self, room_id: int, floor: int, seq: int) -> tuple[list[Any], int | None]:
        """The newest messages from `floor` to `seq`; and, if the time was spent before there were enough, the seq from
        which to go on downwards."""
        rows: list[Any] = []
        rest: int | None = seq
        while rest is not None and len(rows) < self._most:
            step = self._look(room_id, floor, rest, self._most - len(rows))
            if step is None:
                return rows, rest
            rows += step[0]
            rest = step[1]
            if rest is not None and len(rows) < self._most and self._deadline.passed():
                return rows, rest
        return rows, None

    def rooms(self, who: Person, before: datetime | None) -> tuple[list[Any], datetime | None]:
        """The newest messages of all rooms that a person may read, below a time, newest first; and, if the time was
        spent before there were enough, the time of the newest entry that was not looked at."""
        # The rooms whose next entry is the newest come first. Times are negated, for the heap.
        known = self._ends(who) if before is None else self._ends_before(who, before)
        heap = [(_ago(at), room_id, floor, seq) for room_id, floor, seq, at in known]
        heapify(heap)
        rows: list[Any] = []  # the newest that were found, newest first
        step: tuple[list[Any], int | None] | None = [], None
        while heap:
            ago, room_id, floor, seq = heap[0]
            if len(rows) == self._most and _ago(rows[-1].at) < ago:
                break
            newest = _EPOCH - timedelta(microseconds=ago)
            # Pages begin at whole milliseconds: what has the time of this one's first entry is looked at in any case.
            progress = before is None or newest < before - timedelta(milliseconds=1)
            if step is None or (progress and self._deadline.passed()):
                return [row for row in rows if row.at > newest], newest
            step = self._look(room_id, floor, seq, self._most)
            if step is None:
                continue
            heappop(heap)
            found, rest = step
            if found:
                rows = sorted(rows + found, key=newest_first)[: self._most]
            if rest is not None:
                at = found[-1].at if len(found) == self._most else self._time_of(room_id, rest)
                heappush(heap, (_ago(at), room_id, floor, rest))
        return rows, None

    def _look(self, room_id: int, floor: int, seq: int, most: int) -> tuple[list[Any], int | None] | None:
        """One step: the matches from `seq` downwards, and where the next step begins; None behind the last one. None if
        PostgreSQL has given up the step."""
        low = max(floor, seq - self._step + 1)
        if seq < low:
            return [], None
        query = self._query.limit(most)
        if self._postgres:
            query = query.where(EntryRow.room_id == room_id, EntryRow.seq.between(low, seq)).order_by(
                EntryRow.seq.desc()
            )
        else:
            first = room_id << SEQ_BITS
            query = query.where(INDEX.c.rowid.between(first + low, first + seq)).order_by(INDEX.c.rowid.desc())
        begun = monotonic()
        try:
            rows = list(self._db.execute(query))
        except OperationalError as error:
            if self._postgres and is_canceled(error):
                return None
            raise
        if monotonic() - begun < QUICK_SECONDS:
            self._step = min(2 * self._step, self._most_step)
        rest = rows[-1].seq - 1 if len(rows) == most else low - 1
        return rows, rest if rest >= floor else None

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


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def newest_first(row: Any) -> tuple[int, int, int]:
    """The order of messages found over all rooms."""
    return _ago(row.at), row.room_id, -row.seq


def _ago(at: datetime) -> int:
    return (_EPOCH - at) // timedelta(microseconds=1)
