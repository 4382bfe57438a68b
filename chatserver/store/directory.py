"""All accounts and rooms, as whoever runs the server sees them: also those that are private, disabled or gone."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, Select, func, select

from chatserver.events import DIRECT, Person, RoomFacts
from chatserver.store.schema import Account, Membership, Room, SessionRow


class AccountLine(Struct, frozen=True):
    id: int
    name: str
    kind: str
    created: datetime
    last_seen: datetime | None
    disabled: datetime | None
    erased: datetime | None

    @property
    def person(self) -> Person:
        return Person(self.id, self.name, self.kind)


class RoomInfo(Struct, frozen=True):
    """`deactivated`: since when nobody is in it. A direct room is called by its two people: `@ana@bob`."""

    id: int
    name: str
    kind: str
    topic: str
    members: int
    entries: int
    created: datetime
    deactivated: datetime | None
    deleted: datetime | None

    @property
    def facts(self) -> RoomFacts:
        return RoomFacts(self.id, self.name, self.kind)


_ACCOUNT = select(
    Account.id, Account.name, Account.kind, Account.created_at, Account.last_seen_at, Account.disabled_at,
    Account.erased_at,
)  # fmt: skip
_MEMBERS = (
    select(func.count())
    .where(Membership.room_id == Room.id, Membership.left_seq.is_(None))
    .correlate(Room)
    .scalar_subquery()
)
_ROOM = select(
    Room.id, Room.name, Room.kind, Room.topic, _MEMBERS, Room.last_seq, Room.created_at, Room.deactivated_at,
    Room.deleted_at,
)  # fmt: skip


def account(db: Connection, name: str) -> AccountLine | None:
    """Without regard to case. Who is erased is found by the name they had: it stays theirs."""
    row = db.execute(_ACCOUNT.where(Account.name_key == name.lower())).one_or_none()
    return AccountLine(*row) if row else None


def accounts(db: Connection, after: int, limit: int, kind: str | None, *, gone: bool) -> list[AccountLine]:
    """By id, those above `after`; of one kind, or (None) all but guests. `gone`: also the erased, and past guests."""
    query = _ACCOUNT.where(Account.id > after, Account.kind != "guest" if kind is None else Account.kind == kind)
    if not gone:
        query = query.where(Account.erased_at.is_(None))
        if kind == "guest":  # whose numbers are given out once
            query = query.where(Account.disabled_at.is_(None))
    return [AccountLine(*row) for row in db.execute(query.order_by(Account.id).limit(limit))]


def connections(db: Connection, account_id: int) -> int:
    """How many somebody has now, as far as it is written down."""
    open = (SessionRow.account_id == account_id, SessionRow.disconnected_at.is_(None))
    return db.scalar(select(func.count()).select_from(SessionRow).where(*open)) or 0


def room(db: Connection, name: str) -> RoomInfo | None:
    """The room that is called so now."""
    return _one(db, _ROOM.where(Room.name == name, Room.deleted_at.is_(None), Room.kind != DIRECT))


def room_by_id(db: Connection, id: int) -> RoomInfo | None:
    return _one(db, _ROOM.where(Room.id == id))


def _one(db: Connection, query: Select[*tuple[Any, ...]]) -> RoomInfo | None:
    return next(_rooms(db, db.execute(query).all()), None)


def rooms(db: Connection, after: int, limit: int, *, deleted: bool) -> list[RoomInfo]:
    """By id, those above `after`: public and private ones, or (`deleted`) those that are no more."""
    query = _ROOM.where(
        Room.id > after, Room.kind != DIRECT, Room.deleted_at.is_not(None) if deleted else Room.deleted_at.is_(None)
    )
    return list(_rooms(db, db.execute(query.order_by(Room.id).limit(limit)).all()))


def _rooms(db: Connection, rows: Any) -> Iterator[RoomInfo]:
    for row in rows:
        yield RoomInfo(row.id, _called(db, row), *row[2:])


def _called(db: Connection, row: Row[Any]) -> str:
    if row.kind != DIRECT:
        return str(row.name)
    both = (
        select(Account.name).join(Membership, Membership.account_id == Account.id).where(Membership.room_id == row.id)
    )
    return "".join(f"@{name}" for name in db.scalars(both.order_by(Account.id)))
