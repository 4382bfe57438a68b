"""A real server, looked at by monitoring."""

import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, TextClient
from tests.support.hanging import stopped
from tests.support.monitor import LOOPBACK, Monitor, UnixConnection, ask
from tests.support.postgres import PostgresServer
from tests.support.process import ChatServer, run_chatserver, wait_until
from tests.support.websocket import WebSocketClient

METRICS = ("--metrics", LOOPBACK)
FLOOD = 400


def test_the_numbers_are_true(server: StartServer, connect: Connect, server_url: str) -> None:
    """A known number of commands, messages, deliveries, refusals and endings is what a scrape says, and the gauges come
    back to 0 once everybody has left."""
    chat = server(server_url, config=QUICK, options=METRICS)
    monitor = Monitor(chat)
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    person = connect(chat, TextClient)
    person.register("carla")
    before = monitor.numbers()
    assert before.of("chatserver_connections", stage="in", dialect="jsonl", door="line") == 2
    assert before.of("chatserver_connections", stage="in", dialect="text", door="line") == 1
    assert before.of("chatserver_connections") == 3
    assert before.of("chatserver_commands_total", kind="login", outcome="ok") == 3
    assert before.of("chatserver_accounts_online") == 3

    for number in range(20):
        ana.say("general", f"message {number}")
    for _ in range(3):
        assert bob.refused("say", room="nowhere", text="hello") == "no-such-room"
    bob.ok("rooms")
    bob.hears("message 19")
    person.expect("message 19")
    after = monitor.numbers()

    def grew(name: str, **labels: str) -> float:
        return after.of(name, **labels) - before.of(name, **labels)

    assert grew("chatserver_commands_total", kind="say", outcome="ok") == 20
    assert after.of("chatserver_commands_total", kind="say", outcome="no-such-room") == 3
    assert grew("chatserver_commands_total", kind="rooms", outcome="ok") == 1
    assert grew("chatserver_refusals_total", error="no-such-room") == 3
    assert grew("chatserver_messages_stored_total") == 20
    assert grew("chatserver_deliveries_total", way="live") == 60
    assert grew("chatserver_message_commit_seconds_count") == 20
    assert grew("chatserver_take_messages_sum") == 20
    assert grew("chatserver_delivery_seconds_count") == grew("chatserver_take_messages_count") == 20
    assert 0 < grew("chatserver_message_commit_seconds_sum") < 20
    assert grew("chatserver_queue_wait_seconds_count", lane="read") == 1
    assert grew("chatserver_received_bytes_total") > 20 * len('{"cmd":"say","room":"general","text":"message 0"}')
    assert grew("chatserver_sent_bytes_total") > 20 * 3 * len("message 0")
    assert after.of("chatserver_store_errors_total", reason="unavailable") == 0
    assert after.of("chatserver_reactor_lag_seconds_count") > 0

    ana.ok("quit")
    bob.abort()
    person.half_close()
    wait_until(lambda: monitor.numbers().of("chatserver_connections") == 0)
    gone = monitor.numbers()
    ended = {reason: gone.of("chatserver_connections_ended_total", reason=reason) for reason in ("quit", "lost", "eof")}
    assert ended == {"quit": 1, "lost": 1, "eof": 1}
    for gauge in ("accounts_online", "rooms", "subscriptions", "readers_behind", "queue_sessions"):
        assert gone.of(f"chatserver_{gauge}") == 0, gauge
    for name in ("received_bytes", "sent_bytes", "messages_stored", "commands"):
        assert gone.of(f"chatserver_{name}_total") >= after.of(f"chatserver_{name}_total"), name


def test_a_reader_that_falls_behind(server: StartServer, connect: Connect) -> None:
    """A client that stops reading is seen with what it lacks, and no more once it has read."""
    chat = server(config=QUICK, options=METRICS)
    monitor = Monitor(chat)
    ana, slow = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    slow.register("slow")
    text = "x" * 4000
    while not monitor.numbers().of("chatserver_readers_behind"):
        for _ in range(100):
            ana.say("general", text)
    head = ana.ok("history", room="general", limit=1)["entries"][-1]["seq"]
    numbers = monitor.numbers()
    lacks = numbers.of("chatserver_behind_entries")
    assert numbers.of("chatserver_readers_behind") == 1
    assert 0 < lacks == numbers.of("chatserver_behind_entries_max") < head
    slow.wait_seq("general", head)
    wait_until(lambda: not monitor.numbers().of("chatserver_readers_behind"))
    after = monitor.numbers()
    assert after.of("chatserver_behind_entries") == 0
    assert after.of("chatserver_deliveries_total", way="catch-up") == lacks


def test_every_door_is_told_apart(server: StartServer, tmp_path: Path) -> None:
    """WebSocket and TLS are counted like plain lines, with their bytes; a certificate's end is told."""
    key, certificate = write_certificate(tmp_path)
    secure = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    chat = server(config=QUICK, listen=[LOOPBACK, f"ws:{LOOPBACK}", secure], options=METRICS)
    monitor = Monitor(chat)
    started = {name: monitor.numbers().of(f"chatserver_{name}_bytes_total") for name in ("received", "sent")}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(chat.addresses[2]) as raw, context.wrap_socket(raw) as tls:
        tls.sendall(b'{"cmd":"ping"}\n')
        while b'"ok":true' not in tls.recv(4096):
            pass
        with WebSocketClient(chat.addresses[1]) as browser:
            assert browser.ok("ping")
            numbers = monitor.numbers()
            assert numbers.of("chatserver_connections", stage="greeting", door="line") == 1
            assert numbers.of("chatserver_connections", stage="greeting", door="ws", dialect="jsonl") == 1
            for name, before in started.items():  # a TLS handshake alone has more
                assert numbers.of(f"chatserver_{name}_bytes_total") - before > 500
    assert 0 < numbers.of("chatserver_certificate_expiry_timestamp_seconds") - time.time() <= 86400


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_reads_what_a_server_says(server: StartServer) -> None:
    """`curl .../metrics | promtool check metrics` finds nothing."""
    text = Monitor(server(config=QUICK, options=METRICS)).text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_health_while_the_server_stops(server: StartServer, connect: Connect) -> None:
    """From the beginning of a stop the server is not ready, and it answers so until the last client is gone."""
    chat = server(config=f"{QUICK}\n[shutdown]\nflush_seconds = 3\n", options=METRICS)
    monitor = Monitor(chat)
    assert monitor.get("/health/ready") == (200, "The server serves.\n")
    ana = connect(chat, JsonClient)
    ana.register("ana")
    chat.signal(signal.SIGTERM)
    ana.wait_closing()  # the client stays: the server waits for it
    assert monitor.get("/health/ready") == (503, "The server is stopping.\n")
    assert monitor.get("/health/live")[0] == 200
    ana.close()
    assert chat.wait() == 0
    with pytest.raises(OSError):
        socket.create_connection(monitor.address)


@pytest.mark.slow
def test_health_while_the_database_is_away(
    postgres_server: PostgresServer, server: StartServer, connect: Connect
) -> None:
    """A database that is down, or hangs, shows within seconds, though nobody asks it, and so does its return."""
    chat = server(postgres_server.create_database(), config=QUICK, options=METRICS)
    monitor = Monitor(chat)
    postgres_server.stop()
    wait_until(lambda: monitor.get("/health/ready")[0] == 503)
    assert "database" in monitor.get("/health/ready")[1]
    assert monitor.get("/health/live")[0] == 200
    assert monitor.numbers().of("chatserver_ready") == 0
    wait_until(lambda: monitor.numbers().of("chatserver_store_errors_total", reason="unavailable") > 0)
    postgres_server.start()
    wait_until(lambda: monitor.get("/health/ready")[0] == 200)
    with stopped(postgres_server):
        wait_until(lambda: monitor.numbers().of("chatserver_store_silence_seconds") > 3)
        assert monitor.get("/health/ready")[0] == 503
    wait_until(lambda: monitor.get("/health/ready")[0] == 200)


def test_a_unix_socket(server: StartServer) -> None:
    """Monitoring may use a Unix socket, which is for the server's user and group."""
    path = Path("metrics.sock")
    chat = server(config=QUICK, options=("--metrics", f"unix:{path}"))
    chat.wait_log("Monitoring reads")
    place = chat.folder / path
    assert ask(UnixConnection(place), "/health/ready")[0] == 200
    assert place.stat().st_mode & 0o777 == 0o660
    chat.stop()
    assert not place.exists()


def test_no_endpoint_by_default(server: StartServer) -> None:
    """Without the setting nothing but the chat listens for TCP."""
    chat = server(config=QUICK)
    assert "Monitoring" not in chat.log
    listening = [one for one in psutil.Process(chat.pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert [one.laddr.port for one in listening] == [chat.port]


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        pytest.param("nonsense", r"--metrics nonsense is not an endpoint", marks=pytest.mark.slow),
        ("tcp:port", r"--metrics tcp:port is not an endpoint"),
        ("tcp:{taken}:interface=127.0.0.1", r"Cannot listen on tcp:\d+:interface=127.0.0.1 \(Address already in use\)"),
        pytest.param(
            "unix:/nowhere/metrics.sock",
            r"Cannot listen on unix:/nowhere/metrics.sock \(No such file or directory\)",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_wrong_endpoints(tmp_path: Path, endpoint: str, said: str) -> None:
    """A server that cannot be watched as it was told does not start, and says why in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = endpoint.format(taken=taken.getsockname()[1])
        done = run_chatserver("--listen", LOOPBACK, "--metrics", endpoint, cwd=tmp_path)
    assert done.returncode in (1, 78)
    (line,) = [line for line in done.stdout.splitlines() if "chatserver: " in line]
    assert re.search(f"chatserver: {said}", line)
    assert "Traceback" not in done.stdout


def test_a_flood_of_scrapes_does_not_hold_up_the_chat(server: StartServer, connect: Connect) -> None:
    """Connections that ask all the time, or say nothing, take neither the chat's turns nor its files."""
    chat = server(config=QUICK, options=METRICS)
    monitor = Monitor(chat)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    flood = []
    try:
        for number in range(FLOOD):
            peer = socket.socket()
            peer.setblocking(False)
            peer.connect_ex(monitor.address)
            flood.append(peer)
            if number % 2:
                try:
                    peer.send(b"GET /metrics HTTP/1.1\r\nHost: chat\r\n\r\n")
                except OSError:
                    pass  # it is still connecting
            ana.say("general", f"message {number}")
        assert open_files(chat) < FLOOD / 2
    finally:
        for peer in flood:
            peer.close()
    wait_until(lambda: answers(monitor))
    assert monitor.numbers().of("chatserver_messages_stored_total") == FLOOD


def answers(monitor: Monitor) -> bool:
    """Whether the monitoring site has a place again for one more connection."""
    try:
        return monitor.get("/health/live")[0] == 200
    except OSError:
        return False


def open_files(chat: ChatServer) -> int:
    return len(list(Path(f"/proc/{chat.pid}/fd").iterdir()))
