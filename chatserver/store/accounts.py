"""Accounts: who may log in, and with what."""

from collections.abc import Sequence
from datetime import datetime
from secrets import token_hex
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from chatserver.errors import ErrorWord, Refused
from chatserver.events import DIRECT, EDITED, ERASED, MESSAGE, Person, TokenLine, UserLine
from chatserver.store.schema import Account, Block, Change, EntryRow, Invitation, Membership, Room, SessionRow, Token

ERASED_NAME = "erased-"


class Credentials(Struct, frozen=True):
    """An account and the hash of its password, which never shows in a `repr`."""

    id: int
    name: str
    kind: str
    password_hash: str
    disabled: bool

    def __repr__(self) -> str:
        return f"Credentials({self.id}, {self.name!r})"

    @property
    def person(self) -> Person:
        return Person(self.id, self.name, self.kind)


_CREDENTIALS = select(
    Account.id, Account.name, Account.kind, Account.password_hash, Account.disabled_at, Account.erased_at
)


def find(db: Connection, name: str) -> Credentials | None:
    """The account of that name, without regard to case."""
    row = db.execute(_CREDENTIALS.where(Account.name_key == name.lower())).one_or_none()
    return _credentials(row) if row else None


def find_shown(db: Connection, name: str) -> Credentials | None:
    """The account that is shown under this name: also one that is erased."""
    number = name.lower().removeprefix(ERASED_NAME)
    if number != name.lower() and number.isascii() and number.isdecimal() and len(number) <= 18:
        return get(db, int(number))
    return find(db, name)


def get(db: Connection, account_id: int) -> Credentials | None:
    row = db.execute(_CREDENTIALS.where(Account.id == account_id)).one_or_none()
    return _credentials(row) if row else None


def _credentials(row: Any) -> Credentials:
    gone = row.disabled_at is not None or row.erased_at is not None
    return Credentials(row.id, row.name, row.kind, row.password_hash or "", gone)


def create(db: Connection, name: str, password_hash: str, at: datetime, kind: str = "person") -> int:
    """A new account's id. Raises Refused where the name is taken, by whomever and for ever."""
    if name.lower().startswith(ERASED_NAME):  # who is erased is shown so
        raise name_taken(name)
    values = {"name": name, "name_key": name.lower(), "password_hash": password_hash, "kind": kind}
    try:
        id: int | None = db.scalar(
            insert(Account).values(**values, created_at=at, last_seen_at=at).returning(Account.id)
        )
    except IntegrityError:
        raise name_taken(name) from None
    assert id is not None
    return id


def name_taken(name: str) -> Refused:
    return Refused(ErrorWord.NAME_TAKEN, f"The name {name} is taken. Log in, or choose another.")


def create_guest(db: Connection, at: datetime) -> Person:
    """An account that nobody can log in to; its name is `~` and its number, which nobody had before."""
    id = create(db, f"~{token_hex(16)}", "", at, "guest")
    name = f"~{id}"
    db.execute(update(Account).where(Account.id == id).values(name=name, name_key=name))
    return Person(id, name, "guest")


def set_password(db: Connection, account_id: int, password_hash: str) -> None:
    db.execute(update(Account).where(Account.id == account_id).values(password_hash=password_hash))


def set_kind(db: Connection, account_id: int, kind: str, at: datetime) -> None:
    """Makes somebody an operator of the server, or a person again. Running servers take note."""
    db.execute(update(Account).where(Account.id == account_id).values(kind=kind))
    note(db, "account", account_id, at)


def set_disabled(db: Connection, account_id: int, at: datetime, *, disabled: bool) -> None:
    """Whether somebody may not log in. Running servers take note."""
    db.execute(update(Account).where(Account.id == account_id).values(disabled_at=at if disabled else None))
    note(db, "account", account_id, at)


def note(db: Connection, kind: str, subject: int, at: datetime) -> None:
    """Tells running servers that something has changed; see `schema.Change`."""
    db.execute(insert(Change).values(kind=kind, subject=subject, at=at))


def erase(db: Connection, who: Person, at: datetime, *, messages: bool) -> None:
    """Takes out of the database what tells who somebody is, and with `messages` what they said too.

    The name stays reserved. Their memberships are to be ended before. Running servers take note.
    """
    for table, mine in (
        (Invitation, (Invitation.account_id == who.id) | (Invitation.invited_by == who.id)),
        (Block, (Block.account_id == who.id) | (Block.blocked_id == who.id)),
        (Token, Token.account_id == who.id),
    ):
        db.execute(delete(table).where(mine))
    db.execute(update(SessionRow).where(SessionRow.account_id == who.id).values(address=""))
    # Nobody can talk to them in private any more.
    direct = (
        select(Membership.room_id)
        .join(Room, Room.id == Membership.room_id)
        .where(Membership.account_id == who.id, Room.kind == DIRECT)
    )
    others = (Membership.room_id.in_(direct), Membership.account_id != who.id)
    db.execute(update(Membership).where(*others).values(blocked=True))
    gone = {
        "name": f"{ERASED_NAME}{who.id}",
        "password_hash": None,
        "kind": "person",
        "erased_at": at,
        "last_seen_at": None,
    }
    db.execute(update(Account).where(Account.id == who.id).values(**gone))
    if messages:
        said = (EntryRow.author_id == who.id, EntryRow.kind.in_((MESSAGE, EDITED)))
        db.execute(update(EntryRow).where(*said).values(text="", state=ERASED))
    note(db, "account", who.id, at)


def last_seen(
    db: Connection, name: str, online: frozenset[int], away: dict[int, str], apart: frozenset[int]
) -> UserLine | None:
    """Who is called `name`; None where nobody is. Of those `apart` it is not shown whether or when they are there."""
    row = db.execute(
        select(Account.id, Account.name, Account.last_seen_at).where(
            Account.name_key == name.lower(), Account.erased_at.is_(None)
        )
    ).one_or_none()
    if row is None:
        return None
    if row.id in apart:
        return UserLine(row.name, False)
    return UserLine(row.name, row.id in online, row.last_seen_at, away.get(row.id, ""))


# Tokens


def create_token(db: Connection, account_id: int, label: str, sha256: str, at: datetime) -> None:
    """Raises Refused where a token of that label is in use."""
    if label in {line.label for line in tokens(db, account_id)}:
        raise Refused(ErrorWord.BAD_COMMAND, "The field label is in use. Revoke that token first, or choose another.")
    db.execute(insert(Token).values(account_id=account_id, label=label, sha256=sha256, created_at=at))


def tokens(db: Connection, account_id: int) -> list[TokenLine]:
    """Those not revoked, oldest first."""
    rows = db.execute(
        select(Token.label, Token.created_at, Token.last_used_at)
        .where(Token.account_id == account_id, Token.revoked_at.is_(None))
        .order_by(Token.id)
    )
    return [TokenLine(row.label, row.created_at, row.last_used_at) for row in rows]


def revoke_token(db: Connection, account_id: int, label: str, at: datetime) -> int | None:
    """The id of the token that is good no more; None where there is none of that label. Running servers take note."""
    mine = (Token.account_id == account_id, Token.label == label, Token.revoked_at.is_(None))
    id = db.scalar(update(Token).where(*mine).values(revoked_at=at).returning(Token.id))
    if id is not None:
        note(db, "token", id, at)
    return id


_TOKENS = (
    select(Token.sha256, Token.id, Account.id, Account.name, Account.kind)
    .join(Account, Account.id == Token.account_id)
    .where(
        Token.sha256.in_(bindparam("sha256s", expanding=True)), Token.revoked_at.is_(None),
        Account.disabled_at.is_(None), Account.erased_at.is_(None),
    )
)  # fmt: skip


def find_tokens(db: Connection, sha256s: Sequence[str]) -> list[tuple[int, Person] | None]:
    """For each of these hashes the token's id, and whose it is; None where it is good for nothing. It is a hash of 256
    random bits: the time that an index takes for it tells nothing."""
    found = {
        sha256: (token_id, Person(id, name, kind))
        for sha256, token_id, id, name, kind in db.execute(_TOKENS, {"sha256s": sha256s})
    }
    return [found.get(sha256) for sha256 in sha256s]
