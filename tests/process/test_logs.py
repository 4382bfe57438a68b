"""The log of a real server: its formats, its file, and what it says of connections and slow statements."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatserver.store.db.engine import open_engine, parse_url
from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient, Raw
from tests.support.process import LOOPBACK, TWISTD, clean_environment, wait_until

OPERATING = Path(__file__).parents[2] / "docs/operating.md"
SIGUSR1_BIT = 1 << (signal.SIGUSR1 - 1)


class Twistd:
    """A server that is started with options of twistd, and logs to a file."""

    def __init__(self, folder: Path, *options: str, chat: tuple[str, ...] = (), logfile: str = "chat.log") -> None:
        self.folder = folder
        self.path = folder / logfile
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(TWISTD), *options, "chatserver", "--listen", LOOPBACK),
                *("--database", f"sqlite:///{folder / 'chat.db'}", *chat),
            ],
            cwd=folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    @property
    def text(self) -> str:
        return self.path.read_text() if self.path.exists() else ""

    @property
    def everything(self) -> str:
        """All files of the log, in the order of their names."""
        return "".join(path.read_text() for path in sorted(self.folder.glob(f"{self.path.name}*"), reverse=True))

    def listening(self) -> tuple[str, int]:
        wait_until(lambda: "Listening on" in self.everything or self.process.poll() is not None, 30)
        where = self.everything.partition("Listening on ")[2].split()[0].split('"')[0]
        host, _, port = where.rpartition(":")
        return host, int(port)

    def stop(self) -> str:
        self.process.terminate()
        return self.process.communicate(timeout=15)[0].decode()


@pytest.fixture
def twistd(tmp_path: Path) -> Iterator[Callable[..., Twistd]]:
    started: list[Twistd] = []

    def start(*options: str, **keywords: Any) -> Twistd:
        started.append(Twistd(tmp_path, *options, **keywords))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def test_json(server: StartServer, connect: Connect) -> None:
    """Every line is an object. A connection has a line when it begins and one when it ends, with the bytes that it has
    carried; over TCP the kernel counts them."""
    chat = server(options=["--log-format", "json"])
    ana = connect(chat, JsonClient)
    ana.register("ana")
    for n in range(3):
        ana.say("general", f"hello {n}")
    ana.close()
    chat.wait_log('"event":"ended"')
    chat.stop()
    events = [json.loads(line) for line in chat.log.splitlines()]
    assert all({"time", "level", "namespace", "message"} <= event.keys() for event in events)
    port = chat.addresses[0][1]
    assert [event["message"] for event in events if event["message"].endswith(f"{port}")] == [
        f"Listening on 127.0.0.1:{port}"
    ]
    [began] = [event for event in events if event.get("event") == "began"]
    [ended] = [event for event in events if event.get("event") == "ended"]
    assert began["session"] == ended["session"]
    assert (ended["address"], ended["name"], ended["reason"]) == ("127.0.0.1", "ana", "eof")
    assert (ended["door"], ended["dialect"], ended["commands"]) == ("tcp", "jsonl", 3)
    assert 150 < ended["received"] < 1000
    assert ended["sent"] > 300
    assert ended["seconds"] < 60


def test_moving_the_file(twistd: Callable[..., Twistd]) -> None:
    """While the file is moved away again and again and SIGUSR1 tells the server, no line is lost or doubled."""
    chat = twistd("-n", "--pidfile=", "--logfile=chat.log", chat=("--log-format", "json"))
    address = chat.listening()
    ids: list[str] = []
    for round in range(20):
        for _ in range(10):
            with Raw(address) as client:
                client.read_line()
        chat.path.rename(chat.path.with_name(f"chat.log.{20 - round:02}"))
        with Raw(address) as client:
            client.read_line()
        chat.process.send_signal(signal.SIGUSR1)
        wait_until(chat.path.exists, what="the file is there again")
    wait_until(lambda: chat.everything.count('"event":"ended"') >= 220)
    assert chat.stop() == ""
    assert chat.process.returncode == 0
    for event in map(json.loads, chat.everything.splitlines()):
        if event.get("event") in ("began", "ended"):
            ids.append(event["event"] + event["session"])
    assert len(ids) == 440
    assert set(Counter(ids).values()) == {1}
    assert chat.text.endswith('"message":"Server Shut Down."}\n')


def test_a_daemon(twistd: Callable[..., Twistd]) -> None:
    """A daemon logs to a file, too, and SIGUSR1 reopens it: twistd.log, if nothing else was said. It does not rotate by
    itself."""
    chat = twistd("--pidfile=chat.pid", logfile="twistd.log")
    address = chat.listening()
    pid = int((chat.folder / "chat.pid").read_text())
    try:
        chat.path.rename(chat.path.with_name("twistd.log.1"))
        os.kill(pid, signal.SIGUSR1)
        wait_until(chat.path.exists)
        with Raw(address) as client:
            client.read_line()
        wait_until(lambda: "audit: began" in chat.text)
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: "Server Shut Down." in chat.text)
    assert {path.name for path in chat.folder.glob("twistd.log*")} == {"twistd.log", "twistd.log.1"}


def test_another_logger(twistd: Callable[..., Twistd]) -> None:
    """--logger wins over our own, and SIGUSR1 disturbs nothing then."""
    chat = twistd("-n", "--pidfile=", "--logger=twisted.logger.STDLibLogObserver", logfile="none")
    wait_until(lambda: ignored(chat.process.pid))
    chat.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: (chat.folder / "chat.db").exists())
    text = chat.stop()
    assert "#info]" not in text
    assert chat.process.returncode == 0


def ignored(pid: int) -> bool:
    """Whether SIGUSR1 does not kill this process any more."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigIgn", "SigCgt"))]
    return any(mask & SIGUSR1_BIT for mask in masks)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_an_early_signal(twistd: Callable[..., Twistd]) -> None:
    """SIGUSR1 while the server starts does not end it."""
    chat = twistd("-n", "--pidfile=", "--logfile=chat.log")
    wait_until(lambda: ignored(chat.process.pid))
    while "Listening on" not in chat.text:
        assert chat.process.poll() is None, chat.everything
        chat.process.send_signal(signal.SIGUSR1)
    assert chat.stop() == ""
    assert chat.process.returncode == 0


def test_slow_statements(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """A statement that takes longer than log.slow_seconds is logged: which one, for how long and by which threads, and
    nothing of what it stores. The setting can be off."""
    chat = server(postgres_url, config="[log]\nslow_seconds = 0.2\n")
    ana = connect(chat, JsonClient)
    ana.register("ana")
    assert "Slow:" not in chat.log
    engine = open_engine(parse_url(postgres_url))
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with engine.connect() as db:
        db.exec_driver_sql("SELECT FROM room FOR UPDATE")
        ana.send(b'{"cmd":"say","room":"general","text":"SECRET-WORDS"}\n')
        wait_until(lambda: bool(db.exec_driver_sql(waiting).scalar_one()))
        db.exec_driver_sql("SELECT pg_sleep(0.3)")
        db.rollback()
    engine.dispose()
    found = chat.wait_log(r"#warn\] Slow: store\.messages\.append took ([\d.]+) s in the database \(writers\)\.$")
    assert 0.2 <= float(found[1]) < 10
    assert "SECRET" not in chat.log


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="needs logrotate")
def test_logrotate(twistd: Callable[..., Twistd], tmp_path: Path) -> None:
    """The snippet in docs/operating.md moves the file, and the server goes on in a new one."""
    [snippet] = re.findall(r"(?ms)^(    /var/log/chatserver/chatserver\.log \{.*?^    \})$", OPERATING.read_text())
    chat = twistd("-n", "--pidfile=", f"--logfile={tmp_path / 'chat.log'}")
    address = chat.listening()
    here = snippet.replace("/var/log/chatserver/chatserver.log", str(chat.path))
    here = here.replace("chatserver chatserver\n", f"{os.getuid()} {os.getgid()}\n")
    here = re.sub(r"systemctl .*", f"kill -USR1 {chat.process.pid}", here)
    assert "systemctl" in snippet
    (tmp_path / "conf").write_text(here)
    (tmp_path / "conf").chmod(0o600)
    tmp_path.chmod(0o755)
    subprocess.run(["logrotate", "--force", "--state", tmp_path / "state", tmp_path / "conf"], check=True)
    with Raw(address) as client:
        client.read_line()
    wait_until(lambda: "audit: ended" in chat.text)
    assert "Listening on" in chat.path.with_name("chat.log.1").read_text()
    assert "Listening on" not in chat.text
