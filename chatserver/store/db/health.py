"""Checks whether the server could run on a database, item by item."""

from collections.abc import Iterator

from msgspec import Struct
from sqlalchemy import URL, Engine
from sqlalchemy.exc import DBAPIError

from chatserver.store.db import own_schema
from chatserver.store.db.database_file import watched_file
from chatserver.store.db.durability import durability, warnings
from chatserver.store.db.engine import REMEDIES, cannot_open, check_schema, is_missing, missing, open_engine, shown_url


class Finding(Struct, frozen=True):
    """One line of a report. If it is not ok, or a warning, the text says what to do."""

    item: str
    ok: bool
    text: str
    warning: bool = False  # the server runs, and somebody should know this all the same


def examine(url: URL) -> Iterator[Finding]:
    """Creates and changes nothing. Leaves out what cannot be checked because an earlier item failed."""
    if is_missing(url):
        yield Finding("database", False, missing(url))
        return
    engine = open_engine(url, 1)
    try:
        yield Finding("database", True, f"{_version(engine)} at {shown_url(url)}")
        state = check_schema(engine)
        yield Finding("schema", state == "current", f"{state}. {REMEDIES[state]}" if state in REMEDIES else state)
        yield _writable(engine)
        yield from _durability(engine)
        for text in own_schema.warnings(engine):
            yield Finding("rights", True, text, warning=True)
        file = watched_file(engine)
        if file is not None:
            exposed = file.exposed()
            yield Finding("file", not exposed, exposed or "for its owner")
    except DBAPIError as error:
        yield Finding("database", False, cannot_open(url, error))
    finally:
        engine.dispose()


def _version(engine: Engine) -> str:
    with engine.connect() as db:
        if engine.dialect.name == "postgresql":
            return f"PostgreSQL {db.exec_driver_sql('SHOW server_version').scalar()}"
        return f"SQLite {db.exec_driver_sql('SELECT sqlite_version()').scalar()}"


def _writable(engine: Engine) -> Finding:
    """On SQLite, beginning a transaction fails if the file cannot be written; PostgreSQL has a setting to ask."""
    try:
        with engine.begin() as db:
            read_only = (
                engine.dialect.name == "postgresql"
                and db.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
            )
    except DBAPIError as error:
        reason = str(error.orig).strip().split("\n")[0]
        return Finding("writing", False, f"{reason}. Give write access to the user that the server runs as.")
    if read_only:
        return Finding("writing", False, "This PostgreSQL is read-only or a standby. Name the primary in --database.")
    return Finding("writing", True, "possible")


def _durability(engine: Engine) -> Iterator[Finding]:
    found = durability(engine)
    problems = warnings(found)
    for problem in problems:
        yield Finding("durability", False, problem)
    if not problems:
        yield Finding("durability", True, ", ".join(f"{name}={value}" for name, value in found.items() if value))
