"""What `chatctl` prints: lines for people, or JSON. Control characters from the database are escaped here."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec
from msgspec import Struct, structs

from chatserver.times import rfc3339
from chatserver.wire.hygiene import escaped

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., object])
Row = Sequence[object]

PAGE = 1000
"""Items of a list read at a time. Never more are in memory at once."""

_encode = msgspec.json.Encoder().encode


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def output_option(command: Command) -> Command:
    return click.option(
        "--output", type=click.Path(dir_okay=False), help="Write to this new file, which only you can read."
    )(command)


@contextmanager
def printing_to(path: str | None) -> Iterator[None]:
    """A block whose output goes to a new file with mode 600, or (None) to the terminal as usual. Raises ClickException
    if there is such a file."""
    if path is None:
        yield
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be created ({error.strerror}). Name a new file.") from None
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
    found: Iterable[T], row: Callable[[T], Row], widths: Sequence[int], value: Callable[[T], object], as_json: bool
) -> None:
    """Prints a line for each item, in columns of these widths, or one JSON array."""
    if not as_json:
        for one in found:
            cells = (f"{_shown(cell):{width or 1}}" for cell, width in zip(row(one), widths, strict=True))
            click.echo("  ".join(cells).rstrip())
        return
    click.echo(b"[", nl=False)
    for number, one in enumerate(found):
        click.echo((b"," if number else b"") + _line(value(one)), nl=False)
    click.echo(b"]")


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
