"""Messages: storing many in one statement, finding, editing and erasing them."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from chatserver.events import EDITED, ERASED, MESSAGE, Entry, Person
from chatserver.store.clock import POSTGRES_NOW, SQLITE_NOW
from chatserver.store.entries import append_event
from chatserver.store.schema import EntryRow, RoomRow, as_sqlite
from chatserver.store.visibility import RoomAccess

Judgement = Literal["stored", "dup", "id-conflict", "not-a-member", "muted", "blocked", "slow"]

AGAIN: Final = "again"
"""On PostgreSQL, the outcome of a statement for drafts whose room another transaction changed while it waited for the
lock of the room: it still sees the memberships from before, so the drafts are judged anew."""

RECENT_ENTRIES: Final = 1000
"""In a room with a pace, so many entries are searched for the author's last message, so that the search is bounded."""


class Draft(Struct, frozen=True, gc=False):
    """A message before it is stored."""

    room_id: int
    author_id: int
    text: str
    client_id: str | None


class Verdict(Struct, frozen=True, gc=False):
    """What became of a draft. `seq` and `at` are meaningful only if it was stored, now or (dup) before. The `seq` of a
    `slow` one is the room's pace in seconds."""

    outcome: Judgement
    seq: int
    at: datetime


# Who may say something, in one place for both databases: the rows of `input`, each with its outcome. Where a room has a
# pace, an author's second message in a take is too early as well. A removed message is still known by its id: its row
# has the negative id of its room (see `store.retention`).
_OUTCOME = """
CASE WHEN e.seq IS NOT NULL
     THEN CASE WHEN abs(e.room_id) = i.room_id AND (e.text = i.text OR e.state IS NOT NULL) THEN 'dup'
          ELSE 'id-conflict' END
     WHEN m.id IS NULL OR r.deleted_at IS NOT NULL THEN 'not-a-member'
     WHEN m.muted_until > {now} THEN 'muted'
     WHEN m.blocked THEN 'blocked'
     WHEN r.pace_seconds > 0 AND m.role = 'member' AND ({earlier} EXISTS (
         SELECT 1 FROM entry AS p WHERE p.room_id = i.room_id AND p.seq > r.last_seq - {recent}
         AND p.author_id = i.author_id AND p.kind = '{message}' AND {lately})) THEN 'slow'
     ELSE 'stored' END AS outcome
"""


def _outcome(now: str, lately: str, *, alone: bool = False) -> str:
    earlier = "EXISTS (SELECT 1 FROM input AS f WHERE f.room_id = i.room_id AND f.author_id = i.author_id "
    earlier = "" if alone else earlier + "AND f.ord < i.ord) OR"
    return _OUTCOME.format(now=now, lately=lately, earlier=earlier, recent=RECENT_ENTRIES, message=MESSAGE)


_LATELY = "p.at > {at} - make_interval(secs => r.pace_seconds)"
_POSTGRES_OUTCOME = _outcome(POSTGRES_NOW, _LATELY.format(at="$2"))
_POSTGRES_ONE_OUTCOME = _outcome(POSTGRES_NOW, _LATELY.format(at="$5"), alone=True)
# A Julian day is a float that is exact to a tenth of a millisecond.
_SQLITE_OUTCOME = _outcome(SQLITE_NOW, "(julianday(?) - julianday(p.at)) * 86400 < r.pace_seconds - 0.001")
_JUDGED = """
SELECT i.ord, i.room_id, i.author_id, i.text, i.client_id, r.last_seq, r.last_at, r.pace_seconds, e.seq AS old_seq,
       e.at AS old_at, {outcome}
FROM input AS i {joins}
"""

# One index lookup for each row, whatever the planner assumes about the tables: it may have seen them empty.
_MEMBER = "m.room_id = i.room_id AND m.account_id = i.author_id AND m.left_seq IS NULL"
_KNOWN = "e.author_id = i.author_id AND e.client_id = i.client_id AND i.client_id IS NOT NULL"
_POSTGRES_JOINS = f"""
LEFT JOIN LATERAL (SELECT * FROM membership AS m WHERE {_MEMBER} LIMIT 1) AS m ON true
LEFT JOIN LATERAL (SELECT * FROM entry AS e WHERE {_KNOWN} LIMIT 1) AS e ON true
"""
_POSTGRES_ROOM = "LEFT JOIN LATERAL (SELECT * FROM room WHERE id = i.room_id LIMIT 1) AS r ON true"
_SQLITE_JOINS = f"""
LEFT JOIN room AS r ON r.id = i.room_id
LEFT JOIN membership AS m INDEXED BY uq_membership_room_id_account_id_open ON {_MEMBER}
LEFT JOIN entry AS e INDEXED BY uq_entry_author_id_client_id ON {_KNOWN}
"""

# A whole take in one statement: one round trip and one commit. Giving a room its next numbers locks it, in the order of
# the ids, so that two nodes cannot wait for each other. Everything is read as it was when the statement began. A room
# that has had new entries since, such as a ban, is not moved, and nothing is stored there (AGAIN): what was judged is
# still true, and no entry gets a time before that of the last one. The time of an entry is returned unless it is $2.
_APPEND = f"""
WITH input AS (
    SELECT ord, (v ->> 0)::bigint AS room_id, (v ->> 1)::bigint AS author_id, v ->> 2 AS text, v ->> 3 AS client_id
    FROM json_array_elements($1) WITH ORDINALITY AS t(v, ord) ORDER BY room_id
), judged AS MATERIALIZED (
    {_JUDGED.format(outcome=_POSTGRES_OUTCOME, joins=_POSTGRES_ROOM + _POSTGRES_JOINS)}
), numbered AS MATERIALIZED (
    SELECT *, CASE outcome WHEN 'stored'
        THEN last_seq + count(*) FILTER (WHERE outcome = 'stored') OVER (PARTITION BY room_id ORDER BY ord)
        WHEN 'slow' THEN pace_seconds ELSE old_seq END AS seq, greatest(last_at, $2) AS at
    FROM judged
), moved AS (
    UPDATE room SET last_seq = n.seq, last_at = n.at
    FROM (
        SELECT room_id, max(last_seq) AS head, max(seq) AS seq, max(at) AS at FROM numbered WHERE outcome = 'stored'
        GROUP BY room_id ORDER BY room_id
    ) AS n
    WHERE room.id = n.room_id AND room.id = ANY (ARRAY(SELECT room_id FROM numbered WHERE outcome = 'stored'))
    AND room.last_seq = n.head AND room.deleted_at IS NULL RETURNING room.id
), stored AS (
    INSERT INTO entry (room_id, seq, kind, author_id, text, client_id, at)
    SELECT room_id, seq, '{MESSAGE}', author_id, text, client_id, at FROM numbered
    WHERE outcome = 'stored' AND room_id IN (SELECT id FROM moved)
)
SELECT CASE WHEN outcome = 'stored' AND room_id NOT IN (SELECT id FROM moved) THEN '{AGAIN}' ELSE outcome END, seq,
       CASE outcome WHEN 'stored' THEN nullif(at, $2) ELSE old_at END
FROM numbered ORDER BY ord
"""

# One message alone, the usual case at low rates: a plan with a third of the nodes, each of which takes time to start
# and to shut down.
_APPEND_ONE = f"""
WITH judged AS MATERIALIZED (
    SELECT e.seq AS old_seq, e.at AS old_at, r.last_seq AS head, r.pace_seconds, {_POSTGRES_ONE_OUTCOME}
    FROM (SELECT $1 AS room_id, $2 AS author_id, $3 AS text, $4 AS client_id) AS i
    {_POSTGRES_ROOM} {_POSTGRES_JOINS}
), moved AS (
    UPDATE room SET last_seq = last_seq + 1, last_at = greatest(last_at, $5)
    WHERE id = $1 AND deleted_at IS NULL AND last_seq = (SELECT head FROM judged WHERE outcome = 'stored')
    RETURNING last_seq, last_at
), stored AS (
    INSERT INTO entry (room_id, seq, kind, author_id, text, client_id, at)
    SELECT $1, last_seq, '{MESSAGE}', $2, $3, $4, last_at FROM moved
)
SELECT CASE WHEN outcome = 'stored' AND last_seq IS NULL THEN '{AGAIN}' ELSE outcome END,
       CASE outcome WHEN 'slow' THEN pace_seconds ELSE coalesce(last_seq, old_seq) END,
       coalesce(nullif(last_at, $5), old_at)
FROM judged LEFT JOIN moved ON true
"""
# Two statements in one round trip, and one transaction: the second sees everything that was committed before the locks.
_LOCK = "SELECT 1 FROM room WHERE id = ANY (%s) ORDER BY id FOR NO KEY UPDATE"
_PREPARE = (
    f"PREPARE append (json, timestamptz) AS {_APPEND}; "
    f"PREPARE append_one (bigint, bigint, text, text, timestamptz) AS {_APPEND_ONE}"
)


def append(db: Connection, drafts: Sequence[Draft], at: datetime) -> list[Verdict]:
    """Stores the drafts that may be stored, in order, each with its room's next number. Returns a verdict for each.

    Raises IntegrityError, and stores nothing, if another transaction stores the same id at the same moment. On
    PostgreSQL this is a transaction of its own: `db` should be in autocommit mode.
    """
    first, *others = _runs(drafts)
    verdicts = _append_run(db, first, at)
    for run in others:
        while True:
            try:
                verdicts += _append_run(db, run, at)
                break
            except db.dialect.loaded_dbapi.OperationalError as error:
                # Not what can be tried again, such as Locked: the first run is stored already.
                raise OperationalError("EXECUTE append", None, error) from error
            except IntegrityError:
                continue  # the first run is stored already: retry, which finds the other transaction's entry
    return verdicts


def _runs(drafts: Sequence[Draft]) -> list[list[Draft]]:
    """Nearly always one run. A new one begins where an id is reused for another message: whether that is a conflict
    depends on the outcome of the first use."""
    runs: list[list[Draft]] = [[]]
    firsts: dict[tuple[int, str], Draft] = {}
    for draft in drafts:
        if draft.client_id is not None:
            first = firsts.setdefault((draft.author_id, draft.client_id), draft)
            if first is not draft and (first.room_id, first.text) != (draft.room_id, draft.text):
                runs.append([])
                firsts = {(draft.author_id, draft.client_id): draft}
        runs[-1].append(draft)
    return runs


def _append_run(db: Connection, drafts: Sequence[Draft], at: datetime) -> list[Verdict]:
    """Stores drafts in which an id is only ever repeated with the same message."""
    firsts: dict[tuple[int, str], int] = {}
    unique: list[Draft] = []
    places: list[int] = []  # for each draft, its index in `unique`
    for draft in drafts:
        if draft.client_id is not None:
            known = firsts.setdefault((draft.author_id, draft.client_id), len(unique))
            if known < len(unique):
                places.append(known)
                continue
        places.append(len(unique))
        unique.append(draft)
    store = _append_postgres if db.dialect.name == "postgresql" else _append_sqlite
    verdicts = store(db, unique, at)
    if len(unique) == len(drafts):
        return verdicts
    seen: set[int] = set()
    answers = []
    for index in places:
        verdict = verdicts[index]
        if index in seen and verdict.outcome == "stored":
            verdict = Verdict("dup", verdict.seq, verdict.at)
        seen.add(index)
        answers.append(verdict)
    return answers


def _as_json(drafts: Sequence[Draft]) -> str:
    return msgspec.json.encode([(d.room_id, d.author_id, d.text, d.client_id) for d in drafts]).decode()


def _append_postgres(db: Connection, drafts: Sequence[Draft], at: datetime) -> list[Verdict]:
    # The driver's own cursor, kept with the connection: SQLAlchemy's overhead would take as long as the statement.
    cursor: Any = db.info.get("append")
    if cursor is None:
        # Planned once for each connection: planning takes as long as the rest.
        cursor = db.connection.cursor()
        cursor.execute(_PREPARE)
        db.info["append"] = cursor
    try:
        if len(drafts) == 1:
            one = drafts[0]
            said = (one.room_id, one.author_id, one.text, one.client_id, at)
            cursor.execute("EXECUTE append_one (%s, %s, %s, %s, %s)", said)
        else:
            cursor.execute("EXECUTE append (%s, %s)", (_as_json(drafts), at))
        judged = cursor.fetchall()
        late = [index for index, (outcome, _, _) in enumerate(judged) if outcome == AGAIN]
        if late:
            anew = [drafts[index] for index in late]
            ids = list({draft.room_id for draft in anew})
            cursor.execute(f"{_LOCK}; EXECUTE append (%s, %s)", (ids, _as_json(anew), at))
            for index, verdict in zip(late, cursor.fetchall(), strict=True):
                judged[index] = verdict
    except db.dialect.loaded_dbapi.IntegrityError as error:
        raise IntegrityError("EXECUTE append", None, error) from error
    return [Verdict(outcome, seq or 0, then or at) for outcome, seq, then in judged]


# SQLite has no round trips, so a take may be a few statements. Times are text there (see `Instant`).
_JUDGE_SQLITE = (
    "WITH input (ord, room_id, author_id, text, client_id) AS (SELECT key, value ->> 0, value ->> 1, value ->> 2, "
    "value ->> 3 FROM json_each(?))" + _JUDGED.format(outcome=_SQLITE_OUTCOME, joins=_SQLITE_JOINS) + "ORDER BY i.ord"
)
_STORE_SQLITE = (
    f"INSERT INTO entry (room_id, seq, kind, author_id, text, client_id, at) VALUES (?, ?, '{MESSAGE}', ?, ?, ?, ?)"
)


def _append_sqlite(db: Connection, drafts: Sequence[Draft], at: datetime) -> list[Verdict]:
    now = as_sqlite(at)
    heads: dict[int, tuple[int, str]] = {}
    rows: list[tuple[Any, ...]] = []
    verdicts = []
    for _, room_id, author_id, words, client_id, last, last_at, pace, old_seq, old_at, outcome in db.exec_driver_sql(
        _JUDGE_SQLITE, (_as_json(drafts), now)
    ):
        if outcome != "stored":
            seq = pace if outcome == "slow" else old_seq or 0
            verdicts.append(Verdict(outcome, seq, at if old_at is None else _from_sqlite(old_at)))
            continue
        previous, stamp = heads.get(room_id) or (last, max(now, last_at or ""))
        seq = previous + 1
        heads[room_id] = seq, stamp
        verdicts.append(Verdict(outcome, seq, at if stamp == now else _from_sqlite(stamp)))
        rows.append((room_id, seq, author_id, words, client_id, stamp))
    if rows:
        db.exec_driver_sql(_STORE_SQLITE, rows)
        moved = [(*head, id) for id, head in heads.items()]
        db.exec_driver_sql("UPDATE room SET last_seq = ?, last_at = ? WHERE id = ?", moved)
    return verdicts


def _from_sqlite(stored: str) -> datetime:
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)


def locked(db: Connection, room_ids: Collection[int]) -> frozenset[int]:
    """Those of these rooms that another transaction holds at this moment, on PostgreSQL."""
    free = select(RoomRow.id).where(RoomRow.id.in_(room_ids)).with_for_update(skip_locked=True, key_share=True)
    return frozenset(room_ids).difference(db.scalars(free))


def find_said(db: Connection, author_id: int, client_id: str) -> tuple[int, int] | None:
    """The room and seq of the message that an account sent with this id, even if it was removed."""
    row = db.execute(
        select(EntryRow.room_id, EntryRow.seq).where(EntryRow.author_id == author_id, EntryRow.client_id == client_id)
    ).one_or_none()
    return (abs(row.room_id), row.seq) if row else None


def room_name(db: Connection, room_id: int) -> str | None:
    return db.scalar(select(RoomRow.name).where(RoomRow.id == room_id))


def edit(db: Connection, who: Person, access: RoomAccess, seq: int, said: str, at: datetime) -> Entry:
    """Replaces the text of a message. The room must be locked."""
    one = (EntryRow.room_id == access.facts.id, EntryRow.seq == seq)
    db.execute(update(EntryRow).where(*one).values(text=said, state=EDITED))
    return append_event(db, access.facts.id, EDITED, who, at, said, of=seq)


def edited_by(db: Connection, access: RoomAccess, seq: int) -> int | None:
    """The author of a message, if the log has a text that it was edited to. The message may have been removed."""
    edits = (EntryRow.room_id == access.facts.id, EntryRow.target_seq == seq, EntryRow.kind == EDITED)
    return db.scalar(select(EntryRow.author_id).where(*edits, EntryRow.text != "").limit(1))


def erase(db: Connection, who: Person, access: RoomAccess, seq: int, at: datetime) -> Entry:
    """Deletes the text of a message from the database, if it is there, and all texts it was edited to. The room must be
    locked."""
    room = EntryRow.room_id == access.facts.id
    db.execute(update(EntryRow).where(room, EntryRow.seq == seq).values(text="", state=ERASED))
    db.execute(update(EntryRow).where(room, EntryRow.target_seq == seq, EntryRow.kind == EDITED).values(text=""))
    return append_event(db, access.facts.id, ERASED, who, at, of=seq)
