"""A database of each earlier revision, with what its servers wrote, goes on with this version.

`upgrades/NNNN.sql` has the rows that servers write since revision NNNN. A database of a revision gets the files of all
revisions up to it, in the tables that its own migrations made.
"""

import io
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine, text

from chatserver.store import accounts, directory, entries, members, messages, search, tokens, visibility
from chatserver.store.copies import backup, rows
from chatserver.store.copies.snapshot import snapshot
from chatserver.store.copies.verify import verify
from chatserver.store.db.engine import (
    check_schema,
    known_revisions,
    migrate,
    migrate_to,
    open_engine,
    open_ready,
    parse_url,
)
from chatserver.store.messages import Draft
from chatserver.values.events import OPERATOR, Person
from tests.support.contents import AT

FOLDER: Final = Path(__file__).parent / "upgrades"
REVISIONS: Final = sorted(path.stem for path in FOLDER.glob("*.sql"))
CASES: Final = [
    one if one in (REVISIONS[0], REVISIONS[-1]) else pytest.param(one, marks=pytest.mark.slow) for one in REVISIONS
]
ANA: Final = Person(1, "Ana", OPERATOR)
BOB: Final = Person(2, "bob")


def make(url: str, revision: str) -> None:
    """A database as a server of this revision leaves it."""
    engine = open_engine(parse_url(url))
    with engine.begin() as db:
        migrate_to(db, revision)
        for number in REVISIONS:
            if number <= revision:
                words = FOLDER.joinpath(f"{number}.sql").read_text(encoding="utf-8")
                for statement in words.replace("%", "%%").split(";\n"):
                    if statement.strip():
                        db.exec_driver_sql(statement)
        rows.lighten(db)
        rows.finish(db)
    engine.dispose()


def everything(engine: Engine) -> dict[str, list[list[object]]]:
    with snapshot(engine) as db:
        return {t.name: [list(row) for page in rows.read(db, t) for row in page] for t in rows.tables(db)}


def check(engine: Engine, revision: str) -> None:
    """Everything is right, is read by the functions of this version, and goes on."""
    assert [finding.text for finding in verify(engine.url) if not finding.ok] == []
    with engine.begin() as db:
        first = 4 if revision >= "0006" else 1
        log, more = entries.after(db, 1, 0, 100)
        assert ([entry.seq for entry in log], more) == (list(range(first, 12)), False)
        texts = {entry.seq: (entry.kind, entry.author, entry.text, entry.state) for entry in log}
        assert texts[4] == ("message", "Ana", 'Grüße, 世界! \\ "quoted" it\'s', "")
        assert texts[5] == ("message", "bob", "corrected words", "edited")
        assert texts[8] == ("message", "erased-4", "", "erased")
        assert [(one.name, one.kind) for one in directory.accounts(db, 0, 9, None, gone=True)] == [
            ("Ana", "operator"), ("bob", "person"), ("erased-4", "person"),
        ]  # fmt: skip
        listed = directory.rooms(db, 0, 9, deleted=False)
        assert [(room.name, room.topic, room.first, room.entries) for room in listed] == [
            ("general", "Übersicht — 概要", first, 12 - first), ("books", "", 1, 3), ("silent", "", 1, 0),
        ]  # fmt: skip
        assert [room.name for room in directory.rooms(db, 0, 9, deleted=True)] == ["old"]
        general = visibility.find_room(db, BOB, "general")
        assert [line.name for line in members.listing(db, general.facts, frozenset())] == ["Ana", "bob"]
        inside = {one.facts.label(BOB.id): one.seq for one in visibility.memberships(db, BOB)}
        assert inside == {"general": 11, "books": 3, "@Ana": 4 if revision >= "0008" else 1}
        for words, places in (("corrected", [(1, 5)]), ("世界", [(1, 4)]), ("us", [(4, 1)]), ("gone", [])):
            found, _ = search.search(db, BOB, None, [words], None, 10)
            assert [(facts.id, entry.seq) for facts, entry in found] == places
        ana = accounts.find(db, "ANA")
        assert ana is not None
        assert (ana.id, ana.password_hash[:9]) == (1, "$argon2id")
        assert len(tokens.listing(db, ANA.id)) == (2 if revision >= "0004" else 1)
        times = db.execute(text("SELECT last_at FROM room WHERE last_seq > 0")).scalars().all()
        assert None not in times
    postgres = engine.dialect.name == "postgresql"
    with (engine.execution_options(isolation_level="AUTOCOMMIT") if postgres else engine).begin() as db:
        known = 'Grüße, 世界! \\ "quoted" it\'s'
        again, erased, new = messages.append(
            db, [Draft(1, 1, known, "first"), Draft(1, 4, "what was said", "gone"), Draft(1, 1, "on", None)], AT
        )
        assert (again.outcome, again.seq) == ("dup", 4)
        assert erased.outcome == "dup"
        assert (new.outcome, new.seq) == ("stored", 12)
        if revision >= "0006":
            [removed] = messages.append(db, [Draft(1, 2, "whatever it was", "removed")], AT)
            assert (removed.outcome, removed.seq) == ("dup", 3)
    with engine.begin() as db:
        assert accounts.create(db, "zoe", "hash", AT) == 5


def test_every_revision_has_its_rows(sqlite_url: str) -> None:
    """Whoever adds a revision that adds columns or tables adds the rows that servers write into them."""
    engine = open_engine(parse_url(sqlite_url))
    with engine.connect() as db:
        known = known_revisions(db)
    engine.dispose()
    assert set(known) - set(REVISIONS) <= {"0007", "0009"}, "what those have is no row that is kept"


@pytest.mark.parametrize("revision", CASES)
def test_upgrading(empty_url: str, revision: str) -> None:
    """`migrate` keeps everything."""
    make(empty_url, revision)
    migrate(parse_url(empty_url))
    engine = open_ready(parse_url(empty_url))
    assert check_schema(engine) == "current"
    check(engine, revision)
    engine.dispose()


@pytest.mark.parametrize("revision", CASES)
def test_an_old_backup(empty_url: str, tmp_path: Path, revision: str) -> None:
    """A backup of a database that was not migrated is restored with the schema of this version, as a migration of the
    original gives it."""
    make(empty_url, revision)
    file = io.BytesIO()
    assert backup.back_up(parse_url(empty_url), file).header.revision == revision
    file.seek(0)
    restored = parse_url(f"sqlite:///{tmp_path / 'restored.db'}")
    backup.restore(restored, file)
    migrate(parse_url(empty_url))
    engine, original = open_ready(restored), open_ready(parse_url(empty_url))
    assert everything(engine) == everything(original)
    check(engine, revision)
    # In place of the original, which has the schema of this version now.
    original.dispose()
    file.seek(0)
    backup.restore(original.url, file, replace=True)
    check(original, revision)
    for one in (engine, original):
        one.dispose()
