"""Opening a database, and checking and migrating its schema."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect

from chatserver.store.db import engine as database
from chatserver.store.db.engine import (
    OLD,
    DatabaseProblem,
    check_schema,
    migrate,
    newest_revision,
    open_engine,
    open_present,
    open_ready,
    parse_url,
    upgrade,
)
from chatserver.store.db.schema import Base


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    """An engine on an empty database."""
    engine = open_engine(parse_url(empty_url))
    yield engine
    engine.dispose()


def check_models(engine: Engine) -> None:
    """Fails if the tables differ from those that the code describes."""
    with engine.begin() as db:
        command.check(database._alembic(db))


def test_migrations_make_the_tables(engine: Engine) -> None:
    """The migrations create exactly the tables that the code describes. Running them again changes nothing."""
    assert check_schema(engine) == "behind"
    for _ in range(2):
        upgrade(engine)
        assert check_schema(engine) == "current"
        check_models(engine)
    found = {name for name in inspect(engine).get_table_names() if not name.startswith("entry_search")}
    assert found == {*Base.metadata.tables, "alembic_version"}


def test_every_constraint_has_its_name(engine: Engine) -> None:
    """Constraints are named by the convention, so that later migrations can refer to them on both databases."""
    upgrade(engine)
    found = inspect(engine)
    for name, table in Base.metadata.tables.items():
        assert found.get_pk_constraint(name)["name"] == f"pk_{name}"
        assert {key["name"] for key in found.get_foreign_keys(name)} == {
            f"fk_{name}_{key.parent.name}_{key.column.table.name}" for key in table.foreign_keys
        }


def test_migrating_twice_at_once(engine: Engine) -> None:
    """Two processes can migrate at the same moment."""
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(upgrade, [engine, engine]))
    assert check_schema(engine) == "current"


def test_going_back(engine: Engine) -> None:
    """Every migration can be reverted and applied again."""
    upgrade(engine)
    with engine.begin() as db:
        command.downgrade(database._alembic(db), "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    upgrade(engine)
    check_models(engine)


def test_a_schema_behind(empty_url: str) -> None:
    """Opening migrates SQLite. PostgreSQL is refused with what to do."""
    url = parse_url(empty_url)
    if url.get_backend_name() == "postgresql":
        with pytest.raises(DatabaseProblem, match=r"behind .* --migrate"):
            open_ready(url)
    engine = open_ready(url, migrate=url.get_backend_name() == "postgresql")
    assert check_schema(engine) == "current"
    engine.dispose()


def test_a_schema_of_a_later_version(engine: Engine) -> None:
    """A database that a newer version has migrated is refused and not changed, even with --migrate."""
    upgrade(engine)
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE alembic_version SET version_num = 'from-the-future'")
    assert check_schema(engine) == "newer"
    for wanted in (False, True):
        with pytest.raises(DatabaseProblem, match="newer than this version"):
            open_ready(engine.url, migrate=wanted)
    with engine.begin() as db:
        assert db.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "from-the-future"


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0009"])
def test_a_schema_of_a_development_version(engine: Engine, revision: str) -> None:
    """A database that a version before 1.0.0 has made is refused and not changed, in one line that says what to do."""
    upgrade(engine)
    with engine.begin() as db:
        if revision < "0003":
            db.exec_driver_sql("DROP TABLE preference")
        db.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    for use in (migrate, open_ready, open_present):
        with pytest.raises(DatabaseProblem) as problem:
            use(engine.url)
        assert "older than 1.0.0. It cannot be upgraded. " in str(problem.value)
        assert "chatctl room import" in str(problem.value)
        assert "\n" not in str(problem.value)
    with engine.begin() as db:
        assert db.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == revision


def test_numbers_of_development_versions() -> None:
    """No migration has one of them."""
    known = ScriptDirectory(str(database._migrations())).walk_revisions()
    assert OLD.isdisjoint(one.revision for one in known)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "chat.db",
        "mysql://me:s3cret@host/db",
        "nonsense://me:s3cret@host/db",
        "postgresql+nodriver://me:s3cret@host/db",
        "postgresql+psycopg://me:s3cret@host/db",
        "postgresql://me:s3cret@host:port/db",
    ],
)
def test_what_is_no_database(url: str) -> None:
    """Any other URL is refused with a line that shows the valid forms, and never the password."""
    with pytest.raises(DatabaseProblem, match=r"sqlite:///FILE") as problem:
        parse_url(url)
    assert "s3cret" not in str(problem.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_url_without_a_driver(empty_postgres_url: str, scheme: str) -> None:
    """The URL that hosting services print opens the same database as the one that names the driver."""
    url = parse_url(empty_postgres_url.replace("postgresql+psycopg2", scheme))
    assert url == parse_url(empty_postgres_url)
    assert migrate(url) == "behind"
    open_present(parse_url(empty_postgres_url)).dispose()


def test_a_database_that_is_not_there(tmp_path: object) -> None:
    """The message about a database that cannot be opened has its URL without the password."""
    for url, remedy in (
        ("postgresql+psycopg2://me:s3cret@127.0.0.1:1/db", "Start it"),
        (f"sqlite:///{tmp_path}/no/such/folder/chat.db", "Let this user write there"),
    ):
        with pytest.raises(
            DatabaseProblem, match=rf"cannot be opened \(.+\)\. {remedy}, or correct --database"
        ) as problem:
            open_ready(parse_url(url))
        assert "s3cret" not in str(problem.value)


def test_unsafe_settings(postgres_url: str) -> None:
    """There is a warning about a PostgreSQL that can lose acknowledged messages."""
    engine = open_engine(parse_url(postgres_url))
    with engine.begin() as db:
        before = database.durability_warnings(engine)
        db.exec_driver_sql(f'ALTER DATABASE "{engine.url.database}" SET synchronous_commit = off')
    engine.dispose()
    after = database.durability_warnings(engine)
    assert [warning for warning in after if warning not in before] == [
        "PostgreSQL runs with synchronous_commit=off: acknowledged messages can be lost in a crash. Turn it on."
    ]
    engine.dispose()


def test_sqlite_is_durable(sqlite_url: str) -> None:
    """SQLite uses a write-ahead log, syncs every commit, and enforces foreign keys."""
    engine = open_ready(parse_url(sqlite_url))
    with engine.connect() as db:
        pragmas = [
            db.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    engine.dispose()
    assert pragmas == ["wal", 2, 1]


def test_the_newest_revision() -> None:
    """A start finds it by the names of the files, without alembic."""
    assert newest_revision() == ScriptDirectory(str(database._migrations())).get_current_head()
