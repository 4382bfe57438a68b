"""Rows of all tables in a form that is the same on both databases: what a backup holds, and what `copy` carries over.

A row is a sequence of numbers, texts and None, in the order of the table's columns. Times are texts in UTC, as SQLite
stores them (`2026-03-02 10:02:00.123000`), and truth values are 0 and 1.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import StringIO
from typing import Any, Final, Literal, cast

import msgspec
from msgspec import Struct
from sqlalchemy import Boolean, Connection, DateTime, Float, Integer, inspect, text
from sqlalchemy.exc import IntegrityError

from chatserver.store.db.engine import DatabaseProblem
from chatserver.store.db.schema import Base

Kind = Literal["int", "float", "text", "time", "bool"]
Row = Sequence[Any]

PAGE: Final = 2000
"""Number of rows read or written at a time. A text has a few kilobytes at most."""

PASSING: Final = frozenset({"node", "change", "secret", "search_mark"})
"""Tables about running servers, and the marks of the index of words, which is filled anew. Their rows mean nothing
elsewhere."""

DROPPED: Final = "copying"
"""A table that is there while a database is filled: the statements that create what `lighten` has dropped."""

_DROPPED: Final = {
    "postgresql": """
        SELECT 'INDEX', c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = to_regclass('entry') AND NOT i.indisprimary""",
    "sqlite": """
        SELECT upper(type), name, sql FROM sqlite_master WHERE tbl_name = 'entry' AND sql IS NOT NULL
        AND (type = 'index' OR name = 'entry_search_added')""",
}

CACHE_KIB: Final = 256 << 10
"""Size of SQLite's cache while many rows are written."""


class Table(Struct, frozen=True):
    """`columns`: names and kinds. `key`: the columns of the primary key, by which rows are sorted."""

    name: str
    columns: tuple[tuple[str, Kind], ...]
    key: tuple[str, ...]

    @property
    def names(self) -> str:
        return ", ".join(f'"{name}"' for name, _ in self.columns)


def tables(db: Connection) -> list[Table]:
    """The tables of a database, whatever the revision of its schema: each after those that it refers to, entries last.
    Those about running servers are left out."""
    found = inspect(db)
    present = set(found.get_table_names())
    ordered = sorted(Base.metadata.sorted_tables, key=lambda table: table.name == "entry")
    names = [str(table.name) for table in ordered if table.name in present and table.name not in PASSING]
    return [_table(found, name) for name in names]


def table(db: Connection, name: str) -> Table:
    return _table(inspect(db), name)


def _table(found: Any, name: str) -> Table:
    # Names come as a subclass of str that cannot be encoded.
    columns = tuple(
        (str(one["name"]), _kind(one["type"])) for one in found.get_columns(name) if not one.get("computed")
    )
    return Table(name, columns, tuple(map(str, found.get_pk_constraint(name)["constrained_columns"])))


def _kind(type: Any) -> Kind:
    for cls, kind in ((Boolean, "bool"), (Integer, "int"), (Float, "float"), (DateTime, "time")):
        if isinstance(type, cls):
            return cast(Kind, kind)
    return "text"


def count(db: Connection, table: Table) -> int:
    return int(db.exec_driver_sql(f'SELECT count(*) FROM "{table.name}"').scalar_one())


def read(db: Connection, table: Table) -> Iterator[list[Row]]:
    """The rows in pages, by their key. Needs an open transaction, and the connection for itself until it ends."""
    postgres = db.dialect.name == "postgresql"
    chosen = ", ".join(_read_postgres(*column) for column in table.columns) if postgres else table.names
    kinds = dict(table.columns)
    order = ", ".join(
        f'"{name}"' + (' COLLATE "C"' if postgres and kinds[name] == "text" else "") for name in table.key
    )
    query = f'SELECT {chosen} FROM "{table.name}"'
    with streaming(db, "rows") as cursor:
        cursor.execute(f"{query} ORDER BY {order}")
        while page := cursor.fetchmany(PAGE):
            yield page


@contextmanager
def streaming(db: Connection, name: str) -> Iterator[Any]:
    """The driver's cursor for a query whose rows do not all fit into the memory. Needs an open transaction."""
    driver: Any = db.connection.dbapi_connection
    cursor = driver.cursor(name=name) if db.dialect.name == "postgresql" else driver.cursor()
    try:
        yield cursor
    finally:
        with suppress(db.dialect.loaded_dbapi.Error):  # the connection may be closed already
            cursor.close()


def as_text(column: str) -> str:
    """PostgreSQL's expression for a time in the form of the rows."""
    return f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"


def _read_postgres(name: str, kind: Kind) -> str:
    if kind == "time":
        return as_text(f'"{name}"')
    return f'"{name}"::int' if kind == "bool" else f'"{name}"'


def write(db: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Adds rows, in the order of their keys, after `lighten`.

    Raises DatabaseProblem where this database cannot store one that the other could, and IntegrityError (the driver's)
    if one is there already.
    """
    driver: Any = db.connection.dbapi_connection
    cursor = driver.cursor()
    try:
        if db.dialect.name == "postgresql":
            lines = "".join([_line(row) for row in rows])
            try:
                cursor.copy_expert(f'COPY "{table.name}" ({table.names}) FROM STDIN', StringIO(lines))
            except db.dialect.loaded_dbapi.DataError as error:
                reason = str(error).split("\n")[0]  # the others have what somebody wrote
                raise DatabaseProblem(f"A row of the table {table.name} cannot be stored ({reason}).") from None
        else:
            marks = ", ".join("?" * len(table.columns))
            cursor.executemany(f'INSERT INTO "{table.name}" ({table.names}) VALUES ({marks})', rows)
    finally:
        cursor.close()


_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _line(row: Row) -> str:
    """A row in the text format of COPY."""
    fields = ["\\N" if value is None else str(value).translate(_ESCAPES) for value in row]
    return "\t".join(fields) + "\n"


_encoder = msgspec.json.Encoder()


def encoded(rows: Sequence[Row]) -> bytes:
    """A line of JSON for each row."""
    return _encoder.encode_lines(rows)


class Digest:
    """A checksum of the rows of a table. It depends on the rows and their order only."""

    def __init__(self) -> None:
        self._hash = sha256()
        self.rows = 0

    def add(self, rows: Sequence[Row]) -> None:
        self._hash.update(encoded(rows))
        self.rows += len(rows)

    @property
    def value(self) -> str:
        return self._hash.hexdigest()


def lighten(db: Connection) -> None:
    """Drops the indexes of entries other than the primary key, and the trigger for words that SQLite had once, before
    many are written: indexing them at once takes a fraction of the time. `finish` creates them again."""
    db.exec_driver_sql(f"CREATE TABLE {DROPPED} (statement TEXT)")
    for kind, name, create in db.exec_driver_sql(_DROPPED[db.dialect.name]).all():
        db.execute(text(f"INSERT INTO {DROPPED} VALUES (:statement)"), {"statement": create})
        db.exec_driver_sql(f'DROP {kind} "{name}"')


def hasten(db: Connection) -> None:
    """Sets this connection to SQLite up for writing many rows, outside of a transaction."""
    if db.dialect.name == "sqlite":
        driver: Any = db.connection.dbapi_connection
        driver.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def finish(db: Connection) -> None:
    """After rows were written with their ids: creates what `lighten` has dropped, and sets PostgreSQL's counters.

    Raises DatabaseProblem if rows are there twice that may not be.
    """
    if db.dialect.name == "postgresql":
        db.exec_driver_sql("SET LOCAL maintenance_work_mem = '256MB'")
    try:
        for (statement,) in db.exec_driver_sql(f"SELECT statement FROM {DROPPED}").all():
            db.exec_driver_sql(statement)
    except IntegrityError:
        raise DatabaseProblem("There are two messages with the same id. See what is wrong: chatctl verify") from None
    db.exec_driver_sql(f"DROP TABLE {DROPPED}")
    if db.dialect.name != "postgresql":
        return
    for table in tables(db):
        if table.key == ("id",) and dict(table.columns)["id"] == "int":
            counter = f"pg_get_serial_sequence('{table.name}', 'id')"
            db.exec_driver_sql(
                f'SELECT setval({counter}, coalesce(max(id), 1), max(id) IS NOT NULL) FROM "{table.name}"'
            )
