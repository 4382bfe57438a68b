"""Clients that send too fast, or read too slowly, over real sockets."""

import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, Raw, TextClient
from tests.support.process import LOOPBACK, ChatServer

FLOOD_SECONDS = 2.0


def cpu_seconds(chat: ChatServer) -> float:
    times = psutil.Process(chat.pid).cpu_times()
    return float(times.user + times.system)


def pour(client: Raw, data: bytes) -> None:
    """Sends as much of it as fits."""
    client.socket.settimeout(0)
    try:
        for _ in range(20):
            client.socket.send(data)
    except BlockingIOError:
        pass


@pytest.mark.parametrize("unit", [b"\n", b"/ping\n", b"\xff\xf1", b"\xff\xfb\x01"])
def test_floods(unit: bytes, server: StartServer, connect: Connect) -> None:
    """Clients that flood the server are read later: that costs next to no time, and others are answered."""
    chat = server(config=QUICK, limits="default")
    ana, floods = connect(chat, JsonClient), [connect(chat, TextClient) for _ in range(3)]
    ana.register("ana")
    for number, flood in enumerate(floods):
        flood.register(f"flood{number}")
    before, deadline = cpu_seconds(chat), time.monotonic() + FLOOD_SECONDS
    while time.monotonic() < deadline:
        for flood in floods:
            pour(flood, unit * (65_536 // len(unit)))
        time.sleep(0.02)
    assert cpu_seconds(chat) - before < FLOOD_SECONDS / 3
    ana.ok("ping")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["tcp", "tls"])
def test_slow_readers(how: str, server: StartServer, connect: Connect, tmp_path: Path) -> None:
    """A client that reads slowly, but above the least rate, stays for as long as it has something to read; one that
    takes a few bytes a second is disconnected."""
    endpoint = LOOPBACK
    if how == "tls":
        key, certificate = write_certificate(tmp_path)
        endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    limits = "[limits]\nstalled_seconds = 1\nleast_bytes_per_second = 20000\n"
    chat = server(config=QUICK + limits, listen=[endpoint])
    ana = connect(chat, JsonClient, tls=how == "tls")
    slow, drip = (connect(chat, JsonClient, receive_buffer=4096, tls=how == "tls") for _ in range(2))
    for client, name in ((ana, "ana"), (slow, "slow"), (drip, "drip")):
        client.register(name)
    for _ in range(4):
        for _ in range(50):
            ana.post("say", room="general", text="x" * 4000)
        ana.ok("ping")
    gone: set[str] = set()
    deadline = time.monotonic() + 20
    began = time.monotonic()
    while "drip" not in gone or time.monotonic() < began + 4:
        for client, size in ((slow, 10_000), (drip, 10)):
            client.socket.settimeout(0.05)
            try:
                client.received += client.socket.recv(size)
            except OSError:
                pass
        time.sleep(0.05)
        ana.ok("ping")
        gone = {event["name"] for event in ana.events if event["event"] == "presence" and not event["online"]}
        assert time.monotonic() < deadline, gone
    assert gone == {"drip"}
    slow.wait_seq("general", 203, 30)
    slow.ok("ping")
