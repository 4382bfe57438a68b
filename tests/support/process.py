"""The real server: `twistd chatserver` as a child process, which never outlives its test."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from chatserver.store.database import open_ready, parse_url

LOOPBACK = "tcp:0:interface=127.0.0.1"
TWISTD = Path(sys.executable).with_name("twistd")

_LISTENING = re.compile(r"Listening on (\S+):(\d+)")
_PR_SET_PDEATHSIG = 1


class ServerError(AssertionError):
    """The server did not do what was asked of it in time; the message ends with its log."""


def die_with_parent(number: int) -> Callable[[], None] | None:
    """A `preexec_fn` that has the kernel signal the child when the tests are killed themselves (Linux only).

    It works by thread: None for a child of any but the main thread, which may well outlive the thread.
    """
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without the settings that a developer may have made for a server of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATSERVER_")}
    return kept | {"PYTHONUNBUFFERED": "1"} | dict(extra or {})


def run_chatserver(
    *options: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """`twistd -n chatserver OPTIONS` to its end, for refusals to start; `stdout` has all it wrote."""
    return subprocess.run(
        [sys.executable, str(TWISTD), "-n", "--pidfile=", "chatserver", *options],
        cwd=cwd,
        env=clean_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )


def migrate(database: str) -> None:
    """Bring a database to the newest schema, as `--migrate` does."""
    open_ready(parse_url(database), migrate=True).dispose()


class ChatServer:
    """One server process, in a process group and a temporary folder of its own.

    It can be started again after `stop()` or `kill()`, on the same ports and in the same folder: a client finds what
    it left. `config` is the text of a TOML file, `python` an interpreter other than that of the tests.
    """

    def __init__(
        self,
        database: str,
        *,
        config: str = "",
        listen: Sequence[str] = (LOOPBACK,),
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        python: Path | None = None,
        start_seconds: float = 30.0,
    ) -> None:
        self.database = database
        self.folder = Path(tempfile.mkdtemp(prefix="chatserver-test-"))
        self.addresses: list[tuple[str, int]] = []
        self._listen = list(listen)
        self._options = list(options)
        self._env = clean_environment(env)
        self._python = str(python or sys.executable)
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._news = threading.Condition()
        self._log = ""
        self._ended = True
        if config:
            (self.folder / "chatserver.toml").write_text(config, encoding="utf-8")
            self._options += ["--config", str(self.folder / "chatserver.toml")]

    def __enter__(self) -> Self:
        try:
            return self if self.running else self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> tuple[str, int]:
        """Where to connect to; of several endpoints, the first that listened."""
        return self.addresses[0]

    @property
    def port(self) -> int:
        return self.address[1]

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def log(self) -> str:
        """Everything it wrote so far, of all its lives."""
        with self._news:
            return self._log

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it and wait until it listens on every endpoint that has an address."""
        if self.running:
            raise RuntimeError("It runs already.")
        before = len(self.log)
        self._spawn()
        endpoints = sum(not endpoint.startswith("unix:") for endpoint in self._listen)

        def settled() -> bool:
            return self._ended or len(_LISTENING.findall(self._log, before)) >= endpoints

        with self._news:
            in_time = self._news.wait_for(settled, self._start_seconds)
            found = [(host, int(port)) for host, port in _LISTENING.findall(self._log, before)]
        if len(found) < endpoints:
            code = self._reap() if in_time else None
            self.kill()
            what = f"ended with status {code}" if in_time else f"did not listen within {self._start_seconds:g} s"
            raise ServerError(f"The server {what}.\n{self.log[before:]}")
        self.addresses = found
        if len(self._listen) == endpoints == 1:
            self._listen = [re.sub(r"^tcp:0(?=:|$)", f"tcp:{found[0][1]}", self._listen[0])]
        return self

    def stop(self, timeout: float = 15.0, number: signal.Signals = signal.SIGTERM) -> int:
        """End it in the orderly way; its exit status. Past the deadline it is killed, and that is an error."""
        process = self._running()
        process.send_signal(number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(f"The server ran on for {timeout:g} s after {number.name}.\n{self.log}") from None
        return self._reap()

    def wait(self, timeout: float = 15.0) -> int:
        """Wait until it ends by itself; its exit status."""
        try:
            self._running().wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServerError(f"The server still runs after {timeout:g} s.\n{self.log}") from None
        return self._reap()

    def signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def kill(self) -> None:
        """SIGKILL, to its whole group; nothing happens where nothing runs."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._reap()

    def close(self) -> None:
        """Kill what still runs, and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_log(self, pattern: str, timeout: float = 10.0, start: int = 0) -> re.Match[str]:
        """Wait until the log, from offset `start` on, matches."""
        expression = re.compile(pattern, re.MULTILINE)
        with self._news:
            self._news.wait_for(lambda: self._ended or expression.search(self._log, start), timeout)
            found = expression.search(self._log, start)
        if found is None:
            raise ServerError(f"The log has no {pattern!r} after {timeout:g} s.\n{self.log}")
        return found

    def rss_bytes(self) -> int:
        """Its resident memory now."""
        import psutil

        return int(psutil.Process(self.pid).memory_info().rss)

    def _spawn(self) -> None:
        command = [self._python, str(TWISTD), "-n", "--pidfile=", "chatserver", "--database", self.database]
        for endpoint in self._listen:
            command += ["--listen", endpoint]
        with self._news:
            self._ended = False
        self._process = subprocess.Popen(
            command + self._options,
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                with self._news:
                    self._log += line.decode("utf-8", "backslashreplace")
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("It was never started, or has ended.")
        return self._process

    def _reap(self) -> int:
        process = self._running()
        code = process.wait(10.0)
        assert self._reader is not None
        self._reader.join(10.0)
        self._process = None
        return code


def wait_until(true: Callable[[], bool], timeout: float = 10.0, what: str = "") -> None:
    """For what can only be asked, never waited for (a row in a table, a figure of the kernel)."""
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not so after {timeout:g} s: {what or true}")
        time.sleep(0.01)
