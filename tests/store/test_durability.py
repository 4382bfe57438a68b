"""Settings under which a crash or a failover loses what was acknowledged; and URLs with several hosts."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from chatserver.store.db.durability import durability, durability_warnings, file_system, warnings
from chatserver.store.db.engine import DatabaseProblem, open_engine, open_ready, open_statements, parse_url, shown_url
from chatserver.store.db.health import examine
from chatserver.store.db.transactions import Statements, transact
from chatserver.store.messages import Draft
from chatserver.values.errors import Unavailable
from tests.store.conftest import Tables
from tests.support.postgres import DURABLE_SETTINGS, PostgresServer
from tests.support.process import wait_until

SAFE_POSTGRES = {
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "synchronous_standby_names": "",
}  # fmt: skip
SAFE_SQLITE = {"journal_mode": "wal", "synchronous": "full", "file_system": "ext4"}


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"synchronous_standby_names": "*"}, []),
        ({"synchronous_commit": "remote_apply", "synchronous_standby_names": "*"}, []),
        ({"synchronous_commit": "local"}, []),
        ({"synchronous_commit": "remote_write"}, []),
        ({"synchronous_commit": "off"}, ["synchronous_commit=off"]),
        ({"fsync": "off"}, ["fsync=off"]),
        ({"full_page_writes": "off"}, ["full_page_writes=off"]),
        ({"synchronous_commit": "local", "synchronous_standby_names": "a"}, ["synchronous_commit=local"]),
        ({"synchronous_commit": "remote_write", "synchronous_standby_names": "a"}, ["synchronous_commit=remote_write"]),
        (dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off"), ["fsync", "synchronous", "full"]),
    ],
)
def test_postgres_settings(settings: dict[str, str], found: list[str]) -> None:
    """`local` and `remote_write` are weaker than `on` only if there is a synchronous standby."""
    lines = warnings(SAFE_POSTGRES | settings)
    assert len(lines) == len(found)
    for line, part in zip(lines, found, strict=True):
        assert part in line


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, []),
        ({"synchronous": "extra"}, []),
        ({"synchronous": "normal"}, ["synchronous=normal"]),
        ({"synchronous": "off"}, ["synchronous=off"]),
        ({"journal_mode": "delete"}, ["journal_mode=delete"]),
        ({"file_system": "nfs4"}, ["network file system (nfs4)"]),
        ({"file_system": "fuse.sshfs"}, ["network file system (fuse.sshfs)"]),
    ],
)
def test_sqlite_settings(settings: dict[str, str], found: list[str]) -> None:
    lines = warnings(SAFE_SQLITE | settings)
    assert len(lines) == len(found)
    for line, part in zip(lines, found, strict=True):
        assert part in line


def test_file_systems(tmp_path: Path) -> None:
    """The innermost mount counts, the last of several on one point, and names with spaces and symbolic links too."""
    mounts = tmp_path / "mountinfo"
    (tmp_path / "share d").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "share d")
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"30 22 0:40 / {tmp_path}/share\\040d rw - tmpfs tmpfs rw\n"
        f"31 30 0:41 / {tmp_path}/share\\040d rw shared:5 master:2 - nfs4 host:/export rw\n"
        f"32 22 0:42 / {tmp_path}/other rw - 9p host rw\n",
        encoding="utf-8",
    )
    assert file_system(tmp_path / "share d" / "chat.db", mounts) == "nfs4"
    assert file_system(tmp_path / "link" / "chat.db", mounts) == "nfs4"
    assert file_system(tmp_path / "otherwise" / "chat.db", mounts) == "ext4"
    assert file_system(tmp_path / "chat.db", tmp_path / "no such file") == ""


def test_the_real_settings(sqlite_url: str, postgres_server: PostgresServer) -> None:
    """Without any special settings both databases are durable, and the report says why."""
    for url, names in ((sqlite_url, list(SAFE_SQLITE)), (postgres_server.url(), list(SAFE_POSTGRES))):
        engine = open_engine(parse_url(url))
        assert list(durability(engine)) == names
        assert durability_warnings(engine) == []
        engine.dispose()


# A commit that no standby has confirmed


@pytest.fixture
def alone() -> Iterator[Tables]:
    """A primary whose synchronous standby never connects."""

    with PostgresServer(DURABLE_SETTINGS) as server, ThreadPoolExecutor(4) as threads:
        engine = open_ready(parse_url(server.create_database()), migrate=True)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(text("ALTER SYSTEM SET synchronous_standby_names = 'nobody'"))
            db.execute(text("SELECT pg_reload_conf()"))
        yield Tables(engine, threads)
        engine.dispose()


def cancel_wait(engine: Engine) -> None:
    """Cancels the wait of a transaction that has been committed locally."""
    waiting = text("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")

    def cancelled() -> bool:
        with engine.connect() as db:
            return bool(db.execute(waiting).all())

    wait_until(cancelled, what="a commit waits for the standby")


def test_a_cancelled_wait_for_a_standby(alone: Tables) -> None:
    """It is reported as unknown: in a failover it may be lost, although it can be read now."""
    engine = alone.engine
    with engine.begin() as db:
        db.execute(text("SET LOCAL synchronous_commit = local"))
        db.execute(text("CREATE TABLE proof (id int)"))
    single = open_statements(engine, 1)
    assert single is not None
    kept = Statements(single)

    def insert(db: Connection) -> None:
        db.exec_driver_sql("INSERT INTO proof VALUES (1)")

    for run in (lambda: transact(engine, insert), lambda: kept.run(insert)):
        outcomes: list[object] = []

        def attempt(run: object = run) -> None:
            try:
                outcomes.append(run())  # type: ignore[operator]  # noqa: B023
            except Unavailable as error:
                outcomes.append(str(error.__cause__))  # noqa: B023

        thread = threading.Thread(target=attempt)
        thread.start()
        cancel_wait(engine)
        thread.join(30)
        [outcome] = outcomes
        assert "canceling wait for synchronous replication" in str(outcome)
    with engine.connect() as db:
        assert sorted(db.execute(text("SELECT id FROM proof")).scalars()) == [1, 1]
    kept.close()
    single.dispose()


def test_other_notices_do_not_matter(tables: Tables) -> None:
    """Nor does a notice make a later commit unknown."""
    if tables.postgres:
        hello = "DO $$ BEGIN RAISE WARNING 'hello'; END $$"
        transact(tables.engine, lambda db: db.exec_driver_sql(hello) and None)
    ana = tables.person("ana")
    books = tables.room("books", ana)
    assert tables.append(Draft(books.id, ana.id, "hello", None))[0].outcome == "stored"


# URLs


def test_several_hosts(postgres_server: PostgresServer) -> None:
    """The server uses the host that accepts writes, whichever it is."""
    port = postgres_server.port
    url = parse_url(
        f"postgresql+psycopg2://postgres@/postgres?host=127.0.0.1:1&host=127.0.0.1:{port}&target_session_attrs=read-write"
    )
    engine = open_engine(url)
    single = open_statements(engine, 1)
    assert single is not None
    for one in (engine, single):
        with one.connect() as db:
            assert db.scalar(text("SELECT inet_server_port()")) == port
        one.dispose()
    assert f"127.0.0.1:{port}" in shown_url(url)
    assert [finding.ok for finding in examine(url) if finding.item in ("database", "writing")] == [True, True]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://me:s3cret@h1/db",
        "postgresql+psycopg2://me@/db?host=h1:5432&host=h2:5433&password=s3cret",
        "postgresql+psycopg2://me@h1/db?sslpassword=s3cret&sslmode=require",
        "postgresql+psycopg2://me@h1/db?PASSWORD=s3cret&password=s3cret",
        "postgresql+psycopg2://me:s3cret@h1/db?passfile=/s3cret&options=-c%20search_path=s3cret",
    ],
)
def test_passwords_are_not_shown(url: str) -> None:
    """Neither one before the host, nor one among the parameters."""
    shown = shown_url(parse_url(url))
    assert "s3cret" not in shown
    assert "h1" in shown


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:one@s3cret@h1/db", "postgresql://me:one@1/s3cret@h1/db", "postgresql://me:one@1:2/s3cret@h1/db"],
)
def test_an_at_sign_within_a_password(url: str) -> None:
    """Without its escape, what follows it would be taken for the host, and shown. It is refused."""
    with pytest.raises(DatabaseProblem, match="%40") as problem:
        parse_url(url)
    assert "s3cret" not in str(problem.value)


def test_hosts_that_do_not_answer() -> None:
    """The message names the hosts, and no password."""
    url = "postgresql+psycopg2://me@/db?host=127.0.0.1:1&host=127.0.0.1:2&password=s3cret"
    with pytest.raises(DatabaseProblem, match=r"cannot be opened") as problem:
        open_ready(parse_url(url))
    assert "s3cret" not in str(problem.value)
    assert "@127.0.0.1:1,127.0.0.1:2/db" in str(problem.value)
