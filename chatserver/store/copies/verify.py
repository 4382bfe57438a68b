"""Whether what is in a database is right: numbers, heads, references, the index of words, ids, sessions, the schema.

It reads one snapshot, a page at a time, and changes nothing.
"""

from collections.abc import Iterator
from typing import Any, Final, get_args

import msgspec
from sqlalchemy import URL, Connection, UniqueConstraint

from chatserver.store.copies import rows, verify_words
from chatserver.store.copies.backup import Progress, silent
from chatserver.store.copies.snapshot import open_whole, serving, snapshot
from chatserver.store.copies.verify_schema import index_problems, schema_problems
from chatserver.store.db.engine import REMEDIES, check_schema, shown_url
from chatserver.store.db.health import Finding
from chatserver.store.db.schema import Base
from chatserver.store.retention import SPENT
from chatserver.values.events import ERASED, MESSAGE, REACTED, UNREACTED, EntryKind
from chatserver.values.seen import MOST_RUNS, Run

SHOWN: Final = 3
"""Maximum number of problems of one kind that are named. The others are counted."""

REPAIRS: Final = {
    "schema": "Back up and restore, which creates the tables anew: chatctl backup, then chatctl restore --replace.",
    "numbers": "Entries were removed or changed outside of the server. Restore a backup, or find out who did it.",
    "heads": "Rooms were changed outside of the server. Restore a backup, or find out who did it.",
    "references": "Rows were removed outside of the server. Restore a backup, or find out who did it.",
    "reactions": "Messages were changed outside of the server. Restore a backup, or find out who did it.",
    "words": "Back up and restore, which builds the index anew: chatctl backup, then chatctl restore --replace.",
    "ids": "A unique index was missing for a while. Remove one of the rows, or restore a backup.",
    "sessions": "Start the server of that node, which closes them.",
}
"""The remedy for each item, in the order in which the items are reported."""

_KINDS: Final = frozenset(get_args(EntryKind))


class Problems:
    """The problems of each item: their number, and the first few."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(REPAIRS, 0)
        self._shown: dict[str, list[str]] = {item: [] for item in REPAIRS}

    def add(self, item: str, text: str, times: int = 1) -> None:
        self._counts[item] += times
        if len(self._shown[item]) < SHOWN:
            self._shown[item].append(text)

    def finding(self, item: str, fine: str) -> Finding:
        shown = self._shown[item]
        if not shown:
            return Finding(item, True, fine)
        more = self._counts[item] - len(shown)
        text = "; ".join(shown) + (f"; and {more:,} more" if more > 0 else "")
        return Finding(item, False, f"{text}. {REPAIRS[item]}")


def verify(url: URL, progress: Progress = silent) -> Iterator[Finding]:
    """Checks everything and yields a finding for each item. Servers can be running. Raises DatabaseProblem, if the
    database cannot be opened, and Unavailable."""
    engine = open_whole(url, "current", "behind", "newer", "older than 1.0.0")
    try:
        state = check_schema(engine)
        if state != "current":
            yield Finding("schema", False, f"{shown_url(url)} is {state}. {REMEDIES[state]}")
            return
        found = Problems()
        with verify_words.prepared(engine), snapshot(engine) as db:
            for text in schema_problems(db):
                found.add("schema", text)
            yield found.finding("schema", "as this version creates it")
            _references(db, found)
            counts = _entries(db, found, progress)
            for room_id, seq in _stream(db, _MENTIONS, "mentions"):
                found.add("references", f"a mention in entry {seq} of room {room_id} is of no message that is there")
            for room_id, seq in _stream(db, _REMOVED, "removed"):
                found.add("references", f"the id that is kept of entry {seq} of room {room_id} is wrong")
            _memberships(db, found)
            for text in seen_problems(db):
                found.add("heads", text)
            yield found.finding("numbers", f"{counts['entry']:,} entries in {counts['room']:,} rooms, without a gap")
            yield found.finding("heads", "each room knows its first and last entry")
            yield found.finding("references", "everything that is referred to is there")
            for text in reaction_problems(db):
                found.add("reactions", text)
            yield found.finding("reactions", "each message has the sums of its reactions")
            for text in index_problems(db):
                found.add("words", text)
            for text, times in verify_words.problems(db, progress):
                found.add("words", text, times)
            yield found.finding("words", "the index has the words of all messages, and no others")
            _duplicates(db, found)
            yield found.finding("ids", "unique")
            _sessions(db, found)
            yield found.finding("sessions", "none is open that has ended")
    finally:
        engine.dispose()


_ROOMS: Final = (("id", "int"), ("name", "text"), ("first_seq", "int"), ("last_seq", "int"), ("last_at", "time"))
_ROOM: Final = "room {0} (id {1})"

_ENTRIES: Final = """
SELECT e.room_id, e.seq, e.kind, {at},
  e.author_id IS NULL OR EXISTS (SELECT 1 FROM account AS a WHERE a.id = e.author_id),
  e.target_id IS NULL OR EXISTS (SELECT 1 FROM account AS a WHERE a.id = e.target_id),
  e.target_seq IS NULL
    OR EXISTS (SELECT 1 FROM entry AS m WHERE m.room_id = e.room_id AND m.seq = e.target_seq AND m.kind = 'message')
    OR e.target_seq < (SELECT first_seq FROM room AS r WHERE r.id = e.room_id),
  e.state = 'erased' AND e.text <> ''
FROM entry AS e WHERE e.room_id >= 0 ORDER BY e.room_id, e.seq
"""

_MENTIONS: Final = f"""
SELECT m.room_id, m.seq FROM mention AS m
WHERE NOT EXISTS (SELECT 1 FROM account AS a WHERE a.id = m.account_id) OR NOT EXISTS (
  SELECT 1 FROM entry AS e WHERE e.room_id = m.room_id AND e.seq = m.seq AND e.kind = '{MESSAGE}'
  AND e.state IS DISTINCT FROM '{ERASED}' AND e.author_id = m.author_id AND e.at = m.at)
"""

_REMOVED: Final = f"""
SELECT -e.room_id, e.seq FROM entry AS e WHERE e.room_id < 0 AND (e.kind <> '{SPENT}' OR e.text <> ''
  OR NOT EXISTS (SELECT 1 FROM room AS r WHERE r.id = -e.room_id AND e.seq < r.first_seq)
  OR NOT EXISTS (SELECT 1 FROM account AS a WHERE a.id = e.author_id))
"""
"""Ids that are kept of messages that were removed: see `retention.py`. Those that are not as they should be."""


class _Log:
    """Checks the entries of one room, in order."""

    def __init__(self, found: Problems, room: tuple[Any, ...]) -> None:
        self.id, name, self._next, self._last, self._last_at = room
        self.name = _ROOM.format(name, self.id)
        self._found = found
        self._at = ""

    def entry(self, seq: int, at: str) -> None:
        if seq != self._next:
            if seq < self._next:
                self._found.add("numbers", f"{self.name} has entry {seq} below its first number {self._next}")
                return
            self._lacks(seq - 1)
        if seq > self._last:
            self._found.add("heads", f"{self.name} has entry {seq} above its last number {self._last}")
        if at < self._at:
            self._found.add("heads", f"{self.name} goes back in time at entry {seq}")
        self._next, self._at = seq + 1, at

    def _lacks(self, last: int) -> None:
        between = f"{self._next}" if last == self._next else f"{self._next} to {last}"
        self._found.add("numbers", f"{self.name} has no entry {between}")

    def end(self) -> None:
        if self._next <= self._last:
            self._lacks(self._last)
        elif self._next > self._last + 1 and not self._at:
            self._found.add("heads", f"{self.name} begins at {self._next}, behind its last number {self._last}")
        elif self._at and self._next == self._last + 1 and self._last_at != self._at:
            self._found.add("heads", f"{self.name} has another time than its last entry")


def _entries(db: Connection, found: Problems, progress: Progress) -> dict[str, int]:
    """Walks rooms and entries side by side, each in the order of ids."""
    known = {table.name: table for table in rows.tables(db)}
    counts = {name: rows.count(db, known[name]) for name in ("room", "entry")}
    told = progress("Checking entries", counts["entry"])
    rooms = _stream(db, f"SELECT id, name, first_seq, last_seq, {_time(db, 'last_at')} FROM room ORDER BY id", "rooms")
    log: _Log | None = None
    pending = next(rooms, None)
    done = 0
    for room_id, seq, kind, at, author, target, of, remains in _stream(
        db, _ENTRIES.format(at=_time(db, "e.at")), "log"
    ):
        if log is None or log.id != room_id:
            if log is not None:
                log.end()
            while pending is not None and pending[0] < room_id:  # without entries
                _Log(found, pending).end()
                pending = next(rooms, None)
            if pending is None or pending[0] != room_id:
                found.add("references", f"entry {seq} is in room {room_id}, which is not there")
                log = _Log(found, (room_id, "?", seq, 2**63, None))
                log.end = lambda: None  # type: ignore[method-assign]
            else:
                log = _Log(found, pending)
                pending = next(rooms, None)
        log.entry(seq, at)
        if not (author and target and of) or remains or kind not in _KINDS:
            where = f"entry {seq} of {log.name}"
            for good, item, text in (
                (author, "references", f"the author of {where} is not there"),
                (target, "references", f"the account that {where} names is not there"),
                (of, "references", f"the message that {where} is about is not there"),
                (not remains, "words", f"{where} is erased, but has its text"),
                (kind in _KINDS, "numbers", f"{where} is of no known kind"),
            ):
                if not good:
                    found.add(item, text)
        done += 1
        if done == rows.PAGE:
            told(done)
            done = 0
    told(done)
    if log is not None:
        log.end()
    while pending is not None:
        _Log(found, pending).end()
        pending = next(rooms, None)
    return counts


def _time(db: Connection, column: str) -> str:
    return rows.as_text(column) if db.dialect.name == "postgresql" else column


def _stream(db: Connection, query: str, name: str) -> Iterator[tuple[Any, ...]]:
    with rows.streaming(db, name) as cursor:
        cursor.execute(query)
        while page := cursor.fetchmany(rows.PAGE):
            yield from page


_MEMBERSHIPS: Final = """
SELECT m.account_id, r.name, r.id FROM membership AS m JOIN room AS r ON r.id = m.room_id
WHERE m.joined_seq > r.last_seq OR m.left_seq > r.last_seq OR m.left_seq < m.joined_seq OR m.read_seq > r.last_seq
OR (m.left_seq IS NULL AND r.deleted_at IS NOT NULL)
"""


def _memberships(db: Connection, found: Problems) -> None:
    for account_id, name, room_id in _stream(db, _MEMBERSHIPS, "members"):
        text = f"the membership of account {account_id} in {_ROOM.format(name, room_id)} does not fit its log"
        found.add("heads", text)


def _references(db: Connection, found: Problems) -> None:
    for table in Base.metadata.sorted_tables:
        for key in sorted(table.foreign_keys, key=lambda key: str(key.parent.name)):
            _missing(db, found, table.name, str(key.parent.name), key.column.table.name)
    _missing(db, found, "token", "room_id", "room")
    _missing(db, found, "account", "owner_id", "account")


def _missing(db: Connection, found: Problems, table: str, column: str, other: str) -> None:
    query = (
        f'SELECT c."{column}", count(*) FROM "{table}" AS c WHERE c."{column}" IS NOT NULL '
        f'AND NOT EXISTS (SELECT 1 FROM "{other}" AS p WHERE p.id = c."{column}") GROUP BY c."{column}"'
    )
    for id, times in _stream(db, query, "missing"):
        found.add("references", f"{other} {id}, which {table}.{column} names, is not there", times)


def _duplicates(db: Connection, found: Problems) -> None:
    """Also where a unique index is missing, which is found as a part of the schema."""
    dialect = db.dialect.name
    for table in Base.metadata.sorted_tables:
        if table.name in rows.PASSING:
            continue
        uniques = [
            (index.columns, index.dialect_options[dialect].get("where")) for index in table.indexes if index.unique
        ]
        uniques += [(one.columns, None) for one in table.constraints if isinstance(one, UniqueConstraint)]
        for columns, where in uniques:
            _duplicates_of(db, found, table.name, [str(column.name) for column in columns], where)


def _duplicates_of(db: Connection, found: Problems, table: str, columns: list[str], where: Any) -> None:
    names = ", ".join(f'"{name}"' for name in columns)
    given = [f'"{name}" IS NOT NULL' for name in columns] + ([str(where)] if where is not None else [])
    query = f'SELECT {names}, count(*) FROM "{table}" WHERE {" AND ".join(given)} GROUP BY {names} HAVING count(*) > 1'
    for *values, times in _stream(db, query, "twice"):
        said = ", ".join(f"{name} {value}" for name, value in zip(columns, values, strict=True))
        found.add("ids", f"{table} has {times} rows with {said}")


def _sessions(db: Connection, found: Problems) -> None:
    alive = {held.node for held in serving(db)}
    query = "SELECT node, count(*) FROM session WHERE disconnected_at IS NULL GROUP BY node ORDER BY node"
    for node, times in db.exec_driver_sql(query).all():
        if node not in alive:
            found.add("sessions", f"{times} of node {node} are open, but no server runs as that node", times)


_SEEN: Final = """
SELECT m.account_id, r.name, r.id, r.last_seq, m.seen FROM membership AS m JOIN room AS r ON r.id = m.room_id
WHERE m.seen IS NOT NULL ORDER BY m.id
"""


def seen_problems(db: Connection) -> Iterator[str]:
    """Whether what is stored of the entries that people have seen behind their read marks is what `values/seen.py`
    reads.

    A stretch may lie before the read mark: the command `read` moves the mark over it, and the next reading leaves it
    out.
    """
    for account_id, name, room_id, last, stored in _stream(db, _SEEN, "seen"):
        if not _is_seen_right(stored, last):
            yield f"what account {account_id} has seen of room {name} (id {room_id}) cannot be"


def _is_seen_right(stored: str, last: int) -> bool:
    """Whether these are stretches up to the room's last entry, in ascending order, that do not touch each other."""
    try:
        runs = msgspec.json.decode(stored, type=list[Run])
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return False
    ends = [0, *(end for _, end in runs)]
    return (
        0 < len(runs) <= MOST_RUNS
        and all(before + 1 < begin <= end for before, (begin, end) in zip(ends, runs, strict=False))
        and ends[-1] <= last
    )


_TIMES: Final = f"sum(CASE e.kind WHEN '{REACTED}' THEN 1 ELSE -1 END)"
_GIVEN: Final = f"""
SELECT e.room_id, e.target_seq, e.text, {_TIMES} FROM entry AS e
JOIN entry AS m ON m.room_id = e.room_id AND m.seq = e.target_seq AND m.kind = '{MESSAGE}'
AND m.state IS DISTINCT FROM '{ERASED}'
WHERE e.kind IN ('{REACTED}', '{UNREACTED}') AND e.text <> ''
GROUP BY e.room_id, e.target_seq, e.text HAVING {_TIMES} > 0 ORDER BY e.room_id, e.target_seq
"""
_KEPT: Final = f"""
SELECT e.room_id, e.seq, e.reactions, e.kind = '{MESSAGE}' AND e.state IS DISTINCT FROM '{ERASED}'
FROM entry AS e WHERE e.reactions IS NOT NULL OR e.pinned ORDER BY e.room_id, e.seq
"""


def reaction_problems(db: Connection) -> Iterator[str]:
    """Whether each message has the sums of the reactions in its log, and only messages have any or are pinned."""
    given = _sums(_stream(db, _GIVEN, "given"))
    place, counts = next(given, _END)
    for room_id, seq, known, is_message in _stream(db, _KEPT, "kept"):
        if not is_message:
            yield f"entry {seq} of room {room_id} has reactions or is pinned, but is no message that is there"
            continue
        while place < (room_id, seq):
            yield _wrong(place)
            place, counts = next(given, _END)
        right: dict[str, int] = {}
        if place == (room_id, seq):
            right = counts
            place, counts = next(given, _END)
        if _decoded(known) != right:
            yield _wrong((room_id, seq))
    while place != _END[0]:
        yield _wrong(place)
        place, counts = next(given, _END)


_END: Final[tuple[tuple[int, int], dict[str, int]]] = ((1 << 63, 0), {})


def _wrong(place: tuple[int, int]) -> str:
    return f"the sums of entry {place[1]} of room {place[0]} are not those of its reactions"


def _sums(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[tuple[int, int], dict[str, int]]]:
    """The rows of a message together."""
    place, counts = _END
    for room_id, seq, reaction, times in rows:
        if (room_id, seq) != place:
            if counts:
                yield place, counts
            place, counts = (room_id, seq), {}
        counts[reaction] = int(times)
    if counts:
        yield place, counts


def _decoded(known: str | None) -> dict[str, int] | None:
    """None for what is no sum at all."""
    try:
        return msgspec.json.decode(known, type=dict[str, int]) if known is not None else {}
    except msgspec.MsgspecError:
        return None
