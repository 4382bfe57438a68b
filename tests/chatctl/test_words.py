"""The words of the command line of `chatctl`."""

import subprocess
import sys

import pytest

from tests.chatctl.conftest import Chatctl

UNDECODED = "a\udcff"
"""Python's form of a byte that is not UTF-8."""


@pytest.mark.parametrize(
    "words",
    [
        ("user", "show", UNDECODED),
        ("user", "operator", UNDECODED),
        ("room", "show", UNDECODED),
        ("token", "add", "ana", UNDECODED),
        ("cert", "list", UNDECODED),
        ("cert", "add", "ana", "ab" * 32, "--label", UNDECODED),
        ("ban", "add", "ana", "--reason", UNDECODED),
        ("announce", UNDECODED),
        ("session", "kick", UNDECODED),
        ("session", "kick", "ana", "--reason", UNDECODED),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True)
def test_bytes_that_are_no_text(chatctl: Chatctl, words: tuple[str, ...]) -> None:
    """An argument that is not UTF-8 is refused in one line, whatever the command wants with it."""
    chatctl.add("ana")
    said = chatctl.fails(*words)
    assert "\udcff" not in said
    assert said.endswith((".", "chatctl user list", "chatctl room list"))


def test_starting() -> None:
    """`chatctl` starts without what only few of its commands need, and what takes long to load."""
    found = subprocess.run(
        [sys.executable, "-c", "import chatserver.chatctl.main, sys; print(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(found.stdout.split())
    assert "chatserver.chatctl.upkeep" in loaded
    assert not loaded & {"twisted", "twisted.internet", "OpenSSL", "argon2", "alembic"}
