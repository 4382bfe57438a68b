"""Fixtures: fresh databases, real servers that use them, and clients. They return objects from `tests.support`."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from chatserver.store.db.engine import is_missing, parse_url
from tests.support import postgres
from tests.support.client import Raw
from tests.support.postgres import PostgresServer
from tests.support.process import ChatServer, migrate

# A slow machine is not a failure: the number of examples is limited, and tests have pytest's faulthandler_timeout.
settings.register_profile("ci", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("ci"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


Client = TypeVar("Client", bound=Raw)


class StartServer(Protocol):
    """The type of the fixture `server`; see `ChatServer` for the keywords."""

    def __call__(
        self, database: str | None = None, *, migrated: bool = True, faultless: bool = True, **keywords: Any
    ) -> ChatServer: ...


class Connect(Protocol):
    """The type of the fixture `connect`; `kind` is `Raw`, `JsonClient` or `TextClient`, and determines the keywords."""

    def __call__(self, server: ChatServer, kind: type[Client], **keywords: Any) -> Client: ...


MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 << 30
"""How much memory must be free for temporary files to be in it."""


def pytest_configure() -> None:
    """Puts temporary files in memory where there is room, unless TMPDIR says otherwise: all processes see the same
    files as on a disk, but a disk that stalls for seconds does not fail tests of deadlines."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    found = os.statvfs(MEMORY)
    if found.f_bavail * found.f_frsize >= MEMORY_BYTES and not found.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_sessionfinish() -> None:
    postgres.end_shared_postgres()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a database file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'chatserver.db'}"


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of a new, migrated database on the Postgres server that all tests share (fsync off)."""
    url = postgres.postgres_url()
    yield url
    postgres.drop_postgres(url)


@pytest.fixture
def empty_postgres_url() -> Iterator[str]:
    """The URL of a new, empty database on that server."""
    url = postgres.empty_postgres_url()
    yield url
    postgres.drop_postgres(url)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Runs the test twice, with a new, migrated database of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    migrate(url)
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def server_url(request: pytest.FixtureRequest) -> str:
    """A migrated database for tests that hardly depend on it: on Postgres the test is a slow one."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    migrate(url)
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """Runs the test twice, with a new, unmigrated database of each kind: a file that does not exist, and an empty one
    on Postgres."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "empty_postgres_url")
    return url


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    """A running Postgres server with fsync on, for this test alone; the test may stop and restart it."""
    with PostgresServer() as own:
        yield own


@pytest.fixture
def server(sqlite_url: str) -> Iterator[StartServer]:
    """Starts servers: `server()` with a new SQLite database, or `server(database_url, config=TOML, ...)`.

    All servers end with the test. A new database is migrated first, unless `migrated=False`. The test fails if a log
    contains a traceback, unless `faultless=False`.
    """
    started: list[ChatServer] = []
    must_be_faultless: list[ChatServer] = []

    def start(
        database: str | None = None, *, migrated: bool = True, faultless: bool = True, **keywords: Any
    ) -> ChatServer:
        database = database or sqlite_url
        if migrated and (not database.startswith("sqlite") or is_missing(parse_url(database))):
            migrate(database)
        chat = ChatServer(database, **keywords)
        started.append(chat)
        if faultless:
            must_be_faultless.append(chat)
        return chat.start()

    yield start
    for chat in reversed(started):
        chat.close()
        print(f"--- log of the server on {chat.database} ---\n{chat.log}")  # pytest shows it if the test fails
    for chat in must_be_faultless:
        assert "Traceback" not in chat.log, f"The server's log contains a traceback:\n{chat.log}"


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects clients: `connect(server, JsonClient)`. All are closed when the test ends."""
    clients: list[Raw] = []

    def open_one(server: ChatServer, kind: type[Client], **keywords: Any) -> Client:
        client = kind(server.address, **keywords)
        clients.append(client)
        return client

    yield open_one
    for client in clients:
        client.close()
