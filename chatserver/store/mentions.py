"""Mentions: who is named in a message, or answered by it, as rows that are written with the message.

The rule is that of the bell (`values/mentions.py`): the name that an account had when the message was stored, as a
word of its own. A row goes when its message is edited, erased or removed, or its account erased. Messages whose rows
were not written with them are in `unscanned`, a few numbers for each room, and are looked through in the background.

A message that names nobody costs nothing here: see `KnownNames`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, select, text, tuple_, update

from chatserver.store.db.schema import AccountRow, EntryRow, MembershipRow, MentionRow, RoomRow, UnscannedRow, as_sqlite
from chatserver.store.entries import AS_OF, ENTRY_COLUMNS, ENTRY_JOINS, as_entry
from chatserver.store.search import EPOCH, page
from chatserver.store.search_walk import Hit
from chatserver.store.visibility import FIRST_READABLE, open_membership
from chatserver.store.wanted import Wanted
from chatserver.values.events import ERASED, MESSAGE, Entry, Person, RoomFacts
from chatserver.values.mentions import possible_names

PAGE: Final = 5000
"""Maximum number of names read at a time."""

OVERLAP: Final = 100
"""Number of accounts whose names are read again, with those of new ones."""

STEP: Final = 200
"""Number of entries that one step of `scan` looks through: some hundredths of a second."""

Place = tuple[int, int]
"""The room and the seq of a message."""

Named = tuple[int, int, Sequence[str]]
"""A message by its room and seq, and the words in it that may be names, in lower case."""

NAMED_POSTGRES: Final = f"""
    INSERT INTO mention (account_id, room_id, seq, author_id, at)
    SELECT m.account_id, n.room_id, n.seq, n.author_id, n.at
    FROM numbered AS n CROSS JOIN LATERAL (
        SELECT a.id AS account_id FROM account AS a
        WHERE a.name_key = ANY (ARRAY(SELECT json_array_elements_text(n.names))) AND a.erased_at IS NULL
        UNION
        SELECT q.author_id FROM entry AS q JOIN account AS a ON a.id = q.author_id AND a.erased_at IS NULL
        WHERE q.room_id = n.room_id AND q.seq = n.re AND q.kind = '{MESSAGE}'
    ) AS m
    WHERE n.outcome = 'stored' AND n.room_id IN (SELECT id FROM moved) AND m.account_id <> n.author_id
"""
"""A part of the statement that stores messages on PostgreSQL (`store/saying.py`). All else is done by `note`."""


def _note(dialect: str) -> str:
    """Accounts are looked up by the names that they had at a time: that of the entry, or the one given."""
    if dialect == "postgresql":
        said = (
            "SELECT CAST(v ->> 0 AS bigint) AS room_id, CAST(v ->> 1 AS bigint) AS seq, v -> 2 AS names "
            "FROM json_array_elements(CAST(:said AS json)) AS t(v)"
        )
        words = "CROSS JOIN LATERAL json_array_elements_text(s.names) AS w(word)"
        at = "coalesce(CAST(:at AS timestamptz), e.at)"
    else:
        said = "SELECT value ->> 0 AS room_id, value ->> 1 AS seq, value -> 2 AS names FROM json_each(:said)"
        words = "CROSS JOIN json_each(s.names) AS j"
        at = "coalesce(:at, e.at)"
    word = "w.word" if dialect == "postgresql" else "j.value"
    materialized = "AS MATERIALIZED" if dialect == "postgresql" else "AS"
    return f"""
WITH said {materialized} ({said}), words {materialized} (
    SELECT e.room_id, e.seq, {at} AS at, {word} AS word
    FROM said AS s {words} JOIN entry AS e ON e.room_id = s.room_id AND e.seq = s.seq
), found (room_id, seq, account_id) {materialized} (
    SELECT w.room_id, w.seq, a.id FROM words AS w JOIN account AS a ON a.name_key = w.word
    WHERE a.renamed_at IS NULL OR a.renamed_at <= w.at
    UNION
    SELECT w.room_id, w.seq, f.account_id FROM words AS w JOIN former_name AS f ON f.name_key = w.word
    WHERE f.until > w.at AND NOT EXISTS (
        SELECT 1 FROM former_name AS g WHERE g.account_id = f.account_id AND g.until > w.at AND g.until < f.until)
    UNION
    SELECT e.room_id, e.seq, q.author_id FROM said AS s
    JOIN entry AS e ON e.room_id = s.room_id AND e.seq = s.seq
    JOIN entry AS q ON q.room_id = e.room_id AND q.seq = e.target_seq AND q.kind = '{MESSAGE}'
)
INSERT INTO mention (account_id, room_id, seq, author_id, at)
SELECT a.id, e.room_id, e.seq, e.author_id, e.at
FROM found AS f JOIN account AS a ON a.id = f.account_id
JOIN entry AS e ON e.room_id = f.room_id AND e.seq = f.seq
WHERE a.erased_at IS NULL AND a.id <> e.author_id AND e.kind = '{MESSAGE}' AND e.state IS DISTINCT FROM '{ERASED}'
ON CONFLICT DO NOTHING
"""


_NOTE: Final = {dialect: text(_note(dialect)) for dialect in ("postgresql", "sqlite")}
_NOW: Final = datetime(9999, 1, 1, tzinfo=UTC)


def note(db: Connection, named: Sequence[Named], *, then: bool = False) -> None:
    """Writes the rows of stored messages, by the names that accounts have now, or (`then`) had when those were
    stored."""
    at: Any = None if then else _NOW if db.dialect.name == "postgresql" else as_sqlite(_NOW)
    db.execute(_NOTE[db.dialect.name], {"said": msgspec.json.encode(named).decode(), "at": at})


def change(db: Connection, room_id: int, seq: int, said: str) -> None:
    """A message has another text now: writes its rows anew."""
    forget(db, MentionRow.room_id == room_id, MentionRow.seq == seq)
    note(db, [(room_id, seq, possible_names(said))])


def forget(db: Connection, *which: ColumnElement[bool]) -> None:
    db.execute(delete(MentionRow).where(*which))


def forget_places(db: Connection, places: Sequence[Place]) -> None:
    """Removes the rows of these messages."""
    forget(db, tuple_(MentionRow.room_id, MentionRow.seq).in_(list(places)))


def forget_some(db: Connection, account_id: int, most: int) -> bool:
    """Removes rows of an account that is erased. Returns whether there may be more."""
    mine = select(MentionRow.room_id, MentionRow.seq).where(MentionRow.account_id == account_id).limit(most)
    places = [(row.room_id, row.seq) for row in db.execute(mine)]
    if places:
        forget(db, MentionRow.account_id == account_id, tuple_(MentionRow.room_id, MentionRow.seq).in_(places))
    return len(places) == most


def listing(
    db: Connection, who: Person, before: int | None, limit: int
) -> tuple[list[tuple[RoomFacts, Entry]], int | None]:
    """The messages of others that mention an account, in the rooms that it is in, newest first; and the `before` of the
    next page, None if there is none. Both are milliseconds since 1970."""
    joins = (
        ENTRY_JOINS.join(MentionRow, and_(MentionRow.room_id == EntryRow.room_id, MentionRow.seq == EntryRow.seq))
        .join(RoomRow, RoomRow.id == EntryRow.room_id)
        .join(MembershipRow, open_membership(who.id))
    )
    query = (
        select(EntryRow.room_id, *ENTRY_COLUMNS, AS_OF)
        .select_from(joins)
        .where(MentionRow.account_id == who.id, RoomRow.deleted_at.is_(None), MentionRow.seq >= FIRST_READABLE)
        .order_by(MentionRow.at.desc(), EntryRow.room_id, EntryRow.seq.desc())
        .limit(limit + 1)
    )
    if before is not None:
        query = query.where(MentionRow.at < EPOCH + timedelta(milliseconds=min(before, 10**14)))
    hits = [Hit(row.room_id, as_entry(*row[1:])) for row in db.execute(query)]
    return page(db, who, None, Wanted(), hits, limit)


def names_after(db: Connection, account_id: int) -> list[tuple[int, str]]:
    """The ids, above this one, and names of accounts that can be mentioned, in lower case and in ascending order."""
    some = select(AccountRow.id, AccountRow.name_key).where(AccountRow.id > account_id, AccountRow.erased_at.is_(None))
    return [(id, key) for id, key in db.execute(some.order_by(AccountRow.id).limit(PAGE))]


# Messages whose rows were not written with them


_LEAVE: Final = text("""
INSERT INTO unscanned (room_id, first_seq, last_seq)
SELECT id, first_seq, last_seq FROM room WHERE id = :room_id AND last_seq >= first_seq
""")


def leave_unscanned(db: Connection, room_id: int) -> None:
    """Has the log of a room that was imported looked through in the background."""
    db.execute(_LEAVE, {"room_id": room_id})


def is_unscanned(db: Connection) -> bool:
    return db.execute(select(UnscannedRow.room_id).limit(1)).first() is not None


def scan(db: Connection) -> bool:
    """Looks through some unscanned entries, the newest ones of a room first. Returns whether there may be more that no
    other node looks through at this moment."""
    some = select(UnscannedRow.room_id, UnscannedRow.first_seq, UnscannedRow.last_seq)
    some = some.order_by(UnscannedRow.room_id, UnscannedRow.first_seq.desc())
    row = db.execute(some.limit(1).with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return False
    # Nothing in the room is changed or erased meanwhile.
    floor = db.scalar(select(RoomRow.first_seq).where(RoomRow.id == row.room_id).with_for_update(key_share=True))
    first, last = max(row.first_seq, floor or 1), row.last_seq
    low = max(last - STEP + 1, first)
    here = (EntryRow.room_id == row.room_id, EntryRow.seq.between(low, last), EntryRow.kind == MESSAGE)
    said = db.execute(select(EntryRow.seq, EntryRow.text).where(*here, EntryRow.state.is_distinct_from(ERASED))).all()
    if said:
        note(db, [(row.room_id, seq, possible_names(words)) for seq, words in said], then=True)
    there = (UnscannedRow.room_id == row.room_id, UnscannedRow.first_seq == row.first_seq)
    if low <= first:
        db.execute(delete(UnscannedRow).where(*there))
    else:
        db.execute(update(UnscannedRow).where(*there).values(last_seq=low - 1))
    return True
