"""In which rooms entries were removed that somebody might have asked for: for answers that are about many rooms."""

from sqlalchemy import Connection, select

from chatserver.store.db.schema import MembershipRow, RoomRow
from chatserver.store.visibility import facts_of, memberships
from chatserver.values.events import Person


def readable(db: Connection, who: Person) -> dict[str, int]:
    """By label, the first entry left of each room that a person is in, if they could have read one before it."""
    return {one.facts.label(who.id): one.floor for one in memberships(db, who) if one.allowed < one.floor}


def own(db: Connection, who: Person) -> dict[str, int]:
    """By label, the first entry left of each room that an account is or was in, if it could have written one before
    it."""
    rows = db.execute(
        select(RoomRow.id, RoomRow.name, RoomRow.first_seq)
        .join(MembershipRow, MembershipRow.room_id == RoomRow.id)
        .where(MembershipRow.account_id == who.id, RoomRow.first_seq > 1, MembershipRow.joined_seq < RoomRow.first_seq)
        .distinct()
        .order_by(RoomRow.name, RoomRow.id)
    ).all()
    facts = facts_of(db, who, {row.id for row in rows})
    return {facts[row.id].label(who.id): row.first_seq for row in rows}
