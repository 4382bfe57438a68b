"""The database's clock: what ends at a time, a mute or a ban, is judged by it and ends by it.

A server's own clock may be stepped, and each server has another one. Whether something is over is therefore decided in
SQL, and its end is computed from the same clock. (On SQLite that is the clock of the host.)
"""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, or_, select
from sqlalchemy.ext.compiler import compiles

from chatserver.store.db.schema import Instant
from chatserver.util.times import whole_milliseconds

POSTGRES_NOW: Final = "statement_timestamp()"
"""Not clock_timestamp(), which differs from row to row, and keeps the planner from moving a subquery; nor now(), the
beginning of the transaction, which may have waited for a lock since."""

SQLITE_NOW: Final = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
"""In the format in which SQLite stores times (see `Instant`), so that comparing the texts compares the times."""


class _Now(ColumnElement[datetime]):
    inherit_cache = True
    type = Instant()


@compiles(_Now, "postgresql")
def _postgres_now(_element: _Now, _compiler: Any, **_options: Any) -> str:
    return POSTGRES_NOW


@compiles(_Now, "sqlite")
def _sqlite_now(_element: _Now, _compiler: Any, **_options: Any) -> str:
    return SQLITE_NOW


NOW: Final = _Now()
"""The time at which the database executes the statement; the same for all its rows."""


def lasts(until: Any) -> ColumnElement[bool]:
    """The condition that something which ends at the time in the column `until`, or (null) never, has not ended."""
    return or_(until.is_(None), until > NOW)


def now(db: Connection) -> datetime:
    """The database's time, in whole milliseconds."""
    time = db.scalar(select(NOW))
    assert time is not None
    return whole_milliseconds(time)


def until(db: Connection, seconds: int | None) -> datetime | None:
    """When something ends that lasts for this many seconds from now; None if it has no end."""
    return None if seconds is None else now(db) + timedelta(seconds=seconds)
