"""Exporting the data of an account: the account itself, and every entry that it wrote."""

from typing import Final

from sqlalchemy import Connection, select, tuple_
from sqlalchemy.orm import aliased

from chatserver.store import bots, members, names, preferences
from chatserver.store.db.schema import AccountRow, EntryRow, MembershipRow, RoomRow
from chatserver.store.entries import ENTRY_COLUMNS, ENTRY_JOINS, as_entry
from chatserver.store.visibility import facts_of, is_own_entry, open_membership
from chatserver.util.times import rfc3339
from chatserver.values.answer_size import WHOLE, Portion, found_size
from chatserver.values.errors import Refused, Why
from chatserver.values.events import DIRECT, Entry, Person, RoomFacts

MOST_NOTIFIED: Final = 500
"""Maximum number of rooms whose `notify` is exported."""


def account(db: Connection, who: Person, portion: Portion = WHOLE) -> dict[str, str]:
    """The stored data of an account, each value as text. Rooms, former names, and the bots of a person are separated by
    blanks, former display names by commas. `more_rooms` is present if not all rooms fit."""
    row = db.execute(
        select(
            AccountRow.name, AccountRow.display_name, AccountRow.kind, AccountRow.created_at, AccountRow.last_seen_at
        ).where(AccountRow.id == who.id)
    ).one()
    owner = aliased(AccountRow)
    belongs_to = db.scalar(
        select(owner.name).join(AccountRow, AccountRow.owner_id == owner.id).where(AccountRow.id == who.id)
    )
    inside = select(RoomRow.name).join(MembershipRow, open_membership(who.id))
    rooms = db.scalars(inside.where(RoomRow.kind != DIRECT, RoomRow.deleted_at.is_(None)).order_by(RoomRow.name)).all()
    shown = portion.head(rooms, lambda name: len(name) + 1)
    known = {
        "name": row.name,
        "kind": row.kind,
        "created": rfc3339(row.created_at),
        "last_seen": rfc3339(row.last_seen_at) if row.last_seen_at else "",
        "rooms": " ".join(shown),
    }
    known |= {"display": row.display_name} if row.display_name else {}
    called, shown_as = names.history(db, who.id)
    known |= {"former_names": " ".join(called)} if called else {}
    known |= {"former_displays": ", ".join(shown_as)} if shown_as else {}
    preferred = preferences.find(db, [who.id]).get(who.id)
    if preferred is not None:
        chosen = ((name, getattr(preferred, name)) for name in preferences.NAMES)
        known |= {name: value for name, value in chosen if value is not None}
    notified = portion.head(members.chosen_notify(db, who, MOST_NOTIFIED), lambda text: len(text) + 1)
    known |= {"notify": " ".join(notified)} if notified else {}
    known |= {"owner": belongs_to} if belongs_to else {}
    known |= {"bots": " ".join(mine)} if (mine := bots.names(db, who.id)) else {}
    return known | ({"more_rooms": "yes"} if len(shown) < len(rooms) else {})


def page(
    db: Connection, who: Person, after: str, limit: int, portion: Portion = WHOLE
) -> tuple[list[tuple[RoomFacts, Entry]], str | None]:
    """Entries that an account wrote, by room and seq, as far as they fit into the portion, and the `after` of the next
    page; None if there is none.

    Raises Refused(bad-command) if `after` does not come from an earlier page.
    """
    query = select(EntryRow.room_id, *ENTRY_COLUMNS).select_from(ENTRY_JOINS).where(is_own_entry(who))
    if after:
        room, _, seq = after.partition(":")
        if not (
            room.isascii() and room.isdecimal() and seq.isascii() and seq.isdecimal() and max(len(room), len(seq)) <= 18
        ):
            raise Refused(Why.NOT_AN_EXPORT_PAGE)
        query = query.where(tuple_(EntryRow.room_id, EntryRow.seq) > tuple_(int(room), int(seq)))
    rows = db.execute(query.order_by(EntryRow.room_id, EntryRow.seq).limit(limit + 1)).all()
    facts = facts_of(db, who, {row.room_id for row in rows[:limit]})
    found = [(facts[room_id], as_entry(*entry)) for room_id, *entry in rows[:limit]]
    entries = portion.head(found, found_size(who.id))
    last = rows[len(entries) - 1] if len(entries) < len(rows) else None
    return entries, None if last is None else f"{last.room_id}:{last.seq}"
