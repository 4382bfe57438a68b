"""Lists of `chatctl`: with headings on a terminal, and without for programs."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chatserver.chatctl.output import PAGE, WIDEST, say_list
from tests.chatctl.conftest import Chatctl
from tests.support.process import clean_environment, migrate

CHATCTL = Path(sys.executable).with_name("chatctl")
FINGERPRINT = "0f" * 32


def on_a_terminal(database: str, *words: str) -> list[str]:
    """The output of a command on a terminal."""
    ours, its = pty.openpty()
    command = [sys.executable, str(CHATCTL), "--database", database, *words]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=clean_environment()) as process:
        os.close(its)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
        os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode().splitlines()


@pytest.mark.slow
def test_headings(sqlite_url: str, on: Callable[[str], Chatctl]) -> None:
    """On a terminal each list begins with a line of headings, and its columns are as wide as they need to be."""
    migrate(sqlite_url)
    chatctl = on(sqlite_url)
    chatctl.add("ana", "bartholomew")
    chatctl("token", "add", "ana", "ci")
    chatctl("cert", "add", "ana", FINGERPRINT, "--label", "laptop")
    chatctl("ban", "add", "bartholomew", "--reason", "spam")
    for words, headings in (
        ("user list", "Name         Kind    State  Last seen"),
        ("room list", "Id  Name     Kind    Members    Entries    Topic"),
        ("ban list", "Who          Until    By       Reason"),
        ("token list", "Account  Label  Created                   Last used  Expires  Rights  Room"),
    ):
        shown = on_a_terminal(sqlite_url, *words.split())
        assert (shown[0], len(shown) > 1) == (headings, True), words
        piped = chatctl(*words.split()).splitlines()
        assert [line.split() for line in piped] == [line.split() for line in shown[1:]]
    wide = on_a_terminal(sqlite_url, "cert", "list")
    assert wide[0] == f"Account  Label   {'SHA-256':64}  {'Added':24}  Last used"
    assert wide[1].startswith(f"ana      laptop  {FINGERPRINT}  ")


def test_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide characters count as two cells, control characters are escaped, one very long cell widens no column, and
    after the first page the widths stay. Where the output is no terminal, widths are fixed."""

    def show(rows: list[tuple[object, ...]], headings: tuple[str, ...] = ("A", "B")) -> list[str]:
        say_list(rows, lambda row: row, (4, 0), lambda row: row, False, headings)
        return capsys.readouterr().out.splitlines()

    rows: list[tuple[object, ...]] = [("漢字", 1), ("a\x1bb", 2), ("x" * 100, 3)]
    assert show(rows) == ["漢字    1", "a\\u001bb  2", "x" * 100 + "  3"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert show(rows) == [
        "A" + " " * (WIDEST + 1) + "B",
        "漢字" + " " * (WIDEST - 2) + "1",
        "a\\u001bb" + " " * (WIDEST - 6) + "2",
        "x" * 100 + "  3",
    ]
    page: list[tuple[object, ...]] = [("ab", 1)] * PAGE
    many = show([*page, ("abcdef", 2)])
    assert (many[0], many[1], many[-1]) == ("A   B", "ab  1", "abcdef  2")
    assert show([]) == ["A  B"]
    assert show(rows[:1], ()) == ["漢字    1"]


def test_a_full_disk(sqlite_url: str) -> None:
    """Where the output cannot be written, one line says so."""
    migrate(sqlite_url)
    for words in (["migrate"], ["user", "list", "--json"], ["backup", "-"]):
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            line = [str(Path(sys.executable).with_name("chatctl")), "--database", sqlite_url, *words]
            done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (
            1,
            "chatctl: No space left on device. Correct that, then try again.\n",
        )
