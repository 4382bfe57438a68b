"""`chatctl backup`, `restore`, `verify` and `copy`, as an administrator types them."""

import errno
import fcntl
import gzip
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatserver.store.copies import backup
from chatserver.store.db.engine import open_ready, parse_url
from tests.chatctl.conftest import Chatctl
from tests.support.contents import fill
from tests.support.process import clean_environment

On = Callable[[str], Chatctl]
CHATCTL = Path(sys.executable).with_name("chatctl")


@pytest.fixture
def filled(chatctl: Chatctl) -> Chatctl:
    """Nobody was connected when it was last stopped."""
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        fill(db)
        db.exec_driver_sql("UPDATE session SET disconnected_at = connected_at, reason = 'quit' WHERE reason IS NULL")
    engine.dispose()
    return chatctl


@pytest.fixture
def new(tmp_path: Path, on: On) -> Chatctl:
    """A SQLite database that does not exist yet."""
    return on(f"sqlite:///{tmp_path / 'new.db'}")


def test_a_drill(filled: Chatctl, new: Chatctl, tmp_path: Path) -> None:
    """A backup, restored into a new database, which is then verified and has the same people and rooms."""
    file = tmp_path / "chat.backup"
    said = filled.json("backup", str(file))
    assert (said["file"], said["bytes"], said["revision"]) == (str(file), file.stat().st_size, said["revision"])
    assert said["rows"]["account"] == 5
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.glob("chat*")) in (["chat.backup"], ["chat.backup", "chatserver.db"])
    restored = new("restore", str(file))
    assert "has 5 accounts, 6 rooms and 41 entries, from 20" in restored
    assert restored.endswith("Check it: chatctl verify\n")
    assert all(line.startswith("ok   ") for line in new("verify").splitlines())
    assert new.json("verify")["ok"] is True
    for words in (["user", "list", "--all"], ["room", "list"], ["room", "list", "--deleted"]):
        assert json.loads(new(*words, "--json")) == json.loads(filled(*words, "--json"))
    assert "not empty" in new.fails("restore", str(file))
    again = new.json("restore", str(file), "--replace")
    assert (again["sha256"], again["rows"]) == (said["sha256"], said["rows"])


def test_the_format(filled: Chatctl, tmp_path: Path) -> None:
    """A backup can be read without chatserver: it is what docs/backup.md says."""
    file = tmp_path / "chat.backup"
    filled("backup", str(file))
    lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    head, end = lines[0], lines[-1]
    assert (head["chatserver"], head["format"], list(end)) == ("backup", 1, ["sha256"])
    place = 1
    for part in head["tables"]:
        assert lines[place] == {"table": part["table"]}
        rows = lines[place + 1 : place + 1 + part["rows"]]
        assert all(len(row) == len(part["columns"]) for row in rows)
        place += 1 + part["rows"]
    assert place == len(lines) - 1


def test_streams(filled: Chatctl, new: Chatctl, tmp_path: Path) -> None:
    """With - a backup comes from standard output and goes to standard input."""
    done = run(filled, "backup", "-")
    assert done.stderr == b""
    restored = run(new, "restore", "-", given=done.stdout)
    assert b"has 5 accounts" in restored.stdout
    assert new.json("verify")["ok"] is True
    cut = run(new, "restore", "-", "--replace", given=done.stdout[:-100])
    assert (cut.returncode, cut.stdout) == (1, b"")
    assert cut.stderr.startswith(b"chatctl: Standard input is not a backup of a chat server, or not a whole one")
    assert new.json("verify")["ok"] is True


def run(chatctl: Chatctl, *words: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    line = [str(CHATCTL), "--database", chatctl.database, *words]
    return subprocess.run(line, input=given, capture_output=True, timeout=60, check=False, env=clean_environment())


def test_files(filled: Chatctl, new: Chatctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is overwritten unasked, and one that could not be written to its end does not appear."""
    file = tmp_path / "chat.backup"
    file.write_text("precious", encoding="utf-8")
    file.chmod(0o644)
    assert "--force" in filled.fails("backup", str(file))
    assert file.read_text(encoding="utf-8") == "precious"
    filled("backup", str(file), "--force")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "Name a new file." in filled.fails("backup", str(tmp_path))
    assert "cannot be written (No such file" in filled.fails("backup", str(tmp_path / "no" / "folder"))
    assert "cannot be written (File name too long" in filled.fails("backup", str(tmp_path / ("x" * 300)))
    assert "cannot be read (No such file" in new.fails("restore", str(tmp_path / "none"))
    file.write_bytes(file.read_bytes()[:-200])
    assert new.fails("restore", str(file)).endswith("Nothing was changed.")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(backup, "back_up", full)
    assert "(No space left on device)" in filled.fails("backup", str(tmp_path / "full"))
    monkeypatch.setattr(backup, "back_up", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert filled.run("backup", str(tmp_path / "full")).exit_code == 1
    assert list(tmp_path.glob("full*")) == []


def test_the_unfinished_file(filled: Chatctl, tmp_path: Path) -> None:
    """It is a new file, which nobody else has open. What is in its way is left alone, unless an interrupted backup of
    the same user has left it behind and no backup is writing it."""
    file, partial = tmp_path / "chat.backup", tmp_path / "chat.backup.partial"
    partial.write_bytes(b"begun")
    with partial.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "Another backup is writing" in filled.fails("backup", str(file))
        fcntl.flock(held, fcntl.LOCK_UN)
        filled("backup", str(file))
        assert (held.read(), partial.exists()) == (b"begun", False)
    other = tmp_path / "other"
    other.write_bytes(b"mine")

    def theirs() -> None:
        partial.touch(0o666)
        os.chown(partial, 1, 1)

    obstacles: list[Callable[[], object]] = [
        partial.mkdir, lambda: partial.symlink_to(other), lambda: partial.hardlink_to(other), lambda: os.mkfifo(partial)
    ]  # fmt: skip
    if os.geteuid() == 0:
        obstacles.append(theirs)
    for obstacle in obstacles:
        obstacle()
        there = partial.lstat()
        assert f"{partial} is in the way" in filled.fails("backup", "--force", str(file))
        assert os.path.samestat(partial.lstat(), there)
        partial.rmdir() if partial.is_dir() else partial.unlink()
    assert other.read_bytes() == b"mine"


def test_nothing_to_back_up(on: On, tmp_path: Path, empty_url: str) -> None:
    """A database that is not there, or that is none of ours, gives no backup, and no file."""
    chatctl = on(empty_url)
    for words in (["backup", str(tmp_path / "a")], ["verify"], ["copy", "--to", f"sqlite:///{tmp_path / 'c.db'}"]):
        assert "Correct --database" in chatctl.fails(*words)
    assert list(tmp_path.iterdir()) == []


def test_copying(filled: Chatctl, new: Chatctl, tmp_path: Path) -> None:
    """A copy says what it compared, and its next step."""
    said = filled.json("copy", "--to", new.database)
    assert {table["table"]: table["rows"] for table in said["tables"]}["entry"] == 41
    assert new.json("verify")["ok"] is True
    assert "is not empty" in filled.fails("copy", "--to", new.database)
    text = filled("copy", "--to", f"sqlite:///{tmp_path / 'second.db'}")
    assert "with 41 entries. Rows and checksums of 18 tables are the same. Next: set server.database to it" in text
    assert "Correct --database" in filled.fails("copy", "--to", "mysql://x")


def test_what_is_wrong(filled: Chatctl) -> None:
    """`verify` names what is wrong and ends with status 1."""
    engine = open_ready(parse_url(filled.database))
    with engine.begin() as db:
        db.exec_driver_sql("DELETE FROM entry WHERE room_id = 1 AND seq = 7")
    engine.dispose()
    found = filled.run("verify")
    assert found.exit_code == 1
    assert "WRONG  numbers: room general (id 1) has no entry 7. " in found.stdout
    assert filled.run("verify", "--json").exit_code == 1


@pytest.mark.parametrize(
    "words",
    [
        ["backup", "{}/x"],
        pytest.param(["verify"], marks=pytest.mark.slow),
        pytest.param(["copy", "--to", "sqlite:///{}/y"], marks=pytest.mark.slow),
    ],
)
def test_a_terminal(filled: Chatctl, tmp_path: Path, words: list[str]) -> None:
    """There is a progress bar on a terminal, and only there."""
    line = [str(CHATCTL), "--database", filled.database, *(word.format(tmp_path) for word in words)]
    ours, theirs = pty.openpty()
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=theirs, env=clean_environment()) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # the other end is closed
            pass
        assert process.wait(60) == 0
        assert process.stdout is not None
        assert b"%" not in process.stdout.read()
    os.close(ours)
    assert b"100%" in shown
