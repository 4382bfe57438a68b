"""Client certificates over real sockets: what TLS proves, with both of its versions."""

import re
import shutil
import ssl
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from websockets.sync.client import connect as connect_websocket

from tests.chatctl.conftest import Chatctl
from tests.conftest import StartServer
from tests.process.load import QUICK
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, TextClient
from tests.support.process import ChatServer, clean_environment, wait_until

DOCS = Path(__file__).resolve().parents[2] / "docs"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Keys:
    """A key and its certificate."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.key, self.certificate = write_certificate(folder)

    @property
    def fingerprint(self) -> str:
        return sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()


def context(keys: Keys | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    if keys is not None:
        made.load_cert_chain(keys.certificate, keys.key)
    return made


def secure(client: Any, made: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Any:
    """Puts a client's connection behind TLS."""
    client.socket = made.wrap_socket(client.socket, session=session)
    return client


@pytest.fixture
def ana(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "ana")


@pytest.fixture
def chat(server: StartServer, tmp_path: Path, ana: Keys) -> ChatServer:
    """A server with two TLS doors, where ana has a certificate."""
    own = Keys(tmp_path / "server")
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={own.key}:certKey={own.certificate}"
    chat = server(config=QUICK, listen=[endpoint, f"ws:{endpoint}"])
    with secure(JsonClient(chat.address), context(None)) as client:
        client.register("ana")
        client.ok("say", room="general", text="hello")
    chatctl = Chatctl(chat.database)
    chatctl("cert", "add", "ana", str(ana.certificate), "--label", "laptop")
    return chat


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_logging_in(chat: ChatServer, ana: Keys, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """The owner of a known certificate's key logs in by the name alone, at each door; nobody else is, and others log
    in as ever."""
    with secure(TextClient(chat.address), context(ana, version)) as person:
        person.type("ana")
        person.expect("your certificate laptop logs you in")
        person.expect("Hello ana")
    with secure(JsonClient(chat.address), context(ana, version)) as program:
        assert program.ok("login", name="ana", resume={"general": 1})["name"] == "ana"
        program.hears("hello")
    web, port = chat.addresses[1]
    with connect_websocket(f"wss://{web}:{port}", ssl=context(ana, version), compression=None) as browser:
        browser.send('{"cmd":"login","name":"ana"}')
        assert '"ok":true' in str(browser.recv(10))
    chat.wait_log(r"audit: login address=127\.0\.0\.1 name=ana how=certificate")
    for keys, error in ((None, "bad-command"), (Keys(tmp_path / "mallory"), "bad-credentials")):
        with secure(JsonClient(chat.address), context(keys, version)) as other:
            assert other.refused("login", name="ana") == error
            assert other.login("ana")["name"] == "ana"
    [line] = Chatctl(chat.database).json("cert", "list")
    wait_until(lambda: "last_used" in Chatctl(chat.database).json("cert", "list")[0])
    assert line["sha256"] == ana.fingerprint


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_resumption(chat: ChatServer, ana: Keys, version: ssl.TLSVersion) -> None:
    """A client that tries to resume a TLS session keeps its certificate, and gets nobody else's."""
    with_certificate, without = context(ana, version), context(None, version)
    sessions: dict[bool, ssl.SSLSession | None] = {}
    for made in (with_certificate, without):
        with secure(JsonClient(chat.address), made) as client:
            client.ok("ping")
            sessions[made is without] = client.socket.session
    with secure(JsonClient(chat.address), with_certificate, sessions[False]) as client:
        assert client.ok("login", name="ana")["name"] == "ana"
    with secure(JsonClient(chat.address), without, sessions[True]) as client:
        assert client.refused("login", name="ana") == "bad-command"


def test_any_certificate(chat: ChatServer, ana: Keys, tmp_path: Path) -> None:
    """The issuer and the dates of a certificate do not matter; a chain behind it changes nothing."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("authority", "ana")]
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    made = [
        x509.CertificateBuilder(names[0], subject, public, x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=1))
        .sign(authority, hashes.SHA256())
        for subject, public in ((names[1], key.public_key()), (names[0], authority.public_key()))
    ]
    ana.certificate.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in made))
    ana.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    Chatctl(chat.database)("cert", "add", "ana", str(ana.certificate))
    for version in VERSIONS:
        with secure(JsonClient(chat.address), context(ana, version)) as program:
            assert program.ok("login", name="ana")["name"] == "ana"


def test_a_long_chain(chat: ChatServer, ana: Keys, tmp_path: Path) -> None:
    """A client whose certificates take more memory than a connection is worth ends in the handshake; what is sent right
    behind an ordinary one is not counted."""
    ana.certificate.write_bytes(ana.certificate.read_bytes() * 100)
    for version in VERSIONS:
        assert not is_greeted(chat, context(ana, version))
        with secure(JsonClient(chat.address), context(None, version)) as client:
            client.send(b'{"cmd":"login","name":"ana","password":"s3cret-words"}\n' + b'{"cmd":"ping"}\n' * 4000)
            client.ok("quit")


def is_greeted(chat: ChatServer, made: ssl.SSLContext) -> bool:
    with JsonClient(chat.address) as client:
        try:
            return bool(secure(client, made).socket.recv(9))
        except OSError:
            return False


def commands(page: str) -> list[str]:
    """The commands for openssl in a page of the documentation."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.startswith("    openssl ")]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
def test_the_documentation(server: StartServer, tmp_path: Path) -> None:
    """The manual's commands, and the protocol's program in Python, work as printed."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    own = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject]
    run(*own, "-keyout", "own.key", "-out", "own.crt", cwd=tmp_path)
    keys = f"privateKey={tmp_path}/own.key:certKey={tmp_path}/own.crt"
    chat = server(config=QUICK, listen=[f"ssl:0:interface=127.0.0.1:{keys}"])
    with JsonClient(chat.address, tls=True) as client:
        client.register("ana")
    request, fingerprint, connect = commands("manual.md")
    assert commands("protocol.md") == [request, fingerprint]
    run(*request.split(), cwd=tmp_path)
    printed = run(*fingerprint.split(), cwd=tmp_path)
    Chatctl(chat.database)("cert", "add", "ana", printed.strip())
    shell = connect.replace("HOST:PORT", f"localhost:{chat.port}").split()
    assert "* Hello ana." in run(*shell, cwd=tmp_path, typed="ana\n/quit\n")
    [program] = re.findall(
        r"^    import json, socket, ssl\n(?:(?:    .*)?\n)+",
        (DOCS / "protocol.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    source = textwrap.dedent(program).replace("chat.example.org", "localhost").replace("4001", str(chat.port))
    source = source.replace("print(json.loads(line))", "print(json.loads(line)); break")
    said = run(sys.executable, "-c", source, cwd=tmp_path, env={"SSL_CERT_FILE": "own.crt"})
    assert said.startswith("{'ok': True, 'tag': 1, 'cmd': 'login', 'name': 'ana'")


def run(*command: str, cwd: Path, typed: str = "", env: dict[str, str] | None = None) -> str:
    """The output of a program that has to succeed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        input=typed,
        text=True,
        capture_output=True,
        timeout=30,
        check=False,
        env=clean_environment(env),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_removed_certificate(chat: ChatServer, ana: Keys) -> None:
    """Connections that logged in with a removed certificate are told and ended; others of the account stay."""
    with (
        secure(JsonClient(chat.address), context(ana)) as program,
        secure(JsonClient(chat.address), context(ana)) as other,
    ):
        program.ok("login", name="ana")
        other.login("ana")
        Chatctl(chat.database)("cert", "remove", "ana", "laptop")
        assert program.wait_closing()["reason"] == "certificate-removed"
        assert other.ok("ping")
    with secure(JsonClient(chat.address), context(ana)) as program:
        assert program.refused("login", name="ana") == "bad-credentials"
