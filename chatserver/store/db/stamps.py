"""Stamps in the header of an SQLite file, by which its write-ahead log is known.

SQLite reads whatever log it finds beside a file, and copies the pages in it into the file. Where somebody has replaced
the file and left the log of the old one there, that destroys the new one, and nothing of SQLite's own in the two files
tells. So a stamp is written into the first page now and then, which reaches the log first and then the file:

- a count, in `user_version`, which begins anywhere and goes up by one. The file has the count before the log began, or
  one of those in the log, which a checkpoint has copied;
- marks of the two files, in `application_id`: a file has another inode number than its copy.
"""

import sys
import zlib
from array import array
from pathlib import Path
from secrets import randbelow
from struct import Struct
from typing import Any, BinaryIO, Final

import msgspec

HEADER: Final = Struct(">18x2s40xI4xI")
"""The first page of a file: bytes 18 and 19, `user_version` and `application_id`. See "The Database Header" in
https://sqlite.org/fileformat2.html, which describes the write-ahead log, too."""
WITHOUT_LOG: Final = b"\x01\x01"
"""Bytes 18 and 19 of a file that is not in WAL mode, so that it has no log."""
LOG: Final = Struct(">IIII8sII")
"""The header of a log: magic number, format, page size, checkpoints, salts, checksum."""
FRAME: Final = Struct(">II8sII")
"""The header of each page in a log: its number, the size of the file after a commit or else 0, salts, checksum."""
BYTE_ORDERS: Final = {0x377F0682: "little", 0x377F0683: "big"}
"""By the magic number of a log, the byte order of the words in its checksums."""
COUNTS: Final = 1 << 31
"""Number of counts, after which they begin again."""


class Stamp(msgspec.Struct, frozen=True):
    count: int
    marks: int  # 16 bits for the file, then 16 for its log; 0: unknown


def begin(connection: Any) -> None:
    """Has the counts of a new file begin at random, so that no other file has them. Call this before it gets a log.
    Does nothing if another process has begun first."""
    cursor = connection.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    [(count,)] = cursor.execute("PRAGMA user_version").fetchall()
    if not count:
        cursor.execute(f"PRAGMA user_version = {randbelow(COUNTS)}")
    cursor.execute("COMMIT")
    cursor.close()


def advance(connection: Any, marks: int) -> None:
    """Writes the next stamp in the present transaction."""
    cursor = connection.cursor()
    [(count,)] = cursor.execute("PRAGMA user_version").fetchall()
    cursor.execute(f"PRAGMA user_version = {(count + 1) % COUNTS}")
    cursor.execute(f"PRAGMA application_id = {marks - 2 * COUNTS if marks >= COUNTS else marks}")
    cursor.close()


def marks_of(file: Path, log: Path) -> int:
    try:
        of_file, of_log = (zlib.crc32(b"%d" % path.stat().st_ino) & 0xFFFF for path in (file, log))
    except OSError:
        return 0
    return of_file << 16 | of_log


def follows(before: bytes, header: bytes, connection: Any) -> bool:
    """Whether a header of the file can be a later one, as a checkpoint has written it. `connection` sees the log."""
    (mode, before_count, _), (its_mode, count, _) = HEADER.unpack(before), HEADER.unpack(header)
    [(last,)] = connection.execute("PRAGMA user_version").fetchall()
    return bool(mode == its_mode and (count - before_count) % COUNTS <= (last - before_count) % COUNTS)


def is_foreign(file: Path, log: Path) -> bool:
    """Whether the log belongs to another file than the one beside which it lies. Reads the whole log if it seems so.

    Another process may be using both: what changes meanwhile is not judged.
    """
    try:
        if log.stat().st_size <= LOG.size:
            return False
        # The first look computes no checksums, which takes a second for some ten megabytes.
        return all(_seems_foreign(file, log, checked=checked) for checked in (False, True))
    except OSError:
        return False


def _seems_foreign(file: Path, log: Path, *, checked: bool) -> bool:
    with file.open("rb", buffering=0) as opened, log.open("rb") as logged:
        header, start = opened.read(HEADER.size), logged.read(LOG.size)
        if len(header) < HEADER.size or len(start) < LOG.size:
            return False
        mode, *stamp = HEADER.unpack(header)
        found = _contradicts(mode, Stamp(*stamp), marks_of(file, log), _stamps(logged, start, checked=checked))
        opened.seek(0)
        logged.seek(0)
        return found and (header, start) == (opened.read(HEADER.size), logged.read(LOG.size))


def _contradicts(mode: bytes, stamp: Stamp, marks: int, logged: list[Stamp] | None) -> bool:
    """`stamp` is in the file, `logged` are in the log; None: SQLite would take nothing from the log. `marks` are those
    of the files as they are."""
    if logged is None:
        return False
    if mode == WITHOUT_LOG:
        return True
    if not logged:
        return False
    before, last = logged[0].count - 1, logged[-1]
    if (stamp.count - before) % COUNTS > (last.count - before) % COUNTS:
        return True
    is_same_log = last.marks != 0 and last.marks & 0xFFFF == marks & 0xFFFF  # else both may have been copied
    return is_same_log and last.marks >> 16 != marks >> 16


def _stamps(log: BinaryIO, start: bytes, *, checked: bool) -> list[Stamp] | None:
    """The stamps in the committed transactions of a log, in their order; None if it has no such transaction. `start` is
    its header, and has been read."""
    magic, _, page_size, _, salts, *sums = LOG.unpack(start)
    swapped = BYTE_ORDERS.get(magic) != sys.byteorder
    if magic not in BYTE_ORDERS or (checked and sums != _summed(start[:24], [0, 0], swapped)):
        return None
    found: list[Stamp] = []
    committed, pending = False, []
    while len(head := log.read(FRAME.size)) == FRAME.size:
        number, commit, its_salts, *its_sums = FRAME.unpack(head)
        if its_salts != salts:  # what follows is left from before the log was begun anew
            break
        if checked or number == 1:
            page = log.read(page_size)
            if len(page) < page_size:
                break
        else:
            log.seek(page_size, 1)
        if checked:
            sums = _summed(head[:8] + page, sums, swapped)
            if sums != its_sums:
                break
        if number == 1:
            pending.append(Stamp(*HEADER.unpack(page[: HEADER.size])[1:]))
        if commit:
            committed = True
            found += pending
            pending = []
    return found if committed else None


def _summed(data: bytes, sums: list[int], swapped: bool) -> list[int]:
    """The checksum of a log, continued."""
    words = array("I", data)
    if swapped:
        words.byteswap()
    one, two = sums
    for index in range(0, len(words), 2):
        one = (one + words[index] + two) & 0xFFFFFFFF
        two = (two + words[index + 1] + one) & 0xFFFFFFFF
    return [one, two]
