"""What a list of one's rooms shows of each: its topic, how many members it has, when somebody spoke last, and how the
other account of a direct room is called. Columns for statements over the rooms that an account is in."""

from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.orm import aliased

from chatserver.store.db.schema import AccountRow, EntryRow, MembershipRow
from chatserver.values.events import DIRECT, MESSAGE, About

LOOKED_BACK: Final = 1000
"""Maximum number of the newest entries of a room among which the last message is looked for."""


def columns(room: Any, account_id: Any, floor: Any, when: ColumnElement[bool]) -> list[ColumnElement[Any]]:
    """The columns for rows with the `id`, `kind`, `topic` and `last_seq` of a `room`; null unless `when`. `floor`: the
    first entry that the account may read."""
    theirs = aliased(MembershipRow)
    members = select(func.count()).where(theirs.room_id == room.id, theirs.left_seq.is_(None))
    last = (
        select(EntryRow.at)
        .where(
            EntryRow.room_id == room.id,
            EntryRow.kind == MESSAGE,
            EntryRow.seq > room.last_seq - LOOKED_BACK,
            EntryRow.seq >= floor,
        )
        .order_by(EntryRow.seq.desc())
        .limit(1)
    )
    # Both accounts of a direct room have a membership, also when one of them is erased.
    other = (
        select(AccountRow.display_name)
        .join(theirs, theirs.account_id == AccountRow.id)
        .where(theirs.room_id == room.id, theirs.account_id != account_id)
        .limit(1)
    )
    direct = room.kind == DIRECT
    wanted = {
        "topic": (when, room.topic),
        "members": (and_(when, ~direct), members.scalar_subquery()),
        "last": (when, last.scalar_subquery()),
        "display": (and_(when, direct), other.scalar_subquery()),
    }
    return [case((where, column)).label(name) for name, (where, column) in wanted.items()]


def about(row: Any) -> About | None:
    """From a row with these columns; None if they were not wanted."""
    if row.topic is None:
        return None
    return About(row.topic, row.members or 0, row.last, row.display or "")
