"""Copying a database into an empty one, of the same kind or the other, with everything; resumable.

Each table but `entry` is one transaction. Entries come last, by room and number, BATCH in a transaction: whatever is
in the copy is a beginning of what has to be there, and the greatest key says where to go on. Meanwhile the revision of
the copy's schema names the source instead (`database.UNFINISHED`), so that no server serves it, and no other copy goes
on with it. At the end both are read and compared.
"""

from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct
from sqlalchemy import URL, Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from chatserver.store import search
from chatserver.store.copies import rows
from chatserver.store.copies.backup import Progress, silent
from chatserver.store.copies.rows import Digest, Table
from chatserver.store.copies.snapshot import filled, open_whole, refuse_used, snapshot, writing
from chatserver.store.db.engine import (
    REMEDIES,
    UNFINISHED,
    DatabaseProblem,
    cannot_open,
    known_revisions,
    migrate_to,
    open_engine,
    revision_of,
    shown_url,
)

BATCH: Final = 20_000
"""Number of entries in a transaction: the cost of an interruption."""

_LOCK: Final = "SELECT pg_advisory_xact_lock(4000)"
"""As a migration takes."""


class Compared(Struct, frozen=True):
    """A table, the same on both sides: its rows and their checksum."""

    table: str
    rows: int
    sha256: str


class Copied(Struct, frozen=True):
    """`before`: entries that an earlier, interrupted copy had brought over."""

    before: int
    tables: list[Compared]


def copy(source: URL, target: URL, progress: Progress = silent) -> Copied:
    """Copies everything, or goes on where an interrupted copy stopped. Raises DatabaseProblem, Unavailable."""
    if _identity(source) == _identity(target):
        raise DatabaseProblem("--to names the same database. Name another one.")
    old = open_whole(source, "current")
    try:
        new = open_engine(target, 1)
        try:
            return _copy(old, new, progress)
        finally:
            new.dispose()
    finally:
        old.dispose()


def _copy(old: Engine, new: Engine, progress: Progress) -> Copied:
    mark = UNFINISHED + sha256(_identity(old.url).encode()).hexdigest()[:16]
    with snapshot(old) as db:
        refuse_used(db, old.url)
        head = revision_of(db)
        tables = rows.tables(db)
        assert head is not None
        try:
            with new.connect() as fresh:
                rows.hasten(fresh)
            _begin(new, mark, old.url)
        except DBAPIError as error:
            raise DatabaseProblem(cannot_open(new.url, error)) from None
        *others, entry = tables
        for table in others:
            _copy_table(db, new, table)
        before = _copy_entries(db, new, entry, progress)
    with writing(new) as db:
        if rows.is_light(db):
            rows.finish(db)
    compared = _compare(old, new, tables, progress)
    with snapshot(old) as db:
        refuse_used(db, old.url)
    with writing(new) as db:
        _copy_nodes(old, db)
        db.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": head})
    if new.dialect.name == "postgresql":
        with writing(new) as db:
            db.exec_driver_sql("ANALYZE")
    return Copied(before, compared)


def _begin(new: Engine, mark: str, source: URL) -> None:
    """Creates the tables and marks them as unfinished, or finds the mark of this source."""
    with writing(new) as db:
        if db.dialect.name == "postgresql":
            db.exec_driver_sql(_LOCK)
        refuse_used(db, new.url)
        revision = revision_of(db) or ""
        if revision == mark:
            return
        shown = shown_url(new.url)
        if revision.startswith(UNFINISHED):
            raise DatabaseProblem(f"{shown} has an unfinished copy of another database. Name a new database in --to.")
        table = filled(db)
        if table is not None:
            raise DatabaseProblem(f"{shown} is not empty (it has rows in {table}). Name a new database in --to.")
        if revision and revision not in known_revisions(db):
            raise DatabaseProblem(f"The schema of {shown} is newer. {REMEDIES['newer']}")
        migrate_to(db, "head")
        for name in rows.PASSING & set(inspect(db).get_table_names()):
            db.exec_driver_sql(f'DELETE FROM "{name}"')
        rows.lighten(db)
        search.tune(db)
        db.execute(text("UPDATE alembic_version SET version_num = :mark"), {"mark": mark})


def _copy_table(old: Connection, new: Engine, table: Table) -> None:
    with writing(new) as db:
        if rows.count(db, table):
            return  # an earlier copy has brought it over
        for page in rows.read(old, table):
            rows.write(db, table, page)


def _copy_entries(old: Connection, new: Engine, table: Table, progress: Progress) -> int:
    with writing(new) as db:
        before = rows.count(db, table)
        query = "SELECT room_id, seq FROM entry ORDER BY room_id DESC, seq DESC LIMIT 1"
        last = db.exec_driver_sql(query).first()
    label = f"Copying entries, from {before + 1:,} on" if before else "Copying entries"
    told = progress(label, max(rows.count(old, table) - before, 0))
    pages = rows.read(old, table, None if last is None else (last.room_id, last.seq))
    more = True
    while more:
        with writing(new) as db:
            if db.dialect.name == "postgresql":
                db.exec_driver_sql("SET LOCAL synchronous_commit = off")  # the last commit waits for all
            done = 0
            while done < BATCH and (more := (page := next(pages, None)) is not None):
                assert page is not None
                rows.write(db, table, page)
                done += len(page)
                told(len(page))
    return before


def _compare(old: Engine, new: Engine, tables: list[Table], progress: Progress) -> list[Compared]:
    """Reads both, as they are now. Raises DatabaseProblem where they differ."""
    compared = []
    with snapshot(old) as one, snapshot(new) as other:
        told = progress("Comparing", 2 * sum(rows.count(one, table) for table in tables))
        for table in tables:
            there, here = Digest(), Digest()
            for db, digest in ((one, there), (other, here)):
                for page in rows.read(db, table):
                    digest.add(page)
                    told(len(page))
            if there.value != here.value:
                raise DatabaseProblem(
                    f"{shown_url(new.url)} differs from the original in the table {table.name}: the original was "
                    "changed during the copy. Start again with a new database."
                )
            compared.append(Compared(table.name, here.rows, here.value))
    return compared


def _copy_nodes(old: Engine, new: Connection) -> None:
    """The nodes, none of which is serving: the next start closes the sessions that their crashes left open."""
    with snapshot(old) as db:
        found = next(rows.read(db, nodes := rows.table(db, "node")), [])
    place = [name for name, _ in nodes.columns].index("boot")
    rows.write(new, nodes, [[*row[:place], "", *row[place + 1 :]] for row in found])


def _identity(url: URL) -> str:
    """What a database is known by, without the password."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite {Path(url.database or '').absolute().resolve()}"
    return f"{shown_url(url.set(drivername='postgresql', username=None))}"
