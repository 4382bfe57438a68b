"""Copying a database: row by row the same, and all of it or nothing."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, update

from chatserver.store.copies import backup, rows
from chatserver.store.copies.backup import copy
from chatserver.store.copies.snapshot import snapshot, writing
from chatserver.store.copies.verify import verify
from chatserver.store.db.database_clock import NOW
from chatserver.store.db.engine import (
    DatabaseProblem,
    is_missing,
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
    monkeypatch.setattr(backup, "BATCH", 10)
    copied = copy(parse_url(source), parse_url(target))
    before = contents(source)
    assert contents(target) == before
    assert {table.table: table.rows for table in copied} == {
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


def nothing(url: str) -> bool:
    """Whether a database has nothing of ours, not even tables."""
    if is_missing(parse_url(url)):
        return True
    engine = open_engine(parse_url(url))
    try:
        with engine.connect() as db:
            return inspect(db).get_table_names() == []
    finally:
        engine.dispose()


def test_interrupted(source: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted copy leaves nothing behind, whenever that was, and the next one starts again."""
    monkeypatch.setattr(rows, "PAGE", 3)
    monkeypatch.setattr(backup, "BATCH", 6)
    write, left = rows.write, [0]

    def interrupted(*given: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(rows, "write", interrupted)
    for pages in (2, 14, 7):
        left[0] = pages
        with pytest.raises(KeyboardInterrupt):
            copy(parse_url(source), parse_url(target))
        assert nothing(target)
    copy(parse_url(source), parse_url(target))
    assert contents(target) == contents(source)


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
    """A change of the original during the copy is noticed at its end."""
    finish = rows.finish

    def change(*given: object) -> None:
        finish(*given)  # type: ignore[arg-type]
        engine = open_ready(parse_url(source))
        with writing(engine) as db:
            db.execute(update(RoomRow).values(topic="changed"))
        engine.dispose()

    monkeypatch.setattr(rows, "finish", change)
    with pytest.raises(DatabaseProblem, match=r"the original in the table room: .*Nothing was copied\. Start again"):
        copy(parse_url(source), parse_url(target))
    assert nothing(target)
