"""The format of backups: see docs/backup.md. Knows no database.

A backup is JSON Lines, compressed by gzip: a header; for each table a line that names it, then a line for each row; at
last the SHA-256 of everything before.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from hashlib import sha256
from io import BufferedReader
from typing import IO, Any, Final, Literal, cast

import msgspec
from msgspec import Struct

from chatserver.store.copies.rows import Kind, Row, Table, encoded

FORMAT: Final = 1
LEVEL: Final = 3
"""Default level of gzip: files are three quarters smaller, at a few times the speed of reading rows."""

AT_ONCE: Final = 1 << 18
"""Number of bytes decoded at a time."""

LONGEST_HEADER: Final = 1 << 20


class NoBackup(Exception):
    """This is not a backup, or not a whole one. The text is the end of a sentence that begins with the file's name."""


class Part(Struct, frozen=True):
    """A table in the header."""

    table: str
    columns: list[tuple[str, Kind]]
    key: list[str]
    rows: int


class Header(Struct, frozen=True, tag_field="chatserver", tag="backup"):
    """`revision`: that of the schema. `made_at`: the time of the snapshot, in the form of the rows. `made_by`: the
    version of chatserver; `made_from`: the database's dialect."""

    format: int
    revision: str
    made_at: str
    made_by: str
    made_from: str
    tables: list[Part]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.tables)


class _Named(Struct, frozen=True):
    table: str


class _Trailer(Struct, frozen=True):
    sha256: str


_encode = msgspec.json.Encoder().encode
_header = msgspec.json.Decoder(Header)
_rows = msgspec.json.Decoder(list[int | float | str | None])
_named = msgspec.json.Decoder(_Named)
_trailer = msgspec.json.Decoder(_Trailer)


class Writer:
    """Writes a backup into an open file, which the caller closes."""

    def __init__(self, file: IO[bytes], header: Header) -> None:
        self._zip = gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=file, mtime=0)
        self._hash = sha256()
        self._put(_encode(header) + b"\n")

    def table(self, name: str) -> None:
        """The rows that follow are of this table."""
        self._put(_encode(_Named(name)) + b"\n")

    def rows(self, rows: Sequence[Row]) -> None:
        self._put(encoded(rows))

    def finish(self) -> str:
        """Returns the checksum."""
        found = self._hash.hexdigest()
        self._put(_encode(_Trailer(found)) + b"\n")
        self._zip.close()
        return found

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        self._zip.write(data)


class Reader:
    """Reads a backup from an open file. Raises NoBackup, also from `pages`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._lines = BufferedReader(cast(Any, gzip.GzipFile(mode="rb", fileobj=file)), AT_ONCE)
        self._hash = sha256()
        self.checksum = ""
        with _Damage("is not a backup of a chat server, or not a whole one"):
            first = self._lines.readline(LONGEST_HEADER)
            kind = msgspec.json.decode(first, type=dict[str, Any])
        if kind.get("chatserver") != "backup":
            raise NoBackup("is not a backup of a chat server")
        if kind.get("format") != FORMAT:
            raise NoBackup(f"has format {kind.get('format')}, made by a newer chatserver: install that")
        with _Damage("is damaged"):
            self.header: Header = _header.decode(first)
        self._hash.update(first)

    def pages(self) -> Iterator[tuple[int, list[Row]]]:
        """The rows in pages, each with the index of its table in the header. After the last one, everything has been
        compared with the checksum."""
        counts = [0] * len(self.header.tables)
        for index, rows in self._sections():
            counts[index] += len(rows)
            yield index, rows
        if counts != [part.rows for part in self.header.tables]:
            raise NoBackup("is damaged")

    def _sections(self) -> Iterator[tuple[int, list[Row]]]:
        index = -1
        with _Damage("is damaged, or was not written to its end"):
            while lines := self._lines.readlines(AT_ONCE):
                rows: list[bytes] = []
                for line in lines:
                    if line.startswith(b"["):
                        rows.append(line)
                        continue
                    if rows:
                        yield index, self._decoded(index, rows)
                        rows = []
                    if line.startswith(b'{"sha256"'):
                        self._end(line, last=line is lines[-1] and not self._lines.read(1))
                        return
                    self._hash.update(line)
                    index += 1
                    if index >= len(self.header.tables) or _named.decode(line).table != self.header.tables[index].table:
                        raise NoBackup("is damaged")
                if rows:
                    yield index, self._decoded(index, rows)
        raise NoBackup("was not written to its end")

    def _decoded(self, index: int, lines: list[bytes]) -> list[Row]:
        data = b"".join(lines)
        self._hash.update(data)
        rows: list[Row] = cast(Any, _rows.decode_lines(data))
        width = len(self.header.tables[index].columns) if index >= 0 else -1
        if any(len(row) != width for row in rows):
            raise NoBackup("is damaged")
        return rows

    def _end(self, line: bytes, *, last: bool) -> None:
        self.checksum = _trailer.decode(line).sha256
        if self.checksum != self._hash.hexdigest() or not last:
            raise NoBackup("is damaged: its checksum is another one")


class _Damage:
    """A context in which the errors of gzip and JSON become NoBackup."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __enter__(self) -> None: ...

    def __exit__(self, _: type | None, error: BaseException | None, __: object) -> Literal[False]:
        if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile, msgspec.MsgspecError, UnicodeDecodeError)):
            raise NoBackup(self._text) from None
        return False


def parts(found: Sequence[tuple[Table, int]]) -> list[Part]:
    """The tables of a header, with the number of their rows."""
    return [Part(table.name, list(table.columns), list(table.key), count) for table, count in found]


def table_of(part: Part) -> Table:
    return Table(part.table, tuple(part.columns), tuple(part.key))
