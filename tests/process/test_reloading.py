"""SIGHUP: settings and certificates change, and nobody who talks notices."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import textwrap
import threading
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, Talker, check_heard, check_kept, under_load, wait_for_load
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, TextClient, _trust_everybody
from tests.support.process import LOOPBACK, ChatServer, wait_until
from tests.support.websocket import WebSocketClient

LINES, SOCKETS, PLAIN = 0, 1, 2
"""The server's addresses, in the order of its endpoints."""


class Files:
    """The key and the certificate of a server, which are replaced as an ACME client does: one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self.key, self.certificate = folder / "key.pem", folder / "cert.pem"
        self.renew()

    @property
    def endpoint(self) -> str:
        return f"ssl:0:interface=127.0.0.1:privateKey={self.key}:certKey={self.certificate}"

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).serial_number

    def renew(self) -> None:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        for new, old in zip(write_certificate(folder), (self.key, self.certificate), strict=True):
            shutil.copy(new, old)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def serial(address: tuple[str, int]) -> int:
    """Of the certificate that a newcomer is shown."""
    with socket.create_connection(address, 10) as tcp, _trust_everybody().wrap_socket(tcp) as secure:
        shown = secure.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number


def reload(chat: ChatServer, pattern: str) -> None:
    """Sends SIGHUP, and waits for this line of the log."""
    before = len(chat.log)
    chat.signal(signal.SIGHUP)
    chat.wait_log(pattern, start=before)


class Newcomers:
    """Connect over TLS one after another, in a thread, to each address in turn. `serials`: what they were shown."""

    def __init__(self, addresses: list[tuple[str, int]]) -> None:
        self.serials: list[int] = []
        self.failure: Exception | None = None
        self._addresses = addresses
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                for address in self._addresses:
                    self.serials.append(serial(address))
        except Exception as failure:
            self.failure = failure

    def come(self) -> None:
        """Waits until more have come."""
        enough = len(self.serials) + 4
        wait_until(lambda: len(self.serials) >= enough or self.failure is not None, 30, "newcomers have come")

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)
        assert self.failure is None


def test_certificates_under_load(files: Files, server: StartServer, sqlite_url: str) -> None:
    """After a renewal, newcomers at every door are shown the new certificate; those who talk over TLS go on talking,
    and nothing is lost or doubled. With a key that does not fit, everybody is shown what was shown before."""
    chat = server(sqlite_url, config=QUICK, listen=[files.endpoint, f"ws:{files.endpoint}", LOOPBACK])
    doors = [chat.addresses[LINES], chat.addresses[SOCKETS]]
    old = files.serial
    with (
        JsonClient(doors[0], tls=True) as ana,
        WebSocketClient(doors[1], tls=True) as bob,
        JsonClient(chat.addresses[PLAIN]) as cai,
    ):
        talkers = under_load(ana, bob, cai)
        newcomers = Newcomers(doors)
        for _ in range(3):
            files.renew()
            reload(chat, "Reloaded: certificates")
            new = files.serial
            assert [serial(door) for door in doors] == [new, new]
            newcomers.come()
            assert new != old
            old = new
        files.key.write_bytes(write_certificate(files.key.parent / "1")[0].read_bytes())
        reload(chat, "Nothing was reloaded, and nothing has changed. ssl:0 cannot be used: its key does not belong")
        assert [serial(door) for door in doors] == [new, new]
        files.certificate.unlink()
        reload(chat, f"Nothing was reloaded, .* {files.certificate} cannot be read")
        assert [serial(door) for door in doors] == [new, new]
        wait_for_load(talkers, 50)
        newcomers.stop()
        for talker in talkers:
            talker.stop()
        everybody_hears(talkers, ana, bob, cai)
        check_kept(sqlite_url, talkers)


def test_monitoring_over_tls(files: Files, server: StartServer) -> None:
    """Readers of the metrics see the renewed certificate, too."""
    chat = server(config=f"[server]\nmetrics = '{files.endpoint}'\n{QUICK}")
    found = chat.wait_log(r"Monitoring reads https?://(\S+):(\d+)/")
    address = found[1], int(found[2])
    assert serial(address) == files.serial
    files.renew()
    reload(chat, "Reloaded: certificates")
    assert serial(address) == files.serial


def test_what_an_acme_client_calls(server: StartServer, tmp_path: Path) -> None:
    """The script in docs/operating.md puts renewed files where the server finds them, with the right modes, and reloads
    it."""
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
    found = re.search(r"^    #!/bin/sh\n    # Usage: chatserver-certificate.*(?:\n    .*)+", page, re.MULTILINE)
    assert found is not None
    script = textwrap.dedent(found[0]).replace("/etc/chatserver", str(tmp_path)).replace("-o root -g chatserver ", "")
    (tmp_path / "script").write_text(script)
    renewed = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        key, certificate = write_certificate(folder)
        renewed.append([str(key), str(certificate), str(certificate)])
    commands = tmp_path / "bin"
    commands.mkdir()
    systemctl = commands / "systemctl"
    systemctl.write_text("#!/bin/sh\nexit 3\n")  # it is not active yet
    systemctl.chmod(0o755)
    environment = {"PATH": f"{commands}:{os.environ['PATH']}"}

    def call(files: list[str]) -> None:
        subprocess.run(["/bin/sh", str(tmp_path / "script"), *files], check=True, env=environment, timeout=30)

    call(renewed[0])
    [endpoint] = re.findall(r"^    (ssl:4001:.*)$", page, re.MULTILINE)
    here = endpoint.replace("/etc/chatserver", str(tmp_path)).replace("ssl:4001", "ssl:0:interface=127.0.0.1")
    chat = server(config=QUICK, listen=[here])
    before = serial(chat.address)
    systemctl.write_text(f'#!/bin/sh\ntest "$1" != reload || kill -HUP {chat.pid}\n')
    call(renewed[1])
    chat.wait_log("Reloaded: certificates")
    assert serial(chat.address) != before
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("key.pem", "cert.pem", "chain.pem")]
    assert modes == [0o640, 0o644, 0o644]


def everybody_hears(talkers: list[Talker], *clients: JsonClient) -> None:
    """All that was said in general, once and in order."""
    end = max(seq for talker in talkers for room, seq in talker.acknowledged.values() if room == "general")
    for client in clients:
        client.wait_seq("general", end)
        check_heard(client.rooms["general"])


def ignores_hang_up(pid: int) -> bool:
    """Whether a process ignores SIGHUP: proc(5)."""
    ignored = Path(f"/proc/{pid}/status").read_text().partition("SigIgn:")[2].split()[0]
    return bool(int(ignored, 16) & 1 << signal.SIGHUP - 1)


class HangingUp:
    """A block in which SIGHUP comes all the time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stopping.wait(0.002):
            try:
                os.kill(self._pid, signal.SIGHUP)
            except ProcessLookupError:
                return

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells what a process ignores")
def test_while_it_starts_and_stops(server: StartServer, sqlite_url: str, connect: Connect) -> None:
    """From the moment at which the server's own code runs up to the end of the process, SIGHUP does no harm."""
    chat = ChatServer(sqlite_url, config=QUICK + "[shutdown]\nflush_seconds = 1\n")
    chat._spawn()
    try:
        wait_until(lambda: ignores_hang_up(chat.pid), 30)
        with HangingUp(chat.pid):
            chat.wait_log(r"Listening on (\S+):(\d+)", 30)
            chat.wait_log("Reloaded: nothing has changed", 30)
        found = chat.wait_log(r"Listening on (\S+):(\d+)")
        with JsonClient((found[1], int(found[2])), receive_buffer=1024) as ana:
            ana.register("ana")
            assert ana.ok("ping")
            with HangingUp(chat.pid):
                assert chat.stop() == 0
        assert "Traceback" not in chat.log
    finally:
        chat.close()


def test_precedence(server: StartServer, sqlite_url: str, connect: Connect) -> None:
    """The command line and the environment take precedence over the changed file."""
    chat = server(
        sqlite_url, config=QUICK, options=["--log-level", "info"], env={"CHATSERVER_DATABASE": "sqlite:///no.db"}
    )
    (chat.folder / "chatserver.toml").write_text(
        "[server]\nlisten = ['tcp:1']\ndatabase = 'sqlite:///no.db'\nmotd = 'Hello!'\n[log]\nlevel = 'error'\n" + QUICK
    )
    before = len(chat.log)
    reload(chat, r"Reloaded: server.motd")
    assert "need a restart" not in chat.log[before:]
    ana = connect(chat, TextClient)
    ana.type("/register ana s3cret-words")
    ana.expect("Hello!")


def test_systemd_is_told(server: StartServer, tmp_path: Path) -> None:
    """From the signal on the server reloads, until it is ready again; also if nothing is changed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        chat = server(config=QUICK, env={"NOTIFY_SOCKET": str(tmp_path / "notify")})

        def told() -> str:
            """The next message that is no status."""
            while True:
                lines = systemd.recv(4096).decode().split("\n")
                kinds = [line.partition("=")[0] for line in lines if not line.startswith(("STATUS=", "WATCHDOG"))]
                if kinds:
                    return " ".join(kinds)

        assert told() == "READY"
        for text in (QUICK, "[server\n"):
            (chat.folder / "chatserver.toml").write_text(text)
            chat.signal(signal.SIGHUP)
            assert [told(), told()] == ["RELOADING MONOTONIC_USEC", "READY"]


def test_two_at_once(server: StartServer, connect: Connect) -> None:
    """After many signals, the last file is in use."""
    chat = server(config=QUICK)
    for number in range(30):
        (chat.folder / "new").write_text(f"{QUICK}[server]\ngreeting = 'greeting {number}.'\n")
        (chat.folder / "new").replace(chat.folder / "chatserver.toml")
        chat.signal(signal.SIGHUP)

    def greeted() -> bool:
        with TextClient(chat.address) as somebody:
            return somebody.line() == "* greeting 29."

    wait_until(greeted)


CHANGING: Final[dict[str, list[object]]] = {
    "window": [1, 2, 8, 32],
    "turn_lines": [0, 1, 64],
    "commands_per_second": [0, 500, 5000],
    "command_burst": [1, 50, 5000],
    "account_commands_per_second": [0, 500],
    "stalled_seconds": [0, 60],
    "ping_seconds": [0, 60],
    "connections_per_address": [0, 500],
    "connections_per_minute": [0, 9000],
    "offences_per_address": [0, 50],
    "exempt": ["[]", "['127.0.0.0/8']"],
    "answer_bytes": [0, 100_000],
    "unsent_bytes_per_account": [0, 100_000],
    "news_seconds": [0, 5],
}
"""Limits with values at which nobody who talks is refused."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_many_reloads_under_load(kind: str, request: pytest.FixtureRequest, files: Files, server: StartServer) -> None:
    """Fifty times other settings and another certificate, while people talk over TLS and without it: nothing is lost,
    nothing is doubled, nobody is disconnected, and the process does not grow."""
    database: str = request.getfixturevalue(f"{kind}_url")
    chance = random.Random(13)
    chat = server(database, config=QUICK, listen=[files.endpoint, f"ws:{files.endpoint}", LOOPBACK])
    doors = [chat.addresses[LINES], chat.addresses[SOCKETS]]

    def settings(number: int) -> str:
        limits = "".join(f"{name} = {chance.choice(values)}\n" for name, values in CHANGING.items())
        passwords = f"[passwords]\nmemory_kib = {chance.choice([8, 64])}\ntime_cost = 1\nthreads = {number % 4 + 1}\n"
        rooms = f"default_rooms = ['general', 'room{number}']\n"
        return f"[server]\nmotd = 'number {number}'\n{rooms}[limits]\n{limits}{passwords}"

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{chat.pid}/fd"))  # noqa: PTH208

    with (
        JsonClient(doors[0], tls=True) as ana,
        WebSocketClient(doors[1], tls=True) as bob,
        JsonClient(chat.addresses[PLAIN]) as cai,
    ):
        talkers = under_load(ana, bob, cai)
        newcomers = Newcomers(doors)
        for number in range(50):
            (chat.folder / "chatserver.toml").write_text(settings(number))
            files.renew()
            reload(chat, "Reloaded: .*certificates")
            assert [serial(door) for door in doors] == [files.serial] * 2
            if number % 10 == 9:
                with JsonClient(chat.addresses[PLAIN]) as somebody:
                    somebody.register(f"somebody{number}")
                    somebody.say("general", "hello")
            wait_for_load(talkers, 1)
            if number == 10:
                open_then = descriptors()
        newcomers.stop()
        for talker in talkers:
            talker.stop()
        wait_until(lambda: descriptors() <= open_then + 4, 30, "descriptors are closed")
        everybody_hears(talkers, ana, bob, cai)
        check_kept(database, talkers)
        assert chat.log.count("Reloaded: ") == 50
        assert "Nothing was reloaded" not in chat.log
