"""Backups: one snapshot of a database in a file, and a new database made of such a file, on either kind of database."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from sqlalchemy import URL, Connection, inspect, text

from chatserver import __version__
from chatserver.store import search
from chatserver.store.copies import rows
from chatserver.store.copies.backup_file import FORMAT, Header, NoBackup, Reader, Writer, parts, table_of
from chatserver.store.copies.snapshot import filled, open_whole, refuse_used, snapshot, writing
from chatserver.store.db.database_file import COMPANIONS
from chatserver.store.db.engine import (
    DatabaseProblem,
    is_missing,
    is_old,
    known_revisions,
    migrate_to,
    open_engine,
    revision_of,
    shown_url,
)
from chatserver.store.db.faults import Errors
from chatserver.store.db.schema import Base, as_sqlite
from chatserver.util.times import now
from chatserver.values.errors import Unavailable

RESTORED: Final = "restored"
"""The reason with which sessions end that were open when the backup was made."""

BATCH: Final = 20_000
"""Number of rows that one transaction writes into a new SQLite file. Its write-ahead log stays small that way."""

_CLOSE: Final = text("UPDATE session SET disconnected_at = :at, reason = :reason WHERE disconnected_at IS NULL")

Told = Callable[[int], None]
"""Is called with the number of rows that were done since the last call."""

Progress = Callable[[str, int], Told]
"""Begins a new bar: what is done, and how many rows that are."""


def silent(_label: str, _total: int) -> Told:
    return lambda _rows: None


class Made:
    """What a backup has: its header and its checksum."""

    def __init__(self, header: Header, checksum: str) -> None:
        self.header = header
        self.checksum = checksum


def back_up(url: URL, file: IO[bytes], progress: Progress = silent) -> Made:
    """Writes a snapshot of a database into an open file. The database may have an older schema, and servers may run on
    it. Raises DatabaseProblem, Unavailable and OSError."""
    engine = open_whole(url, "current", "behind")
    try:
        with snapshot(engine) as db:
            tables = rows.tables(db)
            made_at = as_sqlite(now())
            found = [(table, rows.count(db, table)) for table in tables]
            revision = revision_of(db)
            assert revision is not None
            header = Header(FORMAT, revision, made_at, __version__, db.dialect.name, parts(found))
            told = progress("Backing up", header.rows)
            writer = Writer(file, header)
            for table in tables:
                writer.table(table.name)
                for page in rows.read(db, table):
                    writer.rows(page)
                    told(len(page))
            return Made(header, writer.finish())
    finally:
        engine.dispose()


def examine(file: IO[bytes], progress: Progress = silent) -> Made:
    """Reads a backup to its end and compares it with its checksum. Raises NoBackup."""
    reader = Reader(file)
    told = progress("Checking the file", reader.header.rows)
    for _, page in reader.pages():
        told(len(page))
    return Made(reader.header, reader.checksum)


def restore(url: URL, file: IO[bytes], progress: Progress = silent, *, replace: bool = False) -> Made:
    """Makes a database of a backup, all of it or nothing, with the schema of this version.

    The database must be empty, or (SQLite) not exist, unless `replace`. Raises DatabaseProblem, NoBackup, Unavailable.
    """
    reader = Reader(file)
    work = _into_file if url.get_backend_name() == "sqlite" else _into_postgres
    work(url, reader, progress, replace)
    return Made(reader.header, reader.checksum)


def _into_postgres(url: URL, reader: Reader, progress: Progress, replace: bool) -> None:
    engine = open_engine(url, 1)
    try:
        with writing(engine) as db:
            db.exec_driver_sql("SET LOCAL lock_timeout = 0")
            db.exec_driver_sql("SELECT pg_advisory_xact_lock(4000)")  # as a migration does
            _check_target(db, url, replace)
            if revision_of(db) is not None:
                present = set(inspect(db).get_table_names()) & set(Base.metadata.tables)
                db.exec_driver_sql(f"TRUNCATE {', '.join(sorted(present))}")
            _prepare(db, reader)
            told = progress("Restoring", reader.header.rows)
            for index, page in reader.pages():
                rows.write(db, table_of(reader.header.tables[index]), page)
                told(len(page))
            _complete(db, reader.header)
        with writing(engine) as db:
            db.exec_driver_sql("ANALYZE")
    finally:
        engine.dispose()


def _into_file(url: URL, reader: Reader, progress: Progress, replace: bool) -> None:
    """Fills a new file beside the place, and moves it there when it is complete."""
    if not url.database or url.database == ":memory:" or url.query:
        raise DatabaseProblem("A backup can be restored into a file only. Name one in --database: sqlite:///FILE")
    place = Path(url.database).absolute()
    if not is_missing(url):
        engine = open_engine(url, 1)
        try:
            with writing(engine) as db:
                _check_target(db, url, replace)
        except Unavailable as problem:
            raise DatabaseProblem(
                f"{place} cannot be read ({problem.__cause__}). Move it away, then try again."
            ) from None
        finally:
            engine.dispose()
    fresh = place.with_name(f"{place.name}.restoring")
    _remove(fresh)
    try:
        _fill(url.set(database=str(fresh)), reader, progress)
        _sync(fresh)
        for ending in COMPANIONS:
            Path(f"{place}{ending}").unlink(missing_ok=True)
        fresh.replace(place)
        _sync(place.parent)
    except OSError as error:
        raise DatabaseProblem(f"{place} cannot be written ({error.strerror}). Correct that, then try again.") from None
    finally:
        _remove(fresh)


def _fill(url: URL, reader: Reader, progress: Progress) -> None:
    engine = open_engine(url, 1)
    try:
        # One connection does everything. The file is synced at the end; until then it is nobody's database.
        with Errors(engine), engine.connect() as db:
            driver = db.connection.dbapi_connection
            assert driver is not None
            driver.execute("PRAGMA synchronous = OFF")
            rows.hasten(db)
        with writing(engine) as db:
            _prepare(db, reader)
            search.tune(db)
        told = progress("Restoring", reader.header.rows)
        pages = reader.pages()
        more = True
        while more:
            with writing(engine) as db:
                done = 0
                while done < BATCH and (more := (page := next(pages, None)) is not None):
                    assert page is not None
                    index, found = page
                    rows.write(db, table_of(reader.header.tables[index]), found)
                    done += len(found)
                    told(len(found))
        with writing(engine) as db:
            _complete(db, reader.header)
        with Errors(engine), engine.connect() as db:
            driver = db.connection.dbapi_connection
            assert driver is not None
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        engine.dispose()


def _check_target(db: Connection, url: URL, replace: bool) -> None:
    refuse_used(db, url)
    table = filled(db)
    if table is None:
        return
    if revision_of(db) is None:
        raise DatabaseProblem(f"The database {shown_url(url)} belongs to something else. Name another in --database.")
    if revision_of(db) not in known_revisions(db):
        raise DatabaseProblem(
            f"The schema of {shown_url(url)} is of another version. Name an empty database in --database."
        )
    if not replace:
        raise DatabaseProblem(
            f"The database {shown_url(url)} is not empty (it has rows in {table}). Name a new one in --database, or "
            "add --replace to remove what it has."
        )


def _prepare(db: Connection, reader: Reader) -> None:
    """Creates the tables as they were when the backup was made."""
    revision = reader.header.revision
    said = {part.table: {name for name, _ in part.columns} for part in reader.header.tables}
    if is_old(revision, said):
        raise NoBackup(f"has the schema {revision} of a version older than 1.0.0, which cannot be restored")
    if revision not in known_revisions(db):
        raise NoBackup(f"has the schema {revision}, made by a newer chatserver: install that")
    migrate_to(db, revision)
    have = {table.name: {name for name, _ in table.columns} for table in rows.tables(db)}
    if have != said:
        raise NoBackup("is damaged: its tables are not those of its schema")
    rows.lighten(db)


def _complete(db: Connection, header: Header) -> None:
    db.execute(_CLOSE, {"at": header.made_at, "reason": RESTORED})
    rows.finish(db)
    migrate_to(db, "head")


def _remove(fresh: Path) -> None:
    for name in (str(fresh), *(f"{fresh}{ending}" for ending in COMPANIONS)):
        Path(name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
