"""Several nodes behind HAProxy, with the example that we ship."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.chatctl.conftest import Chatctl
from tests.conftest import StartServer
from tests.process.load import query
from tests.process.test_drain import config, free_port, ready, together
from tests.support.client import JsonClient
from tests.support.elsewhere import connected_from
from tests.support.process import ChatServer, die_with_parent, wait_until

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "deploy" / "haproxy-cluster.cfg"


@contextmanager
def haproxy(folder: Path, nodes: dict[ChatServer, int]) -> Iterator[tuple[str, int]]:
    """HAProxy as in the example, but for where it and the nodes are. By node, the port for its health."""
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed")
    port = free_port()
    text, count = re.subn(r"^    server .*\n", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count == 2
    text = text.replace("bind :4001", f"bind 127.0.0.1:{port}").replace(" port 9400", "")
    for number, (chat, health) in enumerate(nodes.items()):
        text += f"    server n{number} 127.0.0.1:{chat.port} port {health}\n"
    path = folder / "haproxy.cfg"
    path.write_text(text, encoding="utf-8")
    process = subprocess.Popen(
        ["haproxy", "-db", "-f", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, preexec_fn=die_with_parent(signal.SIGKILL),
    )  # fmt: skip
    try:
        yield ("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(10)


def where(database: str) -> dict[str, tuple[str, str]]:
    """By account, the node and the address of its open session."""
    found = query(
        database,
        "SELECT a.name, s.node, s.address FROM session s JOIN account a ON a.id = s.account_id "
        "WHERE s.disconnected_at IS NULL",
    )
    return {str(name): (str(node), str(address)) for name, node, address in found}


def test_two_nodes_behind_haproxy(postgres_url: str, server: StartServer, tmp_path: Path) -> None:
    """Clients come to both nodes, with their own addresses. Once one of them is drained, all newcomers and all who were
    there come to the other one, and nobody is refused."""
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed")
    chatctl = Chatctl(postgres_url)
    trusting = 'trusted_proxies = ["127.0.0.1"]'
    nodes = {}
    for name in ("a", "b"):
        health = free_port()
        options = ["--metrics", f"tcp:{health}:interface=127.0.0.1"]
        nodes[server(postgres_url, config=config(name, trusting), options=options)] = health
    together(chatctl, 2)
    with haproxy(tmp_path, nodes) as address, ExitStack() as stack:
        wait_until(lambda: greets(address), what="HAProxy has found the nodes")
        clients = []
        for number in range(6):
            client = stack.enter_context(connected_from(JsonClient, address, f"127.0.0.{10 + number}"))
            client.register(f"user{number}")
            clients.append(client)
        wait_until(lambda: len(where(postgres_url)) == 6)
        assert {address for _, address in where(postgres_url).values()} == {f"127.0.0.{10 + n}" for n in range(6)}
        assert {node for node, _ in where(postgres_url).values()} == {"a", "b"}
        clients[0].say("general", "hello")
        for client in clients[1:]:
            client.hears("hello")
        chatctl("node", "drain", "a")
        for number in range(6):
            client = stack.enter_context(connected_from(JsonClient, address, f"127.0.0.{20 + number}"))
            client.login(f"user{number}")
        assert chatctl.json("node", "list")[0]["state"] == "drained"
        assert [ready(health) for health in nodes.values()] == [
            "This node is drained: others go on.\n",
            "The server serves.\n",
        ]
        wait_until(lambda: {node for node, _ in where(postgres_url).values()} == {"b"})


def greets(address: tuple[str, int]) -> bool:
    try:
        with connected_from(JsonClient, address, "127.0.0.9") as client:
            return bool(client.ok("ping"))
    except (OSError, AssertionError):
        return False
