"""Entries: storing them, and reading them in pages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import BigInteger, Connection, String, bindparam, insert, select, text, update

from chatserver.events import MESSAGE, Entry
from chatserver.store.schema import Account, EntryRow, Instant, Room

PAGE_CHARACTERS = 1 << 20
"""A page ends early once its texts are this long, so that no answer can fill the memory."""


class Draft(Struct, frozen=True, gc=False):
    """A message before it is stored."""

    room_id: int
    author_id: int
    text: str
    client_id: str | None


class Verdict(Struct, frozen=True, gc=False):
    """What became of a draft. `outcome`: kept, dup, id-conflict, not-a-member or muted; `seq` and `at` where it is
    kept or dup."""

    outcome: str
    seq: int
    at: datetime


# Who may say something, in one place for both databases: the rows of `input` with what is to become of each.
_JUDGED = """
SELECT i.ord, i.room_id, i.author_id, i.text, i.client_id, e.seq AS old_seq, e.at AS old_at,
       CASE WHEN e.seq IS NOT NULL
            THEN CASE WHEN e.room_id = i.room_id AND e.text = i.text THEN 'dup' ELSE 'id-conflict' END
            WHEN m.id IS NULL THEN 'not-a-member'
            WHEN m.muted_until > {now} THEN 'muted'
            ELSE 'kept' END AS outcome
FROM input AS i
LEFT JOIN membership AS m ON m.room_id = i.room_id AND m.account_id = i.author_id AND m.left_seq IS NULL
LEFT JOIN entry AS e ON e.author_id = i.author_id AND e.client_id = i.client_id AND i.client_id IS NOT NULL
"""

# A whole take in one statement, hence one round trip and one commit. Rooms are locked in the order of their ids,
# so that two nodes cannot wait for each other.
_APPEND = f"""
WITH input AS (
    SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
        AS t(ord, room_id, author_id, text, client_id)
), judged AS MATERIALIZED ({_JUDGED.format(now="$6")}),
fresh AS (
    SELECT *, row_number() OVER (PARTITION BY room_id ORDER BY ord) AS n FROM judged WHERE outcome = 'kept'
), locked AS MATERIALIZED (
    SELECT id FROM room WHERE id IN (SELECT room_id FROM fresh) ORDER BY id FOR UPDATE
), head AS (
    UPDATE room SET last_seq = room.last_seq + f.count
    FROM (SELECT room_id, count(*) FROM fresh GROUP BY room_id) AS f JOIN locked ON locked.id = f.room_id
    WHERE room.id = f.room_id AND room.deleted_at IS NULL
    RETURNING room.id, room.last_seq - f.count AS base
), kept AS (
    INSERT INTO entry (room_id, seq, kind, author_id, text, client_id, at)
    SELECT f.room_id, h.base + f.n, '{MESSAGE}', f.author_id, f.text, f.client_id, $6
    FROM fresh AS f JOIN head AS h ON h.id = f.room_id
)
SELECT j.ord, j.outcome, coalesce(j.old_seq, h.base + f.n) AS seq, coalesce(j.old_at, $6) AS at
FROM judged AS j LEFT JOIN fresh AS f ON f.ord = j.ord LEFT JOIN head AS h ON h.id = f.room_id
ORDER BY j.ord
"""
_PREPARE = f"PREPARE append (int[], bigint[], bigint[], text[], text[], timestamptz) AS {_APPEND}"
_EXECUTE = "EXECUTE append (%s, %s, %s, %s, %s, %s)"


def append(db: Connection, drafts: Sequence[Draft], at: datetime) -> list[Verdict]:
    """Stores what may be stored, in the order given, each with its room's next number; a verdict for each draft.

    Raises IntegrityError where another transaction stores the same id at the same moment: nothing is stored then.
    On Postgres it is a transaction of its own: `db` should be in autocommit mode.
    """
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
    verdicts = _append_postgres(db, unique, at) if db.dialect.name == "postgresql" else _append(db, unique, at)
    if len(unique) == len(drafts):
        return verdicts
    seen: set[int] = set()
    answers = []
    for draft, index in zip(drafts, place, strict=True):
        verdict = verdicts[index]
        if index in seen:
            verdict = _repeated(draft, unique[index], verdict)
        seen.add(index)
        answers.append(verdict)
    return answers


def _repeated(draft: Draft, first: Draft, verdict: Verdict) -> Verdict:
    """The verdict on the second use of an id in one take."""
    if verdict.outcome not in ("kept", "dup"):
        return verdict
    same = (draft.room_id, draft.text) == (first.room_id, first.text)
    return Verdict("dup" if same else "id-conflict", verdict.seq, verdict.at)


def _append_postgres(db: Connection, drafts: list[Draft], at: datetime) -> list[Verdict]:
    if "append" not in db.info:
        # Planned once for each connection: planning would cost as much as the rest.
        db.exec_driver_sql(_PREPARE)
        db.info["append"] = True
    rows = db.exec_driver_sql(
        _EXECUTE,
        (
            list(range(len(drafts))),
            [draft.room_id for draft in drafts],
            [draft.author_id for draft in drafts],
            [draft.text for draft in drafts],
            [draft.client_id for draft in drafts],
            at,
        ),
    )
    return [_verdict(outcome, seq, then) for _, outcome, seq, then in rows]


def _verdict(outcome: str, seq: int | None, at: datetime) -> Verdict:
    if outcome == "kept" and seq is None:  # the room was deleted meanwhile
        outcome = "not-a-member"
    return Verdict(outcome, seq or 0, at)


_JUDGE_ONE = (
    text(
        "WITH input (ord, room_id, author_id, text, client_id) AS (SELECT 0, :room_id, :author_id, :text, :client_id)"
        + _JUDGED.format(now=":now")
    )
    .bindparams(bindparam("now", type_=Instant()))
    .columns(outcome=String(), old_seq=BigInteger(), old_at=Instant())
)


def _append(db: Connection, drafts: list[Draft], at: datetime) -> list[Verdict]:
    """The same in plain statements, for a database within the process, where a round trip costs nothing."""
    heads: dict[int, int] = {}
    rows: list[dict[str, Any]] = []
    verdicts = []
    for draft in drafts:
        judged = db.execute(
            _JUDGE_ONE,
            {
                "room_id": draft.room_id,
                "author_id": draft.author_id,
                "text": draft.text,
                "client_id": draft.client_id,
                "now": at,
            },
        ).one()
        if judged.outcome != "kept":
            verdicts.append(Verdict(judged.outcome, judged.old_seq or 0, judged.old_at or at))
            continue
        if draft.room_id not in heads:
            heads[draft.room_id] = (
                db.scalar(select(Room.last_seq).where(Room.id == draft.room_id).with_for_update()) or 0
            )
        heads[draft.room_id] += 1
        verdicts.append(Verdict("kept", heads[draft.room_id], at))
        rows.append(
            {
                "room_id": draft.room_id,
                "seq": heads[draft.room_id],
                "kind": MESSAGE,
                "author_id": draft.author_id,
                "text": draft.text,
                "client_id": draft.client_id,
                "at": at,
            }
        )
    if rows:
        db.execute(insert(EntryRow), rows)
        for room_id, head in heads.items():
            db.execute(update(Room).where(Room.id == room_id).values(last_seq=head))
    return verdicts


def append_event(
    db: Connection, room_id: int, kind: str, author: tuple[int, str], at: datetime, said: str = ""
) -> Entry:
    """Adds one entry that is not a message; locks the room until the end of the transaction."""
    seq = db.scalar(update(Room).where(Room.id == room_id).values(last_seq=Room.last_seq + 1).returning(Room.last_seq))
    assert seq is not None
    db.execute(insert(EntryRow).values(room_id=room_id, seq=seq, kind=kind, author_id=author[0], text=said, at=at))
    return Entry(seq, kind, author[0], author[1], at, said)


_ENTRY = select(
    EntryRow.seq, EntryRow.kind, EntryRow.author_id, Account.name, EntryRow.at, EntryRow.text, EntryRow.client_id
).outerjoin(Account, Account.id == EntryRow.author_id)


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
    for seq, kind, author_id, name, at, said, client_id in rows:
        if len(entries) == limit or size > characters:
            return entries, True
        size += len(said)
        entries.append(Entry(seq, kind, author_id or 0, name or "", at, said, client_id))
    return entries, False
