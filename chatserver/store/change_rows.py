"""Changes that running servers must learn of, because another process made them: see `schema.ChangeRow`."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, text

from chatserver.store.db import database_clock
from chatserver.store.db.database_clock import lasts
from chatserver.store.db.schema import (
    AccountRow,
    BanRow,
    BlockRow,
    CertificateRow,
    ChangeKind,
    ChangeRow,
    IgnoreRow,
    InvitationRow,
    NodeRow,
    PreferenceRow,
    TokenRow,
)
from chatserver.store.nodes import nodes
from chatserver.store.nodes.lease import LAPSE_SECONDS
from chatserver.values.events import PERSON, AccountKind

PRUNED_AT_ONCE: Final = 1_000
KEPT: Final = timedelta(hours=1)
"""How long changes are kept while nodes work together: each node reads one within seconds or loses its lease."""
_PRUNING: Final = text("SELECT pg_try_advisory_xact_lock(4003)")


class AccountNow(Struct, frozen=True):
    """The present state of an account.

    `ban`: why the account, or the owner of a bot, is banned from the server; None if neither is. `gone`: the account is
    disabled or erased, or the token that it logged in with is revoked. `invited`, `apart`, `limited`, `prefers`,
    `ignores`: whether it has invitations, blocks, limits of its own, and preferences, and ignores anybody, to look up.
    `named_at`: since when it has its name and display name; None: from the beginning. `proof`: see `proof_of`.
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
    proof: int = 0


class Change(Struct, frozen=True):
    """See `schema.ChangeRow`."""

    id: int
    kind: ChangeKind
    subject: int
    detail: str | None = None
    origin: str | None = None


class Look(Struct, frozen=True):
    """The changes that one query has found, in ascending order of ids.

    Ids are given out before the commit, so a change may come after others with higher ids. `oldest`: all transactions
    with lower numbers than this had ended; `next`: those with this number or a higher one had written nothing yet. Both
    are 0 where one transaction writes at a time (SQLite), so that ids come in order.
    """

    changes: list[Change]
    oldest: int = 0
    next: int = 0


class Proofs(Struct, frozen=True):
    """The credentials of an account: its password (see `proof_of`), and those of the requested certificates that it
    still has."""

    password: int
    certificates: frozenset[int]


def proof_of(password_hash: str | None) -> int:
    """A number that shows whether a password is still the same, and nothing else about it; 0 if there is none."""
    return int.from_bytes(sha256(password_hash.encode()).digest()[:8], "big") if password_hash else 0


def note(
    db: Connection, kind: ChangeKind, subject: int, at: datetime, *, detail: str | None = None, origin: str = ""
) -> int:
    """Records a change for running servers, but for the process whose boot is `origin`, and returns its id. `subject`
    is the id of the room, account, token or certificate; 0 for bans."""
    values = {"kind": kind, "subject": subject, "at": at, "detail": detail, "origin": origin or None}
    key = db.execute(insert(ChangeRow).values(values)).inserted_primary_key
    return 0 if key is None else int(key[0])


def grown(db: Connection, room_ids: Iterable[int], at: datetime) -> None:
    """Records that the logs of these rooms have new entries, which running servers then publish. Notifies other
    applications."""
    for room_id in room_ids:
        note(db, "room", room_id, at)
    notify_readers(db)


def notify_readers(db: Connection) -> bool:
    """Notifies other applications that there are new entries, on the channel of docs/sql.md. Returns whether the
    database can. Not for the transactions of messages: those with notifications are committed one after another."""
    if db.dialect.name != "postgresql":
        return False
    db.exec_driver_sql("NOTIFY chat_v1")
    return True


def prune(db: Connection, at: datetime) -> None:
    """Deletes changes older than a day, which every running server has read by then."""
    db.execute(delete(ChangeRow).where(ChangeRow.at < at - timedelta(days=1)))


def prune_some(db: Connection) -> bool:
    """Deletes some changes older than KEPT, but never the newest one: on SQLite, its id would be given out again.
    Returns whether there may be more. Several nodes may call it: one of them does it."""
    if db.dialect.name == "postgresql" and not db.scalar(_PRUNING):
        return False
    first = select(ChangeRow.id, ChangeRow.at).order_by(ChangeRow.id).limit(PRUNED_AT_ONCE).subquery()
    old = select(first.c.id).where(first.c.at < database_clock.now(db) - KEPT)
    which = (ChangeRow.id.in_(old), ChangeRow.id < select(func.max(ChangeRow.id)).scalar_subquery())
    return db.execute(delete(ChangeRow).where(*which)).rowcount == PRUNED_AT_ONCE


def newest(db: Connection) -> int:
    """The id of the latest change; 0 if there is none."""
    return db.scalar(select(func.max(ChangeRow.id))) or 0


def since(db: Connection, last: int) -> list[Change]:
    """The changes with ids above `last`, in ascending order."""
    columns = (ChangeRow.id, ChangeRow.kind, ChangeRow.subject, ChangeRow.detail, ChangeRow.origin)
    return [Change(*row) for row in db.execute(select(*columns).where(ChangeRow.id > last).order_by(ChangeRow.id))]


_LOOK: Final = text(
    "SELECT CAST(CAST(pg_snapshot_xmin(now.seen) AS text) AS bigint) AS oldest, "
    "CAST(CAST(pg_snapshot_xmax(now.seen) AS text) AS bigint) AS next, c.id, c.kind, c.subject, c.detail, c.origin "
    "FROM (SELECT pg_current_snapshot() AS seen) AS now LEFT JOIN ("
    "SELECT id, kind, subject, detail, origin FROM change WHERE id > :last UNION ALL "
    "SELECT id, kind, subject, detail, origin FROM change WHERE id = ANY(CAST(:missing AS bigint[]))"
    ") AS c ON true ORDER BY c.id"
)


def look(db: Connection, last: int, missing: Collection[int] = ()) -> Look:
    """The changes with ids above `last`, and those of the `missing` ones that have come."""
    if db.dialect.name != "postgresql":
        return Look(since(db, last))
    rows = db.execute(_LOOK, {"last": last, "missing": f"{{{','.join(map(str, missing))}}}"}).all()
    return Look([Change(*row[2:]) for row in rows if row.id is not None], rows[0].oldest, rows[0].next)


def behind(db: Connection, change: int, boot: str = "") -> list[str]:
    """The nodes that work together with others and have not applied all changes up to this one, but for those whose
    lease has lapsed and the process with this boot."""
    alive = (
        NodeRow.boot.not_in(("", boot)),
        NodeRow.heartbeat_at > database_clock.now(db) - timedelta(seconds=LAPSE_SECONDS),
    )
    found = []
    for row in db.execute(select(NodeRow.name, NodeRow.boot, NodeRow.facts, NodeRow.applied).where(*alive)):
        said = nodes.facts_in(row.facts)
        if said.speaks and (said.boot != row.boot or row.applied < change):
            found.append(row.name)
    return found


def together(db: Connection) -> bool:
    """Whether there are nodes that work together."""
    return bool(behind(db, 2**62))


def proofs(db: Connection, account_id: int, certificate_ids: Collection[int]) -> Proofs:
    """The credentials of an account that are still valid, of those that its sessions have used."""
    hash = db.scalar(select(AccountRow.password_hash).where(AccountRow.id == account_id))
    theirs = (CertificateRow.account_id == account_id, CertificateRow.id.in_(certificate_ids))
    known = db.scalars(select(CertificateRow.id).where(*theirs)) if certificate_ids else ()
    return Proofs(proof_of(hash), frozenset(known))


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
    AccountRow.password_hash,
).where(AccountRow.id.in_(bindparam("ids", expanding=True)))
_TOKENS = select(TokenRow.id).where(TokenRow.id.in_(bindparam("ids", expanding=True)), TokenRow.revoked_at.is_(None))


def accounts(db: Connection, asked: Sequence[tuple[int, int]]) -> list[AccountNow]:
    """The present state of each of these accounts, in the same order.

    Each account is given by its id and the id of the token that it logged in with, or 0.
    """
    tokens = [token_id for _, token_id in asked if token_id]
    good = set(db.scalars(_TOKENS, {"ids": tokens})) if tokens else set()
    found = {
        id: (kind, disabled_at is not None or erased_at is not None, *more, proof_of(hash))
        for id, kind, disabled_at, erased_at, *more, hash in db.execute(
            _ACCOUNTS, {"ids": [account_id for account_id, _ in asked]}
        )
    }
    states = []
    for account_id, token_id in asked:
        kind, gone, *more = found.get(account_id, (PERSON, True, None))
        states.append(AccountNow(kind, gone or bool(token_id and token_id not in good), *more))
    return states
