"""Entries of a room's log: adding those that are not messages, and reading any of them in pages."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, case, func, insert, outerjoin, select, update
from sqlalchemy.orm import aliased

from chatserver.events import BOT, GAP, AccountKind, Entry, EntryKind, Person
from chatserver.store.schema import AccountRow, EntryRow, FormerNameRow, MessageState, RoomRow

PAGE_CHARACTERS = 1 << 20
"""A page ends early once its texts are this long, so that no answer can exhaust the memory."""


def append_event(
    db: Connection,
    room_id: int,
    kind: EntryKind,
    who: Person,
    at: datetime,
    said: str = "",
    *,
    target: Person | None = None,
    of: int | None = None,
) -> Entry:
    """Adds an entry that is not a message, and locks the room until the transaction ends.

    Its time is `at`, or that of the room's last entry if that is later: another process may have written that one, or
    this one may have waited for the lock.

    `target` is the person it was done to, `of` the seq of the message that it changes.
    """
    seq, stamp = db.execute(
        update(RoomRow)
        .where(RoomRow.id == room_id)
        .values(last_seq=RoomRow.last_seq + 1, last_at=case((RoomRow.last_at > at, RoomRow.last_at), else_=at))
        .returning(RoomRow.last_seq, RoomRow.last_at)
    ).one()
    assert stamp is not None
    target_id = target.id if target else None
    db.execute(
        insert(EntryRow).values(
            room_id=room_id,
            seq=seq,
            kind=kind,
            author_id=who.id or None,
            text=said,
            target_id=target_id,
            target_seq=of,
            at=stamp,
        )
    )
    target_name = target.name if target else ""
    return Entry(
        seq, kind, who.id, who.name, stamp, said, target_id=target_id or 0, target=target_name, of=of or 0,
        display=who.display, bot=who.kind == BOT,
    )  # fmt: skip


_TARGET = aliased(AccountRow)


def _then(account: Any, now: Any, former: Any) -> Any:
    """What an account was called when an entry was written: nearly always what it is called now."""
    known = (FormerNameRow.account_id == account.id, FormerNameRow.until > EntryRow.at)
    earlier = select(former).where(*known).order_by(FormerNameRow.until).limit(1).scalar_subquery()
    return case((account.renamed_at > EntryRow.at, earlier), else_=now)


def _name_then(account: Any) -> Any:
    return _then(account, account.name, FormerNameRow.name)


NAME_THEN = _name_then(AccountRow)
DISPLAY_THEN = _then(AccountRow, AccountRow.display_name, FormerNameRow.display_name)
"""What the author of an entry was called when it was written."""

ENTRY_COLUMNS = (
    EntryRow.seq,
    EntryRow.kind,
    EntryRow.author_id,
    NAME_THEN,
    EntryRow.at,
    EntryRow.text,
    EntryRow.client_id,
    EntryRow.target_id,
    _name_then(_TARGET),
    EntryRow.target_seq,
    EntryRow.state,
    DISPLAY_THEN,
    AccountRow.kind,
    EntryRow.reactions,
)
"""The columns that `as_entry` expects, in this order; select them from `ENTRY_JOINS`."""

ENTRY_JOINS = outerjoin(EntryRow, AccountRow, AccountRow.id == EntryRow.author_id).outerjoin(
    _TARGET, _TARGET.id == EntryRow.target_id
)
_ENTRY = select(*ENTRY_COLUMNS).select_from(ENTRY_JOINS)


def after(
    db: Connection, room_id: int, seq: int, limit: int, characters: int = PAGE_CHARACTERS
) -> tuple[list[Entry], bool]:
    """The entries above `seq`, in ascending order, and whether there are more."""
    rows = db.execute(
        _ENTRY.where(EntryRow.room_id == room_id, EntryRow.seq > seq).order_by(EntryRow.seq).limit(limit + 1)
    )
    return _page(rows, limit, characters)


def follow(
    db: Connection, room_id: int, seq: int, limit: int, characters: int = PAGE_CHARACTERS
) -> tuple[list[Entry], bool]:
    """As `after`, for somebody who was given everything up to `seq`. If the entries that come next were removed, the
    page begins with a `gap` that stands for them."""
    page, more = after(db, room_id, seq, limit, characters)
    if page and page[0].seq == seq + 1:
        return page, more
    room = db.execute(select(RoomRow.first_seq, RoomRow.last_at).where(RoomRow.id == room_id)).one_or_none()
    # More may have been removed since the page was read: what the page has is given all the same.
    first = page[0].seq if page else 0 if room is None else room.first_seq
    if room is None or not seq + 1 < first <= room.first_seq:
        return page, more
    at = page[0].at if page else room.last_at
    return [Entry(first - 1, GAP, 0, "", at, of=seq + 1), *page], more


def newest_at(db: Connection) -> datetime | None:
    """The time of the newest entry of all rooms; None if there is none. Reads all rooms. A deleted room gets no more
    entries and does not count."""
    return db.scalar(select(func.max(RoomRow.last_at)).where(RoomRow.deleted_at.is_(None)))


def before(db: Connection, room_id: int, seq: int | None, floor: int, limit: int) -> tuple[list[Entry], bool]:
    """The last entries below `seq` (None: of all), from `floor` on, in ascending order, and whether there are more."""
    query = _ENTRY.where(EntryRow.room_id == room_id, EntryRow.seq >= floor)
    if seq is not None:
        query = query.where(EntryRow.seq < seq)
    entries, more = _page(db.execute(query.order_by(EntryRow.seq.desc()).limit(limit + 1)), limit, PAGE_CHARACTERS)
    return entries[::-1], more


PROBES = 64
"""So many entries are looked up at once when the time of an entry is searched for: a million take four statements."""


def before_time(db: Connection, room_id: int, at: datetime, floor: int, last: int) -> int:
    """The seq of the last entry from `floor` to `last` that was written before this time; `floor` - 1 if there is none.

    The times of a room's entries never fall, so a search by halves, or rather by PROBES, needs no index of times.
    """
    low, high = floor - 1, last + 1
    while high - low > 1:
        step = max((high - low) // (PROBES + 1), 1)
        seqs = range(low + step, high, step)[: 2 * PROBES]
        found = db.execute(
            select(EntryRow.seq, EntryRow.at).where(EntryRow.room_id == room_id, EntryRow.seq.in_(seqs))
        ).all()
        if not found:  # removed in the meantime
            low = seqs[-1]
            continue
        low = max([low, *(row.seq for row in found if row.at < at)])
        high = min([high, *(row.seq for row in found if row.at >= at)])
    return low


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
    seq: int,
    kind: EntryKind,
    author_id: int | None,
    author: str | None,
    at: datetime,
    said: str,
    client_id: str | None,
    target_id: int | None,
    target: str | None,
    of: int | None,
    state: MessageState | None,
    display: str | None,
    author_kind: AccountKind | None,
    reactions: str | None,
) -> Entry:
    """The entry of a row of `ENTRY_COLUMNS`."""
    given = tuple(msgspec.json.decode(reactions, type=dict[str, int]).items()) if reactions else ()
    return Entry(
        seq, kind, author_id or 0, author or "", at, said, client_id, target_id or 0, target or "", of or 0,
        state or "", display or "", author_kind == BOT, given,
    )  # fmt: skip
