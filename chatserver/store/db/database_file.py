"""The file of an SQLite database: notices if somebody moves, deletes, replaces, overwrites or truncates it while the
server runs, or has replaced it before.

SQLite itself does not notice. It would go on writing to a file that has no name any more.
"""

import ctypes
import fcntl
import os
import sqlite3
import stat
from collections import Counter
from contextlib import suppress
from pathlib import Path
from time import gmtime, monotonic, strftime
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Engine

from chatserver.store.db import stamps

COMPANIONS: Final = ("-wal", "-shm")
"""The write-ahead log and its index: SQLite removes them when the last connection of all processes closes."""

PATIENCE_SECONDS: Final = 0.1
"""How long emptying the log may take, while writers wait. If a reader still needs it, it is tried again later."""

STAMP_SECONDS: Final = 0.5
"""Minimum interval between the stamps of a process: each adds a page to the write-ahead log."""

IN_USE: Final = 128
"""Number of the byte of the `-shm` that each connection of all processes has locked. See "WAL Locks" in
https://sqlite.org/walformat.html."""

OPEN: Final[Counter[Path]] = Counter()
"""Number of connections of this process, by file. While there are some, nothing else may open the file: closing it ends
all locks that the process has on it."""

Identity = tuple[int, int]


class Displaced(sqlite3.OperationalError):
    """The path does not lead to the file that is open."""

    remedy = "Put the same file back, or stop the server before you restore another one. Nothing is written meanwhile."


class ForeignLog(sqlite3.OperationalError):
    """The write-ahead log beside the file belongs to another file. With it, SQLite would destroy this one."""

    remedy = "Stop the server if it still has the old file open, then start it: it puts the log aside."


class DatabaseFile:
    """Compares what the path leads to with what is open: the device, the inode, the size and the stamp.

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
        self._stamped = float("-inf")
        self._descriptor = -1  # of the file, to read its header
        self._header = b""

    def put_log_aside(self) -> str:
        """Renames the write-ahead log beside the file, and its index, if they belong to another file. Call this before
        the file is opened. Returns what was done, for people; empty: nothing."""
        log, index = self._beside
        if not self._has_foreign_log():
            return ""
        with suppress(FileNotFoundError), index.open("r+b") as opened:
            try:
                fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, IN_USE)  # nobody opens the database meanwhile
            except OSError:
                return ""  # another process has it open
            return self._put_aside(log, index)
        return self._put_aside(log, index)

    def watch(self) -> None:
        """From now on this file is the database: another one is never opened, and none is created."""
        if self._identity is None:
            self._identity = self._look()[0]

    def connect(self, **options: Any) -> Any:
        """A new connection to the watched file, or None if it is not watched yet. Raises Displaced and ForeignLog."""
        if self._identity is None:
            if self._has_foreign_log():
                raise ForeignLog(f"{self._beside[0]} belongs to another file, in whose place this one is")
            return None
        self.check()
        # Never creates the file. The options are those of sqlite3.connect.
        return sqlite3.connect(f"file:{quote(str(self.path))}?mode=rw", uri=True, **options)

    def opened(self, connection: Any) -> None:
        """Call this for each new connection, before it is used. Raises Displaced."""
        self.check()
        with suppress(OSError):  # SQLite says the same with the first statement
            if not self.path.stat().st_size:
                stamps.begin(connection)
            if self._descriptor < 0:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self._connections[id(connection)] = connection
        OPEN[self.path] += 1

    def closed(self, connection: Any) -> None:
        """Call this for each connection that closes."""
        if self._connections.pop(id(connection), None) is not None:
            OPEN[self.path] -= 1
            if not OPEN[self.path] and self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
        # With the last one, SQLite removes these files; they are new ones when it opens the database again.
        self._companions = {}

    def stamp(self, connection: Any) -> None:
        """Call this in each transaction that writes, before it does. Writes a stamp if one is due."""
        now = monotonic()
        if now - self._stamped >= STAMP_SECONDS:
            self._stamped = now
            stamps.advance(connection, stamps.marks_of(self.path, self._beside[0]))

    def check(self, connection: Any = None) -> None:
        """Raises Displaced if the path does not lead to the open file, or the file was truncated.

        Takes a few microseconds. `connection` is an open connection, needed to tell a VACUUM from a truncation.
        """
        if self._identity is None:
            return
        known = self._size  # before the file is looked at: another thread may see, and store, a later size meanwhile
        identity, size = self._look()
        if identity != self._identity:
            raise Displaced(f"the database file {self.path} was replaced by another file")
        if size >= known or (connection is not None and _has_size(connection, size)):
            self._size = size
        else:
            raise Displaced(f"the database file {self.path} was truncated to {size} bytes")
        if connection is not None and self._descriptor >= 0:
            self._check_header(connection)
        for beside in self._beside if self._connections else ():
            self._check_companion(beside)

    def log_size(self) -> int:
        """The size of the write-ahead log in bytes; 0 if there is none."""
        try:
            return self._beside[0].stat().st_size
        except OSError:
            return 0

    def exposed(self) -> str:
        """A warning if other users of the system can read or write the file, or put others in its place; else empty."""
        folder = self.path.resolve().parent
        try:
            mode, around = self.path.stat().st_mode & 0o777, folder.stat().st_mode
        except OSError:
            return ""
        if not mode & 0o007:
            if around & stat.S_IWOTH and not around & stat.S_ISVTX:
                return f"Every user of this system can replace the files in {folder}. Run: chmod o-w {folder}"
            return ""
        files = " ".join(str(path) for path in (self.path, *self._beside) if path.exists())
        return f"Every user of this system can open the database file (mode {mode:o}). Run: chmod 600 {files}"

    def leave(self) -> bool:
        """Whether the file is displaced, so that connections must not be closed any more.

        With its last connection, SQLite would remove the files beside the path, which may belong to another database
        now. So the connections stay open until the process ends.
        """
        try:
            self.check(next(iter(self._connections.values()), None))
        except Displaced:
            for connection in self._connections.values():
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))  # so that Python does not close it at its end
            return True
        return False

    def _has_foreign_log(self) -> bool:
        return not OPEN[self.path] and stamps.is_foreign(self.path, self._beside[0])

    def _put_aside(self, *files: Path) -> str:
        ending = strftime("foreign-%Y%m%dT%H%M%SZ", gmtime())
        kept = [file.rename(f"{file}.{ending}") for file in files if file.exists()]
        return (
            f"{' and '.join(file.name for file in kept)}: renamed, since the file {self.path} was replaced, and they "
            "belong to the one that was there before. What they hold is not in the database now. Delete them, or put "
            "the old file back with them."
        )

    def _look(self) -> tuple[Identity, int]:
        try:
            found = self.path.stat()
        except OSError:
            raise Displaced(f"the database file {self.path} was moved or deleted") from None
        return (found.st_dev, found.st_ino), found.st_size

    def _check_header(self, connection: Any) -> None:
        """Raises Displaced if the header is none that a checkpoint has copied from the log."""
        known = self._header  # before the file is read: another thread may read, and store, a later one meanwhile
        header = os.pread(self._descriptor, stamps.HEADER.size, 0)
        if header == known:
            return
        if known and not stamps.follows(known, header, connection):
            raise Displaced(f"the database file {self.path} was overwritten")
        self._header = header

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
