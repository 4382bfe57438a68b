"""Certificates that are renewed while the server runs."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.logger import LogLevel

from chatserver.net.listening.endpoints import WrongEndpoint, examine
from chatserver.net.listening.tls import Identity, Shown
from chatserver.operation.control.reload import CERTIFICATES, Reloaded
from chatserver.util.times import now
from tests.operation.reloading import Town
from tests.support.certificate import write_certificate
from tests.support.memory import logged


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path)
    yield town
    town.hall.close()


def test_certificates(town: Town, tmp_path: Path) -> None:
    """Certificates of endpoints are renewed where the files have
    changed, and stays where they have not, so that clients can
    resume their TLS sessions. Those that end soon are warned of each time."""
    until = now() + timedelta(days=3)
    key, certificate = write_certificate(tmp_path, until=until)
    endpoint = f"ssl:4001:privateKey={key}:certKey={certificate}"
    first, second = identity_of(endpoint), identity_of(endpoint)
    doors = [Shown(first), Shown(second)]
    town.hall.connections.identities += doors
    with logged(LogLevel.warn) as lines:
        assert town.finish(town.begin()) == Reloaded([], [])
    assert lines == [f"The certificate of ssl:4001 expires on {until:%Y-%m-%d}. Renew it, then: chatctl reload"]
    assert [door.identity for door in doors] == [first, second]
    write_certificate(tmp_path)
    assert town.finish(town.begin()) == Reloaded([CERTIFICATES], [])
    assert doors[0].identity is doors[1].identity is not first
    context = doors[0].identity.context
    assert doors[0].serverConnectionForTLS(None).get_context() is context
    assert town.finish(town.begin()) == Reloaded([], [])
    write_certificate(tmp_path)
    key.unlink()
    assert "cannot be read" in (town.finish(town.begin()).problem or "")
    assert doors[0].identity.context is context


def test_a_chain_in_one_file(tmp_path: Path) -> None:
    """The certificates behind the first one are shown, too, as in certbot's fullchain.pem; with `extraCertChain`, those
    in its file are shown instead."""
    for name in ("issuer", "other"):
        (tmp_path / name).mkdir()
        write_certificate(tmp_path / name)
    key, certificate = write_certificate(tmp_path)
    own, issuer, other = (path.read_bytes() for path in (certificate, *tmp_path.glob("*/cert.pem")))
    certificate.write_bytes(own + issuer)
    (tmp_path / "other.pem").write_bytes(other)
    endpoint = f"ssl:4001:privateKey={key}:certKey={certificate}"
    for shown, chain in ((endpoint, issuer), (f"{endpoint}:extraCertChain={tmp_path}/other.pem", other)):
        assert identity_of(shown).certificates == [der(own), der(chain)]
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + own + issuer)
    assert identity_of(f"ssl:4001:{both}").certificates == [der(own), der(issuer)]


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_key_with_a_password(tmp_path: Path, form: PrivateFormat) -> None:
    """Nobody is asked for it, neither at a terminal; one line says what to do."""
    key, certificate = write_certificate(tmp_path)
    opened = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(opened.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"s3cret")))
    for endpoint in (f"ssl:4001:privateKey={key}:certKey={certificate}", f"ssl:4001:{key}:{certificate}"):
        with pytest.raises(WrongEndpoint, match=rf"openssl pkey -in {key} -out NEW$"):
            examine(endpoint)


def identity_of(endpoint: str) -> Identity:
    found = examine(endpoint).identity
    assert found is not None
    return found


def test_a_certificate_that_openssl_refuses(tmp_path: Path) -> None:
    """One line says so, as for any other: here the key is too short to protect anything."""
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now(), now() + timedelta(days=100))
    (tmp_path / "both.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    )
    with pytest.raises(WrongEndpoint, match=r"OpenSSL refuses what is in its files.*too small"):
        examine(f"ssl:4001:privateKey={tmp_path / 'both.pem'}")
