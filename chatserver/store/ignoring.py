"""The accounts that an account ignores: see `chatserver.values.ignoring`."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from chatserver.store.db.schema import AccountRow, IgnoreRow
from chatserver.values.events import Person

_IGNORED = select(IgnoreRow.account_id, IgnoreRow.ignored_id).where(
    IgnoreRow.account_id.in_(bindparam("ids", expanding=True))
)


def find(db: Connection, account_ids: Collection[int]) -> dict[int, frozenset[int]]:
    """For each of these accounts that ignores others, the ignored ones."""
    if not account_ids:
        return {}
    found: dict[int, set[int]] = {}
    for account_id, ignored_id in db.execute(_IGNORED, {"ids": list(account_ids)}):
        found.setdefault(account_id, set()).add(ignored_id)
    return {account_id: frozenset(ignored) for account_id, ignored in found.items()}


def names(db: Connection, who: Person) -> list[str]:
    """The accounts that a person ignores, by name."""
    ignored = select(AccountRow.name).join(IgnoreRow, IgnoreRow.ignored_id == AccountRow.id)
    return list(db.scalars(ignored.where(IgnoreRow.account_id == who.id).order_by(AccountRow.name_key)))


def ignored_besides(db: Connection, who: Person, target: Person) -> int:
    """Number of accounts that a person ignores, besides `target`."""
    theirs = (IgnoreRow.account_id == who.id, IgnoreRow.ignored_id != target.id)
    return db.scalar(select(func.count()).select_from(IgnoreRow).where(*theirs)) or 0


def ignore(db: Connection, who: Person, target: Person, at: datetime) -> None:
    """Does nothing if it is done already."""
    try:
        with db.begin_nested():
            db.execute(insert(IgnoreRow).values(account_id=who.id, ignored_id=target.id, at=at))
    except IntegrityError:
        pass


def unignore(db: Connection, who: Person, target: Person) -> None:
    db.execute(delete(IgnoreRow).where(IgnoreRow.account_id == who.id, IgnoreRow.ignored_id == target.id))


def forget(db: Connection, account_id: int) -> None:
    """Removes the accounts that an account ignores, and itself from the lists of others."""
    mine = (IgnoreRow.account_id == account_id) | (IgnoreRow.ignored_id == account_id)
    db.execute(delete(IgnoreRow).where(mine))
