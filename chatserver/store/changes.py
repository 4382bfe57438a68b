"""What running servers are to take note of."""

from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection, delete, func, select

from chatserver.store import accounts, moderation
from chatserver.store.schema import Change


class AccountNow(Struct, frozen=True):
    """`ban`: why the account may not be on the server; None where it is not banned. `gone`: disabled, or erased."""

    kind: str
    gone: bool
    ban: str | None


def prune(db: Connection, at: datetime) -> None:
    """Forgets changes that every running server has seen long ago."""
    db.execute(delete(Change).where(Change.at < at - timedelta(days=1)))


def newest(db: Connection) -> int:
    return db.scalar(select(func.max(Change.id))) or 0


def since(db: Connection, last: int) -> list[tuple[int, str, int]]:
    """Changes behind this one, in their order: (id, kind, subject)."""
    rows = db.execute(select(Change.id, Change.kind, Change.subject).where(Change.id > last).order_by(Change.id))
    return [(row.id, row.kind, row.subject) for row in rows]


def account(db: Connection, account_id: int, at: datetime) -> AccountNow:
    found = accounts.get(db, account_id)
    if found is None:
        return AccountNow("person", True, None)
    return AccountNow(found.kind, found.disabled, moderation.server_ban(db, account_id, at))
