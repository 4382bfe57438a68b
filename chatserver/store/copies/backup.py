"""Backups: one snapshot of a database in a file, and a new database made of such a file, on either kind of database.

`copy` makes the new database of the snapshot itself, and compares the two before the new one is there.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, Protocol

from msgspec import Struct
from sqlalchemy import URL, Connection, Engine, inspect, text

from chatserver import __version__
from chatserver.store import search
from chatserver.store.copies import rows
from chatserver.store.copies.backup_file import FORMAT, Header, NoBackup, Reader, Writer, parts, table_of
from chatserver.store.copies.rows import Digest, Row, Table
from chatserver.store.copies.snapshot import filled, open_whole, refuse_used, snapshot, writing
from chatserver.store.db import own_schema
from chatserver.store.db.database_file import COMPANIONS
from chatserver.store.db.engine import (
    REMEDIES,
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
    """The header of a backup, and its checksum."""

    def __init__(self, header: Header, checksum: str) -> None:
        self.header = header
        self.checksum = checksum


class Compared(Struct, frozen=True):
    """A table, the same in a copy and its original: its rows and their checksum."""

    table: str
    rows: int
    sha256: str


class Source(Protocol):
    """The rows that a new database is made of."""

    label: str
    """The text of the progress bar."""

    header: Header

    def pages(self) -> Iterator[tuple[int, list[Row]]]:
        """The rows in pages, each with the index of its table in the header."""

    def settle(self, db: Connection) -> None:
        """Does the rest, in the last transaction, when all rows and indexes are there."""


class _File:
    """A backup in an open file. Sessions that were open are closed. Raises NoBackup."""

    label = "Restoring"

    def __init__(self, file: IO[bytes]) -> None:
        self.reader = Reader(file)
        self.header = self.reader.header
        self.pages = self.reader.pages

    def settle(self, db: Connection) -> None:
        db.execute(_CLOSE, {"at": self.header.made_at, "reason": RESTORED})


class _Original:
    """A snapshot of another database, on which no server runs. The copy is compared with it, as it is at the end."""

    label = "Copying"

    def __init__(self, db: Connection, engine: Engine, progress: Progress) -> None:
        self._db = db
        self._engine = engine
        self._progress = progress
        self._tables = rows.tables(db)
        self.header = _header(db, self._tables)
        self.compared: list[Compared] = []

    def pages(self) -> Iterator[tuple[int, list[Row]]]:
        for index, table in enumerate(self._tables):
            for page in rows.read(self._db, table):
                yield index, page

    def settle(self, db: Connection) -> None:
        """Raises DatabaseProblem where they differ."""
        with snapshot(self._engine) as now:
            told = self._progress("Comparing", 2 * self.header.rows)
            for table in self._tables:
                there, here = Digest(), Digest()
                for connection, digest in ((now, there), (db, here)):
                    for page in rows.read(connection, table):
                        digest.add(page)
                        told(len(page))
                if there.value != here.value:
                    raise DatabaseProblem(
                        f"The copy differs from the original in the table {table.name}: the original was changed "
                        "meanwhile. Nothing was copied. Start again."
                    )
                self.compared.append(Compared(table.name, here.rows, here.value))
            refuse_used(now, self._engine.url)
            _copy_nodes(now, db)


def _copy_nodes(old: Connection, new: Connection) -> None:
    """The nodes, none of which is serving: the next start closes the sessions that their crashes left open."""
    found = next(rows.read(old, nodes := rows.table(old, "node")), [])
    place = [name for name, _ in nodes.columns].index("boot")
    rows.write(new, nodes, [[*row[:place], "", *row[place + 1 :]] for row in found])


def _header(db: Connection, tables: list[Table]) -> Header:
    revision = revision_of(db)
    assert revision is not None
    found = [(table, rows.count(db, table)) for table in tables]
    return Header(FORMAT, revision, as_sqlite(now()), __version__, db.dialect.name, parts(found))


def back_up(url: URL, file: IO[bytes], progress: Progress = silent) -> Made:
    """Writes a snapshot of a database into an open file. The database may have an older schema, and servers may run on
    it. Raises DatabaseProblem, Unavailable and OSError."""
    engine = open_whole(url, "current", "behind")
    try:
        with snapshot(engine) as db:
            tables = rows.tables(db)
            header = _header(db, tables)
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
    source = _File(file)
    _make(url, source, progress, replace=replace)
    return Made(source.header, source.reader.checksum)


def copy(url: URL, target: URL, progress: Progress = silent) -> list[Compared]:
    """Makes an empty database a copy of another one, of the same kind or the other: all of it or nothing.

    Raises DatabaseProblem, Unavailable.
    """
    if _identity(url) == _identity(target):
        raise DatabaseProblem("--to names the same database. Name another one.")
    engine = open_whole(url, "current", connections=2)
    try:
        with snapshot(engine) as db:
            refuse_used(db, url)
            _check_empty(target)
            original = _Original(db, engine, progress)
            _make(target, original, progress, replace=False)
            return original.compared
    finally:
        engine.dispose()


def _identity(url: URL) -> str:
    """Identifies a database, without the password."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite {Path(url.database or '').absolute().resolve()}"
    return shown_url(url.set(username=None))


def _check_empty(target: URL) -> None:
    if is_missing(target):
        return
    engine = open_engine(target, 1)
    shown = shown_url(target)
    try:
        with writing(engine) as db:
            refuse_used(db, target)
            table = filled(db)
            if table is not None:
                raise DatabaseProblem(f"{shown} is not empty (it has rows in {table}). Name a new database in --to.")
            if (revision := revision_of(db)) is not None and revision not in known_revisions(db):
                raise DatabaseProblem(f"The schema of {shown} is newer. {REMEDIES['newer']}")
    except Unavailable as problem:
        raise DatabaseProblem(f"The database {shown} cannot be opened ({problem.__cause__}). Correct --to.") from None
    finally:
        engine.dispose()


def _make(url: URL, source: Source, progress: Progress, *, replace: bool) -> None:
    work = _into_file if url.get_backend_name() == "sqlite" else _into_postgres
    work(url, source, progress, replace)


def _into_postgres(url: URL, source: Source, progress: Progress, replace: bool) -> None:
    engine = open_engine(url, 1)
    try:
        with writing(engine) as db:
            db.exec_driver_sql("SET LOCAL lock_timeout = 0")
            db.exec_driver_sql("SELECT pg_advisory_xact_lock(4000)")  # as a migration does
            own_schema.ensure(db, [*Base.metadata.tables, "alembic_version"])
            _check_target(db, url, replace)
            if revision_of(db) is not None:
                present = set(inspect(db).get_table_names()) & {*Base.metadata.tables, "entry_search"}
                db.exec_driver_sql(f"TRUNCATE {', '.join(sorted(present))}")
            _prepare(db, source.header)
            told = progress(source.label, source.header.rows)
            for index, page in source.pages():
                rows.write(db, table_of(source.header.tables[index]), page)
                told(len(page))
            _complete(db, source)
        with writing(engine) as db:
            db.exec_driver_sql("ANALYZE")
    finally:
        engine.dispose()


def _into_file(url: URL, source: Source, progress: Progress, replace: bool) -> None:
    """Fills a new file in a folder of its own beside the place, and moves it there when it is complete. In a folder
    that others can write to, they could have put one of SQLite's files there before."""
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
    folder = place.with_name(f"{place.name}.restoring")
    fresh = folder / place.name
    try:
        _remove(folder)
        folder.mkdir(mode=0o700)
        _fill(url.set(database=str(fresh)), source, progress)
        _sync(fresh)
        for ending in COMPANIONS:
            Path(f"{place}{ending}").unlink(missing_ok=True)
        fresh.replace(place)
        _sync(place.parent)
    except OSError as error:
        raise DatabaseProblem(f"{place} cannot be written ({error.strerror}). Correct that, then try again.") from None
    finally:
        _remove(folder)


def _fill(url: URL, source: Source, progress: Progress) -> None:
    engine = open_engine(url, 1)
    try:
        # One connection does everything. The file is synced at the end; until then it is nobody's database.
        with Errors(engine), engine.connect() as db:
            driver = db.connection.dbapi_connection
            assert driver is not None
            driver.execute("PRAGMA synchronous = OFF")
            rows.hasten(db)
        with writing(engine) as db:
            _prepare(db, source.header)
            search.tune(db)
        told = progress(source.label, source.header.rows)
        pages = source.pages()
        more = True
        while more:
            with writing(engine) as db:
                done = 0
                while done < BATCH and (more := (page := next(pages, None)) is not None):
                    assert page is not None
                    index, found = page
                    rows.write(db, table_of(source.header.tables[index]), found)
                    done += len(found)
                    told(len(found))
        with writing(engine) as db:
            _complete(db, source)
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


def _prepare(db: Connection, header: Header) -> None:
    """Creates the tables as they were when the backup was made."""
    revision = header.revision
    said = {part.table: {name for name, _ in part.columns} for part in header.tables}
    if is_old(revision, said):
        raise NoBackup(f"has the schema {revision} of a version older than 1.0.0, which cannot be restored")
    if revision not in known_revisions(db):
        raise NoBackup(f"has the schema {revision}, made by a newer chatserver: install that")
    migrate_to(db, revision)
    have = {table.name: {name for name, _ in table.columns} for table in rows.tables(db)}
    if have != said:
        raise NoBackup("is damaged: its tables are not those of its schema")
    rows.lighten(db)


def _complete(db: Connection, source: Source) -> None:
    rows.finish(db)
    migrate_to(db, "head")
    source.settle(db)


def _remove(folder: Path) -> None:
    """Removes what an interrupted restore has left behind, and nothing else. Raises DatabaseProblem."""
    try:
        found = folder.lstat()
    except OSError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise DatabaseProblem(f"{folder} is in the way, and is no folder of yours. Remove it, then try again.")
    shutil.rmtree(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
