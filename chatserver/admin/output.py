"""What `chatctl` prints: lines for people, or JSON. No control character of the database gets past here."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec
from msgspec import Struct, structs

from chatserver.wire.hygiene import escaped
from chatserver.wire.jsonlentries import stamp

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., object])
Row = Sequence[object]

PAGE = 1000
"""Of a list; more is never in memory at once."""

_encode = msgspec.json.Encoder().encode


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def print_json(*values: object) -> None:
    """A line for each: UTF-8, in every locale."""
    if values:
        click.echo(b"\n".join([_line(value) for value in values]))


def say(text: str, value: dict[str, Any], as_json: bool) -> None:
    """That something is done."""
    if as_json:
        print_json(value)
    else:
        click.echo(escaped(text))


def say_all(lines: Iterable[tuple[str, object]], value: dict[str, Any], as_json: bool) -> None:
    """All about one thing: a line for each name and value that is there."""
    if as_json:
        print_json(value)
        return
    for name, shown in lines:
        if shown not in (None, ""):
            click.echo(f"{name + ':':13} {_shown(shown)}")


def say_list(
    found: Iterable[T], row: Callable[[T], Row], widths: Sequence[int], value: Callable[[T], object], as_json: bool
) -> None:
    """One line for each, in columns of these widths; or one JSON array."""
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
    """All of a list that is read in pages, each behind the id of the one before."""
    last = 0
    while page := read(last):
        yield from page
        last = id(page[-1])


def _line(value: object) -> bytes:
    """JSON leaves some control characters as they are; they stand in strings only, so that an escape will do."""
    return escaped(_encode(value).decode()).encode()


def plain(value: Struct) -> dict[str, Any]:
    """A Struct for JSON: what it has, with times as the protocol writes them."""
    return {
        name: stamp(kept) if isinstance(kept, datetime) else kept
        for name, kept in structs.asdict(value).items()
        if kept is not None
    }


def _shown(value: object) -> str:
    if value is None:
        return ""
    return stamp(value) if isinstance(value, datetime) else escaped(str(value))
