"""Output of `chatctl`: lines for people or JSON, counts and times in words, progress bars. Control characters from the
database are escaped here."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from datetime import datetime
from itertools import chain, islice
from time import monotonic
from typing import Any, Final, TypeVar

import click
import msgspec
from msgspec import Struct, structs

from chatserver.chatctl.access import Problem
from chatserver.chatctl.identity import as_caller
from chatserver.store.copies.backup import Told
from chatserver.util.times import rfc3339
from chatserver.wire.hygiene.text import escaped
from chatserver.wire.text.shown.cells import cells

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., object])
Row = Sequence[object]

PAGE: Final = 1000
"""Maximum number of items of a list that are read at a time, and in memory at once."""
WIDEST: Final = 64
"""Maximum width of a column on a terminal, in cells. A wider value moves the rest of its line to the right."""
BAR_ROWS: Final = 500
"""Number of rows after which a progress bar is drawn again."""
_UNITS: Final = (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10))

_encode = msgspec.json.Encoder().encode


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def output_option(command: Command) -> Command:
    return click.option(
        "--output", type=click.Path(dir_okay=False), help="Write to this new file, which only you can read."
    )(command)


@contextmanager
def printing_to(path: str | None) -> Iterator[None]:
    """A block whose output goes to a new file with mode 600, or (None) to the terminal as usual. Raises Problem
    if there is such a file."""
    if path is None:
        yield
        return
    try:
        with as_caller():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Problem(f"{path} cannot be created ({error.strerror}). Name a new file.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file, redirect_stdout(file):
        yield


def print_json(*values: object) -> None:
    """Prints a line for each value, in UTF-8 whatever the locale is."""
    if values:
        click.echo(b"\n".join([_line(value) for value in values]))


def say(text: str, value: dict[str, Any], as_json: bool) -> None:
    """Prints the result of a command: the text, or the value as JSON."""
    if as_json:
        print_json(value)
    else:
        click.echo(escaped(text))


def say_all(lines: Iterable[tuple[str, object]], value: dict[str, Any], as_json: bool) -> None:
    """Prints a line for each name and value that is not empty, or the value as JSON."""
    if as_json:
        print_json(value)
        return
    for name, shown in lines:
        if shown not in (None, ""):
            click.echo(f"{name + ':':13} {_shown(shown)}")


def say_list(
    found: Iterable[T],
    row: Callable[[T], Row],
    widths: Sequence[int],
    value: Callable[[T], object],
    as_json: bool,
    headings: Sequence[str] = (),
) -> None:
    """Prints a line for each item, in columns, or one JSON array.

    On a terminal a line of headings comes first, and the columns are as wide as the first page needs. Where the output
    goes to a file or a program there are no headings, and the columns always have `widths`.
    """
    if not as_json:
        rows = map(row, found)
        for line in _fitted(rows, headings) if headings and sys.stdout.isatty() else _padded(rows, widths):
            click.echo(line)
        return
    click.echo(b"[", nl=False)
    for number, one in enumerate(found):
        click.echo((b"," if number else b"") + _line(value(one)), nl=False)
    click.echo(b"]")


def _padded(rows: Iterable[Row], widths: Sequence[int]) -> Iterator[str]:
    for row in rows:
        cells = (f"{_shown(cell):{width or 1}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _fitted(rows: Iterable[Row], headings: Sequence[str]) -> Iterator[str]:
    """The headings, then the rows, in columns that fit the first page of rows."""
    shown = ([_shown(cell) for cell in row] for row in rows)
    first = [list(headings), *islice(shown, PAGE)]
    widths = [min(max(map(cells, column)), WIDEST) for column in zip(*first, strict=True)]
    for row in chain(first, shown):
        padded = (cell + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def pages(read: Callable[[int], Sequence[T]], id: Callable[[T], int]) -> Iterator[T]:
    """The items of a list that is read in pages, each beginning after the id of the last item before it."""
    last = 0
    while page := read(last):
        yield from page
        last = id(page[-1])


def _line(value: object) -> bytes:
    """Encodes a value. JSON allows some control characters in strings as they are; these are escaped too."""
    return escaped(_encode(value).decode()).encode()


def plain(value: Struct) -> dict[str, Any]:
    """A Struct as a JSON object, without None, with times in RFC 3339."""
    return {
        name: rfc3339(field) if isinstance(field, datetime) else field
        for name, field in structs.asdict(value).items()
        if field is not None
    }


def _shown(value: object) -> str:
    if value is None:
        return ""
    return rfc3339(value) if isinstance(value, datetime) else escaped(str(value))


# Amounts in words


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: `1 entry`, `1,200 entries`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(count: int) -> str:
    """Bytes, in powers of 1024: `812`, `1.5K`, `118.4M`."""
    for unit, bytes_ in _UNITS:
        if count >= bytes_:
            return f"{count / bytes_:.1f}{unit}"
    return str(count)


def span(seconds: float) -> str:
    """The two largest units: `12s`, `3m05s`, `2h08m`, `9d04h`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"


# Progress


@contextmanager
def bars() -> Iterator[Callable[[str, int], Told]]:
    """Yields a function that ends the progress bar before and begins one, given its label and its number of rows. Bars
    are on standard error, and only if that is a terminal."""
    with ExitStack() as open_bar:

        def begin(label: str, total: int) -> Told:
            open_bar.close()
            if not sys.stderr.isatty():
                return lambda _rows: None
            return open_bar.enter_context(_bar(label, total))

        yield begin


@contextmanager
def _bar(label: str, total: int) -> Iterator[Told]:
    began, done = monotonic(), 0

    def rate(_item: Any) -> str:
        seconds = monotonic() - began
        return f"{done / seconds:,.0f}/s" if seconds > 0.1 else ""

    with click.progressbar(
        length=total, label=label, file=sys.stderr, item_show_func=rate, update_min_steps=BAR_ROWS
    ) as bar:

        def told(rows: int) -> None:
            nonlocal done
            done += rows
            bar.update(rows, done)

        yield told
