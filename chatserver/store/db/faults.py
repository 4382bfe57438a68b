"""What may be shown of an error of the database: never a value that somebody wrote."""

import re
from typing import Any, Final

from sqlalchemy.exc import DBAPIError

_QUOTING: Final = ("22", "42601")
"""Beginnings of the SQLSTATEs whose message may quote a value: data exceptions, and the syntax of a value such as a
search. Other messages quote names of tables, columns, users and hosts."""
_RAISING: Final = "pl_exec.c"
"""Where in PostgreSQL's source the errors come from that a function or a trigger raises: they may say anything."""

_SQLITE_VALUES: Final = re.compile(
    r"^(fts5: .*?near|no such column:|malformed MATCH expression:|unknown special query:).*"
)
_QUOTED: Final = re.compile(r"\"[^\"]*\"?|'[^']*'?|\[[^]]*\]?")


def shown(error: BaseException) -> str | None:
    """The first line of the driver's message, without what could be a value; None if this is no error of a database.

    The lines that follow it have rows and statements, and SQLAlchemy adds a statement of its own.
    """
    cause: Any = getattr(error, "orig", None) if isinstance(error, DBAPIError) else error
    if cause is None or type(cause).__module__.partition(".")[0] not in ("psycopg2", "sqlite3"):
        return None
    lines = str(cause).strip().split("\n")
    code = getattr(cause, "pgcode", None)
    first = lines[0].removesuffix("\r")
    if code is None:
        return _SQLITE_VALUES.sub(r"\1 ...", first)
    if cause.diag.source_file == _RAISING:
        return f"a function of the database has raised SQLSTATE {code}"
    return _QUOTED.sub('"..."', first) if code.startswith(_QUOTING) else first
