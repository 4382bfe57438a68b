"""Runs `chatctl` on a migrated database of each kind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chatserver.chatctl.main import main
from tests.support.process import migrate

PASSWORD = "s3cret-words"

FAST = str(Path(__file__).with_name("fast.toml"))
CHEAP = "[passwords]\nmemory_kib = 64\ntime_cost = 1\n[limits]\nstrikes = 0\n"
"""Settings for fast password hashes, and without a limit on refused commands."""


class Chatctl:
    """Runs commands on one database."""

    def __init__(self, database: str) -> None:
        self.database = database
        self._runner = CliRunner(env={"CHATSERVER_CONFIG": None, "CHATSERVER_DATABASE": None})

    def run(self, *words: str, typed: str | None = None) -> Result:
        result = self._runner.invoke(main, ["--database", self.database, *words], input=typed)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def __call__(self, *words: str, typed: str | None = None) -> str:
        """Runs a command that must succeed; returns what it prints."""
        result = self.run(*words, typed=typed)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout

    def json(self, *words: str, typed: str | None = None) -> Any:
        """With --json: returns the value, which must be on one line."""
        [line] = self(*words, "--json", typed=typed).splitlines()
        return json.loads(line)

    def lines(self, *words: str) -> list[Any]:
        """For an export: returns the value of each line."""
        return [json.loads(line) for line in self(*words).splitlines()]

    def fails(self, *words: str, typed: str | None = None) -> str:
        """Runs a command that must fail; returns the line that says what to do."""
        result = self.run(*words, typed=typed)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        [line] = result.stderr.splitlines()
        assert line.startswith("chatctl: ")
        return line.removeprefix("chatctl: ")

    def misused(self, *words: str) -> str:
        """Runs a command with wrong arguments; returns the usage error."""
        result = self.run(*words)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        return result.stderr

    def add(self, *names: str) -> None:
        """Adds accounts, with fast password hashes."""
        for name in names:
            self("--config", FAST, "user", "add", name, "--password-stdin", typed=f"{PASSWORD}\n")


@pytest.fixture
def chatctl(database_url: str) -> Chatctl:
    migrate(database_url)
    return Chatctl(database_url)


@pytest.fixture
def on() -> Callable[[str], Chatctl]:
    """Makes a `chatctl` for a database that may not exist."""
    return Chatctl
