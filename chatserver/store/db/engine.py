"""Opening a database: the settings of the engine, and whether the schema is the one of this version."""

import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Collection
from importlib.resources import files
from pathlib import Path
from sqlite3 import SQLITE_CORRUPT, SQLITE_NOTADB
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import URL, Connection, Engine, column, create_engine, event, inspect, make_url, select, table
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool

from chatserver.store.db import own_schema
from chatserver.store.db.database_file import COMPANIONS, DatabaseFile
from chatserver.store.db.durability import durability_warnings as durability_warnings
from chatserver.store.db.transactions import Notices, end_left_behind, note

if TYPE_CHECKING:
    from alembic.config import Config

SchemaState = Literal["current", "behind", "newer", "older than 1.0.0"]

REMEDIES = {
    "behind": "Upgrade it: chatctl migrate",
    "newer": "Install a newer chatserver.",
    "older than 1.0.0": "It cannot be upgraded. Name an empty database, and carry the rooms over: chatctl room export "
    "of the version that made it, then chatctl room import of this one.",
}
"""The remedy for each state of a schema that is not this version's; see `check_schema`."""


OLD = frozenset({"0003", "0004", "0005", "0006", "0007", "0008", "0009"})
"""Revisions of development versions before 1.0.0. The migrations after 0002 begin with 0010."""

POSTGRES = "postgresql+psycopg2"
"""The dialect and driver of SQLAlchemy for PostgreSQL."""

APPLICATION = "chatserver"
"""The name of our connections in PostgreSQL's pg_stat_activity."""

POOL_SECONDS = 5
"""How long to wait for a connection of the pool: only after connections were cut are there more calls than connections,
for a moment."""

CHECK_INSTRUCTIONS = 50_000
"""Number of instructions of SQLite's virtual machine between checks whether a query has to end: a few milliseconds."""

BUSY_SECONDS = 9
"""How long a transaction waits for another one, on SQLite: less than a call may take, so that its answer says why."""

LOCK_MILLISECONDS = 300
"""How long a statement of the engine of `open_statements` waits for a lock: longer than any transaction of our own
holds one."""

IDLE_MILLISECONDS = 5000
"""How long a transaction may be idle before PostgreSQL ends it: its process was stopped, and others wait for the rooms
that it has locked. Its lease has lapsed by then (`lease.LAPSE_SECONDS`)."""

DEAD_PEERS = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""libpq's settings, in seconds and (the last one) milliseconds: ends a connection to a host that has vanished. The
system's own defaults are hours."""

DEAD_CLIENTS = (
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000 "
    f"-c idle_in_transaction_session_timeout={IDLE_MILLISECONDS}"
)
"""PostgreSQL's settings for the same on its side: what a host held that has vanished is free again."""


class DatabaseProblem(Exception):
    """The database cannot be used as it is. The text says what to do."""


class Unreachable(DatabaseProblem):
    """The database cannot be opened; that may pass."""


def parse_url(text: str) -> URL:
    """Raises DatabaseProblem if this is no URL of SQLite or PostgreSQL; without the URL, which may have a password.

    `postgresql://` and `postgres://`, as hosting services print it, name no driver.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = URL.create("")
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername=POSTGRES)
    if url.drivername not in ("sqlite", "sqlite+pysqlite", POSTGRES):
        raise DatabaseProblem(
            "The database URL must be sqlite:///FILE or postgresql://USER@HOST/NAME. Correct --database."
        )
    if url.drivername == POSTGRES and "@" in f"{url.host}{url.database}":  # a part of the password
        raise DatabaseProblem("The database URL has an @ within its password. Write it as %40.")
    return url


def open_engine(url: URL, connections: int = 5) -> Engine:
    """An engine with our settings. Does not connect yet."""
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, connections)
    return _open_postgres(url, connections)


def open_statements(engine: Engine, connections: int) -> Engine | None:
    """An engine in autocommit mode on the same database: a statement takes one round trip instead of three. None for
    SQLite, which has no round trips.

    It has its own connections, because switching the mode of a connection takes as long as a short statement.
    """
    if engine.dialect.name == "sqlite":
        return None
    settings = f"-c lock_timeout={LOCK_MILLISECONDS}"
    return _open_postgres(engine.url, connections, settings, **_SINGLE).execution_options(hasty=True)


_SINGLE: Any = {"isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}


def open_reading(engine: Engine, connections: int, seconds: float) -> Engine:
    """An engine on the same database whose queries end with an error after that many seconds; 0: no limit.
    On PostgreSQL it is in autocommit mode and has its own connections."""
    limit: Any = {"read_only": True, "read_seconds": seconds}
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**limit)
    settings = f"-c statement_timeout={max(round(seconds * 1000), 1)}" if seconds else ""
    return _open_postgres(engine.url, connections, settings, **_SINGLE).execution_options(**limit)


def one_snapshot(reading: Engine) -> Engine:
    """An engine for reading, with the connections of this one, whose transactions see one snapshot each. On SQLite they
    always do."""
    if reading.dialect.name == "sqlite":
        return reading
    return reading.execution_options(isolation_level="REPEATABLE READ")


def _open_postgres(url: URL, connections: int, settings: str = "", **mode: Any) -> Engine:
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        executemany_mode="values_plus_batch",
        hide_parameters=True,
        connect_args={
            "connect_timeout": 5,
            "application_name": APPLICATION,
            # Statements are planned once for each connection, perhaps while tables are empty: plans must not
            # depend on that. A statement whose caller has given up may not wait for a lock, and be committed later.
            "options": "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off -c timezone=UTC "
            f"-c statement_timeout=60000 -c lock_timeout=9000 {own_schema.OPTION} {DEAD_CLIENTS} {settings}",
            **DEAD_PEERS,
        },
        **mode,
    )

    def connected(connection: Any, _record: Any) -> None:
        note(connection)
        connection.notices = Notices()
        end_left_behind(connection, APPLICATION)

    event.listen(engine, "connect", connected, insert=True)  # before SQLAlchemy's first statement
    return engine


def _open_sqlite(url: URL, connections: int) -> Engine:
    file = _file(url)
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=connections, max_overflow=0, pool_timeout=POOL_SECONDS,
        hide_parameters=True, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        execution_options={"file": file},
    )  # fmt: skip
    writer = threading.Lock()  # a fair queue, instead of SQLite's polling

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> Any:
        connection = file and file.connect(**options)
        if connection is None:
            _create_private(url)
        return connection

    @event.listens_for(engine, "connect")
    def settings(connection: Any, _record: Any) -> None:
        note(connection)
        connection.isolation_level = None  # BEGIN is executed below
        if file is not None:
            file.opened(connection)
        cursor = connection.cursor()
        # With secure_delete, deleted content is overwritten with zeros: erased words must leave the file.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(db: Connection) -> None:
        options = db.get_execution_options()
        if options.get("read_only"):
            check(db)
            if options.get("read_seconds"):
                db.info["limited"] = True
                driver: Any = db.connection.dbapi_connection
                driver.set_progress_handler(_is_over(options["read_seconds"]), CHECK_INSTRUCTIONS)
            db.exec_driver_sql("BEGIN")
            return
        if not writer.acquire(timeout=BUSY_SECONDS):
            error = sqlite3.OperationalError("another transaction does not end")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        db.info["writer"] = True
        try:
            check(db)
            db.exec_driver_sql("BEGIN IMMEDIATE")
            if file is not None:
                file.stamp(db.connection.dbapi_connection)
        except BaseException:
            db.info.pop("writer")
            writer.release()
            raise

    def check(db: Connection) -> None:
        if file is not None:
            file.check(db.connection.dbapi_connection)

    # After COMMIT or ROLLBACK, even a failed one: when the connection returns to the pool.
    @event.listens_for(engine, "checkin")
    def checkin(connection: Any, record: Any) -> None:
        if record.info.pop("limited", False) and connection is not None:
            connection.set_progress_handler(None, 0)
        if record.info.pop("writer", False):
            writer.release()

    @event.listens_for(engine, "close")
    def closed(connection: Any, _record: Any) -> None:
        if file is not None:
            file.closed(connection)

    return engine


def _create_private(url: URL) -> None:
    """Creates the file unless it exists, for its owner alone, whatever the umask is. SQLite gives the same mode to the
    files that it makes beside it."""
    name = url.database
    if name and name != ":memory:" and not name.startswith("file:"):
        try:
            os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError:
            pass  # it exists; or else SQLite reports the same
        _refuse_foreign(Path(name))


def _refuse_foreign(place: Path) -> None:
    """Raises OperationalError if SQLite would write to a file that another user has put there, and may have open. A
    database of another user is meant to be used if it has content."""
    found = _look(place)
    if found is None:
        return
    owners = {0, os.geteuid()} | ({found.st_uid} if found.st_size else set())
    beside = [Path(f"{place.resolve()}{ending}") for ending in COMPANIONS]
    for name, known in [(place, found), *((name, _look(name, follow=False)) for name in beside)]:
        if known is not None and (known.st_uid not in owners or (name != place and known.st_nlink > 1)):
            raise sqlite3.OperationalError(f"{name} belongs to another user: chown it, or move it away")


def _look(place: Path, *, follow: bool = True) -> os.stat_result | None:
    """None where there is nothing, or nothing that this user may know: SQLite reports that."""
    try:
        return place.stat(follow_symlinks=follow)
    except OSError:
        return None


def _is_over(seconds: float) -> Callable[[], bool]:
    end = monotonic() + seconds
    return lambda: monotonic() > end


def _file(url: URL) -> DatabaseFile | None:
    """None for a database in memory, and for a `file:` URI."""
    name = url.database
    return DatabaseFile(Path(name).absolute()) if name and name != ":memory:" and not url.query else None


# alembic takes as long to import as a tenth of the start of a server, which does not need it as a rule: it is imported
# where something is to be migrated.


def _migrations() -> Path:
    inside = files("chatserver") / "migrations"
    return Path(str(inside)) if inside.is_dir() else Path(__file__).parents[3] / "alembic"


def newest_revision() -> str:
    """That of this version: the files of the migrations begin with their numbers."""
    return max(file.name.partition("_")[0] for file in (_migrations() / "versions").glob("[0-9]*_*.py"))


def _alembic(db: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_migrations()))
    config.attributes["connection"] = db
    return config


def upgrade(engine: Engine) -> None:
    """Migrates the schema to this version, under a lock, so that two processes can do it at once."""
    with engine.begin() as db:
        if db.dialect.name == "postgresql":
            db.exec_driver_sql("SET LOCAL lock_timeout = 0")
            db.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            db.exec_driver_sql("SELECT pg_advisory_xact_lock(4000)")
        from alembic import command

        command.upgrade(_alembic(db), "head")


def migrate_to(db: Connection, revision: str) -> None:
    """Gives an empty database the schema of a revision, an earlier one or that of this version ("head")."""
    from alembic import command

    present = revision_of(db)
    if present is not None and revision not in (present, "head"):
        command.downgrade(_alembic(db), "base")
    command.upgrade(_alembic(db), revision)


def revision_of(db: Connection) -> str | None:
    """The revision of the schema; None in an empty database."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(db).get_current_revision()


def known_migrations(db: Connection) -> list[tuple[str, Any]]:
    """The revisions of the schema that this version knows, and their modules, newest first."""
    from alembic.script import ScriptDirectory

    return [(known.revision, known.module) for known in ScriptDirectory.from_config(_alembic(db)).walk_revisions()]


def known_revisions(db: Connection) -> list[str]:
    return [revision for revision, _ in known_migrations(db)]


def check_schema(engine: Engine) -> SchemaState:
    """Compares the schema with the one of this version."""
    with engine.connect() as db:
        place = own_schema.earlier(db)
        tables = inspect(db).get_table_names(place)
        present: set[str] = set()
        if "alembic_version" in tables:
            version = table("alembic_version", column("version_num"), schema=place)
            present = set(db.scalars(select(version.c.version_num)))
            if any(is_old(revision, tables) for revision in present):
                return "older than 1.0.0"
            if place is None and present == {newest_revision()}:
                return "current"

        from alembic.script import ScriptDirectory

        scripts = ScriptDirectory.from_config(_alembic(db))
    wanted = set(scripts.get_heads())
    if place is None and present == wanted:
        return "current"
    known = {revision.revision for revision in scripts.walk_revisions()}
    return "behind" if present <= known else "newer"


def is_old(revision: str, tables: Collection[str]) -> bool:
    """Whether a schema of this revision, with these tables, is of a development version before 1.0.0. The first two of
    its revisions had the names of those of this version, but not all of their tables."""
    return revision in OLD or (revision in ("0001", "0002") and "preference" not in tables)


def shown_url(url: URL) -> str:
    """The URL for people: scheme, user, hosts and database. What else it has may be a secret."""
    hosts = url.query.get("host", ()) if url.host is None else f"{url.host}:{url.port}" if url.port else url.host
    where = hosts if isinstance(hosts, str) else ",".join(hosts)
    return f"{url.drivername}://{url.username + '@' if url.username else ''}{where}/{url.database or ''}"


def absolute(text: str, folder: Path) -> str:
    """The URL with the path of its SQLite file, if that is relative, as a process in this folder understands it."""
    url = parse_url(text)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:" or url.query:
        return text
    return url.set(database=str(folder / url.database)).render_as_string(hide_password=False)


def cannot_open(url: URL, error: DBAPIError) -> str:
    """The reason, which is the first line of the driver's message, and what to do."""
    reason = str(error.orig).strip().split("\n")[0]
    remedy = getattr(error.orig, "remedy", "")
    if not remedy:
        damaged = getattr(error.orig, "sqlite_errorcode", None) in (SQLITE_CORRUPT, SQLITE_NOTADB)
        first = "Restore a backup" if damaged else "Let this user write there"
        remedy = f"{'Start it' if url.get_backend_name() == 'postgresql' else first}, or correct --database."
    return f"The database {shown_url(url)} cannot be opened ({reason}). {remedy}"


def put_log_aside(url: URL) -> str:
    """Puts aside the write-ahead log of another SQLite file, which this one has replaced. Call this before the database
    is opened. Returns what was done, for people; empty: nothing."""
    file = _file(url) if url.get_backend_name() == "sqlite" else None
    return "" if file is None else file.put_log_aside()


def is_missing(url: URL) -> bool:
    """Whether opening this would create a SQLite file. Not where this user may not know that."""
    if url.get_backend_name() != "sqlite":
        return False
    try:
        return not url.database or not stat.S_ISREG(Path(url.database).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def missing(url: URL) -> str:
    return f"There is no database {shown_url(url)}. Correct --database, or create it: chatctl migrate --create"


def open_present(url: URL) -> Engine:
    """An engine on an existing database with the current schema. Creates nothing. Raises DatabaseProblem."""
    shown = shown_url(url)
    if is_missing(url):
        raise DatabaseProblem(missing(url))
    engine = open_engine(url, 1)
    try:
        state = check_schema(engine)
    except DBAPIError as error:
        problem = cannot_open(url, error)
    else:
        if state == "current":
            return engine
        problem = f"The schema of {shown} is {state}. {REMEDIES[state]}"
    engine.dispose()
    raise DatabaseProblem(problem)


def migrate(url: URL) -> SchemaState:
    """Migrates a database to this version. Returns what its schema was before. Raises DatabaseProblem."""
    engine = open_engine(url, 1)
    try:
        state = check_schema(engine)
        if state not in ("current", "behind"):
            raise DatabaseProblem(f"The schema of {shown_url(url)} is {state}. {REMEDIES[state]}")
        if state == "behind":
            upgrade(engine)
        return state
    except DBAPIError as error:
        raise DatabaseProblem(cannot_open(url, error)) from None
    finally:
        engine.dispose()


def open_ready(url: URL, *, migrate: bool = False) -> Engine:
    """An engine on a database with the current schema. SQLite is migrated if necessary, PostgreSQL only with `migrate`.

    Raises DatabaseProblem.
    """
    engine = open_engine(url)
    shown = shown_url(url)
    try:
        state = check_schema(engine)
        if state == "behind" and (migrate or url.get_backend_name() == "sqlite"):
            upgrade(engine)
            state = "current"
    except DBAPIError as error:
        engine.dispose()
        raise Unreachable(cannot_open(url, error)) from None
    else:
        if state == "current":
            return engine
        problem = (
            f"The schema of {shown} is behind this version. Run once: twistd -n chatserver --migrate --database ..."
            if state == "behind"
            else f"The schema of {shown} is newer than this version. {REMEDIES[state]}"
            if state == "newer"
            else f"The schema of {shown} is {state}. {REMEDIES[state]}"
        )
    engine.dispose()
    raise DatabaseProblem(problem)
