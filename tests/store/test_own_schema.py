"""PostgreSQL's schema of the tables: what others create elsewhere is never run with the rights of the server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from alembic import command
from sqlalchemy import create_engine

from chatserver.store import accounts, change_rows, entries, search
from chatserver.store.copies.snapshot import open_whole
from chatserver.store.db import engine as database
from chatserver.store.db import own_schema
from chatserver.store.db.engine import DatabaseProblem, check_schema, migrate, open_engine, open_ready, parse_url
from chatserver.store.db.health import examine
from chatserver.store.db.own_schema import SCHEMA
from chatserver.store.db.threads import Store
from chatserver.store.wanted import exactly
from tests.store.conftest import AT, Tables
from tests.support.memory import logged_warnings

# What PostgreSQL would prefer to its own, which have other types or take anything.
SEEN = """
CREATE TABLE public.seen (role text);
GRANT ALL ON public.seen TO PUBLIC;
"""
OPERATORS = [
    (operator, left, right)
    for operator in ("=", "<>", "<", ">", ">=")
    for left, right in (("varchar", "varchar"), ("varchar", "text"), ("varchar", "unknown"), ("bigint", "smallint"))
]
CREATE = """
CREATE FUNCTION public.{name}({left}, {right}) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.seen VALUES (current_user); RETURN true; END $$;
CREATE OPERATOR public.{operator} (FUNCTION = public.{name}, LEFTARG = {left}, RIGHTARG = {right});
"""


CONTENTS = (
    "INSERT INTO account (name, name_key, created_at) VALUES ('ana', 'ana', now())",
    "INSERT INTO room (name, kind, created_at, last_seq) VALUES ('general', 'public', now(), 1)",
    "INSERT INTO membership (room_id, account_id, joined_seq) VALUES (1, 1, 1)",
    "INSERT INTO entry (room_id, seq, kind, author_id, text, at) VALUES (1, 1, 'joined', 1, '', now())",
)


@contextmanager
def stranger(url: str) -> Iterator[Any]:
    """A role with the rights of an application, and everybody may create in `public`, as PostgreSQL 14 has it."""
    name = f"stranger_{parse_url(url).database}"
    own = create_engine(url, isolation_level="AUTOCOMMIT")
    with own.connect() as db:
        for statement in (
            f"CREATE ROLE {name} LOGIN",
            "GRANT CREATE ON SCHEMA public TO PUBLIC",
            f"GRANT USAGE ON SCHEMA chat_v1 TO {name}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA chat_v1 TO {name}",
            f"GRANT EXECUTE ON FUNCTION chat_v1.post(text, text, text, text) TO {name}",
        ):
            db.exec_driver_sql(statement)
        where = parse_url(url)
        other = psycopg2.connect(host=where.host, port=where.port, dbname=where.database, user=name)
        other.autocommit = True
        try:
            yield other.cursor()
        finally:
            other.close()
            db.exec_driver_sql(f"DROP OWNED BY {name} CASCADE")
            db.exec_driver_sql(f"DROP ROLE {name}")
    own.dispose()


def test_operators_of_others(tables: Tables) -> None:
    """An application that may create operators in the schema `public` has none of them run by the server, by
    migrations, or by the functions of chat_v1."""
    if not tables.postgres:
        return
    ana = tables.person("ana")
    room = tables.room("books", ana)
    url = tables.engine.url.render_as_string(False)
    with stranger(url) as cursor:
        cursor.execute(SEEN)
        for number, (operator, left, right) in enumerate(OPERATORS):
            if right != "unknown":
                cursor.execute(CREATE.format(name=f"f{number}", operator=operator, left=left, right=right))
        cursor.execute("SELECT 'a'::varchar = 'b'::varchar")
        assert cursor.fetchone() == (True,)
        cursor.execute("DELETE FROM public.seen")
        other = open_engine(tables.engine.url)
        assert check_schema(other) == "current"
        with other.begin() as db:
            assert accounts.find(db, "bob") is None
            command.downgrade(database._alembic(db), "0002")
            command.upgrade(database._alembic(db), "head")
            assert change_rows.look(db, 0, [1])
            assert entries.heads(db, [room.id]) == {room.id: 1}
        assert tables.say(room, ana, "hello", "id-1").seq == 2
        assert len(tables(search.search, ana, tables.find(ana, "books"), exactly("hello"), None, 5)[0]) == 1
        assert next(finding for finding in examine(tables.engine.url) if finding.item == "schema").ok
        cursor.execute("SELECT chat_v1.post('books', 'ana', 'from the shop', 'id-2')")
        cursor.execute("SELECT DISTINCT role FROM public.seen")
        assert cursor.fetchall() == []
        other.dispose()


def test_everybody_may_create(postgres_url: str) -> None:
    """A start and `chatctl check` warn of rights to create things where somebody's statements would run them."""
    engine = open_engine(parse_url(postgres_url))
    assert own_schema.warnings(engine) == []
    with engine.begin() as db:
        db.exec_driver_sql("GRANT CREATE ON SCHEMA public TO PUBLIC")
        db.exec_driver_sql(f"GRANT CREATE ON SCHEMA {SCHEMA} TO pg_monitor")
    warnings = own_schema.warnings(engine)
    assert [line.rpartition(": ")[2] for line in warnings] == [
        f"REVOKE CREATE ON SCHEMA {SCHEMA} FROM pg_monitor",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    ]
    found = [finding for finding in examine(engine.url) if finding.item == "rights"]
    assert [finding.text for finding in found] == warnings
    assert all(finding.ok and finding.warning for finding in found)
    reactor: Any = None
    store = Store(engine, reactor, 1, 1)
    with logged_warnings() as lines:
        store.open()
    store.stop()
    assert set(warnings) <= set(lines)
    engine.dispose()


def test_statistics_of_before(tables: Tables) -> None:
    """What PostgreSQL has noted of texts before that was turned off is found, and goes by what the warning says."""
    if not tables.postgres:
        return
    ana = tables.person("ana")
    tables.say(tables.room("books", ana), ana, "hello")
    for statement in ("SET STATISTICS 100", "", "SET STATISTICS 0"):
        change = f"ALTER TABLE entry ALTER COLUMN text {statement}" if statement else "ANALYZE"
        with tables.engine.begin() as db:
            db.exec_driver_sql(change)
    [warning] = own_schema.warnings(tables.engine)
    tables(lambda db: db.exec_driver_sql(warning.rpartition(": ")[2]))
    assert own_schema.warnings(tables.engine) == []


@pytest.fixture
def of_before(empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database whose tables an earlier version has created in `public`."""
    before = create_engine(empty_postgres_url)
    with monkeypatch.context() as patch, before.begin() as db:
        patch.setattr(own_schema, "ensure", lambda *_: None)
        command.upgrade(database._alembic(db), "0002")
        db.exec_driver_sql("CREATE TABLE mine (id integer)")
        for statement in CONTENTS:
            db.exec_driver_sql(statement)
    before.dispose()
    return empty_postgres_url


def test_tables_of_before(of_before: str) -> None:
    """A migration moves the tables that an earlier version has created in `public`, with all that they have and the
    rights on them, and nothing else. Until then nothing takes the database for an empty one."""
    url = parse_url(of_before)
    name = f"reader_{url.database}"
    plain = create_engine(of_before)
    with plain.begin() as db:
        db.exec_driver_sql(f"CREATE ROLE {name}")
        db.exec_driver_sql(f"GRANT SELECT ON account TO {name}")
        counts = {table: db.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() for table in ("entry", "account")}
    engine = open_engine(url)
    assert check_schema(engine) == "behind"
    with pytest.raises(DatabaseProblem, match="behind"):
        open_ready(url)
    with pytest.raises(DatabaseProblem, match="is behind"):
        open_whole(url, "current", "behind")
    assert migrate(url) == "behind"
    assert check_schema(engine) == "current"
    with engine.begin() as db:
        for table, count in counts.items():
            assert db.exec_driver_sql(f"SELECT count(*) FROM {SCHEMA}.{table}").scalar() == count
        assert accounts.find(db, "ana") is not None
        assert accounts.create(db, "zoe", "hash", AT) > 1
        left = db.exec_driver_sql("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").scalars()
        assert left.all() == ["mine"]
        reading = "SELECT has_schema_privilege(%s, %s, 'USAGE'), has_table_privilege(%s, 'account', 'SELECT')"
        assert tuple(db.exec_driver_sql(reading, (name, SCHEMA, name)).one()) == (True, True)
        assert db.exec_driver_sql("SELECT chat_v1.post('general', 'ana', 'hello', NULL)").scalar()
        db.exec_driver_sql(f"DROP OWNED BY {name}")
        db.exec_driver_sql(f"DROP ROLE {name}")
    engine.dispose()
    plain.dispose()


def test_tables_of_somebody_else(empty_postgres_url: str) -> None:
    """Tables that another role has created in `public` under our names are not taken over."""
    url = parse_url(empty_postgres_url)
    name = f"other_{url.database}"
    engine = open_engine(url)
    with engine.begin() as db:
        db.exec_driver_sql(f"CREATE ROLE {name}")
        for table in ("alembic_version (version_num text)", "entry (id int)"):
            db.exec_driver_sql(f"CREATE TABLE public.{table}")
            db.exec_driver_sql(f"ALTER TABLE public.{table.partition(' ')[0]} OWNER TO {name}")
    assert check_schema(engine) == "behind"
    migrate(url)
    with engine.begin() as db:
        assert accounts.find(db, "ana") is None
        db.exec_driver_sql(f"DROP OWNED BY {name}")
        db.exec_driver_sql(f"DROP ROLE {name}")
    engine.dispose()
