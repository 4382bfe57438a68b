"""The real server: `twistd chatserver` as a child process that never outlives its test."""

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
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from chatserver.settings.tables import NO_LIMITS
from chatserver.store.db.engine import is_missing, open_ready, parse_url
from tests.support.migrated import migrated

LOOPBACK = "tcp:0:interface=127.0.0.1"
TWISTD = Path(sys.executable).with_name("twistd")

_LISTENING = re.compile(r'Listening on ([^\s"]+):(\d+)')
_PR_SET_PDEATHSIG = 1


class ServerError(AssertionError):
    """The server did not do in time what the test asked for; the message ends with the server's log."""


def die_with_parent(number: int) -> Callable[[], None] | None:
    """A `preexec_fn` that makes the kernel signal the child if the tests are killed (Linux only).

    The kernel watches the thread that starts the child, not the process. The result is None in any thread except the
    main thread, because a child may outlive the thread that started it.
    """
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without the CHATSERVER_ variables that a developer may have set for another server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATSERVER_")}
    return kept | {"PYTHONUNBUFFERED": "1"} | dict(extra or {})


def run_chatserver(
    *options: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """Run `twistd -n chatserver OPTIONS` until it exits, for servers that refuse to start; `stdout` has all output."""
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
    """Upgrade a database to the newest schema, as `--migrate` does. A SQLite file that is missing is made by a copy."""
    url = parse_url(database)
    if is_missing(url) and url.database:
        with open(url.database, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(migrated())
    else:
        open_ready(url, migrate=True).dispose()


def without_limits(config: str) -> str:
    """A TOML text in which the limits of NO_LIMITS that it does not set are off."""
    chosen = tomllib.loads(config).get("limits", {})
    off = "".join(f"{name} = {value}\n" for name, value in NO_LIMITS.items() if name not in chosen)
    table = "[limits]\n"
    return config.replace(table, table + off) if table in config else f"{config}\n{table}{off}"


class ChatServer:
    """One server process, with its own process group and temporary folder.

    You can start it again after `stop()` or `kill()`. It then uses the same folder and, if it has a single endpoint,
    the same port, so that clients can reconnect. `config` is the text of a TOML file; unless `limits` is "default", the
    limits in NO_LIMITS that it does not set are off. `python` is another interpreter than the one that runs the tests;
    `pass_fds` are descriptors that the process inherits.
    """

    def __init__(
        self,
        database: str,
        *,
        config: str = "",
        limits: Literal["off", "default"] = "off",
        listen: Sequence[str] = (LOOPBACK,),
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        python: Path | None = None,
        start_seconds: float = 30.0,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.database = database
        self._pass_fds = pass_fds
        self.folder = Path(tempfile.mkdtemp(prefix="chatserver-test-"))
        self.addresses: list[tuple[str, int]] = []
        self._listen = list(listen)
        self._options = list(options)
        self._env = clean_environment({"XDG_RUNTIME_DIR": str(self.folder), **(env or {})})  # for its control socket
        self._python = str(python or sys.executable)
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._news = threading.Condition()
        self._log = ""
        self._ended = True
        if limits == "off":
            config = without_limits(config)
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
        """The address to connect to; if there are several endpoints, that of the first one that listened."""
        return self.addresses[0]

    @property
    def port(self) -> int:
        return self.address[1]

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def log(self) -> str:
        """Everything it has written so far, including before restarts."""
        with self._news:
            return self._log

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it and wait until it listens on every endpoint that has a network address."""
        if self.running:
            raise RuntimeError("The server is already running.")
        before = len(self.log)
        self._spawn()
        endpoints = sum(re.match(r"(\w+:)?unix:", endpoint) is None for endpoint in self._listen)

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
            self._listen = [re.sub(r"^((?:web:)?tcp):0(?=:|$)", rf"\1:{found[0][1]}", self._listen[0])]
        return self

    def stop(self, timeout: float = 15.0, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it with a signal; returns its exit status. Kills it and raises ServerError if it misses the deadline."""
        process = self._running()
        process.send_signal(number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(f"The server was still running {timeout:g} s after {number.name}.\n{self.log}") from None
        return self._reap()

    def wait(self, timeout: float = 15.0) -> int:
        """Wait until it exits by itself; returns its exit status."""
        try:
            self._running().wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServerError(f"The server is still running after {timeout:g} s.\n{self.log}") from None
        return self._reap()

    def signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL to its process group; does nothing if it is not running."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._reap()

    def close(self) -> None:
        """Kill it if it is running, and remove its folder."""
        if self.running and "COVERAGE_PROCESS_CONFIG" in os.environ:  # a killed process leaves no coverage data
            self.signal(signal.SIGTERM)
            try:
                self._running().wait(2.0)
            except subprocess.TimeoutExpired:
                pass
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_log(self, pattern: str, timeout: float = 10.0, start: int = 0) -> re.Match[str]:
        """Wait until the pattern matches the log, searched from offset `start`."""
        expression = re.compile(pattern, re.MULTILINE)
        with self._news:
            self._news.wait_for(lambda: self._ended or expression.search(self._log, start), timeout)
            found = expression.search(self._log, start)
        if found is None:
            raise ServerError(f"The log has no match for {pattern!r} after {timeout:g} s.\n{self.log}")
        return found

    def rss_bytes(self) -> int:
        """Its current resident memory."""
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
            pass_fds=self._pass_fds,
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
            raise RuntimeError("The server was never started, or has ended.")
        return self._process

    def _reap(self) -> int:
        process = self._running()
        code = process.wait(10.0)
        assert self._reader is not None
        self._reader.join(10.0)
        self._process = None
        return code


def wait_until(true: Callable[[], bool], timeout: float = 10.0, what: str = "") -> None:
    """Poll until `true()`, for what gives no notification, such as a database row or a kernel counter."""
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"Still not true after {timeout:g} s: {what or true}")
        time.sleep(0.01)
