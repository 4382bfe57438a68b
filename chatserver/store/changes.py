"""Changes that running servers must learn of, because another process made them: see `schema.ChangeRow`."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select

from chatserver.events import PERSON, AccountKind
from chatserver.store.clock import lasts
from chatserver.store.schema import (
    AccountRow,
    BanRow,
    BlockRow,
    ChangeKind,
    ChangeRow,
    IgnoreRow,
    InvitationRow,
    PreferenceRow,
    TokenRow,
)


class AccountNow(Struct, frozen=True):
    """The present state of an account.

    `ban`: why the account, or the owner of a bot, is banned from the server; None if neither is. `gone`: the account is
    disabled or erased, or the token that it logged in with is revoked. `invited`, `apart`, `limited`, `prefers`,
    `ignores`: whether it has invitations, blocks, limits of its own, and preferences, and ignores anybody, to look up.
    `named_at`: since when it has its name and display name; None: from the beginning.
    """

    kind: AccountKind
    gone: bool
    ban: str | None
    invited: bool = False
    apart: bool = False
    limited: bool = False
    prefers: bool = False
    ignores: bool = False
    name: str = ""
    display: str | None = None
    named_at: datetime | None = None


class Change(Struct, frozen=True):
    """See `schema.ChangeRow`."""

    id: int
    kind: ChangeKind
    subject: int
    detail: str | None = None
    origin: str | None = None


def note(
    db: Connection, kind: ChangeKind, subject: int, at: datetime, *, detail: str | None = None, origin: str = ""
) -> None:
    """Records a change for running servers, but for the process whose boot is `origin`. `subject` is the id of the
    room, account, token or certificate; 0 for bans."""
    db.execute(insert(ChangeRow).values(kind=kind, subject=subject, at=at, detail=detail, origin=origin or None))


def grown(db: Connection, room_ids: Iterable[int], at: datetime) -> None:
    """Records that the logs of these rooms have new entries, which running servers then publish."""
    for room_id in room_ids:
        note(db, "room", room_id, at)


def prune(db: Connection, at: datetime) -> None:
    """Deletes changes older than a day, which every running server has read by then."""
    db.execute(delete(ChangeRow).where(ChangeRow.at < at - timedelta(days=1)))


def newest(db: Connection) -> int:
    """The id of the latest change; 0 if there is none."""
    return db.scalar(select(func.max(ChangeRow.id))) or 0


def since(db: Connection, last: int) -> list[Change]:
    """The changes with ids above `last`, in ascending order."""
    columns = (ChangeRow.id, ChangeRow.kind, ChangeRow.subject, ChangeRow.detail, ChangeRow.origin)
    return [Change(*row) for row in db.execute(select(*columns).where(ChangeRow.id > last).order_by(ChangeRow.id))]


_BAN = (
    select(BanRow.reason)
    .where(BanRow.account_id.in_((AccountRow.id, AccountRow.owner_id)), BanRow.room_id.is_(None), lasts(BanRow.until))
    .limit(1)
    .scalar_subquery()
)
_ACCOUNTS = select(
    AccountRow.id,
    AccountRow.kind,
    AccountRow.disabled_at,
    AccountRow.erased_at,
    _BAN,
    exists().where(InvitationRow.account_id == AccountRow.id),
    exists().where(BlockRow.account_id == AccountRow.id) | exists().where(BlockRow.blocked_id == AccountRow.id),
    func.coalesce(AccountRow.commands_per_second, AccountRow.bytes_per_second, AccountRow.connections).is_not(None),
    exists().where(PreferenceRow.account_id == AccountRow.id),
    exists().where(IgnoreRow.account_id == AccountRow.id),
    AccountRow.name,
    AccountRow.display_name,
    AccountRow.renamed_at,
).where(AccountRow.id.in_(bindparam("ids", expanding=True)))
_TOKENS = select(TokenRow.id).where(TokenRow.id.in_(bindparam("ids", expanding=True)), TokenRow.revoked_at.is_(None))


def accounts(db: Connection, asked: Sequence[tuple[int, int]]) -> list[AccountNow]:
    """The present state of each of these accounts, in the same order.

    Each account is given by its id and the id of the token that it logged in with, or 0.
    """
    tokens = [token_id for _, token_id in asked if token_id]
    good = set(db.scalars(_TOKENS, {"ids": tokens})) if tokens else set()
    found = {
        id: (kind, disabled_at is not None or erased_at is not None, *more)
        for id, kind, disabled_at, erased_at, *more in db.execute(
            _ACCOUNTS, {"ids": [account_id for account_id, _ in asked]}
        )
    }
    states = []
    for account_id, token_id in asked:
        kind, gone, *more = found.get(account_id, (PERSON, True, None))
        states.append(AccountNow(kind, gone or bool(token_id and token_id not in good), *more))
    return states
