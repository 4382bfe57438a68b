"""Where the control socket is, for the server and for `chatctl`."""

import json
import os
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest

from chatserver.operation.control import place
from chatserver.operation.control.place import Unsafe, database_mark, listened, tried
from chatserver.settings import installation
from chatserver.settings.file import load
from chatserver.settings.tables import ConfigProblem, Server

POSTGRES = "postgresql+psycopg2://chat:s3cret@db1/chat"


def server(database: str, **settings: Any) -> Server:
    return Server(database=database, **{"node": "main"} | settings)


def test_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With SQLite it is beside the database file, whose path may be relative."""
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "chat.db.control"
    for url in ("sqlite:///chat.db", f"sqlite:///{tmp_path}/chat.db"):
        assert listened(server(url), {"XDG_RUNTIME_DIR": "/nowhere"}) == there
        assert tried(server(url), {}) == [there]


def test_under_systemd(tmp_path: Path) -> None:
    """With PostgreSQL under systemd it is in the directory that systemd made. `chatctl` looks into that of the unit
    unasked."""
    chat = server(POSTGRES, node="a/b")
    assert listened(chat, {"RUNTIME_DIRECTORY": f"{tmp_path}:/run/other"}) == tmp_path / "a%2Fb.control"
    assert tried(chat, {})[0] == Path("/run/chatserver/a%2Fb.control")


def test_own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it is in a directory that only this user can use, by the name of the node and of the database."""
    monkeypatch.setattr(place, "gettempdir", lambda: str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    chat = server(POSTGRES)
    name = f"main-{database_mark(chat)}.control"
    own = tmp_path / "tmp" / f"chatserver-{os.geteuid()}"
    assert own / name not in tried(chat, {})
    assert listened(chat, {}) == own / name
    assert own.stat().st_mode & 0o777 == 0o700
    assert own / name in tried(chat, {"XDG_RUNTIME_DIR": str(tmp_path)})
    of_login = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert listened(chat, of_login) == tmp_path / "chatserver" / name
    assert {own / name, tmp_path / "chatserver" / name} <= set(tried(chat, of_login))


@pytest.mark.parametrize("wrong", ["mode", "link"])
def test_somebody_elses_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """A directory that others can write to, or have put there, is used neither by the server nor by `chatctl`."""
    monkeypatch.setattr(place, "gettempdir", lambda: str(tmp_path))
    own = tmp_path / f"chatserver-{os.geteuid()}"
    if wrong == "mode":
        own.mkdir()
        own.chmod(0o777)
    else:
        (tmp_path / "real").mkdir(mode=0o700)
        own.symlink_to(tmp_path / "real")
    with pytest.raises(Unsafe, match=r"server\.control"):
        listened(server(POSTGRES), {})
    assert tried(server(POSTGRES), {}) == [Path("/run/chatserver/main.control")]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root also finds the installed server that was started without systemd, in a directory of that server's user."""
    monkeypatch.setattr(place, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(installation, "STATE", tmp_path)
    os.chown(tmp_path, 1, 1)
    theirs = tmp_path / "chatserver-1"
    theirs.mkdir(mode=0o700)
    path = theirs / f"main-{database_mark(server(POSTGRES))}.control"
    assert path not in tried(server(POSTGRES), {})
    os.chown(theirs, 1, 1)
    assert path in tried(server(POSTGRES), {})
    theirs.chmod(0o755)
    assert path not in tried(server(POSTGRES), {})


def test_chosen() -> None:
    """A path in the settings is the path; none means no socket."""
    assert listened(server(POSTGRES, control="/run/x.control"), {}) == Path("/run/x.control")
    assert tried(server(POSTGRES, control="/run/x.control"), {}) == [Path("/run/x.control")]
    assert (listened(server(POSTGRES, control=""), {}), tried(server(POSTGRES, control=""), {})) == (None, [])


@pytest.mark.parametrize("control", ["chat.control", "/" + "x" * 107, "/" + "é" * 54])
def test_wrong(tmp_path: Path, control: str) -> None:
    """A relative path, or one that is too long for a socket, is a wrong setting."""
    file = tmp_path / "chat.toml"
    file.write_text(f"[server]\ncontrol = {json.dumps(control, ensure_ascii=False)}\n", encoding="utf-8")
    with pytest.raises(ConfigProblem, match=r"server\.control must be .* 107 bytes"):
        load(file)


def test_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite file has one mark, by whatever path the server and `chatctl` name it."""
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    paths = ("chat.db", "./chat.db", f"{tmp_path}/chat.db", f"{tmp_path}/link/chat.db")
    assert len({database_mark(server(f"sqlite:///{path}")) for path in paths}) == 1


def test_databases_differ() -> None:
    """Servers of other databases have other marks, which do not depend on user and password."""
    assert database_mark(server(POSTGRES)) == database_mark(server("postgresql+psycopg2://eve:other@db1/chat"))
    others = ("postgresql+psycopg2://chat@db2/chat", "postgresql+psycopg2://chat@db1/other", "sqlite:///chat")
    assert len({database_mark(server(url)) for url in (POSTGRES, *others)}) == 4


def test_a_node_that_takes_a_name() -> None:
    """Where nodes of a host take their names by themselves, `chatctl` looks for the first of them that is running."""
    paths = tried(Server(database=POSTGRES), {})
    host = gethostname()
    assert [path for path in paths if path.parent == place.SYSTEMD][:2] == [
        place.SYSTEMD / f"{host}.control",
        place.SYSTEMD / f"{host}-2.control",
    ]
