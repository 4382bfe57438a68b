"""`chatctl backup`, `restore` and `copy`."""

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
from msgspec import structs

from chatserver.chatctl.access import Access, Problem, access
from chatserver.chatctl.identity import as_caller, opened
from chatserver.chatctl.output import bars, json_option, say
from chatserver.store.copies import backup as store
from chatserver.store.copies.backup import Made
from chatserver.store.copies.backup_file import NoBackup
from chatserver.store.db.engine import parse_url, shown_url

STREAM = "-"


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
@access
def backup(reach: Access, file: str, force: bool, as_json: bool) -> None:
    """Write everything in the database to a new file.

    Servers can keep running: the backup is how the database was at one moment. Only you can read the file. With - for
    FILE the backup goes to standard output.
    """
    url = parse_url(reach.settings.server.database)
    with _written(file, force) as out, bars() as progress:
        made = store.back_up(url, out, progress)
    if file == STREAM:
        return
    with as_caller():
        size = Path(file).stat().st_size
    text = f"{file} has {_summary(made)}, in {size:,} bytes. SHA-256 of its contents: {made.checksum}"
    say(text, {"file": file, "bytes": size, **_value(made)}, as_json)


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--replace", is_flag=True, help="Remove what the database has now.")
@json_option
@access
def restore(reach: Access, file: str, replace: bool, as_json: bool) -> None:
    """Make the database from a backup, on SQLite or PostgreSQL.

    Stop the server first. The file is checked before anything is changed; if anything fails, nothing has changed. With
    - for FILE the backup comes from standard input. Sessions that were open are closed with the reason "restored".
    """
    url = parse_url(reach.settings.server.database)
    name = "Standard input" if file == STREAM else file
    reach.changing()
    try:
        with bars() as progress:
            if file == STREAM:
                made = store.restore(url, sys.stdin.buffer, progress, replace=replace)
            else:
                with _opened(file) as data:
                    store.examine(data, progress)
                    data.seek(0)
                    made = store.restore(url, data, progress, replace=replace)
    except NoBackup as problem:
        raise Problem(f"{name} {problem}. Nothing was changed.") from None
    text = f"{shown_url(url)} has {_summary(made)}, from {_moment(made)}. Check it: chatctl verify"
    say(text, {"database": shown_url(url), **_value(made)}, as_json)


@click.command()
@click.option("--to", "to", metavar="URL", required=True, help="The new database, which must be empty.")
@json_option
@access
def copy(reach: Access, to: str, as_json: bool) -> None:
    """Copy everything into another database.

    It may be of the other kind, SQLite or PostgreSQL. Stop the server first. At the end both databases are read and
    compared; if anything fails, nothing has changed. The original is not changed.
    """
    source, target = parse_url(reach.settings.server.database), parse_url(to)
    with bars() as progress:
        tables = store.copy(source, target, progress)
    entries = next(table.rows for table in tables if table.table == "entry")
    text = (
        f"{shown_url(target)} has all {sum(table.rows for table in tables):,} rows, with {entries:,} entries. Rows and "
        f"checksums of {len(tables)} tables are the same. Next: set server.database to it, and start the server."
    )
    say(text, {"database": shown_url(target), "tables": [structs.asdict(table) for table in tables]}, as_json)


def _summary(made: Made) -> str:
    counts = {part.table: part.rows for part in made.header.tables}
    return f"{counts['account']:,} accounts, {counts['room']:,} rooms and {counts['entry']:,} entries"


def _moment(made: Made) -> str:
    return made.header.made_at[:19].replace(" ", "T") + "Z"


def _value(made: Made) -> dict[str, Any]:
    return {
        "made": _moment(made),
        "revision": made.header.revision,
        "rows": {part.table: part.rows for part in made.header.tables},
        "sha256": made.checksum,
    }


def _opened(file: str) -> IO[bytes]:
    try:
        return opened(file)
    except OSError as error:
        raise Problem(f"{file} cannot be read ({error.strerror}). Name a backup.") from None


@contextmanager
def _written(file: str, force: bool) -> Iterator[IO[bytes]]:
    """A block that writes a file, which appears under its name when it is complete and synced. Raises Problem."""
    if file == STREAM:
        if sys.stdout.isatty():
            raise Problem("A backup is not for the terminal. Name a file, or send the output to a program.")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    place = Path(file)
    partial = place.with_name(f"{place.name or file}.partial")
    try:
        with as_caller():
            if place.exists() and not (force and place.is_file()):
                raise Problem(f"{file} exists. Name a new file{', or add --force' if place.is_file() else ''}.")
            out = _created(partial)
        with out:
            try:
                yield out
                out.flush()
                os.fsync(out.fileno())
                with as_caller():
                    _name(out, partial, place, force)
            finally:
                with as_caller():
                    if _is_at(out.fileno(), partial):
                        partial.unlink()
        with as_caller():
            descriptor = os.open(place.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    except FileExistsError:
        raise Problem(f"{file} exists now. Name a new file, or add --force.") from None
    except BlockingIOError:
        raise Problem(f"Another backup is writing {file}. Wait for it, or name another file.") from None
    except OSError as error:
        raise Problem(f"{file} cannot be written ({error.strerror}). Correct that, then try again.") from None


def _created(partial: Path) -> IO[bytes]:
    """A new file, which nobody else has open. One that an interrupted backup has left behind is removed before, and
    nothing else is. Raises BlockingIOError if a backup is still writing that, OSError and Problem."""
    try:
        left = partial.lstat()
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISREG(left.st_mode) or left.st_uid != os.geteuid() or left.st_nlink != 1:
            raise Problem(f"{partial} is in the way, and is no file of yours. Remove it, or name another file.")
        descriptor = os.open(partial, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, partial):
                partial.unlink()
        finally:
            os.close(descriptor)
    try:
        made = os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:  # since a moment ago
        raise BlockingIOError from None
    fcntl.flock(made, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return made


def _is_at(descriptor: int, place: Path) -> bool:
    """Whether this name leads to that open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), place.lstat())
    except FileNotFoundError:
        return False


def _name(out: IO[bytes], partial: Path, place: Path, force: bool) -> None:
    """Gives the file its name. Raises FileExistsError, unless `force`, and FileNotFoundError if somebody has taken it
    away."""
    if not _is_at(out.fileno(), partial):
        raise FileNotFoundError(errno.ENOENT, "somebody has removed or replaced it meanwhile")
    if force:
        partial.replace(place)
        return
    try:
        place.hardlink_to(partial)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if place.exists():
            raise FileExistsError(str(place)) from None
        partial.replace(place)
