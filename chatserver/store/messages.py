"""Messages: storing many in one statement, finding, editing and erasing them."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, exists, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from chatserver.store import mentions, quotes
from chatserver.store.db.schema import EntryRow, MembershipRow, MentionRow, RoomRow, as_sqlite
from chatserver.store.entries import append_event
from chatserver.store.saying import (
    AGAIN,
    JUDGE_SQLITE,
    LOCK_FIRST,
    NO_MESSAGE,
    PREPARED,
    RECENT_ENTRIES,
    SPECIAL,
    STORE_SQLITE,
)
from chatserver.store.visibility import RoomAccess
from chatserver.store.words import reindex
from chatserver.values.answers import Said
from chatserver.values.errors import Refused, Why, blocked, muted, not_a_member, slow
from chatserver.values.events import (
    BOT,
    EDITED,
    ERASED,
    MEMBER,
    MESSAGE,
    PACED,
    PRIVATE,
    Entry,
    Person,
    Quote,
    RoomFacts,
)

_Call = tuple[str, tuple[Any, ...]]
"""A statement of `PREPARED` by its name, and its parameters."""

Judgement = Literal["stored", "dup", "id-conflict", "not-a-member", "muted", "blocked", "no-message", "slow"]

NOTHING: Final = -1
"""In place of the message that a reply answers: none has the number 0."""

ERASED_VALUES: Final = {"text": "", "state": ERASED, "reactions": None, "pinned": None}
"""Columns of an erased message."""


class Draft(Struct, frozen=True, gc=False):
    """A message before it is stored. `of`: the message that it answers; 0: none. `names`: the words in it that may be
    names of accounts, in lower case."""

    room_id: int
    author_id: int
    text: str
    client_id: str | None
    of: int = 0
    names: Sequence[str] = ()


class Verdict(Struct, frozen=True, gc=False):
    """The outcome of a draft. `seq` and `at` are meaningful only if it was stored, now or (dup) before. The `seq` of a
    `slow` one is the room's pace in seconds, that of a `no-message` one the message that it answers.

    `quote`: of a reply that was stored now; hidden if not everybody in the room may read the message that it answers.
    """

    outcome: Judgement
    seq: int
    at: datetime
    quote: Quote | None = None


def no_message(seq: int) -> Refused:
    return Refused(Why.NO_SUCH_MESSAGE, seq=seq)


def id_conflict(label: str) -> Refused:
    return Refused(Why.ID_CONFLICT)


REFUSALS: dict[Judgement, Callable[[str], Refused]] = {
    "id-conflict": id_conflict,
    "not-a-member": not_a_member,
    "muted": muted,
    "blocked": blocked,
}
"""For each outcome of a verdict, the function that makes the refusal from the room's name."""


def as_answer(facts: RoomFacts, viewer_id: int, verdict: Verdict) -> Said:
    """The answer to a `say`. Raises Refused if the message was not stored."""
    label = facts.label(viewer_id)
    if verdict.outcome in ("stored", "dup"):
        return Said(label, verdict.seq, verdict.at, verdict.outcome == "dup", facts.id)
    if verdict.outcome == "slow":
        raise slow(label, verdict.seq)
    if verdict.outcome == NO_MESSAGE:
        raise no_message(verdict.seq)
    raise REFUSALS[verdict.outcome](label)


def as_entry(draft: Draft, who: Person, verdict: Verdict) -> Entry:
    """The entry of a message that was stored."""
    return Entry(
        verdict.seq, MESSAGE, who.id, who.name, verdict.at, draft.text, draft.client_id, of=draft.of,
        display=who.display, bot=who.kind == BOT, quote=verdict.quote,
    )  # fmt: skip


def append(db: Connection, drafts: Sequence[Draft], at: datetime) -> list[Verdict]:
    """Stores the drafts that may be stored, in order, each with its room's next number. Returns a verdict for each.

    Raises IntegrityError, and stores nothing, if another transaction stores the same id at the same moment. On
    PostgreSQL this is a transaction of its own: `db` should be in autocommit mode.
    """
    first, *others = _runs(drafts)
    verdicts = _append_run(db, first, at)
    for run in others:
        verdicts += _append_rest(db, run, at, _append_run)
    return _with_quotes(db, drafts, verdicts) if _has_replies(drafts) else verdicts


def _has_replies(drafts: Sequence[Draft]) -> bool:
    return any(draft.of for draft in drafts)


def _is_addressed(draft: Draft) -> bool:
    """Whether a message may have mentions."""
    return bool(draft.of or draft.names)


def _with_quotes(db: Connection, drafts: Sequence[Draft], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts, with the quotes of replies."""
    pairs = list(zip(drafts, verdicts, strict=True))
    found: dict[tuple[int, int], Quote] = {}
    replies = [(draft, one.seq) for draft, one in pairs if draft.of and one.outcome == "stored"]
    for room_id in {draft.room_id for draft, _ in replies}:
        here = [(draft.of, seq) for draft, seq in replies if draft.room_id == room_id]
        of_room = quotes.for_all(db, room_id, {of for of, _ in here}, here[0][1])
        found |= {(room_id, of): quote for of, quote in of_room.items()}
    told = []
    for draft, one in pairs:
        if one.outcome == NO_MESSAGE:
            told.append(Verdict(NO_MESSAGE, max(draft.of, 0), one.at))
        elif one.outcome == "stored" and (draft.room_id, draft.of) in found:
            told.append(Verdict("stored", one.seq, one.at, found[draft.room_id, draft.of]))
        else:
            told.append(one)
    return told


def _runs(drafts: Sequence[Draft]) -> list[list[Draft]]:
    """Nearly always one run. A new one begins where an id is reused for another message: whether that is a conflict
    depends on the outcome of the first use."""
    runs: list[list[Draft]] = [[]]
    firsts: dict[tuple[int, str], Draft] = {}
    for draft in drafts:
        if draft.client_id is not None:
            first = firsts.setdefault((draft.author_id, draft.client_id), draft)
            said = (first.room_id, first.text, first.of)
            if first is not draft and said != (draft.room_id, draft.text, draft.of):
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
    return msgspec.json.encode([(d.room_id, d.author_id, d.text, d.client_id, d.of, d.names) for d in drafts]).decode()


def _append_rest(
    db: Connection,
    drafts: Sequence[Draft],
    at: datetime,
    store: Callable[[Connection, Sequence[Draft], datetime], list[Verdict]],
) -> list[Verdict]:
    """Stores the rest of a take of which a part is stored already."""
    while True:
        try:
            return store(db, drafts, at)
        except db.dialect.loaded_dbapi.OperationalError as error:
            # Not what can be tried again, such as Locked.
            raise OperationalError("EXECUTE append", None, error) from error
        except (IntegrityError, db.dialect.loaded_dbapi.IntegrityError):
            continue  # finds the other transaction's entry


def _append_postgres(db: Connection, drafts: Sequence[Draft], at: datetime) -> list[Verdict]:
    info = db.info
    lock_first: int = info.get("lock_first", 0)
    if lock_first:
        info["lock_first"] = lock_first - 1
    special = info.setdefault("special", {})
    try:
        if len(drafts) > 1 and not any(map(_is_addressed, drafts)) and not _has_special(special, drafts):
            return _append_plain(db, drafts, at, lock=lock_first > 0)
        return _append_judged(db, drafts, at, lock=lock_first > 0)
    except db.dialect.loaded_dbapi.IntegrityError as error:
        raise IntegrityError("EXECUTE append", None, error) from error


def _has_special(special: dict[int, int], drafts: Sequence[Draft]) -> bool:
    """Whether a take has messages to rooms that were special lately. `special`: for how many takes each still is; these
    are counted down."""
    found = special and {draft.room_id for draft in drafts}.intersection(special)
    for room_id in found or ():
        special[room_id] -= 1
        if not special[room_id]:
            del special[room_id]
    return bool(found)


def _append_plain(db: Connection, drafts: Sequence[Draft], at: datetime, *, lock: bool) -> list[Verdict]:
    """Stores the messages to rooms in which nothing stands against any of them, and judges the others one by one. Locks
    several rooms in the order of their ids, so that two nodes cannot wait for each other."""
    places: list[int] = []  # of each draft among those to its room
    counts: dict[int, int] = {}
    for draft in drafts:
        counts[draft.room_id] = counts.get(draft.room_id, 0) + 1
        places.append(counts[draft.room_id])
    pairs = {(draft.room_id, draft.author_id) for draft in drafts}
    values = (
        _numbers(room_id for room_id, _ in pairs),
        _numbers(author_id for _, author_id in pairs),
        _numbers(counts),
        _numbers(counts.values()),
        _numbers(draft.room_id for draft in drafts),
        _numbers(draft.author_id for draft in drafts),
        _texts(draft.text for draft in drafts),
        _texts(draft.client_id for draft in drafts),
        _numbers(places),
        at,
    )
    lock = lock or len(counts) > 1
    rows = _execute(db, *_locks(counts, lock=lock), ("append_plain", values))
    stored = {room_id: (head, then or at) for room_id, head, then in rows}
    left = [draft for draft in drafts if draft.room_id not in stored]
    verdicts: list[Verdict] = []
    if left:
        verdicts = _append_rest(db, left, at, _append_judged) if stored else _append_judged(db, left, at)
        against = {draft.room_id for draft, one in zip(left, verdicts, strict=True) if one.outcome != "stored"}
        db.info["special"] |= dict.fromkeys(counts.keys() - stored.keys() if lock else against, SPECIAL)
        if not lock and not against:
            db.info["lock_first"] = LOCK_FIRST  # another node has changed the room meanwhile
    judged = iter(verdicts)
    return [
        Verdict("stored", stored[draft.room_id][0] + place, stored[draft.room_id][1])
        if draft.room_id in stored
        else next(judged)
        for draft, place in zip(drafts, places, strict=True)
    ]


def _numbers(values: Iterable[int]) -> str:
    """An array of PostgreSQL. The driver's own form of one takes several times as long to write and to parse."""
    return f"{{{','.join(map(str, values))}}}"


def _texts(values: Iterable[str | None]) -> str:
    """An array of PostgreSQL, as `_numbers`."""
    return f"{{{','.join('NULL' if one is None else _quoted(one) for one in values)}}}"


def _quoted(element: str) -> str:
    escaped = element.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _append_judged(db: Connection, drafts: Sequence[Draft], at: datetime, *, lock: bool = False) -> list[Verdict]:
    """Judges each message by itself."""
    judged = _execute_judged(db, drafts, at, lock=lock)
    late = [index for index, (outcome, _, _) in enumerate(judged) if outcome == AGAIN]
    if late:
        db.info["lock_first"] = LOCK_FIRST
        anew = _execute_judged(db, [drafts[index] for index in late], at, lock=True)
        for index, verdict in zip(late, anew, strict=True):
            judged[index] = verdict
    return [Verdict(outcome, seq or 0, then or at) for outcome, seq, then in judged]


def _execute_judged(db: Connection, drafts: Sequence[Draft], at: datetime, *, lock: bool) -> list[Any]:
    """One round trip. With `lock` nobody else can write to these rooms from before they are judged, and no outcome is
    AGAIN. Returns the outcome of each draft, its seq, and its time if that is not `at`."""
    one = drafts[0]
    if len(drafts) > 1 or _is_addressed(one):
        call: _Call = "append", (_as_json(drafts), at)
    else:
        call = "append_one", (one.room_id, one.author_id, one.text, one.client_id, at)
    return _execute(db, *_locks({draft.room_id for draft in drafts}, lock=lock), call)


def _locks(room_ids: Collection[int], *, lock: bool) -> list[_Call]:
    if not lock:
        return []
    return [("lock_room", tuple(room_ids)) if len(room_ids) == 1 else ("lock_rooms", (_numbers(room_ids),))]


def _execute(db: Connection, *calls: _Call) -> list[Any]:
    """Executes statements of `PREPARED` in one round trip. Returns the rows of the last."""
    # The driver's own cursor, kept with the connection: SQLAlchemy's overhead would take as long as the statement.
    if "append" not in db.info:
        db.info["append"] = db.connection.cursor(), set()
    cursor, prepared = db.info["append"]
    for name, _ in calls:
        if name not in prepared:
            # Planned once for each connection: planning takes as long as the rest. One by one, since PREPARE is not
            # undone with its transaction, and only what is needed: it waits for whoever holds a table that is named.
            cursor.execute(f"PREPARE {name} {PREPARED[name]}")
            prepared.add(name)
    text = "; ".join(f"EXECUTE {name} ({', '.join(['%s'] * len(values))})" for name, values in calls)
    cursor.execute(text, [value for _, values in calls for value in values])
    rows: list[Any] = cursor.fetchall()
    return rows


def _append_sqlite(db: Connection, drafts: Sequence[Draft], at: datetime) -> list[Verdict]:
    now = as_sqlite(at)
    heads: dict[int, tuple[int, str]] = {}
    rows: list[tuple[Any, ...]] = []
    named: list[mentions.Named] = []
    verdicts = []
    judge = JUDGE_SQLITE[_has_replies(drafts)]
    judged = db.exec_driver_sql(judge, (_as_json(drafts), now))
    for index, room_id, author_id, words, client_id, of, last, last_at, pace, old_seq, old_at, outcome in judged:
        if outcome != "stored":
            seq = pace if outcome == "slow" else old_seq or 0
            verdicts.append(Verdict(outcome, seq, at if old_at is None else _from_sqlite(old_at)))
            continue
        previous, stamp = heads.get(room_id) or (last, max(now, last_at or ""))
        seq = previous + 1
        heads[room_id] = seq, stamp
        verdicts.append(Verdict(outcome, seq, at if stamp == now else _from_sqlite(stamp)))
        rows.append((room_id, seq, author_id, words, client_id, stamp, of))
        if _is_addressed(drafts[index]):
            named.append((room_id, seq, drafts[index].names))
    if rows:
        db.exec_driver_sql(STORE_SQLITE, rows)
        moved = [(*head, id) for id, head in heads.items()]
        db.exec_driver_sql("UPDATE room SET last_seq = ?, last_at = ? WHERE id = ?", moved)
    if named:
        mentions.note(db, named)
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


def last_by(db: Connection, who: Person, access: RoomAccess) -> int | None:
    """The seq of the last message of somebody in a room, even if it was erased; None if they have said nothing there
    lately, or nothing that they may read."""
    bottom = max(access.floor, access.seq - RECENT_ENTRIES + 1)
    mine = (EntryRow.author_id == who.id, EntryRow.kind == MESSAGE)
    query = select(EntryRow.seq).where(EntryRow.room_id == access.facts.id, EntryRow.seq >= bottom, *mine)
    return db.scalar(query.order_by(EntryRow.seq.desc()).limit(1))


def is_too_early(db: Connection, who: Person, access: RoomAccess, at: datetime) -> bool:
    """Whether the room's pace lets somebody wait: a member whose last entry of the kinds of PACED is too recent. The
    statements that store messages have the same rule. The room must be locked."""
    if not access.pace or access.role != MEMBER:
        return False
    mine = (EntryRow.author_id == who.id, EntryRow.kind.in_(PACED))
    recent = (EntryRow.room_id == access.facts.id, EntryRow.seq > access.seq - RECENT_ENTRIES)
    last = db.scalar(select(EntryRow.at).where(*recent, *mine).order_by(EntryRow.seq.desc()).limit(1))
    return last is not None and last > at - timedelta(seconds=access.pace)


def edit(db: Connection, who: Person, access: RoomAccess, seq: int, said: str, at: datetime) -> Entry:
    """Replaces the text of a message. The entry about that says the new text only if all members may read the message:
    in a private room it is older than some memberships. The room must be locked."""
    one = (EntryRow.room_id == access.facts.id, EntryRow.seq == seq)
    db.execute(update(EntryRow).where(*one).values(text=said, state=EDITED))
    reindex(db, access.facts.id, seq)
    mentions.change(db, access.facts.id, seq, said)
    later = (MembershipRow.room_id == access.facts.id, MembershipRow.left_seq.is_(None), MembershipRow.joined_seq > seq)
    closed = access.facts.kind == PRIVATE and not access.past_open
    hidden = closed and db.scalar(select(exists().where(*later)))
    return append_event(db, access.facts.id, EDITED, who, at, "" if hidden else said, of=seq)


def edited_by(db: Connection, access: RoomAccess, seq: int) -> int | None:
    """The author of a message, if the log has a text that it was edited to. The message may have been removed."""
    edits = (EntryRow.room_id == access.facts.id, EntryRow.target_seq == seq, EntryRow.kind == EDITED)
    return db.scalar(select(EntryRow.author_id).where(*edits, EntryRow.text != "").limit(1))


def erase(db: Connection, who: Person, access: RoomAccess, seq: int, at: datetime) -> Entry:
    """Deletes the text of a message from the database, if it is there, and all texts it was edited to. It has no
    reactions any more, and is not pinned. The room must be locked."""
    room = EntryRow.room_id == access.facts.id
    mentions.forget(db, MentionRow.room_id == access.facts.id, MentionRow.seq == seq)
    db.execute(update(EntryRow).where(room, EntryRow.seq == seq).values(ERASED_VALUES))
    db.execute(update(EntryRow).where(room, EntryRow.target_seq == seq, EntryRow.kind == EDITED).values(text=""))
    return append_event(db, access.facts.id, ERASED, who, at, of=seq)
