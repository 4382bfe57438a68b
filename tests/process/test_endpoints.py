"""The kinds of endpoints that the server can listen on, in particular TLS."""

import re
import signal
import socket
from pathlib import Path

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, check_heard, say_often
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, Raw, TextClient
from tests.support.process import wait_until

DOCS = Path(__file__).parents[2] / "docs"
MESSAGES = 9000
TEXT = "x" * 1000


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A TLS endpoint with a self-signed certificate."""
    key, certificate = write_certificate(tmp_path_factory.mktemp("tls"))
    return f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"


def test_documented_endpoints(tls: str, server: StartServer, tmp_path: Path) -> None:
    """The server can listen on all endpoints in the documentation at the same time, and answers on each."""
    shown = re.findall(r"--listen (\w+:\S+)", (DOCS / "running.md").read_text())
    [listen] = re.findall(r"^ +listen = \[(.*)\]", (DOCS / "operating.md").read_text(), re.MULTILINE)
    shown += re.findall(r'"([^"]+)"', listen)
    files = dict(re.findall(r"(privateKey|certKey)=([^:]+)", tls)) | {"extraCertChain": tls.rpartition("=")[2]}
    here = []
    for endpoint in shown:
        endpoint = re.sub(r"unix:[^:]+", f"unix:{tmp_path}/socket", endpoint)
        endpoint = re.sub(r"^(tcp|ssl):\d+", r"\1:0:interface=127.0.0.1", endpoint)
        endpoint = re.sub(r"^tcp6:\d+", r"tcp6:0:interface=\\:\\:1", endpoint)
        here.append(re.sub(r"(\w+)=/?[\w/]+\.pem", lambda found: f"{found[1]}={files[found[1]]}", endpoint))
    assert {endpoint.partition(":")[0] for endpoint in here} == {"tcp", "tcp6", "ssl", "unix"}
    chat = server(config=QUICK, listen=here)
    ports = [endpoint for endpoint in here if not endpoint.startswith("unix:")]
    assert len(chat.addresses) == len(ports)
    for address, endpoint in zip(chat.addresses, ports, strict=True):
        with Raw(address, tls=endpoint.startswith("ssl:")) as client:
            assert client.read_line().startswith(b"* Welcome"), endpoint
    with socket.socket(socket.AF_UNIX) as local:
        local.settimeout(10)
        local.connect(str(tmp_path / "socket"))
        assert local.recv(9) == b"* Welcome"


def test_talking_over_tls(tls: str, server: StartServer, connect: Connect) -> None:
    """Clients with and without TLS can talk to each other, and a TLS connection ends with a message and a close_notify.

    A shutdown waits for a client that never answers the close_notify no longer than for a slow one.
    """
    chat = server(config=QUICK + "[shutdown]\nflush_seconds = 1\n", listen=[tls, "tcp:0:interface=127.0.0.1"])
    ana, eve = connect(chat, JsonClient, tls=True), connect(chat, JsonClient, tls=True)
    bob = connect(chat, TextClient, tls=True)
    with JsonClient(chat.addresses[1]) as cai:
        ana.register("ana")
        cai.register("cai")
        eve.register("eve")
        bob.type("/register bob s3cret-words")
        bob.expect("You are in general")
        ana.say("general", "over TLS")
        bob.type("and typed")
        for client in (ana, cai):
            client.hears("and typed")
        bob.expect("ana: over TLS")
        assert eve.ok("quit")
        eve.eof()
        bob.type("/quit")
        bob.eof()
        chat.signal(signal.SIGTERM)
        assert ana.wait_closing()["reason"] == "shutdown"
        ana.eof()
    assert chat.wait() == 0


@pytest.mark.slow
def test_a_tls_reader_that_stops_reading(tls: str, server: StartServer, connect: Connect) -> None:
    """A TLS client that stops reading and continues later receives everything in order, and the server does not buffer
    what it has not read."""
    chat = server(config=QUICK, listen=[tls])
    ana, bob = connect(chat, JsonClient, tls=True), connect(chat, JsonClient, tls=True, receive_buffer=4096)
    ana.register("ana")
    bob.register("bob")
    say_often(ana, TEXT, 1000)  # the kernel's buffers are full
    before = chat.rss_bytes()
    head = say_often(ana, TEXT, MESSAGES)
    assert chat.rss_bytes() - before < MESSAGES * len(TEXT) / 2
    log = bob.wait_seq("general", head, 30)
    check_heard(log)
    assert len(log) > MESSAGES


def test_clients_without_tls_on_a_tls_port(tls: str, server: StartServer, connect: Connect) -> None:
    """On a TLS port, clients that send nothing or something else are cut off after the time to log in; a client
    above the connection limit is told so over TLS."""
    config = QUICK + "[limits]\ntyping_seconds = 1\nconnections_per_address = 3\n"
    chat = server(config=config, listen=[tls])
    silent, other = connect(chat, Raw), connect(chat, Raw)
    other.send(b"GET / HTTP/1.1\r\n\r\n")
    other.eof()
    silent.eof()
    for name in ("ana", "bob", "cai"):
        connect(chat, JsonClient, tls=True).register(name)
    last = connect(chat, TextClient, tls=True)
    last.expect("too-many-connections")
    last.eof()


def test_sockets_that_were_removed(server: StartServer, tmp_path: Path) -> None:
    """A server whose Unix sockets somebody has deleted stops as usual."""
    paths = [tmp_path / name for name in ("chat", "metrics", "control")]
    chat, metrics, control = paths
    config = f'{QUICK}[server]\nmetrics = "unix:{metrics}"\ncontrol = "{control}"\n'
    one = server(config=config, listen=["tcp:0:interface=127.0.0.1", f"unix:{chat}"])
    for path in paths:
        wait_until(path.exists, what=str(path))
        path.unlink()
    assert one.stop() == 0
    assert "Traceback" not in one.log
