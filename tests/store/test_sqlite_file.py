"""The file of an SQLite database is moved, deleted, replaced or truncated while it is open."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from twisted.internet.task import Clock

from chatserver.store import messages
from chatserver.store.db import database_file
from chatserver.store.db.database_file import DatabaseFile, watched_file
from chatserver.store.db.engine import DatabaseProblem, open_engine, open_ready, parse_url
from chatserver.store.db.threads import Store
from chatserver.store.db.transactions import transact
from chatserver.store.messages import Draft
from chatserver.store.nodes.lease import this_process
from chatserver.store.starting import prepare
from chatserver.util.clock import Clock as ServerClock
from chatserver.values.errors import Unavailable
from tests.conftest import Connect, StartServer
from tests.store.conftest import AT, Tables
from tests.support.client import JsonClient
from tests.support.process import ChatServer, wait_until

SIDES = ("", "-wal", "-shm")


class Open:
    """An open database in which ana says things."""

    def __init__(self, tables: Tables) -> None:
        self.engine: Engine = tables.engine
        self.path = Path(str(self.engine.url.database))
        self.file = watched_file(self.engine)
        assert self.file is not None
        self._ana = tables.person("ana")
        self._books = tables.room("books", self._ana)
        self.file.watch()

    def say(self, said: str) -> int:
        def append(db: Connection) -> int:
            return messages.append(db, [Draft(self._books.id, self._ana.id, said, None)], AT)[0].seq

        return transact(self.engine, append)

    def read(self) -> int:
        read_only: Engine = self.engine.execution_options(read_only=True)
        return transact(read_only, lambda db: int(db.exec_driver_sql("SELECT count(*) FROM entry").scalar_one()))

    def fault(self) -> str:
        """Why both reading and writing fail."""
        causes = set()
        for call in (self.read, lambda: self.say("lost")):
            with pytest.raises(Unavailable) as refused:
                call()
            causes.add(str(refused.value.__cause__))
        [cause] = causes
        return cause


@pytest.fixture
def sqlite(sqlite_url: str, request: pytest.FixtureRequest) -> Iterator[Open]:

    engine = open_ready(parse_url(sqlite_url), migrate=True)
    with ThreadPoolExecutor(1) as threads:
        yield Open(Tables(engine, threads))
    engine.dispose()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("sides", [SIDES, ("",)], ids=["all", "alone"])
def test_moved_away_and_back(sqlite: Open, tmp_path: Path, sides: tuple[str, ...]) -> None:
    """While it is away, everything fails, no file is created, and new connections fail too; then everything works."""
    assert sqlite.say("one") == 2
    away = tmp_path / "away"
    away.mkdir()
    before = contents(tmp_path)
    for side in sides:
        Path(f"{sqlite.path}{side}").rename(away / f"{sqlite.path.name}{side}")
    assert sqlite.fault() == f"the database file {sqlite.path} was moved or deleted"
    assert contents(tmp_path) | contents(away) == before
    sqlite.engine.pool.dispose()
    assert "was moved or deleted" in sqlite.fault()
    assert not sqlite.path.exists()
    for side in sides:
        if (away / f"{sqlite.path.name}{side}").exists():
            (away / f"{sqlite.path.name}{side}").rename(f"{sqlite.path}{side}")
    assert sqlite.say("two") == 3
    assert sqlite.read() == 3


def test_replaced(sqlite: Open, tmp_path: Path) -> None:
    """A file that takes its place is not touched, neither by calls nor by closing what is open."""
    sqlite.say("one")
    for side in SIDES:
        Path(f"{sqlite.path}{side}").rename(f"{tmp_path}/away{side}")
    with closing(sqlite3.connect(sqlite.path)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("CREATE TABLE mine (id)")
        other.commit()
        before = contents(tmp_path)
        assert len(before) == 6
        assert sqlite.fault() == f"the database file {sqlite.path} was replaced by another file"
        assert sqlite.file is not None
        assert sqlite.file.leave()
        assert contents(tmp_path) == before


def test_truncated(sqlite: Open) -> None:
    """A file that has become shorter is not used until it is whole again."""
    sqlite.say("one")
    size = sqlite.path.stat().st_size
    whole = sqlite.path.read_bytes()
    os.truncate(sqlite.path, size // 2)
    assert sqlite.fault() == f"the database file {sqlite.path} was truncated to {size // 2} bytes"
    assert sqlite.path.stat().st_size == size // 2
    with sqlite.path.open("r+b") as file:
        file.write(whole)
    assert sqlite.say("two") == 3


@pytest.mark.parametrize("side", ["-wal", "-shm"])
def test_a_companion_is_deleted(sqlite: Open, side: str) -> None:
    """Nothing is written to a write-ahead log that the next connection would not find."""
    sqlite.say("one")
    path = Path(f"{sqlite.path}{side}")
    path.rename(f"{path}.away")
    assert sqlite.fault() == f"the file {path}, a part of the database, was moved or deleted"
    assert not path.exists()
    path.write_bytes(b"")
    assert sqlite.fault() == f"the file {path}, a part of the database, was replaced by another file"
    path.unlink()
    Path(f"{path}.away").rename(path)
    assert sqlite.say("two") == 3


def test_replaced_during_a_transaction(sqlite: Open, tmp_path: Path) -> None:
    """A commit to a file that has lost its name is not acknowledged."""

    def work(db: Connection) -> None:
        db.exec_driver_sql("UPDATE room SET topic = 'lost'")
        sqlite.path.rename(tmp_path / "away")
        shutil.copy(tmp_path / "away", sqlite.path)

    with pytest.raises(Unavailable):
        transact(sqlite.engine, work)


def test_compacting_and_closing(sqlite: Open) -> None:
    """VACUUM makes the file shorter, and closing all connections removes the write-ahead log: neither is a fault."""
    for _ in range(300):
        sqlite.say("x" * 2000)
    transact(sqlite.engine, lambda db: db.exec_driver_sql("DELETE FROM entry"))
    with closing(sqlite3.connect(sqlite.path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = sqlite.path.stat().st_size
        assert sqlite.read() == 0
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert sqlite.path.stat().st_size < size
    assert sqlite.read() == 0
    sqlite.engine.pool.dispose()
    assert not Path(f"{sqlite.path}-wal").exists()
    assert sqlite.read() == 0


@pytest.mark.parametrize(("where", "looks"), [(os, "pread"), (DatabaseFile, "_look")])
def test_a_thread_that_is_overtaken(sqlite: Open, monkeypatch: pytest.MonkeyPatch, where: object, looks: str) -> None:
    """Between one thread's look at the file and its judgement, another one sees the file grown: neither is alarmed."""
    monkeypatch.setattr(database_file, "STAMP_SECONDS", 0)
    look = getattr(where, looks)

    def say_much() -> None:
        for _ in range(20):
            sqlite.say("x" * 4000)
        with closing(sqlite3.connect(sqlite.path)) as other:
            other.execute("PRAGMA wal_checkpoint")
        sqlite.read()

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(where, looks, look)
        found = look(*arguments)
        say_much()
        return found

    say_much()
    monkeypatch.setattr(where, looks, overtaken)
    assert sqlite.read() == 41
    assert getattr(where, looks) is look


def test_a_file_that_vanishes_before_the_start(sqlite_url: str) -> None:
    """A server that starts never creates the file anew."""
    open_ready(parse_url(sqlite_url)).dispose()
    path = Path(str(parse_url(sqlite_url).database))
    path.unlink()
    reactor: Any = Clock()
    engine = open_engine(parse_url(sqlite_url))
    with pytest.raises(Unavailable):
        prepare(Store(engine, reactor, 1, 1), this_process("main"), ["general"], ServerClock())
    assert not path.exists()


def test_names_that_a_uri_would_change(tmp_path: Path) -> None:
    """The path is used as it is, whatever characters it has."""
    path = tmp_path / "a %41?#& ü.db"
    sqlite3.connect(path).close()
    path.touch()
    file = DatabaseFile(path)
    assert file.connect() is None
    file.watch()
    with closing(file.connect()) as connection:
        connection.execute("CREATE TABLE one (id)")
    assert path.stat().st_size > 0
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


# Under a running server


def refused(client: JsonClient) -> bool:
    return bool(client.cmd("say", room="general", text="lost").get("error") == "unavailable")


@pytest.fixture
def running(server: StartServer, connect: Connect) -> tuple[ChatServer, JsonClient, Path]:
    chat = server()
    ana = connect(chat, JsonClient)
    ana.register("ana")
    return chat, ana, Path(str(parse_url(chat.database).database))


def test_a_running_server(running: tuple[ChatServer, JsonClient, Path], tmp_path: Path) -> None:
    """The file is moved away: commands are refused, and the log names the file and the remedy. It comes back: the
    server continues."""
    chat, ana, path = running
    ana.ok("say", room="general", text="one")
    away = tmp_path / "away"
    away.mkdir()
    for side in SIDES:
        Path(f"{path}{side}").rename(f"{away}/{path.name}{side}")
    assert refused(ana)
    assert refused(ana)
    chat.wait_log(rf"{path} was moved or deleted\).* Put the same file back")
    assert not path.exists()
    for side in SIDES:
        Path(f"{away}/{path.name}{side}").rename(f"{path}{side}")
    wait_until(lambda: not refused(ana))
    chat.wait_log("The database answers again.")
    assert chat.log.count("was moved or deleted") == 1
    assert chat.stop() == 0


def test_a_server_that_stops_beside_another_file(running: tuple[ChatServer, JsonClient, Path], tmp_path: Path) -> None:
    """The file was replaced: the server stops in time, and leaves the other database and its write-ahead log alone."""
    chat, ana, path = running
    for side in SIDES:
        Path(f"{path}{side}").rename(f"{tmp_path}/away{side}")
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("CREATE TABLE mine (id)")
        other.commit()
        before = {name: found for name, found in contents(tmp_path).items() if name.startswith(path.name)}
        assert len(before) == 3
        assert refused(ana)
        assert chat.stop() == 0
        assert contents(tmp_path).items() >= before.items()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("side", SIDES)
def test_a_file_of_another_user(tmp_path: Path, side: str) -> None:
    """SQLite would write to a file that somebody else has put there, and has open perhaps; the database is not opened.
    One of another user that has content is."""
    place = tmp_path / "chat.db"
    theirs = Path(f"{place}{side}")
    theirs.touch(mode=0o666)
    os.chown(theirs, 1, 1)
    with pytest.raises(DatabaseProblem, match=f"{theirs} belongs to another user"):
        open_ready(parse_url(f"sqlite:///{place}"))
    assert theirs.stat().st_size == 0
    theirs.unlink()
    open_ready(parse_url(f"sqlite:///{place}")).dispose()
    os.chown(place, 1, 1)
    theirs.touch()
    os.chown(theirs, 1, 1)
    open_ready(parse_url(f"sqlite:///{place}")).dispose()
