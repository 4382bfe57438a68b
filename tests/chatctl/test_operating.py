"""docs/operating.md agrees with the code."""

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from chatserver.chatctl.main import main
from chatserver.operation.control.reload import AT_START
from chatserver.settings.tables import Settings
from tests.chatctl.conftest import CHEAP, PASSWORD, Chatctl
from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
BACKUP_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "backup.md").read_text(encoding="utf-8")
SCALING_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_settings() -> None:
    """The table has every setting with its default, in the order of settings/tables.py, and nothing else."""
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `(.*?)` \| \S", PAGE, re.MULTILINE)
    said = {name: tomllib.loads(f"default = {default}")["default"] for name, default in rows}
    tables = structs.asdict(Settings())
    there = {f"{table}.{key}": kept for table, values in tables.items() for key, kept in structs.asdict(values).items()}
    assert list(said.items()) == list(there.items())


def test_settings_that_need_a_restart() -> None:
    """The table marks them."""
    marked = re.findall(r"^\| `(\w+\.\w+)` .* \*\(restart\)\* \|$", PAGE, re.MULTILINE)
    assert set(marked) == AT_START


def examples() -> list[list[str]]:
    lines = re.findall(r"^ {4}chatctl (.*)$", PAGE, re.MULTILINE)
    return [shlex.split(re.sub(r" [<>] \S+$", "", line)) for line in lines]


def test_examples(
    sqlite_url: str,
    on: Callable[[str], Chatctl],
    server: StartServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """All examples work, in their order, beside a running server."""
    monkeypatch.chdir(tmp_path)
    chatctl = on(sqlite_url)
    one = server(sqlite_url, config=CHEAP)
    for words in examples():
        if words[:2] == ["session", "kick"]:
            connect(one, JsonClient).login(words[2], PASSWORD)
        typed = f"{PASSWORD}\n" * 2
        words = [word.replace(":4000", f":{one.port}") for word in words]
        result = chatctl.run(*words, typed=typed)
        assert (result.exit_code, words, result.stderr.replace("Password for ana: \nOnce more: \n", "")) == (
            0,
            words,
            "",
        )


def test_every_command_has_one() -> None:
    elsewhere = [
        *re.findall(r"^ {4}chatctl (?:--database \S+ )?([^|>\n]+)", BACKUP_PAGE, re.MULTILINE),
        *re.findall(r"^ {4,}chatctl (.*)$", SCALING_PAGE, re.MULTILINE),
    ]
    typed = [*examples(), *map(shlex.split, elsewhere)]
    shown = {tuple(words[:2]) for words in typed} | {tuple(words[:1]) for words in typed}
    for name, command in main.commands.items():
        for inner in getattr(command, "commands", {}):
            assert (name, inner) in shown
        assert (name,) in shown
