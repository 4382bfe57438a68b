"""Opening a database: the schema it has, and the one it should have."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from sqlalchemy import Engine, inspect

from chatserver.store import database
from chatserver.store.database import DatabaseProblem, check_schema, open_engine, open_ready, parse_url, upgrade
from chatserver.store.schema import Base


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """On a database in which there is nothing yet."""
    engine = open_engine(parse_url(database_url))
    yield engine
    engine.dispose()


def check_models(engine: Engine) -> None:
    """Fails where the code describes other tables than there are."""
    with engine.begin() as db:
        command.check(database._alembic(db))


def test_migrations_make_the_tables(engine: Engine) -> None:
    """From nothing, the migrations make just the tables that the code describes; once more, they change nothing."""
    assert check_schema(engine) == "behind"
    for _ in range(2):
        upgrade(engine)
        assert check_schema(engine) == "current"
        check_models(engine)
    found = {name for name in inspect(engine).get_table_names() if not name.startswith("entry_search")}
    assert found == {*Base.metadata.tables, "alembic_version"}


def test_every_constraint_has_its_name(engine: Engine) -> None:
    """Names are by the convention, so that later migrations can refer to them on both databases."""
    upgrade(engine)
    found = inspect(engine)
    for name, table in Base.metadata.tables.items():
        assert found.get_pk_constraint(name)["name"] == f"pk_{name}"
        assert {key["name"] for key in found.get_foreign_keys(name)} == {
            f"fk_{name}_{key.parent.name}_{key.column.table.name}" for key in table.foreign_keys
        }


def test_migrating_twice_at_once(engine: Engine) -> None:
    """Two that migrate at the same moment do each other no harm."""
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(upgrade, [engine, engine]))
    assert check_schema(engine) == "current"


def test_going_back(engine: Engine) -> None:
    """Every migration can be taken back, and made again."""
    upgrade(engine)
    with engine.begin() as db:
        command.downgrade(database._alembic(db), "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    upgrade(engine)
    check_models(engine)


def test_a_schema_behind(database_url: str) -> None:
    """SQLite is brought to this version's schema when opened; Postgres is not, and the remedy is named."""
    url = parse_url(database_url)
    if url.get_backend_name() == "postgresql":
        with pytest.raises(DatabaseProblem, match=r"behind .* --migrate"):
            open_ready(url)
    engine = open_ready(url, migrate=url.get_backend_name() == "postgresql")
    assert check_schema(engine) == "current"
    engine.dispose()


def test_a_schema_of_a_later_version(engine: Engine) -> None:
    """A database that a newer version has migrated is refused, and left as it is, even with --migrate."""
    upgrade(engine)
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE alembic_version SET version_num = 'from-the-future'")
    assert check_schema(engine) == "newer"
    for migrate in (False, True):
        with pytest.raises(DatabaseProblem, match="newer than this version"):
            open_ready(engine.url, migrate=migrate)
    with engine.begin() as db:
        assert db.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "from-the-future"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "chat.db",
        "mysql://me:s3cret@host/db",
        "nonsense://me:s3cret@host/db",
        "postgresql+nodriver://me:s3cret@host/db",
        "postgresql://me:s3cret@host:port/db",
    ],
)
def test_what_is_no_database(url: str) -> None:
    """A URL of anything else is refused in a line that shows the right forms, and never the password."""
    with pytest.raises(DatabaseProblem, match=r"sqlite:///FILE") as problem:
        parse_url(url)
    assert "s3cret" not in str(problem.value)


def test_a_database_that_is_not_there(tmp_path: object) -> None:
    """What cannot be opened is named, without its password."""
    for url in ("postgresql+psycopg2://me:s3cret@127.0.0.1:1/db", f"sqlite:///{tmp_path}/no/such/folder/chat.db"):
        with pytest.raises(
            DatabaseProblem, match=r"cannot be opened \(.+\)\. Start it, or correct --database"
        ) as problem:
            open_ready(parse_url(url))
        assert "s3cret" not in str(problem.value)


def test_unsafe_settings(postgres_url: str) -> None:
    """A Postgres whose answer does not mean stored is warned of."""
    engine = open_engine(parse_url(postgres_url))
    with engine.begin() as db:
        before = database.durability_warnings(engine)
        db.exec_driver_sql(f'ALTER DATABASE "{engine.url.database}" SET synchronous_commit = off')
    engine.dispose()
    after = database.durability_warnings(engine)
    assert [warning for warning in after if warning not in before] == [
        "PostgreSQL runs with synchronous_commit=off: what is acknowledged can be lost in a crash. Turn it on."
    ]
    engine.dispose()


def test_sqlite_is_durable(sqlite_url: str) -> None:
    """The embedded database writes ahead, waits for the disk, and holds to its foreign keys."""
    engine = open_ready(parse_url(sqlite_url))
    with engine.connect() as db:
        pragmas = [
            db.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    engine.dispose()
    assert pragmas == ["wal", 2, 1]
