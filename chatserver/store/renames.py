"""Renaming an account: its name, its display name, or both, in one transaction with the entries that say so.

All these entries have the same time. It is later than that of every entry before them, in all rooms where the account
is or was, and no earlier than that of any after them: so the time of an entry determines the name of its author
(`store.entries`). Nobody in a room that the account has left, or was just kicked from, sees the new name.
"""

from datetime import datetime, timedelta
from math import ceil
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from chatserver.store import accounts, names
from chatserver.store.db.schema import AccountRow, EntryRow, FormerNameRow, MembershipRow, RoomRow
from chatserver.store.visibility import facts_of, open_membership
from chatserver.values.errors import Refused, Why, no_such_user
from chatserver.values.events import BOT, RENAMED, AccountKind, Entry, Person, RoomFacts
from chatserver.values.recorded import Renaming, recorded_renaming
from chatserver.wire.hygiene.lookalikes import skeleton

MOST_ROOMS = 500
"""Maximum number of rooms: all of them are locked, which takes some tenths of a second."""

MOST_KEPT = 10
"""Maximum number of former names that are kept for an account. Otherwise one account could take hundreds from
others."""

MILLISECOND = timedelta(milliseconds=1)
DAY = timedelta(days=1)


class Quota(Struct, frozen=True):
    """`per_day`: renames of an account; 0: any number. `former_days`: how long a name is kept."""

    per_day: int = 0
    former_days: float = names.FORMER_NAME_DAYS


class Renamed(Struct, frozen=True):
    """`announced`: in each room of the account, the entry that says so. Direct rooms have their former label there."""

    former: str
    now: Person
    at: datetime
    announced: list[tuple[RoomFacts, Entry]]


def rename(
    db: Connection, account_id: int, name: str | None, display: str | None, at: datetime, quota: Quota
) -> Renamed | None:
    """Changes what is not None. Returns None if the account has these names already. A display name that is the name of
    the account is none.

    Raises Refused: bad-name and name-taken, not-allowed in too many rooms, slow-down.
    """
    before = _account(db, account_id)
    if display == (name or before.name):  # it says the same
        display = ""
    if not _differs(before, name, display):
        return None
    if name is not None and name.lower() != before.name.lower():
        accounts.take_name(db, account_id, name, at, quota.former_days)
    locked = _lock_rooms(db, account_id)
    before = _account(db, account_id, lock=True)  # nobody can make it join another room from here on
    if not _differs(before, name, display):
        return None
    while new := _rooms(db, account_id) - locked:
        locked |= _lock_rooms(db, account_id, new)
    inside = _rooms(db, account_id)
    known = (_last_entry(db, account_id), before.renamed_at)
    stamp = max([at, *(time + MILLISECOND for time in known if time is not None)])
    now = Person(
        account_id,
        before.name if name is None else name,
        before.kind,
        (before.display_name or "") if display is None else display,
    )
    _check_quota(db, before, now, stamp, quota)
    _store(db, before, now, stamp)
    return Renamed(before.name, now, stamp, _add_entries(db, before, now, stamp, inside))


def called(db: Connection, account_id: int) -> tuple[str, str, datetime | None]:
    """The name and the display name of an account, "" if it has none, and since when it has them; None: from the
    beginning."""
    account = _account(db, account_id)
    return account.name, account.display_name or "", account.renamed_at


class _Account(Struct, frozen=True):
    id: int
    name: str
    kind: AccountKind
    display_name: str | None
    renamed_at: datetime | None
    skeleton: str | None


def _account(db: Connection, account_id: int, *, lock: bool = False) -> _Account:
    query = select(
        AccountRow.id,
        AccountRow.name,
        AccountRow.kind,
        AccountRow.display_name,
        AccountRow.renamed_at,
        AccountRow.skeleton,
    ).where(AccountRow.id == account_id, AccountRow.erased_at.is_(None))
    row = db.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise no_such_user(f"{accounts.ERASED_NAME}{account_id}")
    return _Account(*row)


def _differs(account: _Account, name: str | None, display: str | None) -> bool:
    return name not in (None, account.name) or display not in (None, account.display_name or "")


def _lock_rooms(db: Connection, account_id: int, only: set[int] | None = None) -> set[int]:
    """Locks the rooms of an account, in the order of their ids, as everybody locks several. Returns their ids."""
    query = select(RoomRow.id).join(MembershipRow, open_membership(account_id)).where(RoomRow.deleted_at.is_(None))
    if only is not None:
        query = query.where(RoomRow.id.in_(only))
    rows: Any = db.execute(query.order_by(RoomRow.id).limit(MOST_ROOMS + 1).with_for_update(of=RoomRow)).all()
    if len(rows) > MOST_ROOMS:
        raise Refused(Why.IN_TOO_MANY_ROOMS_TO_RENAME, most=MOST_ROOMS)
    return {row.id for row in rows}


def _last_entry(db: Connection, account_id: int) -> datetime | None:
    """The time of the last entry in any room where an account is or was."""
    theirs = select(func.max(RoomRow.last_at)).join(MembershipRow, MembershipRow.room_id == RoomRow.id)
    return db.scalar(theirs.where(MembershipRow.account_id == account_id))


def _rooms(db: Connection, account_id: int) -> set[int]:
    inside = select(RoomRow.id).join(MembershipRow, open_membership(account_id)).where(RoomRow.deleted_at.is_(None))
    return set(db.scalars(inside))


def _check_quota(db: Connection, before: _Account, now: Person, at: datetime, quota: Quota) -> None:
    if quota.per_day:
        mine = (FormerNameRow.account_id == before.id, FormerNameRow.until > at - DAY)
        ends = select(FormerNameRow.until).where(*mine).order_by(FormerNameRow.until.desc())
        first = db.scalar(ends.offset(quota.per_day - 1).limit(1))
        if first is not None:
            wait = ceil((first + DAY - at).total_seconds())
            raise Refused(Why.RENAMED_TOO_OFTEN, retry=wait, most=quota.per_day, hours=ceil(wait / 3600))
    kept = names.kept_for(db, before.id, at, quota.former_days) | {before.name.lower()}
    if now.name.lower() not in kept and len(kept) > MOST_KEPT:
        raise Refused(Why.TOO_MANY_FORMER_NAMES, most=MOST_KEPT)


def _store(db: Connection, before: _Account, now: Person, at: datetime) -> None:
    values = {"name": now.name, "display_name": now.display or None, "renamed_at": at}
    if now.name.lower() != before.name.lower():
        values |= {"name_key": now.name.lower(), "skeleton": skeleton(now.name)}
    try:
        with db.begin_nested():
            db.execute(update(AccountRow).where(AccountRow.id == before.id).values(values))
    except IntegrityError:
        raise Refused(Why.NAME_TAKEN, name=now.name) from None
    former = {
        "account_id": before.id,
        "name": before.name,
        "name_key": before.name.lower(),
        "skeleton": before.skeleton,
        "display_name": before.display_name,
        "until": at,
    }
    db.execute(insert(FormerNameRow).values(former))


def _add_entries(
    db: Connection, before: _Account, now: Person, at: datetime, room_ids: set[int]
) -> list[tuple[RoomFacts, Entry]]:
    """Adds an entry to each of these locked rooms."""
    if not room_ids:
        return []
    facts = facts_of(db, Person(before.id, before.name, before.kind), room_ids)
    moved = (
        update(RoomRow)
        .where(RoomRow.id.in_(room_ids))
        .values(last_seq=RoomRow.last_seq + 1, last_at=at)
        .returning(RoomRow.id, RoomRow.last_seq)
    )
    said = recorded_renaming(Renaming(before.name, now.name, now.display))
    seqs = {row.id: row.last_seq for row in db.execute(moved)}
    db.execute(
        insert(EntryRow),
        [
            {"room_id": id, "seq": seq, "kind": RENAMED, "author_id": now.id, "text": said, "at": at}
            for id, seq in sorted(seqs.items())
        ],
    )
    return [
        (facts[id], Entry(seq, RENAMED, now.id, now.name, at, said, display=now.display, bot=now.kind == BOT))
        for id, seq in sorted(seqs.items())
    ]
