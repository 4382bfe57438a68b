"""Fixtures: fresh databases, and the real server on them. See `tests.support` for what they hand out."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.support import postgres
from tests.support.client import Raw
from tests.support.postgres import PostgresServer
from tests.support.process import ChatServer, migrate

# A slow machine is no failure: examples are bounded by number, tests by pytest's faulthandler_timeout.
settings.register_profile("ci", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("ci"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


Client = TypeVar("Client", bound=Raw)


class StartServer(Protocol):
    """What the fixture `server` is: see `ChatServer` for the keywords."""

    def __call__(
        self, database: str | None = None, *, migrated: bool = True, faultless: bool = True, **keywords: Any
    ) -> ChatServer: ...


class Connect(Protocol):
    """What the fixture `connect` is: `kind` is `Raw`, `JsonClient` or `TextClient`, with its own keywords."""

    def __call__(self, server: ChatServer, kind: type[Client], **keywords: Any) -> Client: ...


def pytest_sessionfinish() -> None:
    postgres.end_shared_postgres()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A database file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'chatserver.db'}"


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A fresh, empty database on the Postgres that all tests share (fsync off)."""
    url = postgres.postgres_url()
    yield url
    postgres.drop_postgres(url)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each test twice: a fresh, unmigrated database of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    """A running Postgres of the test's own, with fsync on, to be stopped and started again."""
    with PostgresServer() as own:
        yield own


@pytest.fixture
def server(sqlite_url: str) -> Iterator[StartServer]:
    """Starts servers: `server()` on a fresh SQLite, `server(database_url, config=TOML, ...)`; all end with the test.

    A Postgres database is migrated first, unless `migrated=False` (SQLite migrates itself). The test fails where the
    log has a traceback, unless `faultless=False`.
    """
    started: list[ChatServer] = []
    faultless_ones: list[ChatServer] = []

    def start(
        database: str | None = None, *, migrated: bool = True, faultless: bool = True, **keywords: Any
    ) -> ChatServer:
        database = database or sqlite_url
        if migrated and not database.startswith("sqlite"):
            migrate(database)
        one = ChatServer(database, **keywords)
        started.append(one)
        if faultless:
            faultless_ones.append(one)
        return one.start()

    yield start
    for one in reversed(started):
        one.close()
        print(f"--- log of the server on {one.database} ---\n{one.log}")  # shown where the test failed
    for one in faultless_ones:
        assert "Traceback" not in one.log, f"Something went wrong in the server:\n{one.log}"


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects clients: `connect(server, JsonClient)`; all are closed with the test."""
    clients: list[Raw] = []

    def open_one(server: ChatServer, kind: type[Client], **keywords: Any) -> Client:
        client = kind(server.address, **keywords)
        clients.append(client)
        return client

    yield open_one
    for client in clients:
        client.close()
