"""Names of accounts: free ones, and those that accounts had until lately.

A name belongs to the account that has it, also to one that is erased. After that account has taken another name, nobody
else can have the old one for `limits.former_name_days`, nor one that looks like it.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, true, update
from sqlalchemy.orm import InstrumentedAttribute, aliased

from chatserver.store.db.schema import AccountRow, FormerNameRow, MembershipRow
from chatserver.values.errors import Refused, Why, no_such_user
from chatserver.values.events import MODERATOR, OPERATOR, OWNER, Person

FORMER_NAME_DAYS = 90.0
"""Default of `limits.former_name_days`."""


def begins_with(name: InstrumentedAttribute[str], prefix: str) -> ColumnElement[bool]:
    """Whether a name begins with `prefix`, in lower case. Names are read in their order from the prefix on."""
    return and_(name >= prefix, name.startswith(prefix, autoescape=True)) if prefix else true()


def hold(db: Connection, like: str) -> None:
    """Locks the names with this skeleton until the transaction ends: nobody else can take one of them.

    There is no row to lock before the first. SQLite has one writer anyway.
    """
    if db.dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"name {like}", 0))))


def alike(db: Connection, like: str, but: int = 0) -> list[str]:
    """The keys of the names with this skeleton that accounts have, `but` one account."""
    return list(db.scalars(select(AccountRow.name_key).where(AccountRow.skeleton == like, AccountRow.id != but)))


def is_kept(db: Connection, like: str, at: datetime, days: float, but: int = 0) -> bool:
    """Whether a name with this skeleton is kept for the account that had it until lately, `but` one account."""
    kept = (FormerNameRow.skeleton == like, FormerNameRow.until > at - timedelta(days=days))
    return (
        db.execute(select(FormerNameRow.id).where(*kept, FormerNameRow.account_id != but).limit(1)).first() is not None
    )


def kept_for(db: Connection, account_id: int, at: datetime, days: float) -> frozenset[str]:
    """The keys of the names that are kept for this account."""
    mine = (FormerNameRow.account_id == account_id, FormerNameRow.until > at - timedelta(days=days))
    return frozenset(db.scalars(select(FormerNameRow.name_key).where(*mine).distinct()))


def last_holder(db: Connection, name: str) -> Person | None:
    """The account that had this name last, if it is not erased."""
    row = db.execute(
        select(AccountRow.id, AccountRow.name, AccountRow.kind)
        .join(FormerNameRow, FormerNameRow.account_id == AccountRow.id)
        .where(FormerNameRow.name_key == name.lower(), AccountRow.erased_at.is_(None))
        .order_by(FormerNameRow.until.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Person(row.id, row.name, row.kind)


def unknown(db: Connection, name: str, who: Person) -> Refused:
    """The refusal of a name that no account has. If somebody had it and nobody else has taken it since, it contains the
    present name for those who may know."""
    now = last_holder(db, name)
    if now is None or not (who.kind == OPERATOR or _may_follow(db, who, now)):
        return no_such_user(name)
    return Refused(Why.RENAMED, name=name, now=now.name)


def _may_follow(db: Connection, who: Person, other: Person) -> bool:
    """Whether a person may know the present name of a renamed one: they share a room, whose log says so, or it is about
    a moderator's room, in which the other one has been."""
    theirs, mine = aliased(MembershipRow), aliased(MembershipRow)
    shared = exists().where(
        theirs.account_id == other.id,
        mine.account_id == who.id,
        mine.room_id == theirs.room_id,
        mine.left_seq.is_(None),
        or_(theirs.left_seq.is_(None), mine.role.in_((MODERATOR, OWNER))),
    )
    return bool(db.scalar(select(shared)))


def heirs(db: Connection, names: Collection[str]) -> dict[str, str]:
    """For each of these names that an account had and nobody has now, in lower case: the name that it has now, in
    lower case."""
    if not names:
        return {}
    taken = select(AccountRow.name_key).where(AccountRow.name_key.in_(names))
    rows = db.execute(
        select(FormerNameRow.name_key, AccountRow.name_key.label("now"))
        .join(AccountRow, AccountRow.id == FormerNameRow.account_id)
        .where(FormerNameRow.name_key.in_(names), FormerNameRow.name_key.not_in(taken))
        .order_by(FormerNameRow.until)
    )
    return {row.name_key: row.now for row in rows}


def display(db: Connection, account_id: int) -> str:
    """The display name of an account, "" if it has none."""
    return db.scalar(select(AccountRow.display_name).where(AccountRow.id == account_id)) or ""


def history(db: Connection, account_id: int) -> tuple[list[str], list[str]]:
    """The names that an account had before, and the display names, each once, oldest first."""
    rows = db.execute(
        select(FormerNameRow.name, FormerNameRow.display_name)
        .where(FormerNameRow.account_id == account_id)
        .order_by(FormerNameRow.until)
    ).all()
    now = db.execute(select(AccountRow.name, AccountRow.display_name).where(AccountRow.id == account_id)).one()
    called = dict.fromkeys(row.name for row in rows)
    shown = dict.fromkeys(row.display_name for row in rows if row.display_name)
    called.pop(now.name, None)
    shown.pop(now.display_name, None)
    return list(called), list(shown)


def had_others(db: Connection, account_id: int) -> bool:
    """Whether an account was renamed."""
    return db.scalar(select(FormerNameRow.id).where(FormerNameRow.account_id == account_id).limit(1)) is not None


def forget(db: Connection, account_id: int) -> None:
    """Removes an account's former names, except rows that keep them from others: its entries then have one name, that
    of an erased account."""
    mine = FormerNameRow.account_id == account_id
    newest = select(func.max(FormerNameRow.id)).where(mine).group_by(FormerNameRow.name_key)
    db.execute(delete(FormerNameRow).where(mine, FormerNameRow.id.not_in(newest)))
    db.execute(update(FormerNameRow).where(mine).values(name="", display_name=None))
    db.execute(update(AccountRow).where(AccountRow.id == account_id).values(display_name=None, renamed_at=None))
