"""One's own data, to take away: the account, and every entry that one wrote."""

from sqlalchemy import Connection, select, tuple_

from chatserver.errors import ErrorWord, Refused
from chatserver.events import Entry, Person, RoomFacts
from chatserver.store.messages import ENTRY_COLUMNS, ENTRY_JOINS, as_entry
from chatserver.store.places import facts_of
from chatserver.store.schema import Account, EntryRow, Membership, Room


def account(db: Connection, who: Person) -> dict[str, str]:
    """What is known of somebody, as text."""
    row = db.execute(
        select(Account.name, Account.kind, Account.created_at, Account.last_seen_at).where(Account.id == who.id)
    ).one()
    rooms = db.scalars(
        select(Room.name)
        .join(Membership, Membership.room_id == Room.id)
        .where(Membership.account_id == who.id, Membership.left_seq.is_(None), Room.kind != "direct")
        .order_by(Room.name)
    )
    created, seen = (
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else ""
        for at in (row.created_at, row.last_seen_at)
    )
    return {"name": row.name, "kind": row.kind, "created": created, "last_seen": seen, "rooms": " ".join(rooms)}


def page(db: Connection, who: Person, after: str, limit: int) -> tuple[list[tuple[RoomFacts, Entry]], str | None]:
    """Entries that somebody wrote, by room and seq, and the `after` of the next page, where there is one."""
    query = select(EntryRow.room_id, *ENTRY_COLUMNS).select_from(ENTRY_JOINS).where(EntryRow.author_id == who.id)
    if after:
        room, _, seq = after.partition(":")
        if not (
            room.isascii() and room.isdecimal() and seq.isascii() and seq.isdecimal() and max(len(room), len(seq)) <= 18
        ):
            raise Refused(ErrorWord.BAD_COMMAND, "The field after is not the `next` of an export.")
        query = query.where(tuple_(EntryRow.room_id, EntryRow.seq) > tuple_(int(room), int(seq)))
    rows = db.execute(query.order_by(EntryRow.room_id, EntryRow.seq).limit(limit + 1)).all()
    more, rows = len(rows) > limit, rows[:limit]
    facts = facts_of(db, who, {row.room_id for row in rows})
    entries = [(facts[room_id], as_entry(*entry)) for room_id, *entry in rows]
    return entries, f"{rows[-1].room_id}:{rows[-1].seq}" if more else None
