"""Several servers on one port, each with a listener of its own (SO_REUSEPORT)."""

import socket
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.certificate import write_certificate
from tests.support.client import Raw
from tests.support.process import run_chatserver


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tcp", "ssl", "tcp6"])
def test_both_get_clients(kind: str, server: StartServer, tmp_path: Path) -> None:
    """The kernel gives each server a part of the newcomers; one that does not share the port is refused as ever."""
    host = "::1" if kind == "tcp6" else "127.0.0.1"
    where = f"{kind}:{free_port()}:interface={host.replace(':', chr(92) + ':')}"
    if kind == "ssl":
        key, certificate = write_certificate(tmp_path)
        where += f":privateKey={key}:certKey={certificate}"
    listen = [f"{where}:reuseport=yes"]
    for name in ("one", "two"):
        chat = server(f"sqlite:///{tmp_path}/{name}.db", config=f'[server]\nname = "{name}"\n', listen=listen)
    greeted = set()
    for _ in range(60):
        with Raw((host, chat.port), tls=kind == "ssl") as client:
            greeted.add(client.read_line().split()[3])
    assert greeted == {b"one.", b"two."}
    for endpoint in (where, f"{where}:reuseport=no"):
        done = run_chatserver("--database", f"sqlite:///{tmp_path}/three.db", "--listen", endpoint, cwd=tmp_path)
        assert done.returncode == 1, done.stdout
        assert done.stdout.rstrip().endswith(
            f"chatserver: Cannot listen on {endpoint} (Address already in use). Stop what listens there, or choose "
            "another with --listen."
        )


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["tcp:0:reuseport=maybe", "unix:socket:reuseport=yes"])
def test_what_the_option_cannot_be(endpoint: str, tmp_path: Path) -> None:
    """Another value, or another kind of endpoint: one line names it."""
    done = run_chatserver("--database", f"sqlite:///{tmp_path}/chat.db", "--listen", endpoint, cwd=tmp_path)
    assert done.returncode == 78, done.stdout
    assert f"chatserver: --listen {endpoint} is not an endpoint (" in done.stdout.splitlines()[-1]
