"""Limits of addresses and accounts, over all nodes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address

from chatserver.cluster import frames
from chatserver.cluster.shared_limits import MOST_TOLD, STALE_SECONDS, TELL_SECONDS, WHOLE_SECONDS, Gauge
from chatserver.login.guess_delays import NAME_FAILURES
from chatserver.settings.tables import Limits, Server, Settings
from tests.support.cluster import Air, NodeHall, never, nodes
from tests.support.hall import PASSWORD, Client, Stranger

THIEF, OWNER = "192.0.2.1", "198.51.100.1"
Cluster = tuple[Air, list[NodeHall]]
OpenNodes = Callable[..., Cluster]


@pytest.fixture
def open_nodes(tmp_path: Path) -> Iterator[OpenNodes]:
    """Opens nodes with these limits besides the default ones."""
    opened: list[NodeHall] = []

    def open(*names: str, guests: bool = False, **limits: Any) -> Cluster:
        settings = Settings(
            server=Server(guests=guests),
            limits=Limits(handshake_seconds=0, typing_seconds=0, ping_seconds=0, **limits),
        )
        air, halls = nodes(tmp_path, *(names or ("one", "two")), settings=settings)
        opened.extend(halls)
        halls[0].passes(TELL_SECONDS)
        return air, halls

    yield open
    opened[0].close()


def come(hall: NodeHall, address: str = THIEF) -> Client:
    return hall.client(address=IPv4Address("TCP", address, 40000))


def told(hall: NodeHall) -> None:
    """The nodes send each other what they count."""
    hall.passes(TELL_SECONDS + 0.2)


def refused(client: Client) -> str:
    """Why a connection was refused."""
    return client.seen.decode()


def login(client: Client, name: str, password: str = PASSWORD) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("login", name=name, password=password).answers[-1]
    return answer


def failures(hall: NodeHall) -> dict[str, float]:
    """Wrong passwords, as counted at a node by address, network and name."""
    known = hall.connections.handshake.authenticator.shared["failures"].latest(99, hall.clock.seconds())
    return {key: much for key, (much, _) in known.items()}


# Connections


def test_connections_of_an_address(open_nodes: OpenNodes) -> None:
    """All nodes share the limit of an address. Connections that end free their places at all nodes, and other addresses
    have their own."""
    _, (one, two) = open_nodes(connections_per_address=8, connections_per_minute=0)
    members = [come(hall).come_in(f"user{number}") for number, hall in enumerate([one, two] * 4)]
    told(one)
    for hall in (one, two):
        assert "too many connections from your address" in refused(come(hall))
        assert "too many" not in refused(come(hall, OWNER))
    members[0].wire.cut()
    told(one)
    assert "too many" not in refused(come(two))


def test_five_hundred_and_twelve(open_nodes: OpenNodes) -> None:
    """The limit that a newcomer has holds for all nodes together."""
    _, (one, two, three) = open_nodes("one", "two", "three", connections_per_minute=0, connections_per_account=0)
    limit = one.limits.connections_per_address
    assert limit == 512
    for number in range(limit):
        hall = (one, two, three)[number % 3]
        stranger = Stranger()
        hall.connections.admission.arrived(THIEF, stranger)
        hall.connections.admission.logged_in(THIEF, stranger)
    told(one)
    for hall in (one, two, three):
        assert hall.connections.admission.refusal(THIEF)
        assert not hall.connections.admission.refusal(OWNER)


def test_a_node_that_is_gone(open_nodes: OpenNodes) -> None:
    """The connections of a node count no more once it is dead; its wrong passwords do."""
    _, (one, two) = open_nodes(connections_per_address=4, connections_per_minute=0)
    owner = come(two, OWNER).come_in("ana")
    for number in range(4):
        come(one).come_in(f"user{number}")
    guesser = come(one, "192.0.2.77")
    for _ in range(3):
        login(guesser, "ana", "wrong-words")
        one.passes(5)
    told(one)
    assert "too many" in refused(come(two))
    one.kill()
    two.passes(7)
    assert "too many" not in refused(come(two))
    assert two.connections.admission.open_elsewhere == {}
    other = come(two, "192.0.2.77")
    login(other, "ana", "wrong-words")
    two.passes(1)
    assert login(other, "ana", "wrong-words")["error"] == "slow-down"
    assert not owner.wire.lost


def test_a_node_that_is_not_known(open_nodes: OpenNodes) -> None:
    """Counts from a process that is no living node, such as one that has just died, are ignored."""
    _, (_, two) = open_nodes(connections_per_address=4, connections_per_minute=0)
    counts = two.cluster.limits
    counts.take("a stranger", frames.Counts("open", {THIEF: (9.0,)}, whole=True, first=True))
    assert "too many" not in refused(come(two))
    assert not two.connections.admission.open_elsewhere


def test_lost_frames(open_nodes: OpenNodes) -> None:
    """Counts in frames that were lost arrive with the next update of everything."""
    air, (one, two) = open_nodes(connections_per_address=4, connections_per_minute=0)
    for number in range(2):
        come(one).come_in(f"user{number}")
    told(one)
    air.fate = never
    for number in range(2, 4):
        come(one).come_in(f"user{number}")
    guesser = come(one, "192.0.2.77")
    for _ in range(3):
        login(guesser, "user0", "wrong-words")
        one.passes(9)
    early = come(two)
    assert "too many" not in refused(early)
    early.wire.cut()
    assert not failures(two)
    air.fate = lambda sender, receiver, data: [0.0]
    one.passes(WHOLE_SECONDS + 1)
    assert "too many" in refused(come(two))
    assert failures(two)["password 192.0.2.77"] == pytest.approx(3, abs=0.1)


def test_a_bus_that_is_dead(open_nodes: OpenNodes) -> None:
    """While nothing comes from a node, its connections do not count for ever: they may have ended."""
    air, (one, two) = open_nodes(connections_per_address=1, connections_per_minute=0)
    come(one).come_in("ana")
    told(one)
    assert "too many" in refused(come(two))
    air.fate = never
    one.passes(STALE_SECONDS + 2)
    assert "too many" not in refused(come(two))


def test_a_node_that_comes_late(open_nodes: OpenNodes, tmp_path: Path) -> None:
    """A node that comes learns what the others have counted."""
    air, (one,) = open_nodes("one", connections_per_address=2, connections_per_minute=0)
    for name in ("ana", "bob"):
        come(one).come_in(name)
    guesser = come(one, OWNER)
    for _ in range(4):
        login(guesser, "ana", "wrong-words")
        one.passes(9)
    two = NodeHall(tmp_path, "two", air, one.engine, settings=one.settings)
    two.passes(3)
    assert "too many" in refused(come(two))
    assert failures(two)


def test_strangers_make_way_at_each_node(open_nodes: OpenNodes) -> None:
    """Pending connections of an address, over all nodes, come down to what it may have, the oldest first; each node
    gives up its part, and the newest stays."""
    _, (one, two) = open_nodes(pending_per_address=8, connections_per_minute=0)
    clients = [come(hall) for hall in [one, two] * 7]
    other = come(two, OWNER)
    one.passes(4)
    clients += [come(one), come(two)]
    one.passes(4)
    left = [client for client in clients if not client.wire.lost]
    assert 6 <= len(left) <= 8
    assert left[-2:] == clients[-2:]
    assert not other.wire.lost
    one.passes(4)
    assert left == [client for client in clients if not client.wire.lost]


def test_connections_of_an_account(open_nodes: OpenNodes) -> None:
    """An account with too many connections over all nodes loses the oldest one where it logs in."""
    _, (one, two) = open_nodes(connections_per_account=4, connections_per_minute=0)
    first = come(one).come_in("ana")
    clients = [come(hall) for hall in (one, two, two)]
    for client in clients:
        assert login(client, "ana")["ok"]
    told(one)
    late = come(two)
    assert login(late, "ana")["ok"]
    one.passes(1)
    ended = [b'"too-many-connections"' in client.seen for client in (first, *clients, late)]
    assert ended == [False, False, True, False, False]


def test_guests_of_an_address(open_nodes: OpenNodes) -> None:
    """An address may have so many guests at all nodes together."""
    _, (one, two) = open_nodes(guests=True, guests_per_address=2)
    guests = [come(hall).post("guest") for hall in (one, two)]
    told(one)
    assert come(one).post("guest").answers[-1]["error"] == "slow-down"
    assert come(two, OWNER).post("guest").answers[-1]["ok"]
    guests[0].wire.cut()
    told(one)
    assert come(two).post("guest").answers[-1]["ok"]


# What happened


def test_guesses_at_two_nodes(open_nodes: OpenNodes) -> None:
    """Guesses at several nodes in turn are delayed as long as at one."""
    _, (one, two) = open_nodes()
    waits = []
    for address, halls in ("192.0.2.1", (one, two)), ("192.0.2.2", (one, one)):
        for number in range(6):
            assert login(come(halls[number % 2], address), f"user{number}")["error"] == "bad-credentials"
            one.passes(2**number + 1.5)
        answer = login(come(halls[0], address), "late")
        assert answer["error"] == "bad-credentials"
        told(one)
        answer = login(come(halls[1], address), "later")
        assert answer["error"] == "slow-down"
        waits.append(answer["retry"])
    assert waits[0] == pytest.approx(waits[1], abs=2)
    assert waits[0] > 50


def test_names_that_are_typed_are_not_told(open_nodes: OpenNodes) -> None:
    """A name that somebody types may be a password: no frame has it. It counts at other nodes all the same."""
    air, (one, two) = open_nodes()
    for number in range(6):
        login(come(one, f"192.0.2.{number}"), "my-secret-words", "wrong-words")
    told(one)
    assert not any(b"my-secret-words" in parcel.data for _, parcel in air.sent)
    [much] = [much for key, much in failures(two).items() if key.startswith("name ")]
    assert much == pytest.approx(6, abs=0.1)


def test_strangers_at_two_nodes(open_nodes: OpenNodes) -> None:
    """Guesses at one name from many networks, and accounts that one network registers, are counted over all nodes."""
    _, (one, two) = open_nodes(registrations_per_hour=1)
    come(two, OWNER).come_in("ana")
    guessers = []
    for number in range(60):
        guessers.append(come((one, two)[number % 2], f"10.0.{number}.1"))
        guessers[-1].post("login", name="ana", password="wrong-words")
        one.passes(1)
    one.passes(4)
    answers = [client.answers[-1]["error"] for client in guessers]
    assert answers.count("bad-credentials") <= NAME_FAILURES + 12
    assert answers[-8:].count("bad-credentials") <= 1
    assert login(come(one, OWNER), "ana")["ok"]  # the database knows that she has logged in from there, at another node
    registered = []
    for number in range(8):
        client = come((one, two)[number % 2], f"10.1.0.{number}")
        registered.append(client.post("register", name=f"new{number}", password=PASSWORD).answers[-1]["ok"])
        told(one)
    assert registered == [True] * one.limits.network_times + [False] * (8 - one.limits.network_times)


def test_rates_and_registrations(open_nodes: OpenNodes) -> None:
    """Connections per minute and registrations per hour of an address are counted over all nodes."""
    _, (one, two) = open_nodes(connections_per_minute=2, registrations_per_hour=2)
    for number, hall in enumerate((one, two)):
        come(hall).come_in(f"user{number}")
    assert two.connections.admission.delay(THIEF) == 0
    told(one)
    assert one.connections.admission.delay(THIEF) == two.connections.admission.delay(THIEF) == 0
    for hall in (one, two):
        hall.connections.admission.opened(THIEF, Stranger())
    told(one)
    delay = one.connections.admission.delay(THIEF)
    assert two.connections.admission.delay(THIEF) == pytest.approx(delay, abs=0.01)
    assert delay > 0.25
    late = come(two, THIEF)
    two.passes(3)
    assert late.post("register", name="late", password=PASSWORD).answers[-1]["error"] == "slow-down"


def test_alone_nothing_is_kept_to_be_told(open_nodes: OpenNodes) -> None:
    """A node that is alone keeps no news, and sends none."""
    air, (one,) = open_nodes("one")
    login(come(one), "ana", "wrong-words")
    one.passes(3)
    assert not air.sent
    counts = one.cluster.limits
    assert all(shared.news is None for shared in counts._rates.values())


# The numbers


def test_what_is_told_is_bounded() -> None:
    """An update has a maximum number of keys, those that changed most first; the rest follows later."""
    here = {f"address {number}": number for number in range(1, MOST_TOLD + 101)}
    gauge = Gauge(lambda least: here, lambda: 16, {})
    assert min(gauge.news().values()) == 101
    assert len(gauge.news()) == 100
    assert gauge.news() == {}
    here.clear()
    assert set(gauge.news().values()) == {0}
