"""docs/operating.md agrees with the code."""

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from chatserver.admin.main import main
from chatserver.config import Settings
from tests.admin.conftest import PASSWORD, Chatctl

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")


def test_settings() -> None:
    """The table has every setting with its default, in the order of config.py, and nothing else."""
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `(.*?)` \| \S", PAGE, re.MULTILINE)
    said = {name: tomllib.loads(f"default = {default}")["default"] for name, default in rows}
    tables = structs.asdict(Settings())
    there = {f"{table}.{key}": kept for table, values in tables.items() for key, kept in structs.asdict(values).items()}
    assert list(said.items()) == list(there.items())


def examples() -> list[list[str]]:
    lines = re.findall(r"^ {4}chatctl (.*)$", PAGE, re.MULTILINE)
    return [shlex.split(re.sub(r" [<>] \S+$", "", line)) for line in lines]


def test_examples(
    sqlite_url: str, on: Callable[[str], Chatctl], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All examples work, in their order."""
    monkeypatch.chdir(tmp_path)
    chatctl = on(sqlite_url)
    for words in examples():
        typed = f"{PASSWORD}\n" * 2
        result = chatctl.run(*words, typed=typed)
        assert (result.exit_code, words, result.stderr.replace("Password for ana: \nOnce more: \n", "")) == (
            0,
            words,
            "",
        )


def test_every_command_has_one() -> None:
    shown = {tuple(words[:2]) for words in examples()} | {tuple(words[:1]) for words in examples()}
    for name, command in main.commands.items():
        for inner in getattr(command, "commands", {}):
            assert (name, inner) in shown
        assert (name,) in shown
