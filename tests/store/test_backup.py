"""Backups: everything is in them, on both databases, and what is not a whole backup is refused."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, text

from chatserver.store import messages, search
from chatserver.store.copies import backup, backup_file, rows
from chatserver.store.copies.backup_file import NoBackup
from chatserver.store.copies.snapshot import snapshot
from chatserver.store.copies.verify import verify
from chatserver.store.db.engine import DatabaseProblem, check_schema, open_engine, open_ready, parse_url
from chatserver.store.messages import Draft
from chatserver.store.nodes.lease import Claim, this_process
from chatserver.store.wanted import exactly
from chatserver.values.events import Person
from tests.support.contents import AT, fill

Rows = dict[str, list[list[Any]]]


def everything(engine: Engine) -> Rows:
    with snapshot(engine) as db:
        return {t.name: [list(row) for page in rows.read(db, t) for row in page] for t in rows.tables(db)}


def wrong(url: str) -> list[str]:
    return [finding.text for finding in verify(parse_url(url)) if not finding.ok]


def made_of(url: str) -> io.BytesIO:
    file = io.BytesIO()
    backup.back_up(parse_url(url), file)
    file.seek(0)
    return file


@pytest.fixture
def filled(database_url: str) -> tuple[str, Rows]:
    """A database with something in every table, and its rows."""
    engine = open_ready(parse_url(database_url), migrate=True)
    with engine.begin() as db:
        fill(db)
    found = everything(engine)
    engine.dispose()
    assert all(found.values())
    return database_url, found


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    """A backup of a database with something in every table."""
    url = f"sqlite:///{tmp_path / 'original.db'}"
    engine = open_ready(parse_url(url))
    with engine.begin() as db:
        fill(db)
    engine.dispose()
    return made_of(url).getvalue()


def test_there_and_back(filled: tuple[str, Rows], target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored database has every row of every table as it was, and is good, whatever kind it is of. Only sessions
    that were open are closed."""
    monkeypatch.setattr(rows, "PAGE", 7)
    monkeypatch.setattr(backup, "BATCH", 10)
    url, before = filled
    file = made_of(url)
    header = backup.examine(file).header
    assert {part.table: part.rows for part in header.tables} == {name: len(found) for name, found in before.items()}
    file.seek(0)
    backup.restore(parse_url(target), file)
    engine = open_ready(parse_url(target))
    after = everything(engine)
    for session in before["session"]:
        if session[5] is None:
            session[5:7] = header.made_at, "restored"
    assert after == before
    assert wrong(target) == []
    check_use(engine)
    engine.dispose()


def check_use(engine: Engine) -> None:
    """The database goes on: new ids and numbers follow the old ones, retries are known, words are found and erased."""
    auto = engine.execution_options(isolation_level="AUTOCOMMIT") if engine.dialect.name == "postgresql" else engine
    with auto.begin() as db:
        old, new = messages.append(db, [Draft(6, 1, "only you", "d1"), Draft(6, 1, "unheard-of", "d2")], AT)
        assert (old.outcome, old.seq, new.outcome, new.seq) == ("dup", 1, "stored", 12)
    with engine.begin() as db:
        highest = db.execute(text("SELECT max(id) FROM account")).scalar()
        assert highest is not None
        added = db.execute(text(
            "INSERT INTO account (name, name_key, kind, created_at) "
            "VALUES ('x', 'x', 'person', '2026-01-01 00:00:00.000000') RETURNING id"
        )).scalar()  # fmt: skip
        assert added == highest + 1
        for asked, times in (("unheard", 1), ("déjà", 1), ("secret", 0)):
            found, _ = search.search(db, Person(1, "ana"), None, exactly(asked), None, 10)
            assert len(found) == times


def test_what_is_refused(data: bytes, target: str, tmp_path: Path) -> None:
    """A file that was cut off anywhere, changed anywhere, or is something else, is refused, and changes nothing."""
    plain = gzip.decompress(data)
    lines = plain.splitlines(keepends=True)
    header = msgspec.json.decode(lines[0])

    def with_header(**changes: Any) -> bytes:
        return gzip.compress(msgspec.json.encode({**header, **changes}) + b"\n" + b"".join(lines[1:]))

    bad: list[tuple[bytes, str]] = [
        (b"", "is not a backup"),
        (b"SQLite format 3\0" + b"\0" * 5000, "is not a backup"),
        (gzip.compress(b""), "is not a backup"),
        (gzip.compress(b"{}\n"), "is not a backup"),
        (gzip.compress(b"[1]\n"), "is not a backup"),
        (gzip.compress(b"x" * (3 << 20)), "is not a backup"),
        (data + b"more", "damaged|backup"),
        (data + data, "damaged|backup"),
        (gzip.compress(b"".join(lines[:-1])), "was not written to its end"),
        (gzip.compress(b"".join(lines[:-2] + lines[-1:])), "is damaged"),
        (gzip.compress(plain.replace(b"two other words", b"two wrong words", 1)), "is damaged"),
        (with_header(format=2), "newer chatserver"),
        (with_header(tables=header["tables"][:-1]), "is damaged"),
        (with_header(tables=None), "is damaged"),
        *((data[: len(data) * part // 20], "backup|damaged|end") for part in range(1, 20)),
        *((changed(data, len(data) * part // 20), "damaged|backup") for part in range(1, 20)),
    ]
    for number, (contents, why) in enumerate(bad):
        with pytest.raises(NoBackup, match=why):
            backup.examine(io.BytesIO(contents))
        if number % 5 == 0:
            with pytest.raises(NoBackup, match=why):
                backup.restore(parse_url(target), io.BytesIO(contents))
    if target.startswith("sqlite"):
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("restored")] == []
    else:
        engine = open_engine(parse_url(target))
        assert check_schema(engine) == "behind"
        engine.dispose()


def changed(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def test_a_newer_backup(data: bytes, target: str) -> None:
    """A backup of a schema that this version does not know is refused."""
    reader = backup_file.Reader(io.BytesIO(data))
    newer = msgspec.structs.replace(reader.header, revision="9999")
    file = io.BytesIO()
    writer = backup_file.Writer(file, newer)
    for part in newer.tables:
        writer.table(part.table)
        writer.rows([row for index, page in reader.pages() for row in page] if part is newer.tables[0] else [])
    writer.finish()
    file.seek(0)
    with pytest.raises(NoBackup, match="newer chatserver"):
        backup.restore(parse_url(target), file)


def test_a_database_that_is_not_empty(data: bytes, target: str) -> None:
    """A database with anything in it is refused, unless it may be replaced, and so is one that a server uses."""
    again = restoring(data)
    for _ in range(2):  # also one that has tables, but no rows
        again(target, replace=True)
    with pytest.raises(DatabaseProblem, match=r"not empty .*--replace"):
        again(target)
    engine = open_ready(parse_url(target))
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE account SET name = 'changed'")
    engine.dispose()
    again(target, replace=True)
    engine = open_ready(parse_url(target))
    assert [row[1] for row in everything(engine)["account"]] == ["ana", "Bob_1", "op", "erased-4", "~5"]
    with engine.begin() as db:
        assert isinstance(Claim(this_process("main"))(db), int)
    # This process looks like a server of another node that is running.
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE node SET machine = 'elsewhere', host = 'far'")
        db.exec_driver_sql("UPDATE account SET name = 'serving'")
    with pytest.raises(DatabaseProblem, match=r"A server is running .* on far\). Stop it first"):
        again(target, replace=True)
    with engine.connect() as db:
        assert db.exec_driver_sql("SELECT name FROM account LIMIT 1").scalar() == "serving"
    engine.dispose()


def test_what_is_in_the_way(data: bytes, tmp_path: Path) -> None:
    """The new file grows in a folder that only its owner can enter. What an interrupted restore has left behind there
    is removed, and nothing else is."""
    place, folder = tmp_path / "chat.db", tmp_path / "chat.db.restoring"
    folder.mkdir()
    (folder / "chat.db-wal").touch()
    modes: list[int] = []

    def begun(_label: str, _total: int) -> Callable[[int], None]:
        modes.append(folder.stat().st_mode & 0o777)
        return lambda _rows: None

    backup.restore(parse_url(f"sqlite:///{place}"), io.BytesIO(data), begun)
    assert (modes, folder.exists(), place.stat().st_mode & 0o777) == ([0o700], False, 0o600)
    folder.symlink_to(tmp_path)
    with pytest.raises(DatabaseProblem, match=r"restoring is in the way"):
        restoring(data)(f"sqlite:///{place}", replace=True)
    assert (folder.is_symlink(), place.exists()) == (True, True)


def restoring(data: bytes) -> Callable[..., None]:
    def again(target: str, *, replace: bool = False) -> None:
        backup.restore(parse_url(target), io.BytesIO(data), replace=replace)

    return again


def test_somebody_elses_database(data: bytes, target: str) -> None:
    """Tables of another application are never replaced, even if they have the same names."""
    engine = open_engine(parse_url(target))
    with engine.begin() as db:
        if engine.dialect.name == "postgresql":
            db.exec_driver_sql("CREATE SCHEMA chatserver")
        db.exec_driver_sql("CREATE TABLE account (iban TEXT)")
    engine.dispose()
    for replace in (False, True):
        with pytest.raises(DatabaseProblem, match="belongs to something else"):
            restoring(data)(target, replace=replace)


def test_no_writer_waits(filled: tuple[str, Rows]) -> None:
    """While a backup is written, others write, and the backup does not have what came after it began."""
    url, before = filled
    engine = open_ready(parse_url(url))
    written: list[int] = []

    class Slow(io.BytesIO):
        def write(self, data: Any, /) -> int:
            if len(written) < 3:
                with engine.begin() as db:
                    db.exec_driver_sql(f"UPDATE account SET name = 'n{len(written)}' WHERE id = 1")
                    db.exec_driver_sql(f"DELETE FROM certificate WHERE id = {len(written)}")
                written.append(1)
            return super().write(data)

    file = Slow()
    backup.back_up(parse_url(url), file)
    engine.dispose()
    assert len(written) == 3
    file.seek(0)
    found = [list(row) for index, page in backup_file.Reader(file).pages() for row in page]
    assert found == [row for part in before.values() for row in part]


def test_a_damaged_file(data: bytes, tmp_path: Path) -> None:
    """An SQLite file that cannot be read is not replaced: there is no way to see whether a server uses it."""
    place = tmp_path / "chat.db"
    place.write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseProblem, match=r"cannot be read \(.*\)\. Move it away"):
        restoring(data)(f"sqlite:///{place}", replace=True)
    assert place.read_bytes() == b"no database" * 1000
    with pytest.raises(DatabaseProblem, match=r"cannot be written \(No such file"):
        restoring(data)(f"sqlite:///{tmp_path}/no/folder/chat.db")
    with pytest.raises(DatabaseProblem, match="into a file only"):
        restoring(data)("sqlite://")


def test_what_postgres_cannot_store(sqlite_url: str, empty_postgres_url: str) -> None:
    """A row that SQLite has stored and PostgreSQL cannot is named by its table, and nothing is restored."""
    engine = open_ready(parse_url(sqlite_url))
    with engine.begin() as db:
        fill(db)
        db.execute(text("UPDATE entry SET text = :words WHERE room_id = 1 AND seq = 15"), {"words": "a\0b"})
    engine.dispose()
    with pytest.raises(DatabaseProblem, match=r"the table entry .* \(invalid byte sequence"):
        backup.restore(parse_url(empty_postgres_url), made_of(sqlite_url))
    engine = open_engine(parse_url(empty_postgres_url))
    assert check_schema(engine) == "behind"
    engine.dispose()


def test_an_id_twice(filled: tuple[str, Rows], target: str) -> None:
    """A database with the same id twice, which can only be if somebody has dropped an index, is not restored."""
    engine = open_ready(parse_url(filled[0]))
    with engine.begin() as db:
        db.exec_driver_sql("DROP INDEX uq_entry_author_id_client_id")
        db.exec_driver_sql("UPDATE entry SET client_id = 'id-2' WHERE room_id = 1 AND client_id = 'id-3'")
    engine.dispose()
    with pytest.raises(DatabaseProblem, match="chatctl verify"):
        backup.restore(parse_url(target), made_of(filled[0]))
