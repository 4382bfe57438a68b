"""Permissions of the files and sockets that the server and `chatctl` make."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatserver.store.db.engine import parse_url
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient
from tests.support.process import LOOPBACK, clean_environment


@pytest.fixture(params=[0o000, 0o077], ids=["open", "closed"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("umask")
def test_made_for_the_owner(server: StartServer, connect: Connect, tmp_path: Path) -> None:
    """Whatever the umask is, only the owner can open the database, its log and exports; a Unix socket is for the group
    too."""
    listen = [LOOPBACK, f"unix:{tmp_path}/socket", f"unix:{tmp_path}/other:mode=600"]
    chat = server(migrated=False, config=QUICK, listen=listen)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    path = Path(str(parse_url(chat.database).database))
    assert {mode(path.with_name(path.name + end)) for end in ("", "-wal", "-shm")} == {0o600}
    assert (mode(tmp_path / "socket"), mode(tmp_path / "other")) == (0o660, 0o600)
    chatctl = Path(sys.executable).with_name("chatctl")
    export = [str(chatctl), "--database", chat.database, "user", "export", "ana", "--output"]
    for code in (0, 1):  # an existing file is left alone
        done = subprocess.run([*export, str(tmp_path / "ana.jsonl")], env=clean_environment(), check=False)
        assert done.returncode == code
    assert mode(tmp_path / "ana.jsonl") == 0o600
    assert b'"name":"ana"' in (tmp_path / "ana.jsonl").read_bytes()
    assert "can open the database file" not in chat.log


def test_an_open_file(server: StartServer, sqlite_url: str) -> None:
    """A server whose database others can open says so, and how to change that; it does not change it by itself."""
    chat = server(config=QUICK)
    chat.stop()
    path = Path(str(parse_url(sqlite_url).database))
    path.chmod(0o644)
    chat.start()
    chat.wait_log(rf"can open the database file \(mode 644\)\. Run: chmod 600 {path} ")
    assert mode(path) == 0o644
