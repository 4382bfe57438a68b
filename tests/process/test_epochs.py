"""A database that is set back, and a client that is written from "Epochs" in docs/protocol.md."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.process.test_failover import Standby, execute
from tests.support.client import JsonClient
from tests.support.postgres import PostgresServer
from tests.support.process import wait_until
from tests.support.replica import Replica


def whole(client: JsonClient, room: str) -> list[str | None]:
    """The texts of the log that there is now."""
    return [entry.get("text") for entry in client.ok("history", room=room, after=0, limit=500)["entries"]]


@pytest.mark.slow
def test_a_copy_of_the_file(server: StartServer, connect: Connect, tmp_path: Path) -> None:
    """A SQLite file is replaced by an older copy while the server is stopped. A client that was away meanwhile, and
    resumes when the log has long gone on under the same numbers, ends up with the log that there is."""
    file = tmp_path / "chat.db"
    url = f"sqlite:///{file}"
    chat = server(url, config=QUICK)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    connect(chat, JsonClient).register("bob")
    here, away, idle = (Replica("bob", "general") for _ in range(3))
    for one in (here, away, idle):
        one.connect(connect(chat, JsonClient))
    ana.say("general", "kept")
    idle.wait("general", 3)
    assert chat.stop() == 0
    shutil.copy(file, tmp_path / "old.db")

    chat = server(url, config=QUICK)
    ana = connect(chat, JsonClient)
    ana.login("ana")
    for one in (here, away):
        assert "common" not in one.connect(connect(chat, JsonClient))
    for number in range(5):
        ana.say("general", f"lost {number}")
    for one in (here, away):
        one.wait("general", 8)
    assert chat.stop() == 0
    shutil.copy(tmp_path / "old.db", file)

    chat = server(url, config=QUICK)
    ana = connect(chat, JsonClient)
    ana.login("ana")
    assert here.connect(connect(chat, JsonClient))["common"] == {"general": 3}
    for number in range(9):
        ana.say("general", f"new {number}")
    here.wait("general", 12)
    assert chat.stop() == 0
    chat = server(url, config=QUICK)
    ana = connect(chat, JsonClient)
    ana.login("ana")
    assert away.connect(connect(chat, JsonClient))["common"] == {"general": 3}
    away.wait("general", 12)
    for one in (here, idle):
        assert "common" not in one.connect(connect(chat, JsonClient))
    idle.wait("general", 12)
    assert here.texts("general") == away.texts("general") == idle.texts("general") == whole(ana, "general")


@pytest.mark.slow
def test_a_failover_to_a_standby_that_lags(
    postgres_server: PostgresServer, server: StartServer, connect: Connect
) -> None:
    """The primary crashes, and its standby lacks the last commits. Whoever is connected is told at the end of the
    connection how far what it has still holds, and whoever is not, when it resumes."""
    database = postgres_server.create_database()
    name = make_url(database).database
    with Standby(postgres_server) as standby:
        hosts = f"host=127.0.0.1:{postgres_server.port}&host=127.0.0.1:{standby.port}"
        url = f"postgresql+psycopg2://postgres@/{name}?{hosts}&target_session_attrs=read-write"
        chat = server(url, config=QUICK + "[pipeline]\ndatabase_seconds = 3\n")
        ana = connect(chat, JsonClient)
        ana.register("ana")
        ana.ok("create", room="books")
        bob = connect(chat, JsonClient)
        bob.register("bob")
        bob.ok("join", room="books")
        here, away = (Replica("bob", "general", "books") for _ in range(2))
        for one in (here, away):
            one.connect(connect(chat, JsonClient))
        for room in ("general", "books"):
            ana.say(room, "kept")
        last = {room["room"]: room["seq"] for room in ana.ok("unread")["rooms"]}
        caught_up = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()"
        wait_until(lambda: execute(postgres_server, caught_up) == 1, 30, "the standby has everything")
        execute(standby, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        streams = "SELECT count(*) FROM pg_stat_replication"
        wait_until(lambda: execute(postgres_server, streams) == 0, 30, "the standby lags")
        for number in range(4):
            for room in ("general", "books"):
                ana.say(room, f"lost {number}")
        for one in (here, away):
            for room in ("general", "books"):
                one.wait(room, last[room] + 4)

        postgres_server.stop()
        assert execute(standby, "SELECT pg_promote()") is True
        closing = here.end()
        assert (closing["reason"], closing["common"]) == ("rewound", last)
        ana = connect(chat, JsonClient)
        wait_until(lambda: ana.cmd("login", name="ana", password="s3cret-words")["ok"], 30, "ana is back")
        for number in range(9):
            ana.say("general", f"new {number}")
        assert "common" not in here.connect(connect(chat, JsonClient))
        here.wait("general", last["general"] + 9)
        assert away.connect(connect(chat, JsonClient))["common"] == last
        away.wait("general", last["general"] + 9)
        for room in ("general", "books"):
            assert here.texts(room) == away.texts(room) == whole(ana, room)
        assert chat.stop() == 0


class Recovered(Standby):
    """A server recovered to a named point in time: a base backup, and the log of the crashed primary up to there."""

    def recover(self, point: str) -> None:
        (self._data / "standby.signal").unlink()
        (self._data / "recovery.signal").touch()
        self._own(self._data / "recovery.signal")
        self._settings = self._settings | {
            "restore_command": f"cp {self._primary.folder}/data/pg_wal/%f %p",
            "recovery_target_name": point,
            "recovery_target_action": "promote",
        }


@contextmanager
def dumped(primary: PostgresServer, database: str, folder: Path) -> Iterator[Callable[[], str]]:
    """A dump by pg_dump, which the function restores over the tables that there are."""
    place = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "-d", str(make_url(database).database))
    file = folder / "chat.dump"
    with file.open("wb") as out:
        primary.program("pg_dump", *place, "--format=custom", stdout=out)

    def restore() -> str:
        with file.open("rb") as dump:
            primary.program("pg_restore", *place, "--clean", "--if-exists", "--single-transaction", stdin=dump)
        return database

    yield restore


@contextmanager
def backed_up(primary: PostgresServer, database: str, folder: Path) -> Iterator[Callable[[], str]]:
    """A base backup and a point in time, to which the function recovers another server."""
    other = Recovered(primary)
    execute(primary, "SELECT pg_create_restore_point('kept')")

    def restore() -> str:
        primary.stop()
        other.recover("kept")
        other.start()
        wait_until(lambda: execute(other, "SELECT pg_is_in_recovery()") is False, 30, "it is promoted")
        return other.url(str(make_url(database).database))

    try:
        yield restore
    finally:
        other.close()


@pytest.mark.slow
@pytest.mark.parametrize("save", [dumped, backed_up], ids=["pg_restore", "point-in-time recovery"])
def test_a_database_that_is_restored(
    save: Callable[[PostgresServer, str, Path], AbstractContextManager[Callable[[], str]]],
    postgres_server: PostgresServer, server: StartServer, connect: Connect, tmp_path: Path,
) -> None:  # fmt: skip
    """An administrator sets PostgreSQL back with its own means while the server is stopped. A client that resumes at
    once, and one that resumes when the log has long gone on, end up with the log that there is."""
    database = postgres_server.create_database()
    chat = server(database, config=QUICK)
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    here, away = (Replica("bob", "general") for _ in range(2))
    for one in (here, away):
        one.connect(connect(chat, JsonClient))
    kept = ana.say("general", "kept")["seq"]
    with save(postgres_server, database, tmp_path) as restore:
        for number in range(4):
            ana.say("general", f"lost {number}")
        for one in (here, away):
            one.wait("general", kept + 4)
        assert chat.stop() == 0

        chat = server(restore(), config=QUICK)
        ana = connect(chat, JsonClient)
        ana.login("ana")
        assert here.connect(connect(chat, JsonClient))["common"] == {"general": kept}
        for number in range(9):
            ana.say("general", f"new {number}")
        assert away.connect(connect(chat, JsonClient))["common"] == {"general": kept}
        for one in (here, away):
            one.wait("general", kept + 9)
            assert one.texts("general") == whole(ana, "general")
        assert chat.stop() == 0
