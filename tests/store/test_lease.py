"""Leases in the database: who may take one from whom, heartbeats, and what the death of a node lets others do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, Insert, insert, select, text, update

from chatserver import __version__
from chatserver.store import rooms, sessions
from chatserver.store.db.database_clock import NOW
from chatserver.store.db.schema import AccountRow, NodeRow, SessionRow
from chatserver.store.nodes import lease, nodes
from chatserver.store.nodes.lease import LAPSE_SECONDS, Beat, Claim, Held, Process, is_running, this_process
from chatserver.store.nodes.nodes import Facts, Said
from chatserver.store.sessions import Closed, Opened
from chatserver.store.visibility import find_room
from chatserver.values.events import Person
from tests.store.conftest import AT, Tables

LATER = AT + timedelta(minutes=5)
ELSEWHERE = Process("main", "b" * 32, "elsewhere", "other machine", 1, 1)


class Seconds:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def me() -> Process:
    return this_process("main")


@pytest.fixture
def neighbour(me: Process) -> Iterator[Process]:
    """Another process on this host, which is running."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield replace(me, boot="a" * 32, pid=child.pid, started=lease._started(child.pid) or 0)
    child.communicate(b"\n", timeout=10)


def acquire(tables: Tables, who: Process) -> int:
    beat = tables(Claim(who))
    assert isinstance(beat, int)
    return beat


def beat(tables: Tables, who: Process) -> Beat:
    """A heartbeat, whatever the time is."""
    return replace(tables(lease.heartbeat, who), now=None, epoch=None)


def age(tables: Tables, node: str, seconds: float) -> None:
    """The node's last heartbeat was so long ago."""

    def work(db: Connection) -> None:
        at = db.scalar(select(NodeRow.heartbeat_at).where(NodeRow.name == node))
        assert at is not None
        db.execute(update(NodeRow).where(NodeRow.name == node).values(heartbeat_at=at - timedelta(seconds=seconds)))

    tables(work)


def open_sessions(tables: Tables) -> set[str]:
    return set(tables(lambda db: db.scalars(select(SessionRow.id).where(SessionRow.disconnected_at.is_(None))).all()))


def guests(tables: Tables) -> set[int]:
    """The guests whose accounts have not ended."""
    alive = select(AccountRow.id).where(AccountRow.kind == "guest", AccountRow.disabled_at.is_(None))
    return set(tables(lambda db: db.scalars(alive).all()))


def test_the_first_process(tables: Tables, me: Process) -> None:
    """A free lease is acquired at once, and acquiring it again (the answer was lost) is fine."""
    assert acquire(tables, me) == 1
    assert acquire(tables, me) == 2
    assert beat(tables, me) == Beat(3, ours=True)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_lease_that_is_held(tables: Tables, me: Process, neighbour: Process, where: str) -> None:
    """It is refused as soon as the holder's heartbeat advances; the refusal names the holder."""
    holder = neighbour if where == "here" else ELSEWHERE
    acquire(tables, holder)
    claim = Claim(me)
    first = tables(claim)
    assert isinstance(first, Held)
    assert not first.alive
    tables(lease.heartbeat, holder)
    held = tables(claim)
    assert isinstance(held, Held)
    assert (held.alive, held.node, held.host, held.pid) == (True, "main", holder.host, holder.pid)
    assert f"node main (process {holder.pid} on {holder.host}, since 2" in str(held)
    assert ("server.node" in str(held)) == tables.postgres
    assert beat(tables, holder) == Beat(3, ours=True)


def test_a_process_that_has_ended_here(tables: Tables, me: Process, neighbour: Process) -> None:
    """After a crash on this host the next process takes over at once, even if another process has the old pid."""
    acquire(tables, replace(neighbour, started=neighbour.started - 1))
    assert acquire(tables, me) == 2


def test_the_pid_of_another_machine(tables: Tables, me: Process, neighbour: Process) -> None:
    """A pid says nothing about a process on another host, or in another container of this one."""
    for other in (replace(neighbour, host="other", started=1), replace(neighbour, machine="other", started=1)):
        acquire(tables, other)
        assert isinstance(tables(Claim(me)), Held)
        tables(lease.release, other)


def test_a_lapsed_lease(tables: Tables, me: Process, neighbour: Process) -> None:
    """The lease of a process elsewhere is free once its last heartbeat is too old by the database's clock. That of a
    process that is running here is not: the clock may have been stepped."""
    acquire(tables, ELSEWHERE)
    age(tables, "main", LAPSE_SECONDS - 1)
    assert isinstance(tables(Claim(me)), Held)
    age(tables, "main", 1.5)
    assert acquire(tables, neighbour) == 2
    age(tables, "main", 3600)
    assert isinstance(tables(Claim(me)), Held)


@pytest.mark.parametrize(
    ("mine", "theirs", "advice"),
    [
        (False, True, "or set bus.url here as it is there."),
        (True, False, "or set bus.url there, too."),
        (False, False, "or set bus.url for both, and server.node to another name for this one."),
    ],
)
def test_nodes_that_cannot_hear_each_other(tables: Tables, me: Process, mine: bool, theirs: bool, advice: str) -> None:
    """Unless both have a bus, a node does not join another one that is alive. Once that one is dead, it does, and the
    dead one has no lease to come back to."""
    if not tables.postgres:
        pytest.skip("A file has one node.")
    me, other = replace(me, bus=mine), replace(ELSEWHERE, node="other", bus=theirs)
    seconds = Seconds()
    acquire(tables, other)
    claim = Claim(me, seconds)
    first = tables(claim)
    assert isinstance(first, Held)
    assert not first.alive
    tables(lease.heartbeat, other)
    held = tables(claim)
    assert isinstance(held, Held)
    assert (held.alive, held.node) == (True, "other")
    assert str(held).endswith(advice)
    claim = Claim(me, seconds)
    tables(claim)
    seconds.now += LAPSE_SECONDS + 0.1
    assert tables(claim) == 1
    assert not beat(tables, other).ours


@pytest.mark.parametrize("step", [0, -3600, 3600])
def test_a_heartbeat_that_stands_still(tables: Tables, me: Process, neighbour: Process, step: float) -> None:
    """A holder whose heartbeat does not advance for as long as a lease lasts is dead, whatever the clocks say."""
    acquire(tables, neighbour)
    age(tables, "main", step)
    seconds = Seconds()
    claim = Claim(me, seconds)
    for _ in range(2):
        held = tables(claim)
        assert isinstance(held, Held)
        assert not held.alive
        seconds.now += LAPSE_SECONDS
    seconds.now += 0.1
    assert tables(claim) == 2
    assert beat(tables, neighbour) == Beat(2, ours=False)


def test_a_released_lease(tables: Tables, me: Process) -> None:
    """It is free at once, and the beat goes on. Nobody can release another's."""
    acquire(tables, ELSEWHERE)
    tables(lease.release, me)
    assert isinstance(tables(Claim(me)), Held)
    tables(lease.release, ELSEWHERE)
    assert acquire(tables, me) == 2


def test_another_node(tables: Tables, me: Process) -> None:
    """On PostgreSQL a second node may run if both have a bus; on a SQLite file no second server may."""
    acquire(tables, replace(ELSEWHERE, bus=True))
    second = replace(me, node="second", bus=True)
    found = tables(Claim(second))
    if tables.postgres:
        assert found == 1
        assert tables(lease.heartbeat, ELSEWHERE).ours
    else:
        assert isinstance(found, Held)
        assert found.node == "main"
        tables(lease.release, ELSEWHERE)
        assert acquire(tables, second) == 1


def test_two_claims_at_once(tables: Tables, me: Process, neighbour: Process) -> None:
    """If two processes start at the same moment, one gets the lease."""
    acquire(tables, me)
    tables(lease.release, me)
    found = tables.at_once(lambda: tables(Claim(ELSEWHERE)), lambda: tables(Claim(neighbour)))
    assert sorted(isinstance(one, Held) for one in found) == [False, True]


def test_a_database_set_back(tables: Tables, me: Process) -> None:
    """A heartbeat reports the database's counter, also if the row is another's or missing."""
    acquire(tables, me)
    tables(lambda db: db.execute(update(NodeRow).values(beat=0)))
    assert beat(tables, me) == Beat(1, ours=True)
    tables(lambda db: db.execute(text("DELETE FROM node")))
    assert beat(tables, me) == Beat(0, ours=False)


def test_a_process_and_its_pid() -> None:
    """A process is running if there is one with its pid and its start; a zombie is not."""
    me = this_process("main")
    assert is_running(me.pid, me.started)
    assert not is_running(me.pid, me.started + 1)
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    started = lease._started(child.pid) or 0
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(child.pid, started)
    child.wait()
    assert not is_running(child.pid, started)


def test_sessions_and_guests_of_dead_nodes(tables: Tables, me: Process) -> None:
    """At the start of a node, sessions and guests of other live nodes stay; those of dead nodes, and those that a crash
    of the node itself left, end. The dead node is fenced: if it was only cut off, it loses its lease."""
    cut_off = replace(ELSEWHERE, node="cut-off", boot="c" * 32)
    for node, who in (("live", replace(ELSEWHERE, node="live")), ("cut-off", cut_off), ("main", me)):
        row = _row(node, who)
        tables(Connection.execute, row)
    age(tables, "cut-off", LAPSE_SECONDS + 1)
    ids = {
        node: tables.person(f"guest-{node}", "guest").id for node in ("live", "cut-off", "main", "left", "old", "new")
    }
    tables(
        sessions.record,
        [Opened(f"of-{node}", ids[node], node, "::1", AT) for node in ("live", "cut-off", "main")]
        + [Opened("left", ids["left"], "live", "::1", AT), Closed("left", ids["left"], AT, "quit")],
    )
    created = update(AccountRow).where(AccountRow.id == ids["new"]).values(created_at=LATER)
    tables(lambda db: db.execute(created))

    def start(db: Connection) -> list[str]:
        dead = lease.release_dead(db, me)
        sessions.close_left_open(db, "main", LATER)
        rooms.dismiss_guests(db, LATER, "main")
        return dead

    assert tables(start) == ["cut-off"]
    assert open_sessions(tables) == {"of-live"}
    assert guests(tables) == {ids["live"], ids["new"]}  # whose session may not be recorded yet
    found = tables(lease.heartbeat, cut_off)
    assert (found.beat, found.ours) == (2, False)  # it was 1: the database was not set back
    assert tables(lease.heartbeat, replace(ELSEWHERE, node="live")).ours


def test_a_node_that_froze_during_a_heartbeat(tables: Tables, me: Process) -> None:
    """A process that wants to take its lease away does not wait for its lock, and succeeds once that is gone."""
    if not tables.postgres:
        pytest.skip("SQLite has no locks of rows.")
    acquire(tables, replace(ELSEWHERE, node="frozen"))
    with tables.engine.connect() as db:
        db.execute(select(NodeRow.beat).where(NodeRow.name == "frozen").with_for_update())
        assert not tables(lease.take_away, "frozen", ELSEWHERE.boot, 1)
    assert not tables(lease.take_away, "frozen", ELSEWHERE.boot, 2)
    assert tables(lease.take_away, "frozen", ELSEWHERE.boot, 1)
    assert not tables(lease.take_away, "frozen", ELSEWHERE.boot, 1)


def test_guests_without_another_node(tables: Tables, me: Process) -> None:
    """If no other node is live, all guests are left over from a crash."""
    acquire(tables, me)
    tables(sessions.record, [Opened("s", tables.person("guest-1", "guest").id, "main", "::1", AT)])
    tables.person("guest-2", "guest")
    tables(rooms.dismiss_guests, AT, "main")
    assert guests(tables) == set()


def test_a_start_among_nodes_that_watch_each_other(tables: Tables, me: Process, neighbour: Process) -> None:
    """It buries only nodes whose end the kernel reports: an outage of the database makes all heartbeats
    old. Guests who are not recorded yet stay, however long ago they came; those whose node is dead leave before those
    who hear it, as long as somebody is there, and else at once."""
    ended = replace(neighbour, node="ended", boot="e" * 32, started=neighbour.started - 1)
    elsewhere = replace(ELSEWHERE, node="elsewhere", boot="f" * 32)
    for who in (me, ended, elsewhere):
        tables(Connection.execute, _row(who.node, who))
    age(tables, "elsewhere", 60)
    ids = {name: tables.person(f"guest-{name}", "guest").id for name in ("ended", "elsewhere", "new")}
    tables(sessions.record, [Opened(f"of-{name}", ids[name], name, "::1", AT) for name in ("ended", "elsewhere")])

    def start(db: Connection) -> tuple[list[str], list[Person]]:
        dead = lease.release_dead(db, me, believe_clocks=False)
        left_behind = rooms.dismiss_guests(db, LATER, "main", together=True)
        sessions.close_left_open(db, "main", LATER)
        return dead, left_behind

    assert tables(start) == (["ended"], [Person(ids["ended"], "guest-ended", "guest")])
    assert open_sessions(tables) == {"of-elsewhere"}
    assert guests(tables) == set(ids.values())
    tables(lease.release, elsewhere)
    assert tables(start) == ([], [])
    assert not open_sessions(tables)
    assert not guests(tables)


def test_a_guest_who_is_dismissed_twice(tables: Tables) -> None:
    """If two nodes dismiss a guest at the same moment, one of them makes it leave, and none fails."""
    guest = tables.person("guest-1", "guest")
    for name in ("books", "cards"):
        tables.room(name, tables.person(f"of-{name}"))
        tables(lambda db: rooms.join(db, guest, find_room(db, guest, name, lock=True), AT))  # noqa: B023
    found = tables.at_once(*[lambda: tables(rooms.dismiss_guest, guest, LATER)] * 2)
    assert sorted(len(left) for left in found) == [0, 2]
    assert guests(tables) == set()


def test_what_a_node_says_of_itself(tables: Tables, me: Process) -> None:
    """A process that acquires a lease inherits nothing from its predecessor; and what a process of a version that knows
    no other nodes leaves there from the one before it counts for nothing."""
    acquire(tables, me)
    tables(nodes.exchange, me, Said("1.0", 7, 8, Facts(connections=9)))
    tables(lambda db: db.execute(update(NodeRow).values(asked="drain")))
    [now] = tables(nodes.present, me)
    assert (now.version, now.frames, now.applied, now.facts.connections, now.asked) == ("1.0", 7, 8, 9, "drain")
    tables(lambda db: db.execute(update(NodeRow).values(boot="former")))
    [now] = tables(nodes.present, me)
    assert (now.version, now.frames, now.applied, now.facts) == (None, 0, 0, Facts())
    tables(lambda db: db.execute(update(NodeRow).values(boot="")))
    acquire(tables, me)
    [now] = tables(nodes.present, me)
    assert (now.version, now.frames, now.applied, now.facts.connections, now.asked) == (__version__, 0, 0, 0, None)


def test_names_of_nodes() -> None:
    """The nodes of a host that were given no names are numbered from the second one on. A name is never too long."""
    assert list(islice(lease.names("host"), 3)) == ["host", "host-2", "host-3"]
    assert [len(name) for name in islice(lease.names("h" * 200), 3)] == [64, 64, 64]


def _row(node: str, who: Process) -> Insert:
    return insert(NodeRow).values(
        name=node, boot=who.boot, host=who.host, machine=who.machine, pid=who.pid, started=who.started,
        beat=1, acquired_at=NOW, heartbeat_at=NOW,
    )  # fmt: skip
