"""What running servers are to take note of."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection, delete, func, select

from chatserver.store import accounts, moderation
from chatserver.store.schema import Change


class AccountNow(Struct, frozen=True):
    """`ban`: why the account may not be on the server; None where it is not banned. `gone`: disabled, or
    erased, or the token that was asked for is revoked."""

    kind: str
    gone: bool
    ban: str | None


def grown(db: Connection, room_ids: Iterable[int], at: datetime) -> None:
    """The logs of these rooms have new entries, which running servers are to publish."""
    for room_id in room_ids:
        accounts.note(db, "room", room_id, at)


def prune(db: Connection, at: datetime) -> None:
    """Forgets changes that every running server has seen long ago."""
    db.execute(delete(Change).where(Change.at < at - timedelta(days=1)))


def newest(db: Connection) -> int:
    return db.scalar(select(func.max(Change.id))) or 0


def since(db: Connection, last: int) -> list[tuple[int, str, int]]:
    """Changes behind this one, in their order: (id, kind, subject)."""
    rows = db.execute(select(Change.id, Change.kind, Change.subject).where(Change.id > last).order_by(Change.id))
    return [(row.id, row.kind, row.subject) for row in rows]


def account(db: Connection, account_id: int, at: datetime, token_id: int = 0) -> AccountNow:
    """How somebody stands now, who came with that token if any."""
    found = accounts.get(db, account_id)
    if found is None:
        return AccountNow("person", True, None)
    gone = found.disabled or bool(token_id and accounts.is_revoked(db, token_id))
    return AccountNow(found.kind, gone, moderation.server_ban(db, account_id, at))
