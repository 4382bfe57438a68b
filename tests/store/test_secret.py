"""The secret under which the servers of a database meet on a bus."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from sqlalchemy import create_engine, make_url, text

from chatserver.cluster.bus.opening import open_bus
from chatserver.settings.tables import Bus, Settings
from chatserver.store.db.engine import open_engine
from chatserver.store.nodes.secret import bus_secret
from chatserver.util.exits import CannotStart
from tests.support import postgres
from tests.support.cluster import OneNode


@pytest.fixture
def stranger_url(postgres_url: str) -> Iterator[str]:
    """The database, for the role of another application, as docs/sql.md creates it."""
    own = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with own.connect() as db:
        db.execute(text("CREATE ROLE stranger LOGIN"))
        db.execute(text("GRANT USAGE ON SCHEMA chat_v1 TO stranger"))
        db.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA chat_v1 TO stranger"))
    yield make_url(postgres_url).set(drivername="postgresql", username="stranger").render_as_string(False)
    with own.connect() as db:
        db.execute(text("DROP OWNED BY stranger"))
        db.execute(text("DROP ROLE stranger"))
    own.dispose()


def test_all_servers_of_a_database_have_one(postgres_url: str) -> None:
    """Servers that start at the same moment agree on it, however they name the database's host; no other database has
    the same."""
    url = make_url(postgres_url)
    urls = [url, url.set(host="localhost")] * 3
    with ThreadPoolExecutor(len(urls)) as pool:
        [known] = set(pool.map(lambda one: bus_secret(open_engine(one)), urls))
    assert re.fullmatch("[0-9a-f]{32}", known)
    other = postgres.postgres_url()
    assert bus_secret(open_engine(make_url(other))) != known
    postgres.drop_postgres(other)


def test_nobody_else_knows_it(postgres_url: str, stranger_url: str) -> None:
    """The role of another application, which may connect and may listen to any channel, cannot read the name."""
    bus_secret(open_engine(make_url(postgres_url)))
    db = psycopg2.connect(stranger_url)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), db.cursor() as cursor:
        cursor.execute("SELECT value FROM chatserver.secret")
    db.close()


def test_a_database_that_is_away(postgres_url: str) -> None:
    """A database that does not answer is one line."""
    engine = open_engine(make_url(postgres_url).set(port=postgres._free_port()))
    for url in ("postgres", "valkey://127.0.0.1:6379"):
        with pytest.raises(CannotStart, match="cannot be opened"):
            open_bus(Settings(bus=Bus(url=url)), None, engine, OneNode("one"))
