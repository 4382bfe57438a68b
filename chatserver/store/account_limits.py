"""The limits that operators have set for single accounts."""

from collections.abc import Collection
from datetime import datetime

from msgspec import structs
from sqlalchemy import Connection, bindparam, func, select, update

from chatserver.store import changes
from chatserver.store.db.schema import AccountRow
from chatserver.values.account_limits import AccountLimits

_COLUMNS = (AccountRow.commands_per_second, AccountRow.bytes_per_second, AccountRow.connections)
_FIND = select(AccountRow.id, *_COLUMNS).where(
    AccountRow.id.in_(bindparam("ids", expanding=True)), func.coalesce(*_COLUMNS).is_not(None)
)


def find(db: Connection, ids: Collection[int]) -> dict[int, AccountLimits]:
    """Those of each of these accounts that has any."""
    if not ids:
        return {}
    rows = db.execute(_FIND, {"ids": list(ids)})
    return {row.id: AccountLimits(row.commands_per_second, row.bytes_per_second, row.connections) for row in rows}


def change(db: Connection, account_id: int, limits: AccountLimits, at: datetime) -> None:
    """Replaces all limits of an account. Running servers follow."""
    db.execute(update(AccountRow).where(AccountRow.id == account_id).values(structs.asdict(limits)))
    changes.note(db, "account", account_id, at)
