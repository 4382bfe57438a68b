"""`chatctl session` and `announce`: connections of the running server, and a notice to all of them."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, TypeVar

import click

from chatserver.chatctl.access import Access, access
from chatserver.chatctl.control import ask, ask_for_all
from chatserver.chatctl.output import counted, json_option, plain, say, say_list, size, span
from chatserver.operation.control.requests import Announce, Kick, SessionLine, Sessions
from chatserver.values.events import BOT

T = TypeVar("T")

SHOWN: Final = 1000
"""Default number of sessions that are listed for a person."""
HEADINGS: Final = ("Id", "User", "Address", "Door", "Dialect", "Since", "Idle", "In", "Out", "Behind")
WIDTHS: Final = (32, 16, 39, 8, 7, 24, 8, 8, 8, 0)


def _most(value: Callable[[SessionLine], float | None]) -> Callable[[SessionLine], float]:
    return lambda line: -(value(line) or 0)


ORDERS: Final[dict[str, Callable[[SessionLine], Any]]] = {
    "user": lambda line: (line.user == "", line.user.lower(), line.id),
    "since": attrgetter("since", "id"),
    "idle": _most(lambda line: line.idle),
    "in": _most(lambda line: line.received),
    "out": _most(lambda line: line.sent),
    "behind": _most(lambda line: sum(line.behind.values())),
}


@click.group()
def session() -> None:
    """List and end the connections of the running server."""


@session.command("list")
@click.option("--user", metavar="NAME", help="Only those of this user.")
@click.option(
    "--sort", type=click.Choice(list(ORDERS)), default="user", show_default=True,
    help="By user or time of connecting, or first those with the largest value.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(0), help=f"List so many at most; 0: all. Default: {SHOWN}, or all with --json."
)
@json_option
@access
def listing(reach: Access, user: str | None, sort: str, limit: int | None, as_json: bool) -> None:
    """List the connections of the running server.

    For each: id, user, address, door, dialect, since when, for how long nothing has come, bytes received and sent, and
    in which rooms how many entries have not been sent yet.
    """
    _, found = ask_for_all(reach, Sessions(), SessionLine)
    wanted = [line for line in found if user is None or line.user.lower() == user.lower()]
    wanted.sort(key=ORDERS[sort])
    most = limit if limit is not None else 0 if as_json else SHOWN
    shown = wanted[:most] if most else wanted
    say_list(shown, _row, WIDTHS, plain, as_json, headings=HEADINGS)
    if len(shown) < len(wanted) and not as_json:
        click.echo(f"{len(wanted) - len(shown)} more. To list all: --limit 0", err=True)


def _row(line: SessionLine) -> tuple[object, ...]:
    user = line.user + (f" ({BOT})" if line.kind == BOT else "") or f"({line.stage})"
    behind = ", ".join(f"{room} {entries}" for room, entries in line.behind.items())
    amounts = _known(line.idle, span), _known(line.received, size), _known(line.sent, size)
    return line.id, user, line.address, line.door, line.dialect, line.since, *amounts, behind


def _known(value: T | None, shown: Callable[[T], str]) -> str:
    """For Unix sockets the kernel does not tell."""
    return "-" if value is None else shown(value)


@session.command()
@click.argument("who", metavar="ID|NAME")
@click.option("--reason", default="", help="Shown to the user.")
@json_option
@access
def kick(reach: Access, who: str, reason: str, as_json: bool) -> None:
    """End a connection, or all connections of a user.

    They are told the reason, and can connect again. To keep a user out: chatctl ban add
    """
    result = ask(reach, Kick(who=who, reason=reason))
    say(f"Ended {counted(len(result['ended']), 'connection')} of {result['name'] or who}.", result, as_json)


@click.command()
@click.argument("text")
@json_option
@access
def announce(reach: Access, text: str, as_json: bool) -> None:
    """Send a notice to everybody on the running server."""
    result = ask(reach, Announce(text=text))
    say(f"Told {counted(result['told'], 'connection')}.", result, as_json)
