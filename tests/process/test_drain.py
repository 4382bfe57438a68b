"""Draining: a node's clients go to others, with nothing lost and nobody refused, before it is stopped."""

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.chatctl.conftest import Chatctl
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.process.test_activation import START
from tests.support.client import JsonClient, Raw, TextClient
from tests.support.process import ChatServer, wait_until

pytestmark = pytest.mark.slow

StartNode = Callable[..., ChatServer]


def config(name: str, more: str = "") -> str:
    return f'{QUICK}\n[server]\nnode = "{name}"\n{more}\n[bus]\nurl = "postgres"\n'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ready(port: int) -> str:
    """The answer of `/health/ready`."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=10) as page:
            return str(page.read().decode())
    except HTTPError as refused:
        with refused:
            return refused.read().decode()


@pytest.fixture
def node(postgres_url: str, server: StartServer) -> StartNode:
    """Starts a node of a cluster; nodes that are given the same port share it."""

    def start(name: str, port: int = 0, **options: Any) -> ChatServer:
        listen = [f"tcp:{port}:interface=127.0.0.1" + (":reuseport=yes" if port else "")]
        return server(postgres_url, config=config(name), listen=listen, **options)

    return start


@pytest.fixture
def chatctl(postgres_url: str) -> Chatctl:
    return Chatctl(postgres_url)


def together(chatctl: Chatctl, count: int) -> None:
    """Waits until so many nodes serve together."""

    def are() -> bool:
        found = chatctl.json("node", "list")
        return len([one for one in found if one["state"] == "serving" and "connections" in one]) == count

    wait_until(are, what="the nodes know each other")


class Newcomers:
    """Threads that connect again and again, and keep what they were told first."""

    def __init__(self, address: tuple[str, int], threads: int = 8) -> None:
        self.first: list[str] = []
        self._address = address
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._come) for _ in range(threads)]

    def __enter__(self) -> "Newcomers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(20)

    def _come(self) -> None:
        while not self._over.is_set():
            try:
                with Raw(self._address) as client:
                    self.first.append(client.read_line().decode())
            except (OSError, AssertionError) as problem:
                self.first.append(repr(problem))


def test_a_node_is_drained(node: StartNode, connect: Connect, chatctl: Chatctl) -> None:
    """Its clients are told to come again within two seconds, behind the answers to all they have sent; whoever comes
    meanwhile is greeted, by the other node in the end; and messages reach everybody."""
    port = free_port()
    a, b = node("a", port), node("b", port)
    together(chatctl, 2)
    clients = [connect(a, JsonClient) for _ in range(16)]
    for number, client in enumerate(clients):
        client.register(f"user{number}")
    before = {one["name"]: one["connections"] for one in chatctl.json("node", "list")}
    wait_until(lambda: sum(one["connections"] for one in chatctl.json("node", "list")) == 16, what=str(before))
    tags = [client.post("say", room="general", text=f"last of {number}") for number, client in enumerate(clients)]
    with Newcomers(a.address) as newcomers:
        wait_until(lambda: len(newcomers.first) > 50)
        assert chatctl("node", "drain", "a").startswith("Node a is drained: stop it now.")
        so_far = len(newcomers.first)
        wait_until(lambda: len(newcomers.first) > so_far + 50)
    assert {line for line in newcomers.first if not line.startswith("* Welcome")} == set()
    states = {one["name"]: one for one in chatctl.json("node", "list")}
    assert (states["a"]["state"], states["b"]["state"]) == ("drained", "serving")
    wait_until(lambda: chatctl.json("node", "list")[0]["connections"] == 0)
    moved = []
    for client, tag in zip(clients, tags, strict=True):
        assert client.answer(tag)["ok"] is True
        try:
            moved.append(client.wait_closing(0.01))
        except AssertionError:
            client.ok("ping")  # it is at the other node
    assert moved
    assert all(one["reason"] == "moving" and 0 <= one["retry"] <= 2 for one in moved)
    with JsonClient(a.address) as again:
        again.login("user0")
    assert a.stop() == 0
    assert b.running


def test_the_only_node(node: StartNode, connect: Connect, chatctl: Chatctl) -> None:
    """It is not drained, unless somebody insists: then its port is closed, and its clients are told as at a stop.
    Started again, it serves."""
    health = free_port()
    only = node("only", options=["--metrics", f"tcp:{health}:interface=127.0.0.1"])
    together(chatctl, 1)
    with connect(only, TextClient) as ana:
        ana.register("ana")
        assert chatctl.fails("node", "drain", "only").startswith("No other node serves")
        assert chatctl.fails("node", "drain", "other") == "No node other is running. See: chatctl node list"
        assert "is drained" in chatctl("node", "drain", "only", "--force")
        assert (
            ana.rest()
            .replace("\n   |", "")
            .endswith("* The server is about to stop; nothing is lost. Press Enter, then connect again.\n")
        )
    with pytest.raises(ConnectionRefusedError):
        Raw(only.address)
    assert ready(health) == "This node is drained: others go on.\n"
    assert "is drained" in chatctl("node", "drain", "only", "--force")
    assert only.stop() == 0
    only.start()
    together(chatctl, 1)
    assert ready(health) == "The server serves.\n"
    with JsonClient(only.address) as again:
        again.login("ana")


def test_a_stop_beside_others(node: StartNode, connect: Connect, chatctl: Chatctl) -> None:
    """Clients of a node that stops need not wait for it: others take them within two seconds."""
    a, b = node("a"), node("b")
    together(chatctl, 2)
    clients = [connect(a, JsonClient) for _ in range(12)]
    for number, client in enumerate(clients):
        client.register(f"user{number}")
    a.signal(signal.SIGTERM)
    retries = {client.wait_closing()["retry"] for client in clients}
    assert retries <= {0, 1, 2}
    assert a.wait() == 0
    assert b.running


def test_rebalancing(node: StartNode, connect: Connect, chatctl: Chatctl) -> None:
    """A node that has more than its share tells the newest of its clients to come again, and nobody else does."""
    a, b = node("a"), node("b")
    together(chatctl, 2)
    clients = []
    for number in range(9):
        clients.append(connect(a, JsonClient))
        clients[-1].register(f"user{number}")
    alone = connect(b, JsonClient)
    alone.register("alone")
    wait_until(lambda: [one["connections"] for one in chatctl.json("node", "list")] == [9, 1])
    assert "a 9, b 1: 5 connections each" in chatctl("node", "rebalance")
    for client in clients[5:]:
        assert client.wait_closing()["reason"] == "moving"
        client.close()
    for client in (*clients[:5], alone):
        client.ok("ping")
    wait_until(lambda: [one["connections"] for one in chatctl.json("node", "list")] == [5, 1])


@pytest.fixture
def held(postgres_url: str, tmp_path: Path) -> Iterator[Callable[[str, int], tuple[socket.socket, ChatServer]]]:
    """A node whose socket somebody else holds, too, as systemd does with `ReusePort=yes`."""
    with ExitStack() as stack:

        def start(name: str, port: int) -> tuple[socket.socket, ChatServer]:
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
            sock.bind(("127.0.0.1", port))
            sock.listen(128)
            script, python = tmp_path / "start.py", tmp_path / f"python-{name}"
            script.write_text(START, encoding="utf-8")
            python.write_text(f'#!/bin/sh\nexec {sys.executable} {script} {sock.fileno()} {sys.executable} "$@"\n')
            python.chmod(0o755)
            chat = ChatServer(
                postgres_url, config=config(name), listen=[f"tcp:{port}:interface=127.0.0.1"], python=python,
                pass_fds=[sock.fileno()],
            )  # fmt: skip
            return sock, stack.enter_context(chat)

        yield start


def test_sockets_of_systemd(held: Callable[[str, int], tuple[socket.socket, ChatServer]], chatctl: Chatctl) -> None:
    """While a drained node runs, nobody waits in the queue of its socket, which systemd holds: the other node takes
    all. Once it has stopped they wait there for the next one, as at every restart; so they do after `kill -9`."""
    port = free_port()
    (sock, a), (_, b) = held("a", port), held("b", port)
    together(chatctl, 2)
    assert "stop chatserver@NAME.socket" in chatctl("node", "drain", "a")
    for _ in range(40):
        with Raw(b.address) as client:
            assert client.read_line(2).startswith(b"* Welcome")
    assert a.stop() == 0
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    a.start()
    together(chatctl, 2)
    chatctl("node", "drain", "a")
    a.kill()
    a.start()
    together(chatctl, 2)
    chatctl("node", "drain", "b")
    for _ in range(10):
        with Raw(a.address) as client:
            assert client.read_line(2).startswith(b"* Welcome")
