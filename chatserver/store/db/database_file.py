"""The file of an SQLite database: notices if somebody moves, deletes, replaces or truncates it while the server runs.

SQLite itself does not notice. It would go on writing to a file that has no name any more.
"""

import ctypes
import sqlite3
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Engine

COMPANIONS: Final = ("-wal", "-shm")
"""The write-ahead log and its index: SQLite removes them when the last connection of all processes closes."""

PATIENCE_SECONDS: Final = 0.1
"""How long emptying the log may take, while writers wait. If a reader still needs it, it is tried again later."""

Identity = tuple[int, int]


class Displaced(sqlite3.OperationalError):
    """The path does not lead to the file that is open."""

    remedy = "Put the same file back, or stop the server before you restore another one. Nothing is written meanwhile."


class DatabaseFile:
    """Compares what the path leads to with what is open: the device, the inode and the size.

    Does nothing until `watch`, because a new database is a file that does not exist yet. The methods can be called from
    any thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._beside = [Path(f"{path}{ending}") for ending in COMPANIONS]
        self._identity: Identity | None = None
        self._size = 0
        self._companions: dict[Path, Identity] = {}
        self._connections: dict[int, Any] = {}

    def watch(self) -> None:
        """From now on this file is the database: another one is never opened, and none is created."""
        if self._identity is None:
            self._identity = self._look()[0]

    def connect(self, **options: Any) -> Any:
        """A new connection to the watched file, or None if it is not watched yet. Raises Displaced."""
        if self._identity is None:
            return None
        self.check()
        # Never creates the file. The options are those of sqlite3.connect.
        return sqlite3.connect(f"file:{quote(str(self.path))}?mode=rw", uri=True, **options)

    def opened(self, connection: Any) -> None:
        """Call this for each new connection, before it is used. Raises Displaced."""
        self.check()
        self._connections[id(connection)] = connection

    def closed(self, connection: Any) -> None:
        """Call this for each connection that closes."""
        self._connections.pop(id(connection), None)
        # With the last one, SQLite removes these files; they are new ones when it opens the database again.
        self._companions = {}

    def check(self, connection: Any = None) -> None:
        """Raises Displaced if the path does not lead to the open file, or the file was truncated.

        Takes a few microseconds. `connection` is an open connection, needed to tell a VACUUM from a truncation.
        """
        if self._identity is None:
            return
        identity, size = self._look()
        if identity != self._identity:
            raise Displaced(f"the database file {self.path} was replaced by another file")
        if size >= self._size or (connection is not None and _has_size(connection, size)):
            self._size = size
        else:
            raise Displaced(f"the database file {self.path} was truncated to {size} bytes")
        for beside in self._beside if self._connections else ():
            self._check_companion(beside)

    def log_size(self) -> int:
        """The size of the write-ahead log in bytes; 0 if there is none."""
        try:
            return self._beside[0].stat().st_size
        except OSError:
            return 0

    def exposed(self) -> str:
        """A warning if other users of the system can read or write the file; else empty."""
        try:
            mode = self.path.stat().st_mode & 0o777
        except OSError:
            return ""
        if not mode & 0o007:
            return ""
        files = " ".join(str(path) for path in (self.path, *self._beside) if path.exists())
        return f"Every user of this system can open the database file (mode {mode:o}). Run: chmod 600 {files}"

    def leave(self) -> bool:
        """Whether the file is displaced, so that connections must not be closed any more.

        With its last connection, SQLite would remove the files beside the path, which may belong to another database
        now. So the connections stay open until the process ends.
        """
        try:
            self.check()
        except Displaced:
            for connection in self._connections.values():
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))  # so that Python does not close it at its end
            return True
        return False

    def _look(self) -> tuple[Identity, int]:
        try:
            found = self.path.stat()
        except OSError:
            raise Displaced(f"the database file {self.path} was moved or deleted") from None
        return (found.st_dev, found.st_ino), found.st_size

    def _check_companion(self, name: Path) -> None:
        known = self._companions.get(name)
        try:
            found = name.stat()
        except OSError:
            if known is not None:
                raise Displaced(f"the file {name}, a part of the database, was moved or deleted") from None
            return
        if known is None:
            self._companions[name] = found.st_dev, found.st_ino
        elif known != (found.st_dev, found.st_ino):
            raise Displaced(f"the file {name}, a part of the database, was replaced by another file")


def watched_file(engine: Engine) -> DatabaseFile | None:
    """The file of an engine. None for PostgreSQL, and for a database in memory."""
    file: DatabaseFile | None = engine.get_execution_options().get("file")
    return file


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


def _has_size(connection: Any, size: int) -> bool:
    """Whether the database is meant to have this size: somebody else has compacted it by VACUUM."""
    try:
        pages, of = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    except sqlite3.Error:
        return False
    return bool(pages * of == size)
