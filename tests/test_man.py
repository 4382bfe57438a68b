"""The manual pages of the Debian package."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from chatserver.chatctl.main import main
from chatserver.net.doors.table import DOORS
from tools.man import PAGES

MANUALS = [Path(__file__).parents[1] / "docs" / name for name in ("operating.md", "protocol.md", "running.md")]


def names(group: click.Group, words: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from names(command, f"{words} {name}")
        else:
            yield f"{words} {name}"


@pytest.mark.parametrize("name", PAGES)
def test_a_page(name: str) -> None:
    """man shows it without a warning, with every command and option as it is typed."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    command = ["groff", "-man", "-Tutf8", "-ww", "-rLL=200n", "-P-cbou"]
    done = subprocess.run(command, input=PAGES[name](), capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    shown = " ".join(done.stdout.split())
    if name == "chatctl.8":
        assert [words for words in names(main, "chatctl") if f"{words} [OPTIONS]" not in shown] == []
        assert "--read-only It can change nothing." in shown
    else:
        assert "--listen=VALUE A Twisted endpoint to listen on" in shown


def test_doors() -> None:
    """Each door is named where somebody would look for it: in the help of both programs, which the manual pages show,
    and in the manuals."""
    told = [page() for page in PAGES.values()] + [path.read_text(encoding="utf-8") for path in MANUALS]
    prefixes = [prefix for prefix in DOORS if prefix]
    assert [[prefix for prefix in prefixes if f"{prefix}:" in text] for text in told] == [prefixes] * len(told)
