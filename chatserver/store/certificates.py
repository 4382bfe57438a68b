"""Client certificates, by the SHA-256 of their DER form: another way for accounts to log in."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, insert, or_, select

from chatserver.store import change_rows
from chatserver.store.db.schema import AccountRow, CertificateRow
from chatserver.values.errors import Refused, Why
from chatserver.values.events import Person

_OWNERS = (
    select(
        CertificateRow.sha256, CertificateRow.id, CertificateRow.label, AccountRow.id, AccountRow.name, AccountRow.kind
    )
    .join(AccountRow, AccountRow.id == CertificateRow.account_id)
    .where(
        CertificateRow.sha256.in_(bindparam("sha256s", expanding=True)),
        AccountRow.disabled_at.is_(None),
        AccountRow.erased_at.is_(None),
    )
)


class Owned(Struct, frozen=True):
    """A certificate that its account may log in with."""

    id: int
    label: str
    person: Person


class CertificateLine(Struct, frozen=True):
    """A certificate in a list. `name`: that of its account."""

    id: int
    name: str
    label: str
    sha256: str
    created: datetime
    last_used: datetime | None


def find(db: Connection, sha256s: Sequence[str]) -> list[Owned | None]:
    """For each fingerprint, its certificate; None if it is unknown, or its account is disabled or erased."""
    found = {
        sha256: Owned(certificate_id, label, Person(id, name, kind))
        for sha256, certificate_id, label, id, name, kind in db.execute(_OWNERS, {"sha256s": sha256s})
    }
    return [found.get(sha256) for sha256 in sha256s]


def create(db: Connection, account_id: int, label: str, sha256: str, at: datetime) -> None:
    """Raises Refused if some account has this certificate already, or this one has another with that label."""
    db.execute(select(AccountRow.id).where(AccountRow.id == account_id).with_for_update())
    known = db.execute(
        select(CertificateRow.account_id, CertificateRow.label, AccountRow.name)
        .join(AccountRow, AccountRow.id == CertificateRow.account_id)
        .where(CertificateRow.sha256 == sha256)
    ).one_or_none()
    if known is not None:
        raise Refused(Why.CERTIFICATE_KNOWN, name=known.name, label=known.label)
    if db.scalar(
        select(CertificateRow.id).where(CertificateRow.account_id == account_id, CertificateRow.label == label)
    ):
        raise Refused(Why.CERTIFICATE_LABEL_TAKEN, label=label)
    db.execute(insert(CertificateRow).values(account_id=account_id, label=label, sha256=sha256, created_at=at))


def listing(db: Connection, last: int, limit: int, account_id: int | None = None) -> list[CertificateLine]:
    """A page of certificates, of all accounts or of one: those added after the one with the id `last`."""
    mine = () if account_id is None else (CertificateRow.account_id == account_id,)
    rows = db.execute(
        select(
            CertificateRow.id,
            AccountRow.name,
            CertificateRow.label,
            CertificateRow.sha256,
            CertificateRow.created_at,
            CertificateRow.last_used_at,
        )
        .join(AccountRow, AccountRow.id == CertificateRow.account_id)
        .where(CertificateRow.id > last, *mine)
        .order_by(CertificateRow.id)
        .limit(limit)
    )
    return [CertificateLine(*row) for row in rows]


def remove(db: Connection, account_id: int, which: str, at: datetime) -> tuple[str, str] | None:
    """Removes a certificate of an account, given by its label or fingerprint, and notifies running servers. Returns
    both, or None if there is none."""
    gone = db.execute(
        delete(CertificateRow)
        .where(
            CertificateRow.account_id == account_id,
            or_(CertificateRow.label == which, CertificateRow.sha256 == which),
        )
        .returning(CertificateRow.id, CertificateRow.label, CertificateRow.sha256)
    ).first()
    if gone is None:
        return None
    change_rows.note(db, "certificate", gone.id, at)
    return gone.label, gone.sha256


def remove_all(db: Connection, account_id: int) -> int:
    """Removes all certificates of an account; the caller ends the connections that logged in with them. Returns their
    number."""
    return db.execute(delete(CertificateRow).where(CertificateRow.account_id == account_id)).rowcount
