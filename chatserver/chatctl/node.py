"""`chatctl node`: the servers that share a database."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import click
from msgspec import Struct

from chatserver.chatctl.access import Access, Problem, access
from chatserver.chatctl.output import counted, json_option, plain, say, say_list, span
from chatserver.store import Connection
from chatserver.store.db import database_clock
from chatserver.store.nodes.lease import LAPSE_SECONDS, this_process
from chatserver.store.nodes.nodes import DRAIN, REBALANCE, NodeNow, ask, people, present

POLL_SECONDS: Final = 0.2
START_SECONDS: Final = 3.0
"""How long a node that has just started may take to work together with others."""
SECONDS: Final = 120.0
TOLD_SECONDS: Final = 5.0
"""Interval between lines that say whom a command waits for."""
MOST_NAMED: Final = 5
"""Maximum number of people named in such a line."""
HEADINGS: Final = ("Node", "Version", "State", "Beat", "Connections", "Rooms", "Lag", "Host", "Process")
WIDTHS: Final = (16, 12, 8, 6, 11, 6, 8, 16, 0)


class NodeLine(Struct, frozen=True):
    """A line of the list. `beat`: seconds since the last heartbeat, by the database's clock; `lag`: how long a frame
    takes over the bus, in seconds."""

    name: str
    version: str | None
    state: str
    beat: float
    connections: int | None
    rooms: int | None
    lag: float | None
    host: str
    pid: int
    since: datetime


@click.group()
def node() -> None:
    """List the nodes of a cluster, and send their clients elsewhere."""


@node.command("list")
@json_option
@access
def listing(reach: Access, as_json: bool) -> None:
    """List the servers that run on this database.

    For each: name, version, state (serving, draining, drained, stopping, dead), how long ago its last heartbeat was,
    its connections, the rooms that are heard there, how long a frame takes over the bus, its host and its process.
    """
    say_list(map(_line, *_all(reach)), _row, WIDTHS, plain, as_json, HEADINGS)


def _all(reach: Access) -> tuple[list[NodeNow], list[datetime]]:
    """All nodes, and for each the time of the database."""

    def look(db: Connection) -> tuple[list[NodeNow], list[datetime]]:
        found = present(db, this_process(""))
        return found, [database_clock.now(db)] * len(found)

    return reach.read(look)


def _line(node: NodeNow, now: datetime) -> NodeLine:
    beat = max((now - node.heartbeat_at).total_seconds(), 0)
    together = node.facts.speaks > 0
    return NodeLine(
        name=node.name,
        version=node.version,
        state="dead" if node.ended or beat > LAPSE_SECONDS else node.facts.state,
        beat=round(beat, 1),
        connections=node.facts.connections if together else None,
        rooms=node.facts.rooms if together else None,
        lag=node.facts.lag,
        host=node.host,
        pid=node.pid,
        since=node.since,
    )


timeout_option = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 86400),
    default=SECONDS,
    help=f"How long to wait until it is done. Default: {SECONDS:g}.",
)


def _row(line: NodeLine) -> list[object]:
    beat = f"{line.beat:.1f}s" if line.beat < 60 else span(line.beat)
    lag = "" if line.lag is None else f"{line.lag * 1000:.1f}ms"
    counts = ["" if count is None else f"{count:,}" for count in (line.connections, line.rooms)]
    return [line.name, line.version, line.state, beat, *counts, lag, line.host, line.pid]


@node.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Also if no other node serves: nobody can connect then.")
@timeout_option
@json_option
@access
def drain(reach: Access, name: str, force: bool, timeout: float, as_json: bool) -> None:
    """Close the ports of a node, and send its clients to the others. Then it can be stopped.

    First nobody new comes in; then the clients are told to connect again, some at a time, within two seconds. What they
    have sent is stored and answered before. Waits until nobody is left, and says every few seconds who is; the node
    then serves nobody until it is started anew. If you interrupt the command, the node goes on.
    """
    deadline = time.monotonic() + timeout
    found = _together(reach, name)
    if not force and not any(line.state == "serving" and line.name != name for line in map(_line, *_all(reach))):
        raise Problem(f"No other node serves, so nobody could connect. Start one, or add --force to drain {name}.")
    if found.facts.state == "serving" and not reach.write(ask, found, DRAIN):
        raise _ended(name)
    _wait(
        deadline,
        lambda: _same(reach, found).facts.state == "drained",
        f"Node {name} is not drained yet, and goes on with it. See: chatctl node list",
        lambda: _awaited(reach, found),
    )
    note = f"Node {name} is drained: stop it now. It serves nobody until it is started anew."
    if found.facts.held:
        note = (
            f"Node {name} is drained. systemd has its sockets, too, and would start it for the next client: stop "
            "chatserver@NAME.socket (or chatserver.socket) before the service. It serves nobody until it is started "
            "anew."
        )
    say(note, {"node": name, "state": "drained", "held": found.facts.held}, as_json)


@node.command()
@timeout_option
@json_option
@access
def rebalance(reach: Access, timeout: float, as_json: bool) -> None:
    """Move clients from nodes that have too many to the others.

    Each node that has more than 1.1 times the mean tells as many clients as it has too many to connect again, the
    newest first. Where they come to is up to what spreads them over the nodes: run it again if that was uneven.
    """
    deadline = time.monotonic() + timeout
    before = [node for node in _all(reach)[0] if node.facts.speaks and node.facts.state == "serving"]
    if len(before) < 2:
        raise Problem("Fewer than two nodes serve together. See: chatctl node list")
    for one in before:
        reach.write(ask, one, REBALANCE)
    boots = {one.boot for one in before}
    _wait(
        deadline,
        lambda: not any(one.boot in boots and one.asked == REBALANCE for one in _all(reach)[0] if not one.ended),
        "Not all nodes have moved their clients yet; they go on with it. See: chatctl node list",
    )
    mean = sum(one.facts.connections for one in before) / len(before)
    counts = ", ".join(f"{one.name} {one.facts.connections:,}" for one in before)
    note = f"Done. Before, the nodes had {counts}: {counted(round(mean), 'connection')} each would be even."
    say(note, {"before": {one.name: one.facts.connections for one in before}}, as_json)


def _together(reach: Access, name: str) -> NodeNow:
    """The node with this name, which works together with others. Raises Problem."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        found = next((one for one in _all(reach)[0] if one.name == name), None)
        if found is None or found.ended:
            raise Problem(f"No node {name} is running. See: chatctl node list")
        if found.facts.speaks:
            return found
        if time.monotonic() > deadline:
            raise Problem(
                f"Node {name} has no bus, and does not hear of this. Set bus.url, or stop the server instead."
            )
        time.sleep(POLL_SECONDS)


def _same(reach: Access, node: NodeNow) -> NodeNow:
    """Its process, as it is now. Raises Problem if it has ended."""
    found = next((one for one in _all(reach)[0] if one.boot == node.boot), None)
    if found is None or found.ended:
        raise _ended(node.name)
    return found


def _awaited(reach: Access, node: NodeNow) -> str:
    """Describes the clients for which a node that is drained waits."""
    names = reach.read(people, node.name)
    named = ", ".join(names[:MOST_NAMED]) + (
        f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    )
    count = counted(_same(reach, node).facts.connections, "connection")
    return f"Waiting for {count} of node {node.name}" + (f"; logged in: {named}" if named else "")


def _ended(name: str) -> Problem:
    return Problem(f"Node {name} was stopped or started anew meanwhile. See: chatctl node list")


def _wait(deadline: float, done: Callable[[], Any], otherwise: str, awaited: Callable[[], str] | None = None) -> None:
    """Says now and then what is `awaited`. Raises Problem with the text `otherwise` if it takes too long, or is
    interrupted."""
    told = time.monotonic()
    try:
        while not done():
            late = time.monotonic() > deadline
            if awaited is not None and (late or time.monotonic() - told > TOLD_SECONDS):
                told = time.monotonic()
                click.echo(f"{awaited()}.", err=True)
            if late:
                raise Problem(otherwise)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        raise Problem(otherwise) from None
