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


def say(text: str, value: dict[str, Any], as_json: bool) -> None:
    """That something is done."""
    click.echo(json_line(value) if as_json else escaped(text))


def say_all(lines: Iterable[tuple[str, object]], value: dict[str, Any], as_json: bool) -> None:
    """All about one thing: a line for each name and value that is there."""
    if as_json:
        click.echo(json_line(value))
        return
    for name, shown in lines:
        if shown not in (None, ""):
            click.echo(f"{name + ':':13} {_shown(shown)}")


def say_list(
    found: Iterable[T], row: Callable[[T], Row], widths: Row, value: Callable[[T], object], as_json: bool
) -> None:
    """One line for each, in columns; or one JSON array. `widths` has a width and heading for each column."""
    if not as_json:
        for one in found:
            cells = (f"{_shown(cell):{width}}" for cell, width in zip(row(one), widths, strict=True))
            click.echo("  ".join(cells).rstrip())
        return
    click.echo("[", nl=False)
    for number, one in enumerate(found):
        click.echo(("," if number else "") + json_line(value(one)), nl=False)
    click.echo("]")


def pages(read: Callable[[int], Sequence[T]], id: Callable[[T], int]) -> Iterator[T]:
    """All of a list that is read in pages, each behind the id of the one before."""
    last = 0
    while page := read(last):
        yield from page
        last = id(page[-1])


def json_line(value: object) -> str:
    """JSON leaves some control characters as they are; they stand in strings only, so that an escape will do."""
    return escaped(_encode(value).decode())


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
