"""A Valkey server on a loopback port, the real one where there is one, and a reactor that runs while a test waits for a
bus."""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.selectreactor import SelectReactor

from tests.support.process import die_with_parent

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")
STAND_IN = [sys.executable, str(Path(__file__).with_name("standin.py"))]
needs_valkey = pytest.mark.skipif(PROGRAM is None, reason="There is no valkey-server here (Debian: valkey-server).")


class Valkey:
    """A server without files, which can be killed and started again on the same port."""

    def __init__(self, password: str = "") -> None:
        self.port = 0
        self._password = password
        self._folder = Path(tempfile.mkdtemp(prefix="chatserver-valkey-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        login = f":{self._password}@" if self._password else ""
        return f"valkey://{login}127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Starts it, and waits until it answers."""
        for _ in range(1 if self.port else 5):  # another program may take the free port first
            port = self.port or _free_port()
            if self._launch(port):
                self.port = port
                return self
        raise AssertionError(f"Valkey does not start.\n{(self._folder / 'log').read_text()}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10.0)
            self._process = None

    def freeze(self) -> None:
        """It keeps its connections and its port, and does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> bytes:
        """The first piece of its reply to a command."""
        command = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        login = f"AUTH {self._password}\r\n" if self._password else ""
        with socket.create_connection(("127.0.0.1", self.port), 5.0) as client:
            client.settimeout(5.0)
            if login:
                client.sendall(login.encode())
                assert client.recv(4096) == b"+OK\r\n"
            client.sendall(command.encode())
            return client.recv(65_536)

    def _launch(self, port: int) -> bool:
        options = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(self._folder)}
        if self._password:
            options["requirepass"] = self._password
        command = [*STAND_IN] if PROGRAM is None else [PROGRAM]
        for name, value in options.items():
            command += [f"--{name}", value]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGKILL)
            )
        deadline = time.monotonic() + 10.0
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                if self.ask_at(port):
                    return True
            except OSError:
                pass
            time.sleep(0.01)
        self.kill()
        return False

    @staticmethod
    def ask_at(port: int) -> bool:
        """Whether something like Valkey answers there."""
        with socket.create_connection(("127.0.0.1", port), 1.0) as client:
            client.settimeout(1.0)
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Loop:
    """A reactor that runs while a test waits."""

    def __init__(self) -> None:
        self.reactor = SelectReactor()
        self.reactor.startRunning(installSignalHandlers=False)

    def until(self, true: Callable[[], Any], what: str, seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"Not within {seconds:g} s: {what}"
            self.reactor.iterate(0.01)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        over: list[object] = []
        ensureDeferred(work).addBoth(over.append)
        self.until(lambda: over, "the end of it")
        assert over == [None]

    def close(self) -> None:
        self.reactor.fireSystemEvent("shutdown")
        self.reactor.iterate(0)
