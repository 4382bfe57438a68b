"""`chatctl cert`: certificates that accounts log in with."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from ssl import PEM_cert_to_DER_cert

import pytest

from chatserver.store import certificates
from chatserver.store.db.engine import open_ready, parse_url
from tests.chatctl.conftest import Chatctl
from tests.support.certificate import write_certificate

ONE, TWO = "0f" * 32, "a1" * 32


def fingerprint(certificate: Path) -> str:
    return sha256(PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()


def test_a_certificate(chatctl: Chatctl, tmp_path: Path) -> None:
    """A certificate is added by its file, as PEM (with or without its key) or DER, or by its fingerprint as openssl
    prints it; it is listed, and removed by its label or fingerprint."""
    chatctl.add("ana", "bob")
    key, pem = write_certificate(tmp_path)
    known = fingerprint(pem)
    both, der = tmp_path / "both.pem", tmp_path / "one.der"
    both.write_bytes(key.read_bytes() + pem.read_bytes())
    der.write_bytes(PEM_cert_to_DER_cert(pem.read_text()))
    for given in (str(both), str(der), str(pem)):
        added = chatctl.json("cert", "add", "ANA", given, "--label", "laptop")
        assert added == {"name": "ana", "label": "laptop", "sha256": known}
        gone = chatctl.json("cert", "remove", "ana", "laptop" if given == str(der) else known)
        assert gone == added | {"removed": True}
    printed = f"sha256 Fingerprint={ONE[:2].upper()}" + "".join(f":{ONE[n : n + 2].upper()}" for n in range(2, 64, 2))
    assert chatctl("cert", "add", "ana", printed) == f"ana can log in with the certificate {ONE[:12]} ({ONE}).\n"
    assert chatctl("cert", "add", "bob", "-", "--label", "desk", typed=pem.read_text()).startswith("bob can log in")
    listed = chatctl.json("cert", "list")
    assert [(line["name"], line["label"], line["sha256"]) for line in listed] == [
        ("ana", ONE[:12], ONE),
        ("bob", "desk", known),
    ]
    assert [line["label"] for line in chatctl.json("cert", "list", "bob")] == ["desk"]
    assert chatctl("cert", "list", "ana").split()[:3] == ["ana", ONE[:12], ONE]
    assert chatctl("cert", "list", "ana").endswith("never\n")
    assert chatctl("cert", "remove", "bob", "desk") == "The certificate desk of bob is removed.\n"
    assert [line["name"] for line in chatctl.json("cert", "list")] == ["ana"]


def test_what_is_no_certificate(chatctl: Chatctl, tmp_path: Path) -> None:
    """A certificate belongs to one account, a label to one certificate of it; what is wrong is said, and adds
    nothing."""
    chatctl.add("ana", "bob")
    chatctl("cert", "add", "ana", ONE, "--label", "laptop")
    for name in ("ana", "bob"):
        assert chatctl.fails("cert", "add", name, ONE) == "ana has this certificate already, labelled laptop."
    assert "Choose another label" in chatctl.fails("cert", "add", "ana", TWO, "--label", "laptop")
    assert "There is no user cai" in chatctl.fails("cert", "add", "cai", TWO)
    assert chatctl.fails("cert", "add", "ana", "missing.pem").startswith("missing.pem cannot be read (No such file")
    key, _ = write_certificate(tmp_path)
    assert "There is no certificate in" in chatctl.fails("cert", "add", "ana", str(key))
    assert "It is no fingerprint" in chatctl.misused("cert", "add", "ana", TWO, "--label", ONE)
    assert chatctl.fails("cert", "remove", "bob", ONE) == f"bob has no certificate {ONE}. See: chatctl cert list bob"
    assert [line["sha256"] for line in chatctl.json("cert", "list")] == [ONE]


def test_whom_a_certificate_lets_in(chatctl: Chatctl) -> None:
    """It counts for as long as its account is enabled; with the account it is erased."""
    chatctl.add("ana")
    chatctl("cert", "add", "ana", ONE, "--label", "laptop")

    def owner() -> str | None:
        engine = open_ready(parse_url(chatctl.database))
        with engine.begin() as db:
            found, missing = certificates.find(db, [ONE, TWO])
        engine.dispose()
        assert missing is None
        return None if found is None else found.person.name

    assert owner() == "ana"
    chatctl("user", "disable", "ana")
    assert owner() is None
    chatctl("user", "disable", "ana", "--off")
    assert owner() == "ana"
    chatctl("user", "erase", "ana", "--yes")
    assert chatctl.json("cert", "list") == []


def test_a_long_list(chatctl: Chatctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is read in pages, and is complete."""
    monkeypatch.setattr("chatserver.chatctl.cert.PAGE", 2)
    monkeypatch.setattr("chatserver.chatctl.token.PAGE", 2)
    chatctl.add("ana")
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        for number in range(5):
            certificates.create(db, 1, f"c{number}", f"{number:064x}", datetime.now(UTC))
    engine.dispose()
    for number in range(5):
        chatctl("token", "add", "ana", f"t{number}")
    assert [line["label"] for line in chatctl.json("cert", "list")] == [f"c{number}" for number in range(5)]
    assert [line["label"] for line in chatctl.json("token", "list")] == [f"t{number}" for number in range(5)]
