"""Accounts: who may log in, and with what."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from chatserver.errors import ErrorWord, Refused
from chatserver.events import UserLine
from chatserver.store.schema import Account, Membership


class Credentials(Struct, frozen=True):
    """An account and the hash of its password, which never shows in a `repr`."""

    id: int
    name: str
    password_hash: str
    disabled: bool

    def __repr__(self) -> str:
        return f"Credentials({self.id}, {self.name!r})"


def find(db: Connection, name: str) -> Credentials | None:
    """The account of that name, without regard to case."""
    row = db.execute(
        select(Account.id, Account.name, Account.password_hash, Account.disabled_at, Account.erased_at).where(
            Account.name_key == name.lower()
        )
    ).one_or_none()
    if row is None:
        return None
    gone = row.disabled_at is not None or row.erased_at is not None
    return Credentials(row.id, row.name, row.password_hash or "", gone)


def create(db: Connection, name: str, password_hash: str, at: datetime) -> int:
    """A new account's id. Raises Refused where the name is taken."""
    try:
        id: int | None = db.scalar(
            insert(Account)
            .values(name=name, name_key=name.lower(), password_hash=password_hash, created_at=at, last_seen_at=at)
            .returning(Account.id)
        )
    except IntegrityError:
        raise name_taken(name) from None
    assert id is not None
    return id


def name_taken(name: str) -> Refused:
    return Refused(ErrorWord.NAME_TAKEN, f"The name {name} is taken. Log in, or choose another.")


def set_password(db: Connection, account_id: int, password_hash: str) -> None:
    db.execute(update(Account).where(Account.id == account_id).values(password_hash=password_hash))


def people(db: Connection, viewer_id: int, online: frozenset[int], name: str | None) -> list[UserLine]:
    """Who is called `name`; without one, who is online and shares a room with the viewer, in order of names."""
    query = select(Account.id, Account.name, Account.last_seen_at).where(Account.erased_at.is_(None))
    if name is not None:
        query = query.where(Account.name_key == name.lower())
    else:
        mine = select(Membership.room_id).where(Membership.account_id == viewer_id, Membership.left_seq.is_(None))
        near = select(Membership.account_id).where(Membership.room_id.in_(mine), Membership.left_seq.is_(None))
        query = query.where(Account.id.in_(online), or_(Account.id == viewer_id, Account.id.in_(near)))
    rows = db.execute(query.order_by(func.lower(Account.name)))
    return [UserLine(row.name, row.id in online, row.last_seen_at) for row in rows]
