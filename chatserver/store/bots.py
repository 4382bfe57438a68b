"""Bots: accounts of programs. Each belongs to a person, logs in by token or certificate, and has no password."""

from datetime import datetime

from sqlalchemy import Connection, select, update

from chatserver.store import accounts, change_rows
from chatserver.store.db.schema import AccountRow
from chatserver.values.errors import Refused, Why
from chatserver.values.events import BOT, OPERATOR, PERSON, Person


def create(db: Connection, name: str, owner_id: int, at: datetime, *, alike: bool = False) -> Person:
    """Creates a bot that belongs to this person. Raises Refused: as `accounts.create`; not-allowed, if it can own no
    bots."""
    _hold_owner(db, owner_id)
    id = accounts.create(db, name, "", at, BOT, alike=alike)
    db.execute(update(AccountRow).where(AccountRow.id == id).values(owner_id=owner_id, last_seen_at=None))
    return Person(id, name, BOT)


def give(db: Connection, bot_id: int, owner_id: int) -> None:
    """Makes a bot belong to another person. Raises Refused(not-allowed), if it can own no bots."""
    _hold_owner(db, owner_id)
    db.execute(update(AccountRow).where(AccountRow.id == bot_id, AccountRow.kind == BOT).values(owner_id=owner_id))


def _hold_owner(db: Connection, account_id: int) -> None:
    """Locks the account that is to own a bot until the transaction ends, so that it is not disabled meanwhile."""
    row = db.execute(
        select(AccountRow.kind, AccountRow.disabled_at, AccountRow.erased_at)
        .where(AccountRow.id == account_id)
        .with_for_update()
    ).one_or_none()
    if row is None or row.kind not in (PERSON, OPERATOR) or row.disabled_at or row.erased_at:
        raise Refused(Why.NO_OWNER_OF_BOTS)


def names(db: Connection, owner_id: int) -> list[str]:
    """The bots that belong to an account, oldest first."""
    return list(db.scalars(select(AccountRow.name).where(AccountRow.owner_id == owner_id).order_by(AccountRow.id)))


def is_kept_out(db: Connection, bot_id: int) -> bool:
    """Whether a bot has no owner who can log in: then it cannot be enabled."""
    owner = select(AccountRow.owner_id).where(AccountRow.id == bot_id).scalar_subquery()
    able = (AccountRow.id == owner, AccountRow.disabled_at.is_(None), AccountRow.erased_at.is_(None))
    return db.scalar(select(AccountRow.id).where(*able)) is None


def note_all(db: Connection, owner_id: int, at: datetime) -> None:
    """Makes running servers check the bots of this account again: restrictions on their owner bind them."""
    for id in db.scalars(select(AccountRow.id).where(AccountRow.owner_id == owner_id)).all():
        change_rows.note(db, "account", id, at)
