"""Tokens: what programs log in with."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from chatserver.answers import TokenLine
from chatserver.errors import ErrorWord, Refused
from chatserver.events import Person
from chatserver.store import changes
from chatserver.store.schema import AccountRow, TokenRow

TOKEN_BYTES = 32


def new_token() -> str:
    """A random token. The prefix marks it as one, for people and for scanners that look for leaked secrets."""
    return f"ct_{secrets.token_urlsafe(TOKEN_BYTES)}"


def token_hash(token: str) -> str:
    """What the database stores of a token. A token has 256 random bits, so it needs neither a slow hash nor a salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def create(db: Connection, account_id: int, label: str, sha256: str, at: datetime) -> None:
    """Stores a new token by its hash. Raises Refused if the account has a token with that label."""
    if label in {line.label for line in listing(db, account_id)}:
        raise Refused(
            ErrorWord.BAD_COMMAND,
            "You have a token with this label. If you never received it, revoke it and create another one; else choose "
            "another label.",
        )
    db.execute(insert(TokenRow).values(account_id=account_id, label=label, sha256=sha256, created_at=at))


def listing(db: Connection, account_id: int) -> list[TokenLine]:
    """The tokens of an account that are not revoked, oldest first."""
    rows = db.execute(
        select(TokenRow.label, TokenRow.created_at, TokenRow.last_used_at)
        .where(TokenRow.account_id == account_id, TokenRow.revoked_at.is_(None))
        .order_by(TokenRow.id)
    )
    return [TokenLine(row.label, row.created_at, row.last_used_at) for row in rows]


def revoke(db: Connection, account_id: int, label: str, at: datetime) -> int | None:
    """Revokes a token and notifies running servers. Returns its id, or None if there is no token with that label."""
    mine = (TokenRow.account_id == account_id, TokenRow.label == label, TokenRow.revoked_at.is_(None))
    id = db.scalar(update(TokenRow).where(*mine).values(revoked_at=at).returning(TokenRow.id))
    if id is not None:
        changes.note(db, "token", id, at)
    return id


_TOKENS = (
    select(TokenRow.sha256, TokenRow.id, AccountRow.id, AccountRow.name, AccountRow.kind)
    .join(AccountRow, AccountRow.id == TokenRow.account_id)
    .where(
        TokenRow.sha256.in_(bindparam("sha256s", expanding=True)),
        TokenRow.revoked_at.is_(None),
        AccountRow.disabled_at.is_(None),
        AccountRow.erased_at.is_(None),
    )
)


def find(db: Connection, sha256s: Sequence[str]) -> list[tuple[int, Person] | None]:
    """For each hash, the id of the token and its account; None if it is unknown or revoked, or its account is disabled.

    The time that an index lookup takes reveals nothing useful, since what is looked up is a hash of 256 random bits.
    """
    found = {
        sha256: (token_id, Person(id, name, kind))
        for sha256, token_id, id, name, kind in db.execute(_TOKENS, {"sha256s": sha256s})
    }
    return [found.get(sha256) for sha256 in sha256s]
