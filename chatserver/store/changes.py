"""What running servers are to take note of."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, exists, func, or_, select

from chatserver.store.accounts import note
from chatserver.store.schema import Account, Ban, Block, Change, Invitation, Token


class AccountNow(Struct, frozen=True):
    """`ban`: why the account may not be on the server; None where it is not banned. `gone`: disabled, or
    erased, or the token that was asked for is revoked. Whether there are invitations and blocks to look up."""

    kind: str
    gone: bool
    ban: str | None
    invited: bool = False
    apart: bool = False


def grown(db: Connection, room_ids: Iterable[int], at: datetime) -> None:
    """The logs of these rooms have new entries, which running servers are to publish."""
    for room_id in room_ids:
        note(db, "room", room_id, at)


def prune(db: Connection, at: datetime) -> None:
    """Forgets changes that every running server has seen long ago."""
    db.execute(delete(Change).where(Change.at < at - timedelta(days=1)))


def newest(db: Connection) -> int:
    return db.scalar(select(func.max(Change.id))) or 0


def since(db: Connection, last: int) -> list[tuple[int, str, int]]:
    """Changes behind this one, in their order: (id, kind, subject)."""
    rows = db.execute(select(Change.id, Change.kind, Change.subject).where(Change.id > last).order_by(Change.id))
    return [(row.id, row.kind, row.subject) for row in rows]


_BAN = (
    select(Ban.reason)
    .where(Ban.account_id == Account.id, Ban.room_id.is_(None), or_(Ban.until.is_(None), Ban.until > bindparam("at")))
    .limit(1)
    .scalar_subquery()
)
_ACCOUNTS = select(
    Account.id, Account.kind, Account.disabled_at, Account.erased_at, _BAN,
    exists().where(Invitation.account_id == Account.id),
    exists().where(Block.account_id == Account.id) | exists().where(Block.blocked_id == Account.id),
).where(Account.id.in_(bindparam("ids", expanding=True)))  # fmt: skip
_TOKENS = select(Token.id).where(Token.id.in_(bindparam("ids", expanding=True)), Token.revoked_at.is_(None))


def accounts(db: Connection, asked: Sequence[tuple[int, int]], at: datetime) -> list[AccountNow]:
    """How each of these accounts stands now. Beside its id stands that of the token that it came with, or 0."""
    tokens = [token_id for _, token_id in asked if token_id]
    good = set(db.scalars(_TOKENS, {"ids": tokens})) if tokens else set()
    found = {
        id: (kind, disabled_at is not None or erased_at is not None, *more)
        for id, kind, disabled_at, erased_at, *more in db.execute(
            _ACCOUNTS, {"ids": [account_id for account_id, _ in asked], "at": at}
        )
    }
    standing = []
    for account_id, token_id in asked:
        kind, gone, *more = found.get(account_id, ("person", True, None))
        standing.append(AccountNow(kind, gone or bool(token_id and token_id not in good), *more))
    return standing
