"""`chatctl check --live`: a visit to a running server."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chatserver.chatctl.live import Place, Unanswered, place
from chatserver.chatctl.main import main
from tests.conftest import StartServer
from tests.process.load import QUICK
from tests.support.certificate import write_certificate


def check(endpoint: str, *options: str, config: str | None = None) -> tuple[int, str, str]:
    runner = CliRunner(env={"CHATSERVER_CONFIG": config, "CHATSERVER_DATABASE": None})
    result = runner.invoke(main, ["check", "--live", endpoint, *options])
    return result.exit_code, result.stdout, result.stderr


def answered(endpoint: str, **keywords: Any) -> dict[str, Any]:
    status, out, err = check(endpoint, "--json", **keywords)
    value: dict[str, Any] = json.loads(out)
    assert (status, err, value["ok"], value["endpoint"]) == (0, "", True, endpoint), out
    return value


def test_doors(server: StartServer, tmp_path: Path) -> None:
    """It knows its way through each kind of endpoint, as a client names it and as the settings do, and says how long
    each step took, and for how long the certificate is valid."""
    key, certificate = write_certificate(tmp_path)
    keys = f"privateKey={key}:certKey={certificate}"
    secure, path = f"ssl:0:interface=127.0.0.1:{keys}", tmp_path / "chat.sock"
    listen = ["tcp:0:interface=127.0.0.1", secure, "ws:tcp:0:interface=127.0.0.1", f"ws:{secure}", f"unix:{path}",
              "telnet:tcp:0:interface=127.0.0.1"]  # fmt: skip
    chat = server(config=QUICK + "[server]\nplaintext_login = false\n", listen=listen)
    chat.wait_log("chat.sock")
    tcp, tls, web, web_tls, telnet = (port for _, port in chat.addresses)
    plain = {"ok", "endpoint", "connect_ms", "banner_ms", "ping_ms"}
    for endpoint in (
        f"tcp:127.0.0.1:{tcp}", f"tcp:{tcp}:interface=127.0.0.1", f"tcp:{tcp}:interface=0.0.0.0:backlog=10",
        f"tcp:{tcp}", f"ws:tcp:127.0.0.1:{web}", f"unix:{path}", f"unix:{path}:mode=660", f"telnet:tcp:{telnet}",
    ):  # fmt: skip
        assert set(answered(endpoint)) == plain
    for endpoint in (f"ssl:localhost:{tls}", f"ssl:{tls}:{keys}", f"ws:ssl:127.0.0.1:{web_tls}"):
        found = answered(endpoint)
        assert set(found) == plain | {"tls_ms", "tls_version", "certificate_days"}
        assert (found["tls_version"], found["certificate_days"]) == ("TLSv1.3", 0)
        assert all(0 <= found[step] < 5000 for step in ("connect_ms", "tls_ms", "banner_ms", "ping_ms"))
    status, out, _ = check(f"ssl:127.0.0.1:{tls}")
    assert (status, [line.split()[0] for line in out.splitlines()]) == (
        0,
        ["Connect:", "TLS:", "Certificate:", "Banner:", "Ping:"],
    )


def test_behind_a_proxy(server: StartServer, tmp_path: Path) -> None:
    """Where the server takes this host for a proxy, it gets the header of a health check."""
    config = tmp_path / "chatserver.toml"
    config.write_text('[server]\ntrusted_proxies = ["127.0.0.0/8"]\n')
    chat = server(config=QUICK + config.read_text())
    assert answered(f"tcp:127.0.0.1:{chat.port}", config=str(config))["ping_ms"] > 0


@contextmanager
def listener(says: bytes | None) -> Iterator[int]:
    """A server that says this to everybody, and ends the connection; None: it says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(says or b"")
                    connection.settimeout(10)
                    connection.recv(1000)

        if says is not None:
            threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("kind", "says", "problem"),
    [
        ("tcp", None, "The server did not greet in time."),
        ("ssl", None, "The server did not speak TLS in time."),
        ("ws:tcp", None, "The server did not greet in time."),
        ("tcp", b"! There are too many connections.\r\n", "it said: ! There are too many"),
        ("tcp", b"SSH-2.0-OpenSSH_9.2\r\n", "it said: SSH-2.0"),
        ("tcp", b"* Welcome\r\n", "did not answer a ping (it ended the connection)"),
        ("tcp", b"x" * 70_000, "it speaks another protocol"),
        ("ssl", b"* Welcome\r\n", "did not speak TLS ("),
        ("ws:tcp", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "did not greet (no WebSocket: "),
        ("ws:tcp", b"* Welcome\r\n", "did not greet (no WebSocket: "),
    ],
)
def test_no_answer(kind: str, says: bytes | None, problem: str) -> None:
    """A server that does not answer as ours do is reported in one line, with status 1."""
    with listener(says) as port:
        status, out, err = check(f"{kind}:127.0.0.1:{port}", "--timeout", "0.5" if says is None else "10")
        assert (status, out) == (1, "")
        assert problem in err, err
        assert err.startswith("chatctl: ")
        assert err.count("\n") == 1


def test_nothing_there(tmp_path: Path) -> None:
    """Neither is what is not there at all; with --json the problem is in the JSON."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    refused = check(f"tcp:127.0.0.1:{port}")
    assert refused[2].startswith(f"chatctl: tcp:127.0.0.1:{port}: The server did not accept the connection (Connection")
    assert "No such file" in check(f"unix:{tmp_path}/chat.sock")[2]
    status, out, err = check(f"tcp:127.0.0.1:{port}", "--json")
    assert (status, err, json.loads(out)["ok"]) == (1, "", False)
    assert "did not accept" in json.loads(out)["problem"]


@pytest.mark.parametrize(
    ("description", "found"),
    [
        ("tcp:[::1]:4000", Place("::1", "4000")),
        (r"tcp6:4000:interface=\:\:", Place("::1", "4000")),
        ("tcp6:4000", Place("::1", "4000")),
        ("tcp:port=4000", Place("127.0.0.1", "4000")),
        ("ssl:chat.example.org:443", Place("chat.example.org", "443", tls=True)),
        ("ws:ssl:4443:privateKey=key.pem", Place("127.0.0.1", "4443", tls=True, websocket=True)),
        ("ws:unix:/run/chat.sock", Place("", "/run/chat.sock", websocket=True)),
    ],
)
def test_endpoints(description: str, found: Place) -> None:
    """An endpoint is where a server listens, seen from this host."""
    assert place(description) == found


@pytest.mark.parametrize("description", ["", "4000", "localhost:4000", "tcp:localhost", "tcp:0", "tcp:a:70000"])
def test_no_endpoint(description: str) -> None:
    """Anything else than an endpoint is refused, with the possible forms."""
    with pytest.raises(Unanswered, match="tcp:HOST:PORT"):
        place(description)
