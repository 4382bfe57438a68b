"""The systemd unit that we ship: what it allows is little, and enough."""

import configparser
import ctypes.util
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.process.load import QUICK
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient
from tests.support.process import LOOPBACK
from tests.support.systemd import Systemd
from tests.support.websocket import WebSocketClient

UNIT = Path(__file__).parents[2] / "deploy" / "chatserver.service"
MOST_EXPOSED = 1.5


def analyze(*arguments: str | Path) -> str:
    """The output of systemd-analyze; skips the test where it is not installed."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    command = ["systemd-analyze", *map(str, arguments), "--no-pager"]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_little_is_exposed() -> None:
    found = re.search(r"exposure level for \S+: ([\d.]+)", analyze("security", "--offline=true", UNIT))
    assert found is not None
    assert float(found[1]) <= MOST_EXPOSED


def allowed() -> list[str]:
    """The names of the system calls that the unit allows."""
    sets: dict[str, list[str]] = {}
    for line in analyze("syscall-filter").splitlines():
        line = re.sub(r"\x1b\[[\d;]*m", "", line)
        if line.startswith("@"):
            members = sets[line.strip()] = []
        elif line.strip() and not line.lstrip().startswith("#") and line.startswith(" "):
            members.append(line.strip())

    def names(word: str) -> set[str]:
        return set().union(*map(names, sets[word])) if word in sets else {word}

    result: set[str] = set()
    for value in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE):
        these = set().union(*map(names, value.lstrip("~").split()))
        result = result - these if value.startswith("~") else result | these
    return sorted(result)


@pytest.fixture
def confined_python(tmp_path: Path) -> Path:
    """An interpreter that runs under the filters of the unit."""
    if ctypes.util.find_library("seccomp") is None and not Path("/usr/lib/x86_64-linux-gnu/libseccomp.so.2").exists():
        pytest.skip("libseccomp is not installed")
    calls = tmp_path / "allowed"
    calls.write_text("\n".join(allowed()), encoding="utf-8")
    python = tmp_path / "python"
    script = Path(__file__).parents[1] / "support" / "confined.py"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {script} {calls} {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return python


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_it_serves_confined(
    kind: str, request: pytest.FixtureRequest, server: StartServer, confined_python: Path, tmp_path: Path
) -> None:
    """Every door, TLS, passwords, both databases, the watchdog, a reload and an orderly end."""
    url = f"sqlite:///{tmp_path / 'chat.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    key, certificate = write_certificate(tmp_path)
    path = tmp_path / "socket"
    listen = [
        LOOPBACK,
        f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}",
        "ws:tcp:0:interface=127.0.0.1",
        f"unix:{path}",
    ]
    with Systemd(tmp_path, watchdog_seconds=3) as systemd:
        chat = server(url, config=QUICK, listen=listen, python=confined_python, env=systemd.environment)
        systemd.hears("READY=1")
        plain, secure, web = chat.addresses
        with JsonClient(plain) as ana, JsonClient(secure, tls=True) as bob, WebSocketClient(web) as cai:
            for name, client in (("ana", ana), ("bob", bob), ("cai", cai)):
                client.register(name)
            ana.say("general", "hello")
            for client in (bob, cai):
                client.hears("hello")
        with socket.socket(socket.AF_UNIX) as local:
            local.settimeout(10)
            local.connect(str(path))
            assert local.recv(9) == b"* Welcome"
        systemd.is_fed(2)
        chat.signal(signal.SIGHUP)
        systemd.hears("RELOADING=1")
        systemd.hears("READY=1")
        assert chat.stop() == 0
        systemd.hears("STOPPING=1")
    assert "Permission" not in chat.log
    assert "not permitted" not in chat.log


def test_restarts() -> None:
    """A start that only an administrator can mend is not tried again; every other one is, for ever."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(UNIT, encoding="utf-8")
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Service"]["Restart"] == "on-failure"
    assert unit["Service"]["RestartPreventExitStatus"] == "78"
