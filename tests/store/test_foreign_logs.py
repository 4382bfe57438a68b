"""A write-ahead log that belongs to another SQLite file is put aside when the server starts; no other log ever is."""

import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from chatserver.chatctl.main import main
from chatserver.store.db.engine import open_engine, open_ready, parse_url, put_log_aside
from chatserver.store.db.transactions import transact
from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient

SIDES = ("", "-wal", "-shm")


def backed_up(path: Path, to: Path) -> None:
    """A copy by SQLite's own means, page for page, in which everything is that was said up to now."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def vacuumed(path: Path, to: Path) -> None:
    """A copy with the same rows on other pages."""
    with closing(sqlite3.connect(path)) as source:
        source.execute(f"VACUUM INTO '{to}'")


def another(path: Path, to: Path) -> None:
    """The database of another server, which has begun its own."""
    open_ready(parse_url(f"sqlite:///{to}")).dispose()


def renamed(file: Path, place: Path) -> None:
    file.rename(place)


def overwritten(file: Path, place: Path) -> None:
    """As `cp` does it: the file stays, and has another content."""
    with file.open("rb") as source, place.open("r+b") as target:
        target.truncate()
        shutil.copyfileobj(source, target)


@pytest.mark.parametrize(
    ("copy", "move", "end"),
    [
        (backed_up, renamed, "kill"),
        (vacuumed, overwritten, "kill"),
        (another, renamed, "stop"),
        (another, overwritten, "stop"),
    ],
)
def test_replaced_under_the_server(
    server: StartServer, connect: Connect, tmp_path: Path, copy: Callable[[Path, Path], None],
    move: Callable[[Path, Path], None], end: str,
) -> None:  # fmt: skip
    """The next start says what it puts aside, and opens the new file as it is: nothing of the old log gets into it."""
    chat = server()
    path = Path(str(parse_url(chat.database).database))
    ana = connect(chat, JsonClient)
    ana.register("ana")
    ana.ok("say", room="general", text="before")
    other = tmp_path / "other.db"
    copy(path, other)
    expected = texts(other)
    ana.ok("say", room="general", text="after")
    log = Path(f"{path}-wal").read_bytes()
    move(other, path)
    if end == "kill":
        chat.kill()
    else:
        assert chat.stop() == 0
    chat.start()
    chat.wait_log(rf"{path.name}-wal\.foreign-\d+T\d+Z.*: renamed, since the file {path} was replaced")
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert texts(path) == expected
    [aside] = path.parent.glob(f"{path.name}-wal.foreign-*")
    assert aside.read_bytes().startswith(log[:4096])
    assert chat.stop() == 0


def test_overwritten_while_it_serves(server: StartServer, connect: Connect, tmp_path: Path) -> None:
    """A longer file in the place of the database is noticed, and nothing is written to it."""
    chat = server()
    path = Path(str(parse_url(chat.database).database))
    ana = connect(chat, JsonClient)
    ana.register("ana")
    other = tmp_path / "other.db"
    another(path, other)
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE more AS SELECT zeroblob(1000000)")
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwritten(other, path)
    assert ana.cmd("say", room="general", text="lost")["error"] == "unavailable"
    chat.wait_log(rf"{path} was overwritten")
    assert chat.stop() == 0
    assert path.read_bytes() == other.read_bytes()


WRITE = """
import sys
from chatserver.store.db import database_file
from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.transactions import transact
database_file.STAMP_SECONDS = 0
engine = open_engine(parse_url(sys.argv[1]), 1)
with engine.connect() as db:
    db.exec_driver_sql(f"PRAGMA wal_autocheckpoint = {sys.argv[2]}")
for number in range(int(sys.argv[3]), 10**9):
    transact(engine, lambda db: db.exec_driver_sql("INSERT INTO said VALUES (?)", (number,)))
    print(number, flush=True)
"""


@pytest.mark.slow
def test_killed(tmp_path: Path) -> None:
    """Whenever a writer is killed, its log stays where it is, also in a copy of all files: every commit is there."""
    path = tmp_path / "chat.db"
    url = parse_url(f"sqlite:///{path}")
    engine = open_engine(url, 1)
    transact(engine, lambda db: db.exec_driver_sql("CREATE TABLE said (number INTEGER)"))
    engine.dispose()
    chance = random.Random(7)
    last, logs = -1, 0
    for turn in range(12):
        checkpoint = str(chance.choice([2, 7, 30, 1000]))
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE, f"sqlite:///{path}", checkpoint, str(last + 1)], stdout=subprocess.PIPE,
            text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert writer.stdout is not None
        for _ in range(chance.randrange(1, 400)):
            last = int(writer.stdout.readline())
        writer.kill()
        rest = writer.stdout.read().split()
        writer.wait()
        last = int(rest[-1]) if rest else last
        place = tmp_path / f"copy{turn}.db"
        for side in SIDES:
            if Path(f"{path}{side}").exists():
                shutil.copy(f"{path}{side}", f"{place}{side}")
        logs += Path(f"{path}-wal").stat().st_size > 0
        for file in (place, path):
            assert put_log_aside(url.set(database=str(file))) == ""
            with closing(sqlite3.connect(file)) as db:
                [(count, most)] = db.execute("SELECT count(*), max(number) FROM said").fetchall()
            assert count == most + 1 >= last + 1
        last = most
    assert logs > 6


def test_commands(tmp_path: Path) -> None:
    """Beside a foreign log, `chatctl` touches nothing, and says what to do; `migrate` puts the log aside."""
    path, other = tmp_path / "chat.db", tmp_path / "other.db"
    url = parse_url(f"sqlite:///{path}")
    engine = open_ready(url)
    another(path, other)
    log = Path(f"{path}-wal").read_bytes()
    assert log
    shutil.copy(f"{path}-wal", f"{other}-wal")
    engine.dispose()
    for side in ("", "-wal"):
        Path(f"{other}{side}").rename(f"{path}{side}")
    before = path.read_bytes()
    result = CliRunner().invoke(main, ["--database", f"sqlite:///{path}", "user", "list"])
    assert (result.exit_code, path.read_bytes(), Path(f"{path}-wal").read_bytes()) == (1, before, log)
    assert "belongs to another file" in result.output
    assert "then start it: it puts the log aside" in result.output
    result = CliRunner().invoke(main, ["--database", f"sqlite:///{path}", "migrate"])
    assert result.exit_code == 0, result.output
    assert "renamed, since" in result.output
    [aside] = tmp_path.glob("chat.db-wal.foreign-*")
    assert aside.read_bytes() == log


def test_a_damaged_file(tmp_path: Path) -> None:
    """The advice for a file that is no database is not about permissions."""
    path = tmp_path / "chat.db"
    path.write_bytes(b"no database" * 1000)
    result = CliRunner().invoke(main, ["--database", f"sqlite:///{path}", "user", "list"])
    assert result.exit_code == 1
    assert "(file is not a database). Restore a backup, or correct --database." in result.output


def texts(path: Path) -> list[tuple[str]]:
    """What was said in all rooms."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT text FROM entry WHERE kind = 'message' ORDER BY room_id, seq").fetchall()
