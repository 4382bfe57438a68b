"""The PROXY protocol over real sockets: clients behind a trusted proxy have their own address everywhere."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.process.load import QUICK, query
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, Raw
from tests.support.elsewhere import connected_from
from tests.support.process import ChatServer, wait_until
from tests.support.proxy import v1, v2

TRUSTING = QUICK + '[server]\ntrusted_proxies = ["127.0.0.1"]\n'
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: chat\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def endpoints(folder: Path) -> list[str]:
    key, certificate = write_certificate(folder)
    return [
        "tcp:0:interface=127.0.0.1",
        f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}",
        "ws:tcp:0:interface=127.0.0.1",
    ]


def addresses(chat: ChatServer) -> list[str]:
    return [str(address) for (address,) in query(chat.database, "SELECT address FROM session")]


@pytest.mark.parametrize("header", [v1("192.0.2.7"), v2("192.0.2.7", tlvs=b"\x01\x00\x02h2")], ids=["v1", "v2"])
def test_behind_a_proxy(server: StartServer, tmp_path: Path, header: bytes) -> None:
    """At the plain, the TLS and the WebSocket door the log and the database have the address of the header; TLS begins
    behind the header."""
    chat = server(config=TRUSTING, listen=endpoints(tmp_path))
    plain, tls, web = chat.addresses
    with ExitStack() as stack:
        ana = stack.enter_context(connected_from(JsonClient, plain, first=header))
        bob = stack.enter_context(connected_from(JsonClient, tls, first=header, tls=True))
        cai = stack.enter_context(connected_from(Raw, web, first=header + REQUEST))
        assert cai.read_line() == b"HTTP/1.1 101 Switching Protocols"
        ana.register("ana")
        bob.register("bob")
        ana.say("general", "hello")
        bob.hears("hello")
        wait_until(lambda: addresses(chat) == ["192.0.2.7"] * 2)
    chat.wait_log("audit: registered address=192.0.2.7 name=ana")
    assert "address=127.0.0.1" not in chat.log


def test_a_header_in_pieces(server: StartServer, tmp_path: Path) -> None:
    """Each byte of a header may come by itself, and before a TLS handshake too."""
    chat = server(config=TRUSTING, listen=endpoints(tmp_path))
    for header in (v1("2001:db8::7"), v2("2001:db8::7")):
        with connected_from(Raw, chat.address) as client:
            for byte in header:
                client.send(bytes([byte]))
            assert client.read_line().startswith(b"* Welcome")
            client.send(b'{"cmd":"ping","tag":1}\n')
            assert json.loads(client.read_line())["ok"]


def test_connections_without_a_header(server: StartServer, tmp_path: Path) -> None:
    """A trusted proxy has to send one, at each door; nobody else's is looked at."""
    chat = server(config=TRUSTING, listen=endpoints(tmp_path))
    for number, data in enumerate((b"/help\n", b"\x16\x03\x01\x02\x00", REQUEST)):
        with connected_from(Raw, chat.addresses[number], first=data) as client:
            assert client.eof() == b""
    chat.wait_log(r"A connection from 127\.0\.0\.1 was ended: .*send-proxy-v2.*server\.trusted_proxies")
    with connected_from(Raw, chat.address, "127.0.0.2", first=v1("192.0.2.7")) as liar:
        liar.read_until(b"\n! ")
    with connected_from(JsonClient, chat.address, "127.0.0.2") as ana:
        ana.register("ana")
        wait_until(lambda: addresses(chat) == ["127.0.0.2"])


@pytest.mark.slow
def test_many_behind_a_proxy(server: StartServer) -> None:
    """The clients of a proxy do not use up its own quotas, nor each other's."""
    chat = server(config=TRUSTING + "[limits]\nconnections_per_address = 2\nconnections_per_minute = 2\n")
    with ExitStack() as stack:
        for number in range(1, 30):
            client = connected_from(Raw, chat.address, first=v2(f"192.0.2.{number}"))
            assert stack.enter_context(client).read_line().startswith(b"* Welcome")
