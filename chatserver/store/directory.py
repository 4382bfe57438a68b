"""All accounts and rooms, as the administrator sees them: also private, disabled, erased and deleted ones."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, Select, func, select
from sqlalchemy.orm import aliased

from chatserver.store.db.schema import AccountRow, MembershipRow, RoomRow, SessionRow
from chatserver.values.events import DIRECT, GUEST, AccountKind, Person, RoomFacts, RoomKind


class AccountLine(Struct, frozen=True):
    """`owner`: the name of the person that a bot belongs to."""

    id: int
    name: str
    kind: AccountKind
    created: datetime
    last_seen: datetime | None
    disabled: datetime | None
    erased: datetime | None
    owner: str | None = None

    @property
    def person(self) -> Person:
        return Person(self.id, self.name, self.kind)


class RoomInfo(Struct, frozen=True):
    """`deactivated`: since when nobody is in the room. A direct room is named after its two people: `@ana@bob`.
    `first`: the number of the first of its `entries`, which is not 1 if older ones were removed."""

    id: int
    name: str
    kind: RoomKind
    topic: str
    members: int
    entries: int
    created: datetime
    deactivated: datetime | None
    deleted: datetime | None
    first: int = 1

    @property
    def facts(self) -> RoomFacts:
        return RoomFacts(self.id, self.name, self.kind)


_OWNER = aliased(AccountRow)
_ACCOUNT = select(
    AccountRow.id,
    AccountRow.name,
    AccountRow.kind,
    AccountRow.created_at,
    AccountRow.last_seen_at,
    AccountRow.disabled_at,
    AccountRow.erased_at,
    select(_OWNER.name).where(_OWNER.id == AccountRow.owner_id).correlate(AccountRow).scalar_subquery(),
)
_MEMBERS = (
    select(func.count())
    .where(MembershipRow.room_id == RoomRow.id, MembershipRow.left_seq.is_(None))
    .correlate(RoomRow)
    .scalar_subquery()
)
_ROOM = select(
    RoomRow.id,
    RoomRow.name,
    RoomRow.kind,
    RoomRow.topic,
    _MEMBERS,
    RoomRow.last_seq - RoomRow.first_seq + 1,
    RoomRow.created_at,
    RoomRow.deactivated_at,
    RoomRow.deleted_at,
    RoomRow.first_seq,
)


def account(db: Connection, name: str) -> AccountLine | None:
    """The account registered with this name, in any case. An erased account is found by the name that it had."""
    row = db.execute(_ACCOUNT.where(AccountRow.name_key == name.lower())).one_or_none()
    return AccountLine(*row) if row else None


def accounts(db: Connection, after: int, limit: int, kind: AccountKind | None, *, gone: bool) -> list[AccountLine]:
    """Accounts with ids above `after`, of one kind or (None) all except guests.

    `gone`: also erased accounts and past guests.
    """
    query = _ACCOUNT.where(AccountRow.id > after, AccountRow.kind != GUEST if kind is None else AccountRow.kind == kind)
    if not gone:
        query = query.where(AccountRow.erased_at.is_(None))
        if kind == GUEST:  # past guests are disabled
            query = query.where(AccountRow.disabled_at.is_(None))
    return [AccountLine(*row) for row in db.execute(query.order_by(AccountRow.id).limit(limit))]


def connections(db: Connection, account_id: int) -> int:
    """Number of open sessions of an account, as far as stored yet."""
    open = (SessionRow.account_id == account_id, SessionRow.disconnected_at.is_(None))
    return db.scalar(select(func.count()).select_from(SessionRow).where(*open)) or 0


def room(db: Connection, name: str) -> RoomInfo | None:
    """The room with this name that is not deleted."""
    return _one(db, _ROOM.where(RoomRow.name == name, RoomRow.deleted_at.is_(None), RoomRow.kind != DIRECT))


def room_by_id(db: Connection, id: int) -> RoomInfo | None:
    return _one(db, _ROOM.where(RoomRow.id == id))


def _one(db: Connection, query: Select[*tuple[Any, ...]]) -> RoomInfo | None:
    return next(_rooms(db, db.execute(query).all()), None)


def rooms(db: Connection, after: int, limit: int, *, deleted: bool) -> list[RoomInfo]:
    """Public and private rooms with ids above `after`: those that exist, or (`deleted`) those that were deleted."""
    query = _ROOM.where(
        RoomRow.id > after,
        RoomRow.kind != DIRECT,
        RoomRow.deleted_at.is_not(None) if deleted else RoomRow.deleted_at.is_(None),
    )
    return list(_rooms(db, db.execute(query.order_by(RoomRow.id).limit(limit)).all()))


def _rooms(db: Connection, rows: Any) -> Iterator[RoomInfo]:
    for row in rows:
        yield RoomInfo(row.id, _called(db, row), *row[2:])


def _called(db: Connection, row: Row[Any]) -> str:
    if row.kind != DIRECT:
        return str(row.name)
    both = (
        select(AccountRow.name)
        .join(MembershipRow, MembershipRow.account_id == AccountRow.id)
        .where(MembershipRow.room_id == row.id)
    )
    return "".join(f"@{name}" for name in db.scalars(both.order_by(AccountRow.id)))
