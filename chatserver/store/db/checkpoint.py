"""Emptying SQLite's write-ahead log, so that what was erased or replaced is gone from all files of the database."""

from typing import Any, Final

from sqlalchemy import Engine

from chatserver.store.db.database_file import watched_file

PATIENCE_SECONDS: Final = 0.1
"""Writers wait while the log is emptied. A reader may still need it: then emptying it is given up, and tried later."""


def is_log_empty(engine: Engine) -> bool:
    """Also if the database has none, as on PostgreSQL."""
    file = watched_file(engine)
    return file is None or not file.log_size()


def empty_log(engine: Engine) -> bool:
    """Copies the log of an SQLite database into its file, then truncates it. Returns whether that was possible now."""
    file = watched_file(engine)
    if file is None:
        return True
    connection = engine.raw_connection()
    try:
        driver: Any = connection.dbapi_connection
        file.check(driver)
        cursor = driver.cursor()
        [(patience,)] = cursor.execute("PRAGMA busy_timeout").fetchall()
        try:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # nearly everything, while nobody waits
            cursor.execute(f"PRAGMA busy_timeout = {round(PATIENCE_SECONDS * 1000)}").fetchall()
            [(busy, _, _)] = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {patience}").fetchall()
            cursor.close()
    finally:
        connection.close()
    return not busy
