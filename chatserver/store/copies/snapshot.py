"""A database as a whole, for backups, copies and checks: one snapshot of it, whether it is empty, who uses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, inspect
from sqlalchemy.exc import DBAPIError

from chatserver.store.copies import rows
from chatserver.store.db import own_schema
from chatserver.store.db.engine import (
    REMEDIES,
    DatabaseProblem,
    SchemaState,
    cannot_open,
    check_schema,
    is_missing,
    open_engine,
    revision_of,
    shown_url,
)
from chatserver.store.db.faults import Errors
from chatserver.store.db.schema import Base
from chatserver.store.nodes.lease import Held, holders

_READ_ONLY: Final[dict[str, dict[str, Any]]] = {
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    "sqlite": {"read_only": True},
}


def open_whole(url: URL, *states: SchemaState, connections: int = 1) -> Engine:
    """An engine on an existing database whose schema is in one of these states. Creates nothing.
    Raises DatabaseProblem."""
    shown = shown_url(url)
    if is_missing(url):
        raise DatabaseProblem(f"There is no database {shown}. Correct --database.")
    engine = open_engine(url, connections)
    try:
        state = check_schema(engine)
        with engine.connect() as db:
            elsewhere = own_schema.earlier(db) is not None
            blank = revision_of(db) is None and not elsewhere
    except DBAPIError as error:
        problem = cannot_open(url, error)
    else:
        if state in states and not blank and not elsewhere:
            return engine
        problem = f"The schema of {shown} is {state}. {REMEDIES[state]}"
        if blank:
            problem = f"The database {shown} has no tables of a chat server. Correct --database."
    engine.dispose()
    raise DatabaseProblem(problem)


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A block that sees the database as it is at the beginning, however long it takes. It can only read, and nobody
    waits for it. On SQLite the write-ahead log cannot be emptied meanwhile.

    Raises Unavailable.
    """
    with Errors(engine), engine.execution_options(**_READ_ONLY[engine.dialect.name]).connect() as db, db.begin():
        unhurried(db)
        yield db


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction whose statements may take any time. Raises Unavailable and Conflict."""
    with Errors(engine), engine.begin() as db:
        unhurried(db)
        yield db


def unhurried(db: Connection) -> None:
    """Lets the statements of this transaction, and what is done between them, take any time."""
    if db.dialect.name == "postgresql":
        db.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")


def refuse_used(db: Connection, url: URL) -> None:
    """Raises DatabaseProblem if a server is running on the database."""
    for held in serving(db):
        raise DatabaseProblem(
            f"A server is running on {shown_url(url)} as node {held.node} (process {held.pid} on {held.host}). "
            "Stop it first."
        )


def serving(db: Connection) -> list[Held]:
    """The servers that are running on the database."""
    return holders(db) if "node" in inspect(db).get_table_names() else []


def filled(db: Connection) -> str | None:
    """A table that has rows; None if the database is empty. What is about running servers does not count. A table of
    another application that has the name of one of ours counts as filled."""
    if own_schema.earlier(db) is not None:
        return "entry"
    ours = revision_of(db) is not None
    present = set(inspect(db).get_table_names())
    for name in present & set(Base.metadata.tables) - rows.PASSING:
        if not ours or db.exec_driver_sql(f'SELECT 1 FROM "{name}" LIMIT 1').first() is not None:
            return name
    return None
