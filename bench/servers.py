"""The servers that are measured: how to start each, what it stores, and how many messages it has stored."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import fill, machine, postgres
from bench.fill import People

HERE = Path(__file__).parent
STOP_SECONDS = 20.0


class Server:
    """A chat server in a fresh folder, running from `start` to `stop`."""

    name = ""
    profile = ""
    keeps = ""  # what it stores, and when
    settings = ""  # in peers/
    package = ""  # its name in Debian
    login_options: tuple[str, ...] = ()  # for the load generator

    def __init__(self, workspace: Path, statements: bool = False) -> None:
        self.folder = workspace / self.name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        machine.give_to_server(self.folder)
        self.port = machine.free_port()
        self.ports = [self.port]
        self.statements = statements
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be measured here; empty if it can."""
        return "" if machine.find_program(cls.package) else f"Debian's package {cls.package} is not installed"

    @classmethod
    def version(cls) -> str:
        return f"{cls.package} {machine.package_version(cls.package) or '(unpackaged)'}"

    def start(self, people: Sequence[People]) -> None:
        raise NotImplementedError

    def stored(self) -> int | None:
        """How many messages of the load generator it has stored; None for a server that stores none."""
        return None

    def faults(self) -> list[str]:
        """Faults in its stored data."""
        return []

    def facts(self) -> dict[str, str]:
        """Settings for the report, queried from the running server."""
        return {}

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.processes.items()}

    def settings_file(self, **values: object) -> str:
        """Writes a copy of its settings in which each @NAME@ is replaced; returns its path."""
        text = (HERE / "peers" / self.settings).read_text()
        for key, value in {"PORT": self.port, "FOLDER": self.folder, **values}.items():
            text = text.replace(f"@{key}@", str(value))
        path = self.folder / self.settings
        path.write_text(text)
        machine.give_to_server(path)
        return str(path)

    def launch(self, command: Sequence[str], *, root: bool = False, env: dict[str, str] | None = None) -> None:
        """Starts it, without root privileges unless `root` is set, and waits until it listens."""
        with (self.folder / "server.log").open("wb") as log:
            user: dict[str, Any] = {} if root else machine.as_unprivileged()
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                env=env, preexec_fn=machine.die_with_parent, **user,
            )  # fmt: skip
        self.processes["server"] = process
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"{self.name} did not start: {(self.folder / 'server.log').read_text()[-500:]}")


class Ngircd(Server):
    name, profile, package, settings = "ngircd", "irc", "ngircd", "ngircd.conf"
    keeps = "Nothing."
    login_options = ("--login-conc", "8")

    def start(self, people: Sequence[People]) -> None:
        self.launch([machine.find_program("ngircd") or "", "-n", "-f", self.settings_file()])


class Inspircd(Server):
    name, profile, package, settings = "inspircd", "irc", "inspircd", "inspircd.conf"
    keeps = "Nothing."
    login_options = ("--login-conc", "2000")  # it completes logins once a second: only many at once show its rate

    def start(self, people: Sequence[People]) -> None:
        self.launch([machine.find_program("inspircd") or "", "--nofork", "--config", self.settings_file()])


class OnPostgres(Server):
    """Base of servers that use PostgreSQL."""

    database: postgres.Postgres

    def start_postgres(self, database: str) -> None:
        settings = (HERE / "peers" / "postgresql.conf").read_text()
        self.database = postgres.Postgres(self.folder, settings, self.statements)
        self.processes["postgres"] = self.database.process
        self.database.create(database)

    def facts(self) -> dict[str, str]:
        return self.database.settings()

    def stop(self) -> None:
        process = self.processes.pop("postgres", None)
        super().stop()
        if process is not None:
            self.database.stop()


class Prosody(OnPostgres):
    name, profile, package, settings = "prosody-pg", "xmpp-muc", "prosody", "prosody.cfg.lua"
    keeps = "Every room message in its archive (MAM) in PostgreSQL, as XML; a kill loses those in flight."

    @classmethod
    def missing(cls) -> str:
        if not postgres.programs():
            return "PostgreSQL is not installed"
        if not machine.package_version("lua-dbi-postgresql"):
            return "Debian's package lua-dbi-postgresql is not installed"
        return super().missing()

    def start(self, people: Sequence[People]) -> None:
        self.start_postgres("prosody")
        settings = self.settings_file(PGPORT=self.database.port)
        self.launch([machine.find_program("prosody") or "", "-F", "--config", settings])

    def stored(self) -> int | None:
        return int(self.database.sql("SELECT count(*) FROM prosodyarchive WHERE value LIKE '%@L%'", database="prosody"))


class Chatserver(Server):
    """The server under test, from the virtualenv of `python`: the one that this program runs in."""

    profile, settings = "chatserver", "chatserver.toml"
    python = Path(sys.executable)
    timed: Path | None = None  # the file to which bench.timed writes its samples

    @classmethod
    def missing(cls) -> str:
        return "" if cls.python.with_name("twistd").exists() else "run this with the virtualenv's Python"

    @classmethod
    def version(cls) -> str:
        from chatserver import __version__

        return f"chatserver {__version__}"

    def launch_chatserver(self, url: str, *options: str) -> None:
        python = str(self.python)
        twistd = ["-m", "bench.timed"] if self.timed else [str(self.python.with_name("twistd"))]
        command = [python, *twistd, "-n", "--pidfile=", "chatserver"]
        command += ["--listen", f"tcp:{self.port}:interface=127.0.0.1:backlog=4096", "--database", url, *options]
        env = {name: value for name, value in os.environ.items() if not name.startswith("CHATSERVER_")}
        if self.timed:
            env |= {"BENCH_TIMED": str(self.timed), "PYTHONPATH": str(HERE.parent)}
        root = not machine.unprivileged_can_run([python, "-c", "import chatserver.tap"])
        self.launch([*command, "--config", self.settings_file()], root=root, env=env)

    def fill(self, into: fill.PostgresFill, people: Sequence[People]) -> None:
        for one in people:
            fill.fill(into, one)

    def ask_database(self, statement: str) -> str:
        raise NotImplementedError

    def stored(self) -> int | None:
        return int(self.ask_database(fill.STORED))

    def faults(self) -> list[str]:
        holes = int(self.ask_database(fill.HOLES))
        return [f"{holes} rooms with a gap in their log"] if holes else []


class ChatserverPostgres(Chatserver, OnPostgres):
    name = "chatserver-pg"
    keeps = "Every message in PostgreSQL, committed with fsync before the answer and before anybody sees it."

    @classmethod
    def missing(cls) -> str:
        return super().missing() or ("" if postgres.programs() else "PostgreSQL is not installed")

    def start(self, people: Sequence[People]) -> None:
        self.start_postgres("chat")
        url = f"postgresql+psycopg2://chat@127.0.0.1:{self.database.port}/chat"
        self.launch_chatserver(url, "--migrate")
        if self.statements:
            self.ask_database(f"CREATE EXTENSION {postgres.STATEMENTS}")
        self.fill(fill.PostgresFill(self.ask_database), people)

    def ask_database(self, statement: str) -> str:
        return self.database.sql(statement, database="chat")


class ChatserverNewest(ChatserverPostgres):
    """The same on the newest Python of this machine."""

    name = "chatserver-pg-newest"
    python = HERE.parent / ".venv-newest/bin/python"

    @classmethod
    def missing(cls) -> str:
        if not cls.python.exists():
            return "there is no newer Python in .venv-newest: see tools/test-newest"
        return super().missing()

    @classmethod
    def version(cls) -> str:
        command = [str(cls.python), "-c", "import platform; print(platform.python_version())"]
        return f"{super().version()} on Python {subprocess.check_output(command, text=True).strip()}"


class ChatserverSqlite(Chatserver):
    name = "chatserver-sqlite"
    keeps = "Every message in SQLite (WAL, synchronous=FULL), committed before the answer and before anybody sees it."

    def start(self, people: Sequence[People]) -> None:
        file = self.folder / "chat.db"
        self.launch_chatserver(f"sqlite:///{file}")
        self._fill = fill.SqliteFill(file)
        self.fill(self._fill, people)

    def ask_database(self, statement: str) -> str:
        return self._fill.execute(statement)


class Relay(Server):
    name, profile = "relay", "relay"
    keeps = "Nothing; it is not a real chat server (bench/relay.py)."

    @classmethod
    def missing(cls) -> str:
        return ""

    @classmethod
    def version(cls) -> str:
        return "bench/relay.py"

    def start(self, people: Sequence[People]) -> None:
        self.launch([sys.executable, str(HERE / "relay.py"), str(self.port)], root=True)


SERVERS: dict[str, type[Server]] = {
    kind.name: kind
    for kind in (Ngircd, Inspircd, Prosody, ChatserverPostgres, ChatserverNewest, ChatserverSqlite, Relay)
}
PEERS = [name for name in SERVERS if name != Relay.name]
