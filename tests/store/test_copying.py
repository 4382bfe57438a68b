"""Copying a database: row by row the same, resumable, and never served before it is complete."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from chatserver.store.copies import copying, rows
from chatserver.store.copies.backup import Told
from chatserver.store.copies.copying import copy
from chatserver.store.copies.snapshot import snapshot, writing
from chatserver.store.copies.verify import verify
from chatserver.store.db.clock import NOW
from chatserver.store.db.engine import (
    DatabaseProblem,
    check_schema,
    migrate,
    open_engine,
    open_present,
    open_ready,
    parse_url,
)
from chatserver.store.db.schema import NodeRow, RoomRow
from tests.store.test_backup import everything
from tests.support.contents import fill


@pytest.fixture
def source(database_url: str) -> str:
    """The URL of a database with something in every table."""
    engine = open_ready(parse_url(database_url), migrate=True)
    with engine.begin() as db:
        fill(db)
    engine.dispose()
    return database_url


def contents(url: str) -> dict[str, list[list[object]]]:
    engine = open_present(parse_url(url))
    try:
        with snapshot(engine) as db:
            nodes = [list(row) for page in rows.read(db, rows.table(db, "node")) for row in page]
        return {**everything(engine), "node": nodes}
    finally:
        engine.dispose()


def structure(engine: Engine) -> set[str]:
    query = {
        "sqlite": "SELECT name || sql FROM sqlite_master WHERE sql IS NOT NULL",
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }[engine.dialect.name]
    with engine.connect() as db:
        return set(db.exec_driver_sql(query).scalars())


def test_row_by_row(source: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row of every table is in the copy, in either direction, and so is every index. Copying it back gives the
    original."""
    monkeypatch.setattr(rows, "PAGE", 7)
    monkeypatch.setattr(copying, "BATCH", 10)
    copied = copy(parse_url(source), parse_url(target))
    before = contents(source)
    assert contents(target) == before
    assert {table.table: table.rows for table in copied.tables} == {
        name: len(found) for name, found in before.items() if name != "node"
    }
    wrong = [finding.text for finding in verify(parse_url(target)) if not finding.ok]
    assert wrong == [finding.text for finding in verify(parse_url(source)) if not finding.ok]
    engine = open_engine(parse_url(target))
    found = structure(engine)
    engine.dispose()
    original = open_engine(parse_url(source))
    if original.dialect.name == engine.dialect.name:
        assert structure(original) == found
    original.dispose()


def test_interrupted(source: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted copy goes on where it was, whenever that was, and is not served before it is complete."""
    monkeypatch.setattr(rows, "PAGE", 3)
    monkeypatch.setattr(copying, "BATCH", 6)
    write, left = rows.write, [0]

    def interrupted(*given: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(rows, "write", interrupted)
    for pages in (2, 14, 7, 3, 4):
        left[0] = pages
        with pytest.raises(KeyboardInterrupt):
            copy(parse_url(source), parse_url(target))
        engine = open_engine(parse_url(target))
        assert check_schema(engine) == "unfinished"
        engine.dispose()
        for use in (lambda: open_ready(parse_url(target), migrate=True), lambda: migrate(parse_url(target))):
            with pytest.raises(DatabaseProblem, match="give the same chatctl copy again"):
                use()
    labels: list[str] = []

    def progress(label: str, _total: int) -> Told:
        labels.append(label)
        return lambda _rows: None

    copied = copy(parse_url(source), parse_url(target), progress)
    assert 0 < copied.before < len(contents(source)["entry"])
    assert labels == [f"Copying entries, from {copied.before + 1} on", "Comparing"]
    assert contents(target) == contents(source)


def test_another_source(source: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unfinished copy of one database is not continued with another one."""

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rows, "write", fail)
        with pytest.raises(KeyboardInterrupt):
            copy(parse_url(source), parse_url(target))
    other = f"sqlite:///{tmp_path / 'other.db'}"
    open_ready(parse_url(other)).dispose()
    with pytest.raises(DatabaseProblem, match="unfinished copy of another database"):
        copy(parse_url(other), parse_url(target))
    with pytest.raises(DatabaseProblem, match="unfinished"):
        copy(parse_url(target), parse_url(other))


def test_what_is_refused(source: str, target: str, tmp_path: Path) -> None:
    """A copy is refused into a database that has anything, to itself, from one that is not there, and while a server
    is running on either."""
    with pytest.raises(DatabaseProblem, match="the same database"):
        copy(parse_url(source), parse_url(source))
    with pytest.raises(DatabaseProblem, match="There is no database"):
        copy(parse_url(f"sqlite:///{tmp_path / 'none.db'}"), parse_url(target))
    copy(parse_url(source), parse_url(target))
    with pytest.raises(DatabaseProblem, match="is not empty"):
        copy(parse_url(source), parse_url(target))
    for url in (source, target):
        serve(url, boot="x")
        with pytest.raises(DatabaseProblem, match=r"A server is running .* on far\). Stop it first"):
            copy(parse_url(source), parse_url(target))
        serve(url, boot="")


def serve(url: str, boot: str) -> None:
    """Makes a database look as if a server on another host were running on it, or not any more."""
    engine = open_ready(parse_url(url))
    with engine.begin() as db:
        db.execute(update(NodeRow).values(boot=boot, host="far", machine="else", heartbeat_at=NOW))
    engine.dispose()


def test_a_source_that_changes(source: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was changed during the copy is noticed at its end."""
    finish = rows.finish

    def change(*given: object) -> None:
        finish(*given)  # type: ignore[arg-type]
        engine = open_ready(parse_url(source))
        with writing(engine) as db:
            db.execute(update(RoomRow).values(topic="changed"))
        engine.dispose()

    monkeypatch.setattr(rows, "finish", change)
    with pytest.raises(DatabaseProblem, match=r"differs from the original in the table room: .*Start again"):
        copy(parse_url(source), parse_url(target))
    engine = open_engine(parse_url(target))
    assert check_schema(engine) == "unfinished"
    engine.dispose()
