"""`chatctl migrate` and `check`, and where settings come from."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text

from chatserver.chatctl.main import main
from chatserver.store.db.engine import open_engine, parse_url
from tests.chatctl.conftest import PASSWORD, Chatctl
from tests.support.postgres import PostgresServer
from tests.support.process import clean_environment, migrate

On = Callable[[str], Chatctl]
CHATCTL = Path(sys.executable).with_name("chatctl")


def findings(chatctl: Chatctl) -> dict[str, bool]:
    """Whether each item that `check` reports is ok; the exit status says whether all are, with --json too."""
    result = chatctl.run("check")
    words = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    found = {item.rstrip(":"): verdict == "ok" for verdict, item, _ in words}
    assert result.exit_code == (0 if all(found.values()) else 1)
    assert chatctl.run("check", "--json").exit_code == result.exit_code
    return found


def test_migrating(empty_url: str, on: On) -> None:
    """No other command creates a schema, and a file is created only where you say so. Migrating twice does no harm."""
    chatctl = on(empty_url)
    for words in (["user", "list"], ["ban", "add", "192.0.2.7"]):
        assert "chatctl migrate" in chatctl.fails(*words)
    assert not all(findings(chatctl).values())
    if empty_url.startswith("postgresql"):
        assert "is behind. Upgrade it: chatctl migrate" in chatctl.fails("migrate", "--sqlite-only")
        assert not all(findings(chatctl).values())
        assert chatctl("migrate") == "The schema is up to date now.\n"
        assert chatctl("migrate", "--sqlite-only") == "The schema is up to date already.\n"
    else:
        for words in (["migrate"], ["migrate", "--sqlite-only"]):
            assert "create it: chatctl migrate --create" in chatctl.fails(*words)
        assert chatctl("migrate", "--create", "--sqlite-only") == "The schema is up to date now.\n"
    assert chatctl.json("migrate") == {"schema": "current", "before": "current"}
    assert chatctl.json("user", "list") == []
    assert findings(chatctl)["schema"]


def test_a_newer_schema(chatctl: Chatctl) -> None:
    """The schema of a newer version is not touched."""
    engine = open_engine(parse_url(chatctl.database))
    with engine.begin() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    assert "newer chatserver" in chatctl.fails("migrate")
    assert "newer chatserver" in chatctl.fails("user", "list")
    assert not findings(chatctl)["schema"]


def test_checking_sqlite(sqlite_url: str, on: On, tmp_path: Path) -> None:
    chatctl = on(sqlite_url)
    assert findings(chatctl) == {"settings": True, "listen": True, "database": False}
    chatctl("migrate", "--create")
    items = ["settings", "listen", "database", "schema", "writing", "durability", "file"]
    assert findings(chatctl) == dict.fromkeys(items, True)
    assert "journal_mode=wal, synchronous=full" in chatctl("check")
    assert chatctl.json("check")["ok"] is True
    tmp_path.chmod(0o777)
    assert [item for item, ok in findings(chatctl).items() if not ok] == ["file"]
    tmp_path.chmod(0o1777)  # as /tmp: nobody can replace the files of others
    assert all(findings(chatctl).values())


def test_checking_postgres(empty_postgres_url: str, postgres_server: PostgresServer, on: On) -> None:
    """`check` reports if fsync is off, as it is on the tests' own PostgreSQL."""
    hasty, durable = on(empty_postgres_url), on(postgres_server.url())
    for chatctl in (hasty, durable):
        chatctl("migrate")
    assert [item for item, ok in findings(hasty).items() if not ok] == ["durability"]
    assert "fsync=off" in hasty.run("check").stdout
    assert all(findings(durable).values())
    assert "fsync=on, synchronous_commit=on" in durable("check")
    with create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT").connect() as db:
        db.execute(text("ALTER DATABASE postgres SET default_transaction_read_only = on"))
    assert not findings(durable)["writing"]
    postgres_server.stop()
    assert findings(durable) == {"settings": True, "listen": True, "database": False}
    assert "cannot be opened" in durable.fails("user", "list")


def test_wrong_settings(sqlite_url: str, on: On, tmp_path: Path) -> None:
    chatctl, file = on(sqlite_url), tmp_path / "chatserver.toml"
    file.write_text("[limits]\nwindw = 3\n")
    result = chatctl.run("--config", str(file), "check")
    assert (result.exit_code, "WRONG  settings: " in result.stdout, "windw" in result.stdout) == (1, True, True)
    assert "windw" in chatctl.fails("--config", str(file), "user", "list")
    assert "cannot be read" in chatctl.fails("--config", str(tmp_path / "none.toml"), "user", "list")
    assert "Correct --database" in on("mysql://me:secret@host/chat").fails("user", "list")
    result = on("mysql://me:secret@host/chat").run("check")
    assert (result.exit_code, "secret" in result.output) == (1, False)


def run(*words: str, cwd: Path, **environment: str) -> str:
    """Runs the installed command; returns what it prints."""
    done = subprocess.run(
        [str(CHATCTL), *words], cwd=cwd, env=clean_environment(environment), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def test_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the server: the command line beats the environment, the file, and the default, in this order."""
    for name in ("default", "file", "environment", "option"):
        url = "chatserver" if name == "default" else name
        migrate(f"sqlite:///{tmp_path / url}.db")
    settings = tmp_path / "chatserver.toml"
    settings.write_text('[server]\ndatabase = "sqlite:///file.db"\n')
    monkeypatch.chdir(tmp_path)

    def checked(*words: str, **environment: str) -> str:
        result = CliRunner(env={"CHATSERVER_CONFIG": None, "CHATSERVER_DATABASE": None, **environment}).invoke(
            main, [*words, "check"]
        )
        assert result.exit_code == 0, result.output
        return result.stdout

    file = {"CHATSERVER_CONFIG": str(settings)}
    environment = file | {"CHATSERVER_DATABASE": "sqlite:///environment.db"}
    assert "sqlite:///chatserver.db\n" in checked()
    assert "sqlite:///file.db\n" in checked(**file)
    assert "sqlite:///file.db\n" in checked("--config", str(settings))
    assert "sqlite:///environment.db\n" in checked(**environment)
    assert "sqlite:///option.db\n" in checked("--database", "sqlite:///option.db", **environment)


def test_a_terminal(tmp_path: Path) -> None:
    """A password typed at a terminal is not echoed."""
    database = ("--database", f"sqlite:///{tmp_path / 'chat.db'}")
    run(*database, "migrate", "--create", cwd=tmp_path)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(CHATCTL, ["chatctl", *database, "user", "add", "ana"], clean_environment())
    shown = b""
    for prompt in (b"Password for ana:", b"Once more:"):
        while prompt not in shown:
            shown += os.read(terminal, 1024)
        os.write(terminal, f"{PASSWORD}\n".encode())
    while b"registered" not in shown:
        shown += os.read(terminal, 1024)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)
    assert PASSWORD.encode() not in shown


@pytest.mark.parametrize("words", [[], ["user"], ["room"], ["ban"], ["token"], ["user", "add"], ["check"]])
def test_help(words: list[str], on: On) -> None:
    """The help of every command fits into 80 columns."""
    text = on("sqlite://")(*words, "--help")
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.startswith("Usage: ")


def test_commands() -> None:
    """Every command has --json, except the one that prints files."""
    found = {}
    for name, command in main.commands.items():
        inner = getattr(command, "commands", {"": command})
        found[name] = list(inner)
        for one in inner.values():
            assert ("as_json" in {parameter.name for parameter in one.params}) == (name != "example")
    assert {name: set(inner) for name, inner in found.items()} == {
        "user": {
            "add",
            "list",
            "sessions",
            "show",
            "rename",
            "password",
            "operator",
            "owner",
            "disable",
            "erase",
            "export",
        }
        | {"limits"},
        "room": {"list", "show", "delete", "retention", "export", "import"},
        "ban": {"add", "list", "remove"},
        "token": {"add", "list", "revoke"},
        "cert": {"add", "list", "remove"},
        "session": {"list", "kick"},
        "node": {"list", "drain", "rebalance"},
        "announce": {""},
        "stats": {""},
        "reload": {""},
        "migrate": {""},
        "check": {""},
        "backup": {""},
        "restore": {""},
        "verify": {""},
        "copy": {""},
        "example": {""},
    }
