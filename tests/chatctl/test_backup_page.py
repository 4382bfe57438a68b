"""docs/backup.md works as printed: its commands are typed into a shell, one block after the other."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from chatserver.store.copies.verify import REPAIRS
from chatserver.store.db.engine import open_ready, parse_url
from tests.support.contents import fill
from tests.support.process import clean_environment

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "backup.md").read_text(encoding="utf-8")

STUBS: Final = {
    "runuser": "",
    "systemctl": "",
    "chatctl": f'exec {Path(sys.executable).with_name("chatctl")} "$@"',
    "gpg": 'if [ "$1" = --decrypt ]; then cat "$2"; else cat; fi',
    "age": 'if [ "$1" = --decrypt ]; then cat "$4"; else cat; fi',
}
"""Programs that need root, or that not every machine has. Everything else is done as printed."""


def blocks() -> list[str]:
    """The commands of the page: indented lines, with the blank ones between them where a text is written to a file."""
    found = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", PAGE, re.MULTILINE)
    return [
        re.sub(r"^ {4}", "", block, flags=re.MULTILINE).strip("\n")
        for block in found
        if not block.lstrip().startswith("30 3 ")
    ]


@pytest.fixture
def typed(tmp_path: Path, empty_postgres_url: str) -> dict[str, str]:
    """Stands for the places of an installation, which has its settings and a database with content."""
    for name in ("etc", "var", "units", "bin", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "etc" / "chatserver.toml").write_text(
        f'[server]\ndatabase = "sqlite:///{tmp_path}/var/chatserver.db"\n', encoding="utf-8"
    )
    engine = open_ready(parse_url(f"sqlite:///{tmp_path}/var/chatserver.db"))
    with engine.begin() as db:
        fill(db)
        db.exec_driver_sql("UPDATE session SET disconnected_at = connected_at WHERE disconnected_at IS NULL")
        db.exec_driver_sql("UPDATE entry SET text = 'clean' WHERE kind = 'message' AND text <> '' AND room_id = 1")
    engine.dispose()
    for name, words in STUBS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    return {
        "/etc/systemd/system": f"{tmp_path}/units",
        "/etc/chatserver/": f"{tmp_path}/etc/",
        "/var/lib/chatserver": f"{tmp_path}/var",
        "/root/": f"{tmp_path}/tmp/",
        "/tmp/notes": f"{tmp_path}/tmp/notes",
        "postgresql:///chat": empty_postgres_url,
        "age1...": "age1",
    }


@pytest.mark.slow
def test_the_page(typed: dict[str, str], tmp_path: Path) -> None:
    """Every command works as printed, in the order of the page."""
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    environment = clean_environment({"PATH": path, "CHATSERVER_CONFIG": f"{tmp_path}/etc/chatserver.toml"})
    for block in blocks():
        script = block
        for printed, real in typed.items():
            script = script.replace(printed, real)
        done = subprocess.run(
            ["/bin/bash", "-e", "-o", "pipefail", "-c", script], cwd=tmp_path / "tmp", env=environment,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), block
        assert "WRONG" not in done.stdout
    assert sorted(path.name for path in (tmp_path / "var").glob("*.db")) == ["chatserver.db", "copy.db"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_timer(tmp_path: Path) -> None:
    """systemd understands the units of the nightly backup."""
    for block in blocks():
        for name, words in re.findall(r"cat >/etc/systemd/system/(\S+) <<'END'\n(.*?\n)END", block, re.DOTALL):
            words = words.replace("User=chatserver", f"User={os.getuid()}").replace(
                "/opt/chatserver/bin/chatctl", "/bin/true"
            )
            (tmp_path / name).write_text(words, encoding="utf-8")
    units = sorted(str(path) for path in tmp_path.iterdir())
    assert len(units) == 2
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if str(tmp_path) in line]) == (0, [])


def test_items() -> None:
    """The table has every item of `verify`."""
    table = PAGE[PAGE.index("| item |") : PAGE.index("## Moving")]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE)[1:] == list(REPAIRS)
