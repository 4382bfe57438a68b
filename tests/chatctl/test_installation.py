"""Which server `chatctl` works on if nobody names one, and as which user."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chatctl.conftest import PASSWORD
from tests.support.process import clean_environment, migrate

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
STRANGER = 1
TREE = Path(__file__).resolve().parents[2]


def python() -> str | None:
    """A Python of this version that every user can run; None if there is none, or if that cannot read this tree."""
    if not ROOT:
        return sys.executable
    here = [sys.executable, shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin")]
    for program in filter(None, here):
        line = [program, "-c", f"import sqlite3, ssl; open({str(Path(__file__))!r})"]
        try:
            if not subprocess.run(line, user=NOBODY.pw_uid, stderr=subprocess.DEVNULL, check=False).returncode:
                return program
        except PermissionError:
            pass
    return None


PYTHON = python()
pytestmark = pytest.mark.skipif(PYTHON is None, reason="needs a Python, and a folder, that all users can read")

PROGRAM = """
import json, os, sys, tempfile, traceback
from pathlib import Path
from chatserver.chatctl import identity
from chatserver.chatctl.main import main
from chatserver.settings import installation
for line in sys.stdin:
    asked = json.loads(line)
    streams = [tempfile.TemporaryFile() for _ in range(3)]
    streams[0].write(asked["typed"].encode())
    streams[0].seek(0)
    child = os.fork()
    if not child:
        for number, stream in enumerate(streams):
            os.dup2(stream.fileno(), number)
        sys.stdin = open(0)
        os.environ.clear()
        os.environ.update(asked["environment"])
        folder = Path(asked["folder"])
        installation.CHECKOUT = folder / asked["checkout"] if asked["checkout"] else None
        installation.FOLDER, installation.STATE = folder / "etc", folder / "var"
        os.chdir(folder / "home")
        if asked["private"]:
            identity.__file__ = str(folder / "home" / "identity.py")
        if asked["user"]:
            os.setgroups([])
            os.setgid(asked["user"])
            os.setuid(asked["user"])
        status = 1
        try:
            main(asked["words"], prog_name="chatctl")
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for stream in streams:
        stream.seek(0)
    print(json.dumps([status, *(stream.read().decode() for stream in streams[1:])]), flush=True)
"""
"""Runs commands, each in a process of its own, on machines whose installation is in a folder of theirs."""

Runner = Callable[[dict[str, Any]], tuple[int, str, str]]


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    assert PYTHON is not None
    paths = f"{TREE}:{sysconfig.get_path('purelib')}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    line = [PYTHON, "-c", PROGRAM]
    with subprocess.Popen(line, env=clean_environment({"PYTHONPATH": paths}), **pipes) as program:  # type: ignore[call-overload]

        def run(asked: dict[str, Any]) -> tuple[int, str, str]:
            print(json.dumps(asked), file=program.stdin, flush=True)
            status, said, told = json.loads(program.stdout.readline())
            return status, said, told

        yield run
        program.stdin.close()


class Machine:
    """`etc`, `var`, and `home`, the current folder of the caller. The server is that of `nobody` if this is root."""

    def __init__(self, folder: Path, runner: Runner) -> None:
        self._folder = folder
        self._runner = runner
        self.etc, self.var, self.home = (folder / name for name in ("etc", "var", "home"))
        self.checkout = ""  # the folder that the program runs from; empty: it is installed
        self.private = False  # whether the program lies where only its caller can read it
        folder.chmod(0o755)
        for part in (self.etc, self.var, self.home):
            part.mkdir(mode=0o700)
        if ROOT:
            self.etc.chmod(0o750)
            os.chown(self.etc, 0, NOBODY.pw_gid)
            os.chown(self.var, NOBODY.pw_uid, NOBODY.pw_gid)

    def install(self, environment: str = "CHATSERVER_CONFIG=@/chatserver.toml", settings: str = "") -> None:
        fast = "[passwords]\nmemory_kib = 64\ntime_cost = 1\n"
        for name, text in (("environment", environment), ("chatserver.toml", fast + settings)):
            (self.etc / name).write_text(text.replace("@", str(self.etc)) + "\n", encoding="utf-8")

    def run(self, *words: str, typed: str = "", stranger: bool = False, **environment: str) -> tuple[int, str, str]:
        """`stranger`: as a user who is neither root nor that of the server."""
        asked: dict[str, Any] = {"folder": str(self._folder), "words": words, "typed": typed}
        asked |= {"checkout": self.checkout, "private": self.private}
        user = STRANGER if stranger and ROOT else 0
        return self._runner(asked | {"environment": clean_environment(environment), "user": user})

    def __call__(self, *words: str, typed: str = "") -> tuple[str, str]:
        status, said, told = self.run(*words, typed=typed)
        assert status == 0, told
        return said, told


@pytest.fixture
def machine(runner: Runner) -> Iterator[Machine]:
    folder = tempfile.mkdtemp(prefix="chatserver-machine-")  # where other users come too
    yield Machine(Path(folder), runner)
    shutil.rmtree(folder)


ADD = ("user", "add", "ana", "--password-stdin")
TYPED = f"{PASSWORD}\n"


def test_the_first_operator(machine: Machine) -> None:
    """Two commands make the first operator of the server that is installed, wherever they are typed and whatever
    database is there. The files are the server's, and each command that changes something says which database it is."""
    machine.install(settings='[server]\ndefault_rooms = ["lobby"]\n')
    place = machine.var / "chatserver.db"
    told = f"chatctl: database sqlite:///{place}, from {machine.etc}\n"
    assert machine("migrate", "--create") == ("The schema is up to date now.\n", told)
    migrate(f"sqlite:///{machine.home}/chatserver.db")
    assert machine(*ADD, typed=TYPED) == ("ana is registered and has joined lobby.\n", told)
    assert machine("user", "operator", "ana") == ("ana is now an operator of the server.\n", told)
    said, told = machine("user", "list")
    assert (said.split()[:2], told) == (["ana", "operator"], "")
    if ROOT:
        assert {path.stat().st_uid for path in machine.var.iterdir()} == {NOBODY.pw_uid}
    assert place.stat().st_mode & 0o777 == 0o600


def test_files_of_the_caller(machine: Machine) -> None:
    """Files on the command line are found, read and written as the one who typed it would do."""
    machine.install()
    machine("migrate", "--create")
    machine(*ADD, typed=TYPED)
    (machine.home / "chat.backup.partial").touch()
    machine("backup", "chat.backup")
    machine("restore", "chat.backup", "--replace")
    machine("user", "export", "ana", "--output", "ana.jsonl")
    machine("room", "export", "general", "--output", "general.jsonl")
    machine("room", "import", "general.jsonl", "--name", "copy")
    made = {path.name: (path.stat().st_uid, path.stat().st_mode & 0o777) for path in machine.home.iterdir()}
    assert made == dict.fromkeys(("chat.backup", "ana.jsonl", "general.jsonl"), (os.geteuid(), 0o600))
    assert [path.name for path in machine.var.iterdir()] == ["chatserver.db"]


def test_the_environment_of_the_server(machine: Machine) -> None:
    """It is read as systemd reads it; an option of the server takes precedence, and so does a file of one node."""
    url = f"sqlite:///{machine.var}/{{}}.db"
    for name in ("one", "two", "three"):
        migrate(url.format(name))
        if ROOT:
            os.chown(machine.var / f"{name}.db", NOBODY.pw_uid, NOBODY.pw_gid)

    def used(environment: str, node: str = "") -> str:
        machine.install(environment, settings='[server]\ndatabase = "sqlite:///one.db"\n')
        status, said, _ = machine.run("check", CHATSERVER_NODE=node)
        assert status == 0
        [line] = [line for line in said.splitlines() if "database:" in line]
        return Path(line).stem

    assert used("") == "one"
    assert used("# CHATSERVER_DATABASE=no\n ; nor this\n\n CHATSERVER_NODE = 'main'") == "one"
    assert used(f'CHATSERVER_DATABASE="{url.format("two")}"') == "two"
    options = f"CHATSERVER_OPTIONS=--log-format json \\\n --database={url.format('three')}"
    assert used(f"CHATSERVER_DATABASE={url.format('two')}\n{options}") == "three"
    (machine.etc / "environment-2").write_text(f"CHATSERVER_DATABASE={url.format('two')}\n", encoding="utf-8")
    assert (used("", node="2"), used("", node="3")) == ("two", "one")
    (machine.etc / "environment").unlink()
    assert "one.db" in machine("check")[0]


def test_a_checkout(machine: Machine) -> None:
    """The `chatctl` of a checkout works on the database in the current folder if there is one, and in the checkout on
    no other, whoever types it."""
    machine.install()
    machine("migrate", "--create")
    machine.checkout = "home"
    status, _, told = machine.run(*ADD, typed=TYPED)
    assert (status, "There is no database sqlite:///chatserver.db" in told) == (1, True)
    machine.checkout = "elsewhere"
    assert machine("migrate")[1].endswith(f"from {machine.etc}\n")
    migrate(f"sqlite:///{machine.home}/chatserver.db")
    told = f"chatctl: database sqlite:///{machine.home}/chatserver.db, in the current folder\n"
    for machine.checkout in ("home", "elsewhere"):
        assert machine("migrate")[1] == told


def test_a_stranger(machine: Machine) -> None:
    """Who may not administer the server works on the database in the current folder, if there is one, and is told what
    to do otherwise. Nothing is created."""
    machine.install()
    machine("migrate", "--create")
    if ROOT:
        os.chown(machine.home, STRANGER, STRANGER)
    else:
        machine.etc.chmod(0)
    for words in (["user", "list"], ["migrate"], ["migrate", "--create"], ["backup", "chat.backup"]):
        status, said, told = machine.run(*words, stranger=True)
        assert (status, said, told.count("\n"), "Use sudo, or name another database" in told) == (1, "", 1, True)
    assert list(machine.home.iterdir()) == []
    migrate(f"sqlite:///{machine.home}/chatserver.db")
    os.chown(machine.home / "chatserver.db", STRANGER if ROOT else -1, -1)
    status, _, told = machine.run(*ADD, typed=TYPED, stranger=True)
    assert (status, told.endswith(f"database sqlite:///{machine.home}/chatserver.db, in the current folder\n")) == (
        0,
        True,
    )
    for words in (
        ["backup", f"{machine.etc}/x"],
        ["restore", f"{machine.etc}/x"],
        ["user", "export", "ana", "--output", f"{machine.etc}/x"],
        ["room", "import", f"{machine.etc}/x"],
        ["cert", "add", "ana", f"{machine.etc}/x"],
        ["--config", f"{machine.etc}/chatserver.toml", "user", "list"],
    ):
        status, said, told = machine.run(*words, stranger=True)
        assert (status, said, told.splitlines()[-1].startswith("chatctl: /") or "settings file" in told) == (
            1,
            "",
            True,
        )
        assert "(Permission denied)" in told
    machine.var.chmod(0)
    for words in (["user", "list"], ["migrate"], ["backup", "x"], ["restore", "chatserver.db"], ["verify"]):
        status, said, told = machine.run("--database", f"sqlite:///{machine.var}/chatserver.db", *words, stranger=True)
        assert (status, told.count("\n"), told.startswith("chatctl: ")) == (1, 1, True)
    for part in (machine.etc, machine.var):
        part.chmod(0o700)


def test_no_server(machine: Machine) -> None:
    """Where no server is installed, a database is created only by `migrate --create`."""
    for words in (["migrate"], ["user", "list"], [*ADD], ["backup", "chat.backup"]):
        status, said, told = machine.run(*words)
        assert (status, said, told.count("\n")) == (1, "", 1)
        assert told.startswith("chatctl: There is no database sqlite:///chatserver.db. Correct --database")
    assert list(machine.home.iterdir()) == []
    assert machine("migrate", "--create")[1].endswith("/home/chatserver.db, in the current folder\n")
    assert [path.name for path in machine.home.iterdir()] == ["chatserver.db"]


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_who_cannot_be_the_user(machine: Machine) -> None:
    """Where the user of the server is not known, or could not go on with this program, root changes nothing."""
    machine.install()
    machine.private = True
    status, _, told = machine.run("migrate", "--create")
    assert (status, told.count("\n"), "user nobody of the installed server cannot read" in told) == (1, 1, True)
    machine.private = False
    machine.var.rmdir()
    status, _, told = machine.run("migrate", "--create")
    assert (status, told.count("\n"), "whose owner the installed server runs as" in told) == (1, 1, True)
    assert not machine.var.exists()
