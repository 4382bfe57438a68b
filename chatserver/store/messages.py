"""Entries: storing them, and reading them in pages."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert, outerjoin, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from chatserver.errors import ErrorWord, Refused
from chatserver.events import EDITED, ERASED, MESSAGE, Entry, Person
from chatserver.store.places import Place
from chatserver.store.schema import Account, EntryRow, Room, as_sqlite

PAGE_CHARACTERS = 1 << 20
"""A page ends early once its texts are this long, so that no answer can fill the memory."""


class Draft(Struct, frozen=True, gc=False):
    """A message before it is stored."""

    room_id: int
    author_id: int
    text: str
    client_id: str | None


class Verdict(Struct, frozen=True, gc=False):
    """What became of a draft: `outcome` is kept, dup, id-conflict, not-a-member, muted or blocked. `seq` and `at` count
    where it is kept or dup."""

    outcome: str
    seq: int
    at: datetime


# Who may say something, in one place for both databases: the rows of `input` with what is to become of each.
_OUTCOME = """
CASE WHEN e.seq IS NOT NULL
     THEN CASE WHEN e.room_id = i.room_id AND (e.text = i.text OR e.state IS NOT NULL) THEN 'dup' ELSE 'id-conflict' END
     WHEN m.id IS NULL {or_gone} THEN 'not-a-member'
     WHEN m.muted_until > {now} THEN 'muted'
     WHEN m.blocked THEN 'blocked'
     ELSE 'kept' END AS outcome
"""
_OR_GONE = "OR r.deleted_at IS NOT NULL"
_JUDGED = """
SELECT i.ord, i.room_id, i.author_id, i.text, i.client_id, r.last_seq, e.seq AS old_seq, e.at AS old_at, {outcome}
FROM input AS i {joins}
"""

# For each row one look into an index, whatever the planner believes of the tables: it may have seen them empty.
_MEMBER = "m.room_id = i.room_id AND m.account_id = i.author_id AND m.left_seq IS NULL"
_KNOWN = "e.author_id = i.author_id AND e.client_id = i.client_id AND i.client_id IS NOT NULL"
_POSTGRES_JOINS = f"""
LEFT JOIN LATERAL (SELECT * FROM membership AS m WHERE {_MEMBER} LIMIT 1) AS m ON true
LEFT JOIN LATERAL (SELECT * FROM entry AS e WHERE {_KNOWN} LIMIT 1) AS e ON true
"""
_POSTGRES_LOCK = """
LEFT JOIN LATERAL (SELECT last_seq, deleted_at FROM room WHERE id = i.room_id FOR NO KEY UPDATE) AS r ON true
"""
_SQLITE_JOINS = f"""
LEFT JOIN room AS r ON r.id = i.room_id
LEFT JOIN membership AS m INDEXED BY uq_membership_room_id_account_id_open ON {_MEMBER}
LEFT JOIN entry AS e INDEXED BY uq_entry_author_id_client_id ON {_KNOWN}
"""

# A whole take in one statement, hence one round trip and one commit. Rooms are locked in the order of their ids,
# so that two nodes cannot wait for each other; what is read of a room is as of its lock.
_APPEND = f"""
WITH input AS (
    SELECT ord, (v ->> 0)::bigint AS room_id, (v ->> 1)::bigint AS author_id, v ->> 2 AS text, v ->> 3 AS client_id
    FROM json_array_elements($1) WITH ORDINALITY AS t(v, ord) ORDER BY room_id
), judged AS MATERIALIZED (
    {_JUDGED.format(outcome=_OUTCOME.format(now="$2", or_gone=_OR_GONE), joins=_POSTGRES_LOCK + _POSTGRES_JOINS)}
), numbered AS MATERIALIZED (
    SELECT *, CASE outcome WHEN 'kept'
        THEN last_seq + count(*) FILTER (WHERE outcome = 'kept') OVER (PARTITION BY room_id ORDER BY ord)
        ELSE old_seq END AS seq
    FROM judged
), moved AS (
    UPDATE room SET last_seq = n.seq
    FROM (SELECT room_id, max(seq) AS seq FROM numbered WHERE outcome = 'kept' GROUP BY room_id) AS n
    WHERE room.id = n.room_id AND room.id = ANY (ARRAY(SELECT room_id FROM numbered WHERE outcome = 'kept'))
), kept AS (
    INSERT INTO entry (room_id, seq, kind, author_id, text, client_id, at)
    SELECT room_id, seq, '{MESSAGE}', author_id, text, client_id, $2 FROM numbered WHERE outcome = 'kept'
)
SELECT outcome, seq, old_at FROM numbered ORDER BY ord
"""

# One message alone, as it is at low rates: a plan of a third of the parts, each of which costs its start and its end.
# The room is locked, and seen to be there still, by being given its next number.
_APPEND_ONE = f"""
WITH judged AS MATERIALIZED (
    SELECT e.seq AS old_seq, e.at AS old_at, {_OUTCOME.format(now="$5", or_gone="")}
    FROM (SELECT $1 AS room_id, $2 AS author_id, $3 AS text, $4 AS client_id) AS i {_POSTGRES_JOINS}
), moved AS (
    UPDATE room SET last_seq = last_seq + 1
    WHERE id = $1 AND deleted_at IS NULL AND (SELECT outcome FROM judged) = 'kept' RETURNING last_seq
), kept AS (
    INSERT INTO entry (room_id, seq, kind, author_id, text, client_id, at)
    SELECT $1, last_seq, '{MESSAGE}', $2, $3, $4, $5 FROM moved
)
SELECT CASE WHEN outcome = 'kept' AND last_seq IS NULL THEN 'not-a-member' ELSE outcome END,
       coalesce(last_seq, old_seq), old_at
FROM judged LEFT JOIN moved ON true
"""
_PREPARE = (
    f"PREPARE append (json, timestamptz) AS {_APPEND}; "
    f"PREPARE append_one (bigint, bigint, text, text, timestamptz) AS {_APPEND_ONE}"
)


def append(db: Connection, drafts: Sequence[Draft], at: datetime) -> list[Verdict]:
    """Stores what may be stored, in the order given, each with its room's next number; a verdict for each draft.

    Raises IntegrityError where another transaction stores the same id at the same moment: nothing is stored then.
    On Postgres it is a transaction of its own: `db` should be in autocommit mode.
    """
    first, *others = _runs(drafts)
    verdicts = _append_run(db, first, at)
    for run in others:
        while True:
            try:
                verdicts += _append_run(db, run, at)
                break
            except IntegrityError:  # the first run is stored already: once more, and the other's entry is seen
                continue
    return verdicts


def _runs(drafts: Sequence[Draft]) -> list[list[Draft]]:
    """Nearly always one. Another begins where an id comes again with another message: whether it may be used for that
    depends on what becomes of the one before."""
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
    """Where an id comes more than once here, it is with the same message."""
    firsts: dict[tuple[int, str], int] = {}
    unique: list[Draft] = []
    place: list[int] = []  # of each draft in `unique`
    for draft in drafts:
        if draft.client_id is not None:
            known = firsts.setdefault((draft.author_id, draft.client_id), len(unique))
            if known < len(unique):
                place.append(known)
                continue
        place.append(len(unique))
        unique.append(draft)
    keep = _append_postgres if db.dialect.name == "postgresql" else _append_sqlite
    verdicts = keep(db, unique, at)
    if len(unique) == len(drafts):
        return verdicts
    seen: set[int] = set()
    answers = []
    for index in place:
        verdict = verdicts[index]
        if index in seen and verdict.outcome == "kept":
            verdict = Verdict("dup", verdict.seq, verdict.at)
        seen.add(index)
        answers.append(verdict)
    return answers


def _as_json(drafts: Sequence[Draft]) -> str:
    return msgspec.json.encode([(d.room_id, d.author_id, d.text, d.client_id) for d in drafts]).decode()


def _append_postgres(db: Connection, drafts: Sequence[Draft], at: datetime) -> list[Verdict]:
    # The driver's own cursor, kept with the connection: SQLAlchemy's way around a statement takes as long as this
    # statement itself.
    cursor: Any = db.info.get("append")
    if cursor is None:
        # Planned once for each connection: planning would cost as much as the rest.
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
    except db.dialect.loaded_dbapi.IntegrityError as error:
        raise IntegrityError("EXECUTE append", None, error) from error
    return [Verdict(outcome, seq or 0, then or at) for outcome, seq, then in cursor.fetchall()]


# On SQLite a round trip costs nothing, so that a take may be a few statements. Times are text there (see `Instant`).
_JUDGE_SQLITE = (
    "WITH input (ord, room_id, author_id, text, client_id) AS (SELECT key, value ->> 0, value ->> 1, value ->> 2, "
    "value ->> 3 FROM json_each(?))"
    + _JUDGED.format(outcome=_OUTCOME.format(now="?", or_gone=_OR_GONE), joins=_SQLITE_JOINS)
    + "ORDER BY i.ord"
)
_KEEP_SQLITE = (
    f"INSERT INTO entry (room_id, seq, kind, author_id, text, client_id, at) VALUES (?, ?, '{MESSAGE}', ?, ?, ?, ?)"
)


def _append_sqlite(db: Connection, drafts: Sequence[Draft], at: datetime) -> list[Verdict]:
    now = as_sqlite(at)
    heads: dict[int, int] = {}
    rows: list[tuple[Any, ...]] = []
    verdicts = []
    for _, room_id, author_id, words, client_id, last, old_seq, old_at, outcome in db.exec_driver_sql(
        _JUDGE_SQLITE, (_as_json(drafts), now)
    ):
        if outcome != "kept":
            then = at if old_at is None else datetime.fromisoformat(old_at).replace(tzinfo=UTC)
            verdicts.append(Verdict(outcome, old_seq or 0, then))
            continue
        seq = heads[room_id] = heads.get(room_id, last) + 1
        verdicts.append(Verdict(outcome, seq, at))
        rows.append((room_id, seq, author_id, words, client_id, now))
    if rows:
        db.exec_driver_sql(_KEEP_SQLITE, rows)
        db.exec_driver_sql("UPDATE room SET last_seq = ? WHERE id = ?", [(seq, id) for id, seq in heads.items()])
    return verdicts


def append_event(
    db: Connection,
    room_id: int,
    kind: str,
    who: Person,
    at: datetime,
    said: str = "",
    *,
    target: Person | None = None,
    of: int | None = None,
) -> Entry:
    """Adds one entry that is not a message; locks the room until the end of the transaction."""
    seq = db.scalar(update(Room).where(Room.id == room_id).values(last_seq=Room.last_seq + 1).returning(Room.last_seq))
    assert seq is not None
    target_id = target.id if target else None
    db.execute(
        insert(EntryRow).values(
            room_id=room_id, seq=seq, kind=kind, author_id=who.id or None, text=said, target_id=target_id,
            target_seq=of, at=at,
        )
    )  # fmt: skip
    return Entry(
        seq, kind, who.id, who.name, at, said,
        target_id=target_id or 0, target=target.name if target else "", of=of or 0,
    )  # fmt: skip


def find_said(db: Connection, author_id: int, client_id: str) -> tuple[int, int] | None:
    """The room and seq of what somebody said with this id."""
    row = db.execute(
        select(EntryRow.room_id, EntryRow.seq).where(EntryRow.author_id == author_id, EntryRow.client_id == client_id)
    ).one_or_none()
    return (row.room_id, row.seq) if row else None


def room_name(db: Connection, room_id: int) -> str | None:
    return db.scalar(select(Room.name).where(Room.id == room_id))


def find_message(db: Connection, place: Place, seq: int) -> tuple[int, str | None]:
    """The author of a message that can be changed, and its state. Raises Refused where there is none to be seen."""
    row = db.execute(
        select(EntryRow.author_id, EntryRow.state).where(
            EntryRow.room_id == place.facts.id, EntryRow.seq == seq, EntryRow.kind == MESSAGE
        )
    ).one_or_none()
    if row is None or seq < place.floor or row.state == "erased":
        raise Refused(
            ErrorWord.BAD_COMMAND, f"The field seq names no message there: {seq}. See the history for numbers."
        )
    return row.author_id, row.state


def edit(db: Connection, who: Person, place: Place, seq: int, said: str, at: datetime) -> Entry:
    """Gives a message another text; the room is locked."""
    one = (EntryRow.room_id == place.facts.id, EntryRow.seq == seq)
    db.execute(update(EntryRow).where(*one).values(text=said, state=EDITED))
    return append_event(db, place.facts.id, EDITED, who, at, said, of=seq)


def erase(db: Connection, who: Person, place: Place, seq: int, at: datetime) -> Entry:
    """Takes a message's text out of the database, with those it was edited to; the room is locked."""
    room = EntryRow.room_id == place.facts.id
    db.execute(update(EntryRow).where(room, EntryRow.seq == seq).values(text="", state=ERASED))
    db.execute(update(EntryRow).where(room, EntryRow.target_seq == seq, EntryRow.kind == EDITED).values(text=""))
    return append_event(db, place.facts.id, ERASED, who, at, of=seq)


_TARGET = aliased(Account)
ENTRY_COLUMNS = (
    EntryRow.seq, EntryRow.kind, EntryRow.author_id, Account.name, EntryRow.at, EntryRow.text, EntryRow.client_id,
    EntryRow.target_id, _TARGET.name, EntryRow.target_seq, EntryRow.state,
)  # fmt: skip
ENTRY_JOINS = outerjoin(EntryRow, Account, Account.id == EntryRow.author_id).outerjoin(
    _TARGET, _TARGET.id == EntryRow.target_id
)
_ENTRY = select(*ENTRY_COLUMNS).select_from(ENTRY_JOINS)


def after(
    db: Connection, room_id: int, seq: int, limit: int, characters: int = PAGE_CHARACTERS
) -> tuple[list[Entry], bool]:
    """Entries with numbers above `seq`, in rising order, and whether there are more."""
    rows = db.execute(
        _ENTRY.where(EntryRow.room_id == room_id, EntryRow.seq > seq).order_by(EntryRow.seq).limit(limit + 1)
    )
    return _page(rows, limit, characters)


def before(db: Connection, room_id: int, seq: int | None, floor: int, limit: int) -> tuple[list[Entry], bool]:
    """The last entries below `seq` (None: of all) and from `floor` on, in rising order, and whether there are more."""
    query = _ENTRY.where(EntryRow.room_id == room_id, EntryRow.seq >= floor)
    if seq is not None:
        query = query.where(EntryRow.seq < seq)
    entries, more = _page(db.execute(query.order_by(EntryRow.seq.desc()).limit(limit + 1)), limit, PAGE_CHARACTERS)
    return entries[::-1], more


def _page(rows: Any, limit: int, characters: int) -> tuple[list[Entry], bool]:
    entries: list[Entry] = []
    size = 0
    for row in rows:
        if len(entries) == limit or size > characters:
            return entries, True
        entry = as_entry(*row)
        size += len(entry.text)
        entries.append(entry)
    return entries, False


def as_entry(
    seq: int, kind: str, author_id: int | None, author: str | None, at: datetime, said: str, client_id: str | None,
    target_id: int | None, target: str | None, of: int | None, state: str | None,
) -> Entry:  # fmt: skip
    """The value of a row of `ENTRY_COLUMNS`."""
    return Entry(
        seq, kind, author_id or 0, author or "", at, said, client_id, target_id or 0, target or "", of or 0, state or ""
    )
