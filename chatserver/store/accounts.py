"""Accounts: who may log in, and with what password."""

from collections.abc import Collection
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from chatserver.store import change_rows, names
from chatserver.store.db.schema import AccountRow
from chatserver.values.errors import Refused, Why
from chatserver.values.events import GUEST, PERSON, AccountKind, AccountLimits, Person
from chatserver.wire.hygiene.lookalikes import given_up, looks_taken, skeleton

ERASED_NAME = "erased-"
"""An erased account is shown as this and its id."""

RETRY_WINDOW = timedelta(minutes=10)
"""How long registering an account or creating a room again may be a retry whose first answer was lost. Clients
reconnect within minutes."""


class Credentials(Struct, frozen=True):
    """An account and the hash of its password, which a `repr` does not contain."""

    id: int
    name: str
    kind: AccountKind
    password_hash: str
    disabled: bool
    created_at: datetime

    def __repr__(self) -> str:
        return f"Credentials({self.id}, {self.name!r})"

    @property
    def erased(self) -> bool:
        return self.name.startswith(ERASED_NAME)

    @property
    def person(self) -> Person:
        return Person(self.id, self.name, self.kind)

    @property
    def proof(self) -> int:
        """See `changes.proof_of`."""
        return change_rows.proof_of(self.password_hash)


_CREDENTIALS = select(
    AccountRow.id,
    AccountRow.name,
    AccountRow.kind,
    AccountRow.password_hash,
    AccountRow.disabled_at,
    AccountRow.erased_at,
    AccountRow.created_at,
)


def find(db: Connection, name: str) -> Credentials | None:
    """The account registered with this name, in any case. Includes disabled and erased accounts."""
    row = db.execute(_CREDENTIALS.where(AccountRow.name_key == name.lower())).one_or_none()
    return _credentials(row) if row else None


def find_shown(db: Connection, name: str) -> Credentials | None:
    """The account that others see under this name, which for an erased account is `erased-` and its id."""
    number = name.lower().removeprefix(ERASED_NAME)
    if number != name.lower() and number.isascii() and number.isdecimal() and len(number) <= 18:
        return get(db, int(number))
    return find(db, name)


def get(db: Connection, account_id: int) -> Credentials | None:
    row = db.execute(_CREDENTIALS.where(AccountRow.id == account_id)).one_or_none()
    return _credentials(row) if row else None


def _credentials(row: Any) -> Credentials:
    gone = row.disabled_at is not None or row.erased_at is not None
    return Credentials(row.id, row.name, row.kind, row.password_hash or "", gone, row.created_at)


def claimed(db: Connection, name: str, at: datetime, former_days: float = names.FORMER_NAME_DAYS) -> Credentials | None:
    """The account registered with this name; None if the name is free. Raises Refused(bad-name) if no account has it,
    but it looks like that of another account, or like one that another account had less than `former_days` ago."""
    account = find(db, name)
    if account is None:
        like = skeleton(name)
        alike = names.alike(db, like)
        if name.lower() in alike:  # registered between the two statements
            return find(db, name)
        _require_free(db, like, alike, at, former_days)
    return account


def _require_free(
    db: Connection, like: str, alike: Collection[str], at: datetime, former_days: float, but: int = 0
) -> None:
    """Raises Refused(bad-name) if another account than `but` has a name with this skeleton, or had until lately.
    `alike`: the names that accounts have now."""
    if alike:
        raise looks_taken()
    if names.is_kept(db, like, at, former_days, but):
        raise given_up()


def take_name(db: Connection, account_id: int, name: str, at: datetime, former_days: float) -> None:
    """Checks that an account may have this name from now on, and keeps others from taking it until the transaction
    ends. Raises Refused as `create`."""
    like = skeleton(name)
    names.hold(db, like)
    holder = find(db, name)
    if (holder is not None and holder.id != account_id) or name.lower().startswith(ERASED_NAME):
        raise Refused(Why.NAME_TAKEN, name=name)
    _require_free(db, like, names.alike(db, like, account_id), at, former_days, account_id)


def create(
    db: Connection,
    name: str,
    password_hash: str,
    at: datetime,
    kind: AccountKind = PERSON,
    *,
    alike: bool = False,
    former_days: float = names.FORMER_NAME_DAYS,
) -> int:
    """Creates an account and returns its id. Raises Refused if the name is taken, as that of an erased account is, or
    (unless `alike`) as `claimed`."""
    if name.lower().startswith(ERASED_NAME):  # erased accounts are shown under these names
        raise name_taken(name)
    like = None if kind == GUEST else skeleton(name)  # nobody can register a name that looks like a guest's
    if like is not None and not alike:
        names.hold(db, like)
        others = names.alike(db, like)
        if name.lower() in others:
            raise name_taken(name)
        _require_free(db, like, others, at, former_days)
    values = {"name": name, "name_key": name.lower(), "skeleton": like, "password_hash": password_hash, "kind": kind}
    try:
        id: int | None = db.scalar(
            insert(AccountRow).values(**values, created_at=at, last_seen_at=at).returning(AccountRow.id)
        )
    except IntegrityError:
        raise name_taken(name) from None
    assert id is not None
    return id


def name_taken(name: str) -> Refused:
    return Refused(Why.NAME_TAKEN_LOG_IN, name=name)


def create_guest(db: Connection, at: datetime) -> Person:
    """Creates an account that nobody can log in to. Its name is `~` and its id, which is never reused."""
    id = create(db, f"~{token_hex(16)}", "", at, GUEST)
    name = f"~{id}"
    db.execute(update(AccountRow).where(AccountRow.id == id).values(name=name, name_key=name))
    return Person(id, name, GUEST)


def set_password(db: Connection, account_id: int, password_hash: str) -> None:
    db.execute(update(AccountRow).where(AccountRow.id == account_id).values(password_hash=password_hash))


def set_kind(db: Connection, account_id: int, kind: AccountKind, at: datetime) -> None:
    """Makes an account an operator of the server, or a person again, and notifies running servers."""
    db.execute(update(AccountRow).where(AccountRow.id == account_id).values(kind=kind))
    change_rows.note(db, "account", account_id, at)


def set_disabled(db: Connection, account_id: int, at: datetime, *, disabled: bool) -> None:
    """Disables an account and its bots, so that they cannot log in; or enables it again, and those of its bots that
    were disabled with it. Notifies running servers."""
    mine = or_(AccountRow.id == account_id, AccountRow.owner_id == account_id)
    since = None if disabled else db.scalar(select(AccountRow.disabled_at).where(AccountRow.id == account_id))
    _set_disabled_at(db, and_(mine, AccountRow.disabled_at.is_not_distinct_from(since)), at, at if disabled else None)


def disable_bots(db: Connection, owner_id: int, at: datetime) -> None:
    """Disables the bots of an account that is erased, and notifies running servers."""
    _set_disabled_at(db, and_(AccountRow.owner_id == owner_id, AccountRow.disabled_at.is_(None)), at, at)


def _set_disabled_at(db: Connection, which: ColumnElement[bool], at: datetime, since: datetime | None) -> None:
    for id in db.scalars(update(AccountRow).where(which).values(disabled_at=since).returning(AccountRow.id)).all():
        change_rows.note(db, "account", id, at)


_LIMITS = (AccountRow.commands_per_second, AccountRow.bytes_per_second, AccountRow.connections)
_FIND_LIMITS = select(AccountRow.id, *_LIMITS).where(
    AccountRow.id.in_(bindparam("ids", expanding=True)), func.coalesce(*_LIMITS).is_not(None)
)


def limits_of(db: Connection, ids: Collection[int]) -> dict[int, AccountLimits]:
    """The limits of each of these accounts that has any."""
    if not ids:
        return {}
    rows = db.execute(_FIND_LIMITS, {"ids": list(ids)})
    return {row.id: AccountLimits(row.commands_per_second, row.bytes_per_second, row.connections) for row in rows}


def set_limits(db: Connection, account_id: int, limits: AccountLimits, at: datetime) -> None:
    """Replaces all limits of an account. Running servers follow."""
    db.execute(update(AccountRow).where(AccountRow.id == account_id).values(structs.asdict(limits)))
    change_rows.note(db, "account", account_id, at)
