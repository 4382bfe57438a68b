"""When a node is taken for dead, and what becomes of it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, insert, select, update
from twisted.internet.task import Clock

from chatserver.cluster.dead_nodes import TIDY_SECONDS, DeadNodes
from chatserver.cluster.peers import EXCHANGE_SECONDS, OUTAGE_SECONDS, Peers
from chatserver.settings.tables import Server, Settings
from chatserver.store import sessions
from chatserver.store.db.schema import AccountRow, NodeRow, SessionRow
from chatserver.store.db.transactions import transact
from chatserver.store.nodes import lease
from chatserver.store.nodes.lease import LAPSE_SECONDS, Process, heartbeat
from chatserver.store.nodes.nodes import Facts, NodeNow, Said
from chatserver.store.sessions import bury, tidy
from chatserver.values.errors import Unavailable
from chatserver.values.events import GUEST, Person
from tests.support.cluster import Air, NodeHall, shared_file
from tests.support.hall import QUIET, Client, Hall
from tests.support.memory import logged_failures
from tests.support.sentences import written

AT = datetime(2020, 1, 1, tzinfo=UTC)
ME = Process("one", "boot-one", "here", "kernel", 1, 1)
TWO = NodeNow("two", "boot-two", "there", 2, 10, AT, AT, "1.0", 0, 0, Facts(), None, ended=False, connected=False)


class Place:
    """One node before a database that has what the test says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.me = ME
        self.found: list[NodeNow] = [TWO]
        self.away = False
        self.told: list[str] = []
        self.said: list[Said | None] = []
        store: Any = self
        self.peers = Peers(self.clock, store, self)
        self.peers.start()

    def say(self) -> Said:
        return Said("1.0", 0, 0, Facts())

    def peers_changed(self) -> None:
        self.told.append(f"changed {sorted(node.boot for node in self.peers.others)}")

    def saw(self, node: NodeNow) -> None:
        pass

    def suspect(self) -> None:
        self.told.append("suspect")

    def lapsed(self, node: NodeNow) -> None:
        self.told.append(f"lapsed {node.boot}")

    async def write(self, work: Callable[..., Any], me: Process, said: Said | None) -> list[NodeNow]:
        if self.away:
            raise Unavailable
        self.said.append(said)
        return self.found

    def passes(self, seconds: float, *, beats: bool = True) -> None:
        for _ in range(round(seconds / EXCHANGE_SECONDS)):
            if beats:
                self.found = [replace(node, beat=node.beat + 1) for node in self.found]
            self.clock.advance(EXCHANGE_SECONDS)

    def hears(self) -> list[str]:
        told, self.told = self.told, []
        return told


@pytest.fixture
def place() -> Place:
    place = Place()
    assert place.hears() == ["changed ['boot-two']"]
    return place


def test_a_heartbeat_that_stands_still(place: Place) -> None:
    """A node whose heartbeat stands still for as long as a lease lasts is dead; it is no sooner."""
    place.passes(60)
    place.passes(LAPSE_SECONDS - 1, beats=False)
    assert place.hears() == []
    place.passes(1.6, beats=False)
    assert place.hears()[:2] == ["suspect", "lapsed boot-two"]
    place.found = []
    place.passes(EXCHANGE_SECONDS)
    assert place.hears()[-2:] == ["suspect", "changed []"]


def test_a_process_that_has_ended(place: Place) -> None:
    """If the kernel says so, a node is dead at once."""
    place.found = [replace(TWO, ended=True)]
    place.passes(EXCHANGE_SECONDS)
    assert place.hears() == ["suspect", "lapsed boot-two"]


def test_a_node_that_starts(place: Place) -> None:
    """A node publishes nothing before its first look at the others. They compare rooms once it has looked."""
    place.found = [replace(TWO, facts=Facts(bus=True, speaks=1))]
    place.passes(2 * EXCHANGE_SECONDS)
    assert place.hears() == ["changed ['boot-two']"]


def test_a_process_that_stopped(place: Place) -> None:
    """A node that has released its lease is gone, and nobody has to bury it."""
    place.found = []
    place.passes(EXCHANGE_SECONDS)
    assert place.hears() == ["suspect", "changed []"]


def test_a_process_that_was_replaced(place: Place) -> None:
    """A new process under the same name is another node: the former one is gone."""
    place.found = [replace(TWO, boot="boot-two-2", beat=11)]
    place.passes(EXCHANGE_SECONDS)
    assert place.hears() == ["suspect", "changed ['boot-two-2']"]


def test_a_lock_that_is_lost(place: Place) -> None:
    """A node that loses its advisory lock is suspected, once, and stays: its connection may have been cut."""
    place.found = [replace(TWO, connected=True)]
    place.passes(EXCHANGE_SECONDS)
    place.found = [replace(TWO, beat=12)]
    place.passes(10)
    assert place.hears() == ["suspect"]


def test_an_outage(place: Place) -> None:
    """After an outage of any length nobody is dead before they had the time to show up."""
    place.away = True
    place.passes(30, beats=False)
    place.away = False
    place.passes(LAPSE_SECONDS + OUTAGE_SECONDS - 1, beats=False)
    assert place.hears() == []
    place.passes(2.5, beats=False)
    assert "lapsed boot-two" in place.hears()


def test_a_process_that_did_not_look(place: Place) -> None:
    """Time in which this process itself did not run does not count."""
    for _ in range(4):
        place.clock.advance(30)
    assert place.hears() == []


def test_a_process_with_another_boot(place: Place) -> None:
    """A process that lost its lease says everything anew once it serves again, and takes the others for new ones."""
    place.passes(EXCHANGE_SECONDS)
    assert place.said == [Said("1.0", 0, 0, Facts()), None]
    place.me = replace(ME, boot="boot-one-2")
    place.peers.forget()
    place.passes(EXCHANGE_SECONDS)
    assert place.said[2:] == [Said("1.0", 0, 0, Facts())]
    assert place.hears() == ["changed ['boot-two']"]


# Halls on one database


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[NodeHall]]:
    engine, air = shared_file(tmp_path), Air(Clock())
    halls = []
    for name in ("one", "two", "three"):
        settings = Settings(server=Server(guests=True), limits=QUIET)
        halls.append(NodeHall(tmp_path, name, air, engine, settings=settings))
    halls[0].passes(1)
    yield halls
    halls[0].close()


def scalars(hall: Hall, query: Any) -> list[Any]:
    return transact(hall.engine, lambda db: list(db.scalars(query)))


def execute(hall: Hall, statement: Any) -> None:
    transact(hall.engine, lambda db: db.execute(statement) and None)


def guest_of(hall: Hall) -> tuple[Client, str]:
    client = hall.client().post("guest")
    return client, client.answers[-1]["name"]


def left(client: Client) -> list[str]:
    return [event["name"] for event in client.events if event["event"] == "left"]


STILL_OPEN = select(SessionRow.node).where(SessionRow.disconnected_at.is_(None)).order_by(SessionRow.node)
GUESTS = select(AccountRow.name).where(AccountRow.kind == "guest", AccountRow.disabled_at.is_(None))


def test_a_burial(cluster: list[NodeHall]) -> None:
    """Once a node is dead, its sessions are closed and its guests leave, which people at all nodes hear once. The
    guests of the others stay."""
    one, two, three = cluster
    ana, bob = one.program("ana"), two.program("bob")
    _, gone = guest_of(three)
    _, stays = guest_of(two)
    one.passes(1)
    assert scalars(one, STILL_OPEN) == ["one", "three", "two", "two"]
    three.kill()
    one.passes(LAPSE_SECONDS + 2)
    assert left(ana) == left(bob) == [gone]
    assert scalars(one, STILL_OPEN) == ["one", "two", "two"]
    assert scalars(one, select(SessionRow.reason).where(SessionRow.node == "three")) == ["crash"]
    assert scalars(one, GUESTS) == [stays]
    assert scalars(one, select(NodeRow.name).where(NodeRow.boot == "")) == ["three"]
    one.passes(2 * TIDY_SECONDS)
    assert scalars(one, GUESTS) == [stays]
    assert left(ana) == left(bob) == [gone]


def test_a_guest_at_two_nodes(cluster: list[NodeHall]) -> None:
    """A guest who has a session at a live node, too, stays when the other node dies."""
    one, two, three = cluster
    ana = one.program("ana")
    _, name = guest_of(three)
    one.passes(1)
    [id] = scalars(one, select(AccountRow.id).where(AccountRow.name == name))
    transact(one.engine, lambda db: sessions.record(db, [sessions.Opened("x", id, "two", "::1", AT)]))
    three.kill()
    one.passes(LAPSE_SECONDS + 2)
    assert scalars(one, GUESTS) == [name]
    two.kill()
    one.passes(LAPSE_SECONDS + 2)
    assert left(ana) == [name]


def test_what_came_late(cluster: list[NodeHall]) -> None:
    """A guest whose session was not recorded when its node died, and the row of a session that came afterwards, are
    found by those who live."""
    one, _, three = cluster
    ana = one.program("ana")
    _, name = guest_of(three)
    one.passes(1)
    three.kill()
    execute(one, update(AccountRow).where(AccountRow.name == name).values(created_at=AT))
    execute(one, delete(SessionRow))
    one.passes(LAPSE_SECONDS + 2)
    assert scalars(one, GUESTS) == [name]
    [id] = scalars(one, select(AccountRow.id).where(AccountRow.name == "ana"))
    transact(one.engine, lambda db: sessions.record(db, [sessions.Opened("late", id, "three", "::1", AT)]))
    one.passes(TIDY_SECONDS)
    assert left(ana) == [name]
    assert scalars(one, select(SessionRow.reason).where(SessionRow.id == "late")) == ["crash"]


@pytest.mark.parametrize(("error", "logged"), [(Unavailable(), 0), (ValueError(), 1)])
def test_tidying_up_fails(error: Exception, logged: int) -> None:
    """Remains of dead nodes are tidied up once the database has been back long enough that all sessions are recorded. A
    bug does not end that either."""
    clock, dismissed, away = Clock(), list[Person](), [True, False]
    guest, another = Person(7, "~7", GUEST), Person(8, "~8", GUEST)

    class Away:
        async def write(self, work: Any) -> list[Person]:
            assert work is tidy
            if away.pop(0):
                raise error
            return [guest]

    store: Any = Away()
    guests: Any = SimpleNamespace(not_admitted=dismissed.append)
    dead_nodes = DeadNodes(clock, store, guests)
    dead_nodes.start([another])
    assert dismissed == [another]
    with logged_failures() as failures:
        clock.advance(TIDY_SECONDS)
    assert len(failures) == logged
    clock.advance(TIDY_SECONDS - 1)
    assert dismissed == [another]
    clock.advance(1)
    assert dismissed == [another, guest]
    assert clock.getDelayedCalls() == []


def test_a_node_that_was_only_cut_off(cluster: list[NodeHall]) -> None:
    """A node that was buried finds its lease gone. One that sends another heartbeat before is not buried."""
    one, _, three = cluster
    [known] = [node for node in one.cluster.peers.others if node.name == "three"]
    transact(one.engine, lambda db: heartbeat(db, three.me))
    assert transact(one.engine, lambda db: bury(db, known)) is None
    three.inline.hold()  # it sends no heartbeat
    one.passes(LAPSE_SECONDS + 2)
    assert not transact(one.engine, lambda db: heartbeat(db, three.me)).ours


def test_old_rows_of_nodes(cluster: list[NodeHall]) -> None:
    """The row of a node that has had no process for a day is removed, unless sessions of it are still open."""
    one = cluster[0]
    columns = {"host": "h", "machine": "", "pid": 1, "started": 1, "beat": 1, "acquired_at": AT, "heartbeat_at": AT}
    execute(one, insert(NodeRow).values([{"name": name, "boot": boot, **columns} for name, boot in (
        ("old", ""), ("open", ""), ("held", "x"),
    )]))  # fmt: skip
    ana = one.program("ana")
    [id] = scalars(one, select(AccountRow.id).where(AccountRow.name == "ana"))
    transact(one.engine, lambda db: sessions.record(db, [sessions.Opened("x", id, "open", "::1", AT)]))
    transact(one.engine, lease.remove_old)
    names = {"held", "one", "open", "three", "two"}
    assert set(scalars(one, select(NodeRow.name))) == names
    assert ana.answers


def test_serving_anew(cluster: list[NodeHall]) -> None:
    """A node that was fenced goes on as another process: it hears the others, and they hear it."""
    one, two, three = cluster
    ana = one.program("ana")
    three.become("boot-three-2")
    three.connections.start_over("fenced", written("Come again."))
    three.cluster.restarted()
    assert three.cluster.outgoing.boot == three.me.boot
    assert three.cluster.peers.others == []
    one.passes(1)
    bob = three.program("bob")
    one.passes(0.1)
    ana.say("hello")
    bob.say("hello back")
    one.passes(0.1)
    assert ana.said == bob.said == ["hello", "hello back"]
    assert {node.boot for node in one.cluster.peers.others} == {two.me.boot, "boot-three-2"}


def test_set_back_and_fenced(cluster: list[NodeHall]) -> None:
    """A node that lost its lease because the database was set back notifies the others once it knows them again: they
    start over, too."""
    one, two, three = cluster
    ana, bob = one.program("ana"), two.program("bob")
    one.passes(20)
    three.become("boot-three-2")
    three.cluster.restarted()
    three.cluster.rewound()
    assert not ana.closing
    one.passes(1)
    assert ana.closing == bob.closing == ["rewound"]
