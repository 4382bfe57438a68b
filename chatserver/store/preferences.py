"""How accounts want things shown: one row for each preference that an account has set."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from chatserver.store.db.schema import AccountRow, PreferenceRow
from chatserver.util import time_zones
from chatserver.values.answers import Preferences

NAMES: Final = ("timezone", "clock", "bell", "numbers")

_FIND = select(PreferenceRow.account_id, PreferenceRow.name, PreferenceRow.value).where(
    PreferenceRow.account_id.in_(bindparam("ids", expanding=True)),
    PreferenceRow.name.in_(NAMES),
)


def find(db: Connection, ids: Collection[int]) -> dict[int, Preferences]:
    """The preferences of each of these accounts that has any."""
    if not ids:
        return {}
    found: dict[int, dict[str, Any]] = {}
    for account_id, name, value in db.execute(_FIND, {"ids": list(ids)}):
        found.setdefault(account_id, {})[name] = value
        if name == "timezone":
            time_zones.zone(value)  # its file is read here, in a thread
    return {account_id: Preferences(**chosen) for account_id, chosen in found.items()}


def change(db: Connection, account_id: int, chosen: dict[str, str | None]) -> Preferences:
    """Sets the preferences of an account that are named, or removes (None) them. Returns all that it has now."""
    db.execute(select(AccountRow.id).where(AccountRow.id == account_id).with_for_update())
    mine = (PreferenceRow.account_id == account_id, PreferenceRow.name.in_(chosen))
    db.execute(delete(PreferenceRow).where(*mine))
    rows = [
        {"account_id": account_id, "name": name, "value": value} for name, value in chosen.items() if value is not None
    ]
    if rows:
        db.execute(insert(PreferenceRow), rows)
    return find(db, [account_id]).get(account_id, Preferences())
