"""Versions and ciphers that a TLS port accepts."""

import re
import socket
import ssl
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.conftest import StartServer
from tests.process.load import QUICK
from tests.support.process import ChatServer

WEAK = "ALL:@SECLEVEL=0"


def write_rsa_certificate(folder: Path) -> Path:
    """With a key of this kind, OpenSSL also offers ciphers without forward secrecy."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    return path


@pytest.fixture
def chat(server: StartServer, tmp_path: Path) -> ChatServer:
    listen = f"ssl:0:interface=127.0.0.1:privateKey={write_rsa_certificate(tmp_path)}"
    return server(config=QUICK, listen=[listen])


def agreed(chat: ChatServer, latest: ssl.TLSVersion, ciphers: str) -> tuple[str | None, str]:
    """The version and the cipher that a client with these abilities gets. Raises SSLError or OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = latest
    context.set_ciphers(ciphers)
    with socket.create_connection(chat.address, 10) as tcp, context.wrap_socket(tcp) as secure:
        assert secure.recv(9) == b"* Welcome"
        cipher = secure.cipher()
        assert cipher is not None
        return secure.version(), cipher[0]


def test_versions_and_ciphers(chat: ChatServer) -> None:
    """TLS 1.3 is chosen where the client has it, 1.2 with forward secrecy is accepted, and nothing weaker."""
    assert agreed(chat, ssl.TLSVersion.TLSv1_3, WEAK)[0] == "TLSv1.3"
    version, cipher = agreed(chat, ssl.TLSVersion.TLSv1_2, WEAK)
    assert version == "TLSv1.2"
    assert cipher.startswith("ECDHE-")
    for latest, ciphers in (
        (ssl.TLSVersion.TLSv1_1, WEAK),
        (ssl.TLSVersion.TLSv1_2, "AES128-SHA:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "kRSA:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "aNULL:@SECLEVEL=0"),
    ):
        with pytest.raises(OSError):
            agreed(chat, latest, ciphers)


def test_plain_ports_that_are_open_to_all(server: StartServer, tmp_path: Path) -> None:
    """The log warns of them, with what to do, and of a certificate that ends soon; not of ports with TLS, nor of those
    that only this host can reach."""
    key = write_rsa_certificate(tmp_path)
    listen = ["tcp:0", f"ssl:0:privateKey={key}", "tcp:0:interface=127.0.0.1", f"unix:{tmp_path}/socket"]
    chat = server(config=QUICK, listen=listen)
    chat.wait_log("The certificate of ssl:0 expires on .* Renew it, then: chatctl reload")
    plain, certificate = re.findall(r"#warn\] (.*)", chat.log)
    assert plain.startswith(f"0.0.0.0:{chat.addresses[0][1]} is open to other hosts, without TLS")
    assert ":interface=127.0.0.1" in plain
    assert certificate.startswith("The certificate of ssl:0")
