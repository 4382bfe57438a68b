"""Logins: from where, from when to when, and how they ended."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite

from chatserver.store.schema import Account, Membership, SessionRow, Token


class Opened(Struct, frozen=True):
    """`token_id`: what it logged in with, where not with a password."""

    id: str
    account_id: int
    node: str
    address: str
    at: datetime
    token_id: int = 0


class Closed(Struct, frozen=True):
    """`read`: by room id, the seq up to which a person has seen it."""

    id: str
    account_id: int
    at: datetime
    reason: str
    read: dict[int, int] = {}


Change = Opened | Closed


def record(db: Connection, changes: Sequence[Change]) -> None:
    """Writes down many logins and ends of logins at once."""
    opened = [change for change in changes if isinstance(change, Opened)]
    closed = [change for change in changes if isinstance(change, Closed)]
    if opened:
        # Done twice where the database went away just after it had done it.
        insert = postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert
        db.execute(
            insert(SessionRow).on_conflict_do_nothing(),
            [
                {"id": o.id, "account_id": o.account_id, "node": o.node, "address": o.address, "connected_at": o.at}
                for o in opened
            ],
        )
    used = {o.token_id: o.at for o in opened if o.token_id}
    if used:
        db.execute(
            update(Token).where(Token.id == bindparam("token")).values(last_used_at=bindparam("used")),
            [{"token": token_id, "used": at} for token_id, at in sorted(used.items())],
        )
    if closed:
        # Connection.execute of an UPDATE with a list is one executemany.
        db.execute(
            update(SessionRow)
            .where(SessionRow.id == bindparam("session"))
            .values(disconnected_at=bindparam("ended"), reason=bindparam("why")),
            [{"session": c.id, "ended": c.at, "why": c.reason} for c in closed],
        )
    marks = [
        {"who": c.account_id, "room": room_id, "mark": seq}
        for c in sorted(closed, key=lambda c: c.account_id)
        for room_id, seq in sorted(c.read.items())
    ]
    if marks:
        db.execute(
            update(Membership)
            .where(
                Membership.account_id == bindparam("who"), Membership.room_id == bindparam("room"),
                Membership.left_seq.is_(None), Membership.read_seq < bindparam("mark"),
            )
            .values(read_seq=bindparam("mark")),
            marks,
        )  # fmt: skip
    seen = {change.account_id: change.at for change in changes}
    if seen:
        # In the order of ids, so that two nodes never wait for each other.
        db.execute(
            update(Account).where(Account.id == bindparam("who")).values(last_seen_at=bindparam("seen")),
            [{"who": account_id, "seen": at} for account_id, at in sorted(seen.items())],
        )


def close_left_open(db: Connection, node: str, at: datetime) -> int:
    """Closes what a crash of this node left open; how many there were."""
    result = db.execute(
        update(SessionRow)
        .where(SessionRow.node == node, SessionRow.disconnected_at.is_(None))
        .values(disconnected_at=at, reason="crash")
    )
    return result.rowcount
