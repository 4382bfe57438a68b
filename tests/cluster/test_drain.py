"""Requests of `chatctl node`: clients of a node go to others, and nothing is lost."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatserver.cluster import drain as module
from chatserver.cluster.drain import SLICE_SECONDS, Drain
from chatserver.service import retries
from chatserver.settings.tables import Shutdown
from chatserver.store.db.transactions import transact
from chatserver.store.nodes.nodes import DRAIN, REBALANCE, ask, present
from tests.support.cluster import NodeHall, nodes
from tests.support.hall import Client

SLICE = 10
"""Size of a slice of clients, in place of a hundred, which would be slow to connect."""


class Ports:
    """Stands in for those of a server."""

    def __init__(self) -> None:
        self.closed = False

    async def withdraw(self) -> None:
        self.closed = True

    def retries(self, connections: int) -> tuple[int, int]:
        return retries(connections)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[NodeHall]]:
    _, halls = nodes(tmp_path, "one", "two")
    yield halls
    halls[0].close()


def able(hall: NodeHall) -> Ports:
    """Has a node do what is requested of it."""
    ports, store = Ports(), hall.inline
    hall.cluster.follow(Drain(hall.clock, hall.cluster, hall.connections, store, ports))  # type: ignore[arg-type]
    return ports


def asked(hall: NodeHall, what: str) -> None:
    """`chatctl node` requests something of a node."""
    transact(hall.engine, lambda db: [ask(db, node, what) for node in present(db, hall.me) if node.name == hall.name])


def is_asked(hall: NodeHall) -> dict[str, str | None]:
    return transact(hall.engine, lambda db: {node.name: node.asked for node in present(db, hall.me)})


def moved(clients: list[Client]) -> list[Client]:
    return [client for client in clients if b'"reason":"moving"' in client.seen]


def test_a_drain_in_slices(cluster: list[NodeHall], monkeypatch: pytest.MonkeyPatch) -> None:
    """The ports are closed first; clients are told to come again within two seconds, so many at a time; the node says
    what it does, and stays so."""
    monkeypatch.setattr(module, "PER_SECOND", SLICE / SLICE_SECONDS)
    one, two = cluster
    ports = able(one)
    clients = [one.client() for _ in range(2 * SLICE + 5)]
    for number, client in enumerate(clients):
        client.post("register", name=f"user{number}", password="s3cret-words")
    one.passes(1)
    asked(one, DRAIN)
    while not moved(clients):
        assert one.cluster.state == "serving"
        one.passes(0.1)
    assert ports.closed
    assert one.cluster.state == "draining"
    for count in (SLICE, 2 * SLICE, len(clients)):
        assert len(moved(clients)) == count
        one.passes(SLICE_SECONDS + 0.1)
    one.passes(1)
    assert [node.name for node in two.cluster.serving] == []
    one.passes(2)
    assert moved(clients) == clients
    retry = {client.messages[-1]["retry"] for client in clients}
    assert retry == {0, 1, 2}
    assert one.cluster.state == "drained"
    assert not one.connections.open
    assert is_asked(one) == {"one": "drain", "two": None}


def test_nothing_is_lost(cluster: list[NodeHall]) -> None:
    """Commands that a client has sent before are stored and answered before it is told to go."""
    one, two = cluster
    able(one)
    ana, bob = one.program("ana"), two.program("bob")
    one.passes(1)
    asked(one, DRAIN)
    one.passes(0.4)
    one.inline.hold()
    for number in range(3):
        ana.say(f"message {number}", tag=number)
    one.passes(1)
    assert ana.closing == []
    ana.say("not read any more")
    one.inline.release()
    one.passes(1)
    assert [answer["tag"] for answer in ana.answers[-3:]] == [0, 1, 2]
    assert ana.messages[-1]["event"] == "closing"
    assert bob.said == ["message 0", "message 1", "message 2"]


def test_a_database_that_is_away(cluster: list[NodeHall]) -> None:
    """Nobody waits for it longer than at a stop."""
    one, _ = cluster
    one.connections.shutdown = Shutdown(drain_seconds=2)
    able(one)
    ana = one.program("ana")
    one.passes(1)
    asked(one, DRAIN)
    one.passes(0.4)
    one.inline.hold()
    ana.say("message")
    one.passes(3)
    assert ana.closing == ["moving"]
    one.inline.release()


def test_those_who_are_not_logged_in(cluster: list[NodeHall]) -> None:
    """They are told, too: a person in a line that says what to do."""
    one, _ = cluster
    able(one)
    somebody = one.client().type("ana")
    asked(one, DRAIN)
    one.passes(2)
    assert somebody.lines[-1] == "* Another server takes over; nothing is lost. Press Enter, then connect again."


def test_newcomers_after_the_ports_are_closed(cluster: list[NodeHall]) -> None:
    """Over a Unix socket that systemd holds, they are told to go elsewhere, and are no connections of this node."""
    one, _ = cluster
    one.connections.withdraw()
    program, person, _ = one.client().lines
    assert json.loads(program).items() >= {"event": "closing", "reason": "moving", "retry": 1}.items()
    assert person == "! Another server takes over; nothing is lost. Connect again."
    assert not one.connections.open


def test_a_rebalancing(cluster: list[NodeHall]) -> None:
    """The newest clients of the node that has more than its share are told to come again; the others stay, and so do
    those of other nodes. Then the request is gone."""
    one, two = cluster
    for hall in cluster:
        able(hall)
    clients = []
    for number in range(9):
        clients.append(one.program(f"user{number}"))
        one.passes(0.1)
    alone = two.program("alone")
    one.passes(3)
    for hall in cluster:
        asked(hall, REBALANCE)
    one.passes(2)
    assert moved(clients) == clients[5:]
    assert alone.closing == []
    assert is_asked(one) == {"one": None, "two": None}
    assert one.cluster.state == "serving"


def test_what_only_a_later_version_asks(cluster: list[NodeHall]) -> None:
    """Is not done."""
    one, _ = cluster
    able(one)
    ana = one.program("ana")
    asked(one, "dance")
    one.passes(1)
    ana.say("still here")
    assert ana.said == ["still here"]
    assert one.cluster.state == "serving"
