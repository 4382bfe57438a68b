"""Who joins the same room again and again: each time all its members are told, and its log grows."""

from datetime import datetime, timedelta
from math import ceil

from sqlalchemy import Connection, and_, select

from chatserver.store.db.schema import EntryRow, MembershipRow
from chatserver.store.visibility import RoomAccess
from chatserver.values.errors import ErrorWord, Refused
from chatserver.values.events import Person

MINUTE = timedelta(minutes=1)


def check(db: Connection, who: Person, access: RoomAccess, per_minute: int, at: datetime) -> None:
    """Raises Refused(slow-down) if a person who is not in a room has joined it so often within the last minute.
    `per_minute` 0: as often as they like."""
    if not per_minute or access.role is not None:
        return
    earliest = db.scalar(
        select(EntryRow.at)
        .join(MembershipRow, and_(MembershipRow.room_id == EntryRow.room_id, MembershipRow.joined_seq == EntryRow.seq))
        .where(MembershipRow.room_id == access.facts.id, MembershipRow.account_id == who.id)
        .order_by(MembershipRow.id.desc())
        .offset(per_minute - 1)
        .limit(1)
    )
    if earliest is not None and earliest > at - MINUTE:
        seconds = min(ceil((earliest + MINUTE - at).total_seconds()), 60)
        raise Refused(
            ErrorWord.SLOW_DOWN,
            f"You have joined {access.facts.name} too often. Join it again in {seconds} s.",
            seconds,
        )
