"""Kept sessions: a device logs in again with a secret instead of the password. Rows of `token` of the kind `session`.

A secret has three parts: which session it is of, the how-manieth secret of that session it is, and 256 random bits.
Each use replaces it. For `SPENT_SECONDS` the one before is still good: whoever presents it is given the *present*
secret again, which follows from it and the salt that is kept until then. So an answer may be lost, and several tabs may
log in with the same secret: all of them end up with one secret, the same for all.

Later, a secret that was replaced is presented only by somebody who has a copy, or from whom somebody took one. Which of
them it is nobody can tell, so the session ends for both.

A database that was set back knows an earlier secret than the device has. That one is unknown, but no copy.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, and_, bindparam, delete, insert, select, update

from chatserver.store import change_rows
from chatserver.store.change_rows import proof_of
from chatserver.store.db import database_clock
from chatserver.store.db.database_clock import NOW, lasts
from chatserver.store.db.schema import AccountRow, TokenRow
from chatserver.store.tokens import token_hash
from chatserver.values.answers import SessionLine
from chatserver.values.events import Person

KEPT: Final = timedelta(days=30)
"""How long a session is kept after its last use."""

SPENT_SECONDS: Final = 60.0
"""How long a secret is good after it was replaced."""

MOST_SPENT: Final = 8
"""Maximum number of secrets within that time; beyond it, the present one is not replaced."""

MOST: Final = 50
"""Maximum number of kept sessions of an account. For a further one the least recently used one ends."""

ENDED: Final = timedelta(days=1)
"""How long the row of a session that has ended or expired stays: servers may still ask for its id, and SQLite would
give that out again."""

COPIED: Final = "copied"
"""The `detail` of the change by which a session ends because of a copy."""

SESSION: Final = "session"
"""The `kind` of a token that is a kept session."""

PREFIX: Final = "cs_"
_FAMILY_BYTES: Final = 16
_NUMBER_BYTES: Final = 3
_RANDOM_BYTES: Final = 32


class Spent(Struct, array_like=True, frozen=True):
    """A secret that was replaced at `at`, by the database's clock in seconds. The next one follows from it and
    `salt`."""

    sha256: str
    salt: bytes
    at: float


class Chain(Struct, array_like=True, frozen=True):
    """The column `secret`: the number and the hash of the present secret, and those before it, oldest first."""

    number: int
    sha256: str
    spent: list[Spent] = []


_decode: Final = msgspec.json.Decoder(Chain).decode


def _encoded(chain: Chain) -> str:
    return msgspec.json.encode(chain).decode()


class Secret(Struct, frozen=True):
    """A secret in its parts. `key` finds the session: no token has a hash like it."""

    family: bytes
    number: int
    random: bytes

    def __repr__(self) -> str:
        return f"Secret(number={self.number})"

    @property
    def text(self) -> str:
        whole = self.family + self.number.to_bytes(_NUMBER_BYTES, "big") + self.random
        return PREFIX + urlsafe_b64encode(whole).decode()

    @property
    def key(self) -> str:
        return f"s{sha256(self.family).hexdigest()[1:]}"

    @property
    def sha256(self) -> str:
        return token_hash(self.text)

    def following(self, salt: bytes) -> "Secret":
        return Secret(self.family, self.number + 1, digest(self.random, salt, "sha256"))


def parsed(text: str) -> Secret | None:
    """The parts of a secret; None for what is none."""
    try:
        whole = urlsafe_b64decode(text.removeprefix(PREFIX)) if text.startswith(PREFIX) and text.isascii() else b""
    except NotBase64:
        return None
    if len(whole) != _FAMILY_BYTES + _NUMBER_BYTES + _RANDOM_BYTES:
        return None
    family, rest = whole[:_FAMILY_BYTES], whole[_FAMILY_BYTES:]
    return Secret(family, int.from_bytes(rest[:_NUMBER_BYTES], "big"), rest[_NUMBER_BYTES:])


def present(chain: Chain, shown: Secret, now: datetime) -> Secret | None:
    """The present secret of a session, for whoever shows this one: the same, or one that it was replaced by a moment
    ago. None if this one is not good."""
    if shown.number == chain.number:
        return shown if compare_digest(shown.sha256, chain.sha256) else None
    back = chain.number - shown.number
    if not 0 < back <= len(chain.spent):
        return None
    since = chain.spent[-back:]
    if now.timestamp() - since[0].at > SPENT_SECONDS or not compare_digest(shown.sha256, since[0].sha256):
        return None
    for one in since:
        shown = shown.following(one.salt)
    return shown if compare_digest(shown.sha256, chain.sha256) else None


def _is_copy(chain: Chain, shown: Secret) -> bool:
    """Whether a secret that is not good was replaced some time ago."""
    return shown.number < chain.number


def _replaced(chain: Chain, secret: Secret, now: datetime) -> tuple[Chain, Secret]:
    """The secret that replaces the present one, unless that happens too often."""
    spent = list(chain.spent)
    while spent and now.timestamp() - spent[0].at > SPENT_SECONDS:
        del spent[0]  # from the front only, whatever the clock did: numbers follow one another
    if len(spent) >= MOST_SPENT or chain.number + 1 >= 1 << 8 * _NUMBER_BYTES:
        return chain, secret
    salt = secrets.token_bytes(_FAMILY_BYTES)
    after = secret.following(salt)
    return Chain(after.number, after.sha256, [*spent, Spent(chain.sha256, salt, now.timestamp())]), after


# Logging in

_VALID: Final = and_(TokenRow.kind == SESSION, TokenRow.revoked_at.is_(None), lasts(TokenRow.expires_at))


class Found(Struct, frozen=True):
    """A session whose secret was presented, and its account. `copied`: the secret was replaced some time ago."""

    id: int
    person: Person
    copied: bool


_FIND: Final = (
    select(
        *(TokenRow.sha256, TokenRow.id, TokenRow.secret, NOW.label("now")),
        *(TokenRow.account_id, AccountRow.name, AccountRow.kind),
    )
    .join(AccountRow, AccountRow.id == TokenRow.account_id)
    .where(
        TokenRow.sha256.in_(bindparam("keys", expanding=True)),
        _VALID,
        AccountRow.disabled_at.is_(None),
        AccountRow.erased_at.is_(None),
    )
)  # fmt: skip


def find(db: Connection, texts: Sequence[str]) -> list[Found | None]:
    """For each of these secrets its session; None if there is no such secret, its session has ended or expired, or its
    account is disabled."""
    shown = [parsed(text) for text in texts]
    keys = [secret.key for secret in shown if secret is not None]
    rows = {row.sha256: row for row in db.execute(_FIND, {"keys": keys})} if keys else {}
    found: list[Found | None] = []
    for secret in shown:
        row = None if secret is None else rows.get(secret.key)
        if secret is None or row is None:
            found.append(None)
            continue
        chain = _decode(row.secret)
        good = present(chain, secret, row.now) is not None
        known = good or _is_copy(chain, secret)
        found.append(Found(row.id, Person(row.account_id, row.name, row.kind), not good) if known else None)
    return found


class Use(Struct, frozen=True):
    """A login with a secret, from an address. `name`: what the device is called from now on; None: as before.
    `replace`: whether it is given a new one."""

    secret: str
    address: str
    name: str | None = None
    replace: bool = True

    def __repr__(self) -> str:
        return f"Use({self.address!r})"


_LOCKED: Final = (
    select(TokenRow.sha256, TokenRow.id, TokenRow.secret, TokenRow.label)
    .where(TokenRow.sha256.in_(bindparam("keys", expanding=True)), _VALID)
    .order_by(TokenRow.id)
    .with_for_update()
)
_USED: Final = (
    update(TokenRow)
    .where(TokenRow.id == bindparam("used"))
    .values(
        secret=bindparam("chain"),
        label=bindparam("name"),
        address=bindparam("place"),
        last_used_at=bindparam("now"),
        expires_at=bindparam("until"),
    )
)


def use(db: Connection, uses: Sequence[Use]) -> list[str | None]:
    """Replaces the secret of each login that wants it, and returns the present one; None if the session has ended
    meanwhile."""
    shown = [parsed(one.secret) for one in uses]
    keys = [secret.key for secret in shown if secret is not None]
    rows = {row.sha256: row for row in db.execute(_LOCKED, {"keys": keys})} if keys else {}
    now = database_clock.now(db)  # behind the locks
    chains = {key: _decode(row.secret) for key, row in rows.items()}
    changed: dict[str, dict[str, object]] = {}
    given: list[str | None] = []
    for one, secret in zip(uses, shown, strict=True):
        chain = None if secret is None else chains.get(secret.key)
        good = None if secret is None or chain is None else present(chain, secret, now)
        if secret is None or chain is None or good is None:
            given.append(None)
            continue
        if one.replace and secret.number == chain.number:
            chain, good = _replaced(chain, good, now)
            chains[secret.key] = chain
        row = rows[secret.key]
        name = one.name or str(changed.get(secret.key, {}).get("name", row.label))
        changed[secret.key] = {
            "used": row.id, "chain": _encoded(chain), "name": name, "place": one.address, "now": now,
            "until": now + KEPT,
        }  # fmt: skip
        given.append(good.text)
    if changed:
        db.execute(_USED, list(changed.values()))
    return given


def create(
    db: Connection, account_id: int, name: str, address: str, at: datetime, proof: int = 0
) -> tuple[int, str] | None:
    """Begins to keep a session. Returns its id and its secret; None if the password of `proof` is no longer that of the
    account (0: it was not asked for)."""
    account = select(AccountRow.password_hash).where(AccountRow.id == account_id)
    hash = db.scalar(account.with_for_update())  # a new password, and other sessions of the account, wait meanwhile
    if proof and proof_of(hash) != proof:
        return None
    mine = select(TokenRow.id).where(TokenRow.account_id == account_id, _VALID)
    by_use = mine.order_by(TokenRow.expires_at.desc(), TokenRow.id.desc())
    for oldest in db.scalars(by_use.offset(MOST - 1)).all():
        end(db, account_id, at, oldest)
    secret = Secret(secrets.token_bytes(_FAMILY_BYTES), 1, secrets.token_bytes(_RANDOM_BYTES))
    now = database_clock.now(db)
    values = {
        "account_id": account_id, "kind": SESSION, "label": name, "sha256": secret.key, "address": address,
        "secret": _encoded(Chain(secret.number, secret.sha256)), "created_at": now, "last_used_at": now,
        "expires_at": now + KEPT,
    }  # fmt: skip
    id = db.scalar(insert(TokenRow).values(values).returning(TokenRow.id))
    assert id is not None
    return id, secret.text


def touch(db: Connection, ids: Collection[int]) -> None:
    """Notes that these sessions are in use at this moment."""
    now = database_clock.now(db)
    mine = (TokenRow.id.in_(sorted(ids)), TokenRow.kind == SESSION, TokenRow.revoked_at.is_(None))
    db.execute(update(TokenRow).where(*mine).values(last_used_at=now, expires_at=now + KEPT))


# Lists and ends


def listing(db: Connection, account_id: int, current: int = 0) -> list[SessionLine]:
    """The kept sessions of an account, oldest first. `current`: the id of the one that asks."""
    columns = (TokenRow.id, TokenRow.label, TokenRow.address, TokenRow.created_at, TokenRow.last_used_at)
    rows = db.execute(select(*columns).where(TokenRow.account_id == account_id, _VALID).order_by(TokenRow.id))
    return [
        SessionLine(row.id, row.label, row.address or "", row.created_at, row.last_used_at, row.id == current)
        for row in rows
    ]


def end(db: Connection, account_id: int, at: datetime, id: int, detail: str | None = None) -> bool:
    """Ends a kept session, and notifies running servers. Returns whether there was one with this id."""
    return bool(_end(db, account_id, at, TokenRow.id == id, detail=detail))


def end_all(db: Connection, account_id: int, at: datetime, but: int = 0) -> list[int]:
    """Ends all kept sessions of an account but one, and notifies running servers. Returns their ids."""
    return _end(db, account_id, at, TokenRow.id != but)


def _end(db: Connection, account_id: int, at: datetime, *which: object, detail: str | None = None) -> list[int]:
    mine = and_(TokenRow.account_id == account_id, _VALID, *which)  # type: ignore[arg-type]
    gone = {"revoked_at": at, "expires_at": database_clock.now(db), "secret": None}
    ids = sorted(db.scalars(update(TokenRow).where(mine).values(gone).returning(TokenRow.id)))
    for id in ids:
        change_rows.note(db, "token", id, at, detail=detail)
    return ids


def end_shown(db: Connection, text: str, at: datetime) -> bool:
    """Ends the session of this secret. Returns whether it is good."""
    secret = parsed(text)
    row = None if secret is None else db.execute(_ENDING.where(TokenRow.sha256 == secret.key)).one_or_none()
    if secret is None or row is None or present(_decode(row.secret), secret, database_clock.now(db)) is None:
        return False
    return end(db, row.account_id, at, row.id)


def end_copied(db: Connection, text: str, at: datetime) -> bool:
    """Ends the session of a secret that was replaced some time ago, since there is a copy of it. Returns whether this
    call has ended it."""
    secret = parsed(text)
    row = None if secret is None else db.execute(_ENDING.where(TokenRow.sha256 == secret.key)).one_or_none()
    if secret is None or row is None:
        return False
    chain, now = _decode(row.secret), database_clock.now(db)
    if present(chain, secret, now) is not None or not _is_copy(chain, secret):
        return False
    return end(db, row.account_id, at, row.id, COPIED)


_ENDING: Final = select(TokenRow.id, TokenRow.account_id, TokenRow.secret).where(_VALID).with_for_update()


def remove_old(db: Connection, most: int) -> int:
    """Removes some rows of sessions that ended or expired a while ago, and returns their number."""
    old = (TokenRow.kind == SESSION, TokenRow.expires_at < database_clock.now(db) - ENDED)
    return db.execute(delete(TokenRow).where(TokenRow.id.in_(select(TokenRow.id).where(*old).limit(most)))).rowcount
