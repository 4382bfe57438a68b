"""Tokens: credentials of programs. Rows of the kind `session` are something else: see `kept_sessions.py`."""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, and_, bindparam, insert, select, update

from chatserver.store import change_rows
from chatserver.store.db import database_clock
from chatserver.store.db.database_clock import NOW, lasts
from chatserver.store.db.schema import AccountRow, TokenRow
from chatserver.store.visibility import facts_of
from chatserver.values.answers import TokenLine
from chatserver.values.errors import Refused, Why
from chatserver.values.events import Person
from chatserver.values.token_scope import Scope

TOKEN_BYTES = 32

_TOKEN = TokenRow.kind == "token"
_VALID = and_(_TOKEN, TokenRow.revoked_at.is_(None), lasts(TokenRow.expires_at))


def new_token() -> str:
    """A random token. The prefix marks it as one, for people and for scanners that look for leaked secrets."""
    return f"ct_{secrets.token_urlsafe(TOKEN_BYTES)}"


def token_hash(token: str) -> str:
    """The hash of a token that the database stores. A token has 256 random bits, so it needs neither a slow hash nor a
    salt."""
    return hashlib.sha256(token.encode()).hexdigest()


class Grant(Struct, frozen=True):
    """The scope of a new token: its lifetime in seconds (None: until it is revoked), whether it can only read, and the
    one room for which it is valid (0: all)."""

    seconds: int | None = None
    read_only: bool = False
    room_id: int = 0


ALL = Grant()


def create(
    db: Connection, account_id: int, label: str, sha256: str, at: datetime, grant: Grant = ALL, most: int = 0
) -> datetime | None:
    """Stores a new token by its hash, and returns when it expires. Raises Refused if the account has a token with that
    label, or has `most` tokens already (0: no limit). Tokens that have expired do not count."""
    db.execute(select(AccountRow.id).where(AccountRow.id == account_id).with_for_update())
    labels = list(db.scalars(select(TokenRow.label).where(TokenRow.account_id == account_id, _VALID)))
    if label in labels:
        raise Refused(Why.TOKEN_LABEL_TAKEN)
    if 0 < most <= len(labels):
        raise Refused(Why.TOO_MANY_TOKENS, most=len(labels))
    expires = database_clock.until(db, grant.seconds)
    db.execute(
        insert(TokenRow).values(
            account_id=account_id,
            label=label,
            sha256=sha256,
            created_at=at,
            expires_at=expires,
            read_only=grant.read_only,
            room_id=grant.room_id or None,
        )
    )
    return expires


def listing(db: Connection, account_id: int) -> list[TokenLine]:
    """The tokens of an account that are valid, oldest first."""
    rows = db.execute(_LISTED.where(TokenRow.account_id == account_id)).all()
    labels = _rooms(db, account_id, {row.room_id for row in rows})
    return [
        TokenLine(
            row.label, row.created_at, row.last_used_at, row.expires_at, row.read_only, labels.get(row.room_id),
            row.room_id or 0,
        )
        for row in rows
    ]  # fmt: skip


class IssuedToken(Struct, frozen=True):
    """A valid token in a list of many accounts' tokens. `name`: that of its account."""

    id: int
    name: str
    label: str
    created: datetime
    last_used: datetime | None
    expires: datetime | None
    read_only: bool
    room: str | None


def page(db: Connection, last: int, limit: int, account_id: int | None = None) -> list[IssuedToken]:
    """A page of the valid tokens of all accounts, or of one: those created after the one with the id `last`."""
    mine = () if account_id is None else (TokenRow.account_id == account_id,)
    rows = db.execute(
        _LISTED.add_columns(TokenRow.id, TokenRow.account_id, AccountRow.name)
        .join(AccountRow, AccountRow.id == TokenRow.account_id)
        .where(TokenRow.id > last, *mine)
        .limit(limit)
    ).all()
    wanted: dict[int, set[int | None]] = {}
    for row in rows:
        wanted.setdefault(row.account_id, set()).add(row.room_id)
    labels = {owner: _rooms(db, owner, ids) for owner, ids in wanted.items()}
    return [
        IssuedToken(
            row.id, row.name, row.label, row.created_at, row.last_used_at, row.expires_at, row.read_only,
            labels[row.account_id].get(row.room_id),
        )
        for row in rows
    ]  # fmt: skip


_LISTED = (
    select(
        TokenRow.label,
        TokenRow.created_at,
        TokenRow.last_used_at,
        TokenRow.expires_at,
        TokenRow.read_only,
        TokenRow.room_id,
    )
    .where(_VALID)
    .order_by(TokenRow.id)
)


def _rooms(db: Connection, account_id: int, room_ids: Collection[int | None]) -> dict[int | None, str]:
    """The names of these rooms as an account sees them, by id."""
    ids = {id for id in room_ids if id is not None}
    facts = facts_of(db, Person(account_id, ""), ids) if ids else {}
    return {id: room.label(account_id) for id, room in facts.items()}


def count(db: Connection, account_id: int) -> int:
    """Number of valid tokens of an account."""
    return len(db.scalars(select(TokenRow.id).where(TokenRow.account_id == account_id, _VALID)).all())


def revoke(db: Connection, account_id: int, label: str, at: datetime) -> int | None:
    """Revokes a token and notifies running servers. Returns its id, or None if there is no token with that label."""
    ids = _revoke(db, account_id, at, TokenRow.label == label, _VALID)
    return ids[0] if ids else None


def revoke_all(db: Connection, account_id: int, at: datetime) -> int:
    """Revokes all tokens of an account and notifies running servers. Returns how many were still valid."""
    valid = count(db, account_id)
    _revoke(db, account_id, at)
    return valid


def _revoke(db: Connection, account_id: int, at: datetime, *which: object) -> list[int]:
    mine = and_(TokenRow.account_id == account_id, _TOKEN, TokenRow.revoked_at.is_(None), *which)  # type: ignore[arg-type]
    ids = list(db.scalars(update(TokenRow).where(mine).values(revoked_at=at).returning(TokenRow.id)))
    for id in ids:
        change_rows.note(db, "token", id, at)
    return ids


_TOKENS = (
    select(TokenRow.sha256, TokenRow.id, AccountRow.id, AccountRow.name, AccountRow.kind)
    .join(AccountRow, AccountRow.id == TokenRow.account_id)
    .where(
        TokenRow.sha256.in_(bindparam("sha256s", expanding=True)),
        _VALID,
        AccountRow.disabled_at.is_(None),
        AccountRow.erased_at.is_(None),
    )
)


def find(db: Connection, sha256s: Sequence[str]) -> list[tuple[int, Person] | None]:
    """For each hash, the id of the token and its account; None if it is unknown, revoked or expired, or its account is
    disabled.

    The time that an index lookup takes reveals nothing useful, since what is looked up is a hash of 256 random bits.
    """
    found = {
        sha256: (token_id, Person(id, name, kind))
        for sha256, token_id, id, name, kind in db.execute(_TOKENS, {"sha256s": sha256s})
    }
    return [found.get(sha256) for sha256 in sha256s]


_SCOPES = select(TokenRow.id, TokenRow.read_only, TokenRow.room_id, TokenRow.expires_at, NOW.label("now")).where(
    TokenRow.id.in_(bindparam("ids", expanding=True)), _TOKEN
)


def scopes(db: Connection, token_ids: Collection[int]) -> dict[int, Scope]:
    """By id, the scope and the remaining lifetime of each of these tokens. A kept session has none."""
    if not token_ids:
        return {}
    return {
        id: Scope(read_only, room_id or 0, None if expires is None else (expires - now).total_seconds())
        for id, read_only, room_id, expires, now in db.execute(_SCOPES, {"ids": list(token_ids)})
    }
