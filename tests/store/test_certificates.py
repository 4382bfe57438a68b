"""Client certificates in the database."""

from datetime import timedelta

import pytest

from chatserver.store import certificates, change_rows, sessions
from chatserver.store.sessions import Opened
from chatserver.values.errors import Refused
from tests.store.conftest import AT, Tables

ONE, TWO = "0f" * 32, "a1" * 32


def test_last_use(tables: Tables) -> None:
    """A session that began with a certificate is its last use; one that began with a token of the same id is not."""
    ana = tables.person("ana")
    for label, sha256 in (("laptop", ONE), ("desk", TWO)):
        tables(certificates.create, ana.id, label, sha256, AT)
    laptop, desk = tables(certificates.find, [ONE, TWO])
    assert laptop is not None
    assert desk is not None
    later = AT + timedelta(minutes=1)
    tables(
        sessions.record,
        [
            Opened("s1", ana.id, "main", "192.0.2.7", AT, certificate_id=laptop.id),
            Opened("s2", ana.id, "main", "192.0.2.7", later, certificate_id=laptop.id),
            Opened("s3", ana.id, "main", "192.0.2.7", later, token_id=desk.id),
        ],
    )
    listed = tables(certificates.listing, 0, 10)
    assert [(line.label, line.last_used) for line in listed] == [("laptop", later), ("desk", None)]


def test_removal(tables: Tables) -> None:
    """Running servers learn which certificate is removed. Those of others are left alone, also if they have the same
    label; a fingerprint is free again afterwards."""
    ana, bob = tables.person("ana"), tables.person("bob")
    tables(certificates.create, ana.id, "laptop", ONE, AT)
    tables(certificates.create, bob.id, "laptop", TWO, AT)
    (owned,) = tables(certificates.find, [ONE])
    assert owned is not None
    before = tables(change_rows.newest)
    assert tables(certificates.remove, ana.id, TWO, AT) is None
    assert tables(certificates.remove, ana.id, "laptop", AT) == ("laptop", ONE)
    assert [(one.kind, one.subject) for one in tables(change_rows.since, before)] == [("certificate", owned.id)]
    assert [found is None for found in tables(certificates.find, [ONE, TWO])] == [True, False]
    tables(certificates.create, bob.id, "desk", ONE, AT)
    with pytest.raises(Refused, match=r"CERTIFICATE_KNOWN.*bob.*desk"):
        tables(certificates.create, ana.id, "laptop", ONE, AT)
    assert tables(certificates.remove_all, bob.id) == 2
