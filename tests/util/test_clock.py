"""The clock that stamps entries, while somebody steps the wall clock."""

import subprocess
import sys
from datetime import datetime, timedelta
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock as Reactor
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

import chatserver
from chatserver.net.counts import ConnectionCounts
from chatserver.net.limits.admission import Admission
from chatserver.settings.tables import Limits
from chatserver.store.moderation import NetworkBan
from chatserver.util.clock import Clock
from tests.support.hall import START, Hall

HOUR = timedelta(hours=1)


class Host:
    """A host with a monotonic clock and a wall clock, which can be stepped."""

    def __init__(self, reactor: Reactor | None = None) -> None:
        self.reactor = reactor or Reactor()
        self.stepped = timedelta()
        self.clock = Clock(self.wall, self.reactor.seconds)

    def wall(self) -> datetime:
        return START + self.stepped + timedelta(seconds=self.reactor.seconds())

    def after(self, seconds: float) -> timedelta:
        """The time, so many seconds later, from the beginning."""
        self.reactor.advance(seconds)
        return self.clock() - START


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def test_it_follows_the_wall_clock() -> None:
    """While nobody steps the wall clock, the time is the wall clock's; a step forward is followed at once."""
    host = Host()
    assert (host.after(0), host.after(1.5)) == (seconds(0), seconds(1.5))
    host.stepped = HOUR
    assert host.after(1) == HOUR + seconds(2.5)


def test_a_step_back() -> None:
    """After a step back time goes on at half speed, however often somebody asks, until the wall clock catches up."""
    host = Host()
    assert host.after(10) == seconds(10)
    host.stepped = -HOUR
    assert (host.after(0), host.after(1), host.after(9)) == (seconds(10), seconds(10.5), seconds(15))
    for _ in range(7189):
        host.after(1)
    assert (host.after(0), host.wall() - START) == (seconds(3609.5), seconds(3609))
    assert host.after(2) == host.wall() - START == seconds(3611)


def test_milliseconds() -> None:
    """Times are whole milliseconds, also at half speed, and short intervals add up."""
    host = Host()
    host.after(0)
    host.stepped = -HOUR
    times = [host.after(0.0001) for _ in range(100)]
    assert all(time.microseconds % 1000 == 0 for time in times)
    assert seconds(0.004) <= times[-1] <= seconds(0.005)


def test_a_new_start() -> None:
    """A server that starts after a step back goes on from the newest time in its database."""
    host = Host()
    newest = START + HOUR
    host.clock.start_at(newest)
    assert (host.after(0), host.after(10)) == (HOUR, HOUR + seconds(5))
    host.clock.start_at(START)
    host.clock.start_at(None)
    assert host.after(0) == HOUR + seconds(5)


class Database:
    """Its clock, as a host sees it that asks: the answer takes a while."""

    def __init__(self, host: Host, ahead: timedelta) -> None:
        self.host = host
        self.ahead = ahead

    def now(self) -> datetime:
        return START + self.ahead + timedelta(seconds=self.host.reactor.seconds())

    def ask(self, there: float = 0, back: float = 0) -> None:
        asked = self.host.reactor.seconds()
        self.host.reactor.advance(there)
        found = self.now()
        self.host.reactor.advance(back)
        self.host.clock.follow(found, asked, self.host.reactor.seconds())

    @property
    def wrong(self) -> float:
        """By how many seconds the host's time is ahead of this clock."""
        return (self.host.clock() - self.now()).total_seconds()


def test_the_database_s_clock() -> None:
    """A node whose wall clock is a minute off has the database's time from its first reading on. Steps of its own wall
    clock change nothing."""
    host = Host()
    database = Database(host, -timedelta(minutes=1))
    host.clock.ask(database.now)
    assert database.wrong == 0
    for step in (-HOUR, HOUR, 3 * HOUR):
        host.stepped = step
        host.reactor.advance(10)
        assert database.wrong == 0
        database.ask()
        assert database.wrong == 0


def test_the_best_reading() -> None:
    """The time is wrong by at most half of the round trip of the best reading; a slow answer later does no harm. Where
    clocks drift apart, later readings correct that."""
    host = Host()
    database = Database(host, timedelta(minutes=1))
    database.ask(there=0.010)
    assert abs(database.wrong) <= 0.006
    database.ask(there=2)
    assert abs(database.wrong) <= 0.006
    database.ask(there=0.001, back=0.003)
    assert abs(database.wrong) <= 0.003
    for _ in range(1000):
        host.reactor.advance(1)
        database.ahead += timedelta(microseconds=50)
        database.ask(there=0.002)
    assert abs(database.wrong) <= 0.010


def test_the_database_s_clock_is_stepped() -> None:
    """A step forward is followed at once. After a step back (another database, perhaps) time goes on at half speed."""
    host = Host()
    database = Database(host, timedelta())
    database.ask(back=0.002)
    database.ahead = HOUR
    database.ask(back=0.5)
    assert abs(database.wrong) <= 0.251
    before = host.after(0)
    database.ahead = timedelta()
    database.ask(back=0.5)
    assert host.after(0) == before + seconds(0.25)
    assert host.after(10) == before + seconds(5.25)


@given(st.lists(st.tuples(st.floats(-3600, 3600), st.floats(0, 100)), max_size=30))
def test_it_never_goes_backwards(steps: list[tuple[float, float]]) -> None:
    """Whatever the wall clock does, the time is never before the one returned last, nor before the wall clock's."""
    host = Host()
    last = host.after(0)
    for step, passes in steps:
        host.stepped += seconds(step)
        time = host.after(passes)
        assert time >= last
        assert time > host.wall() - START - seconds(0.001)
        last = time


def test_what_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step back by more than a second is logged, once; a smaller one is not."""
    told: list[int] = []

    @implementer(ILogObserver)
    def tell(event: LogEvent) -> None:
        told.append(event["seconds"])

    monkeypatch.setattr(Clock, "log", Logger(observer=tell))
    host = Host()
    for step in (-0.5, 10, -3600, 7200, -60):
        host.stepped += seconds(step)
        for _ in range(3):
            host.after(1)
    assert told == [3600, 60]


class SteppedHall(Hall):
    """A server in memory on a host whose wall clock can be stepped."""

    @cached_property
    def host(self) -> Host:
        return Host(self.clock)

    def now(self) -> datetime:
        return self.host.clock()


def test_entries_of_a_room(tmp_path: Path) -> None:
    """The times of a room's entries never go backwards, and two entries a second apart have different times."""
    hall = SteppedHall(tmp_path)
    ana = hall.client().come_in("ana")
    for n, step in enumerate((0, -HOUR.seconds, 60, -1800, 7200, -7200)):
        hall.host.stepped += seconds(step)
        hall.clock.advance(1)
        ana.say(f"hello {n}")
    ats = [event["at"] for event in ana.events if event["event"] == "message"]
    assert len(ats) == 6
    assert ats == sorted(set(ats))


def test_limits(tmp_path: Path) -> None:
    """A step of the wall clock neither holds commands up nor ends a connection: intervals have the reactor's clock."""
    limits = Limits(
        commands_per_second=1,
        command_burst=2,
        handshake_seconds=30,
        ping_seconds=60,
        pong_seconds=5,
        stalled_seconds=60,
    )
    hall = SteppedHall(tmp_path, limits)
    ana = hall.client().come_in("ana")
    for step in (-HOUR, 2 * HOUR):
        hall.host.stepped += step
        hall.clock.advance(20)
        ana.say("hello")
    assert (len(ana.said), ana.closing) == (2, [])


def test_a_banned_network() -> None:
    """A ban of a network ends when the time has passed that the database said is left; another lasts for ever."""
    reactor = Reactor()
    gate = Admission(reactor, Limits(), ConnectionCounts())
    reactor.advance(1000)
    gate.bans = [
        NetworkBan(ip_network("192.0.2.0/24"), 60.0, "spam"),
        NetworkBan(ip_network("198.51.100.0/24"), None, ""),
    ]
    reactor.advance(59)
    assert gate.refusal("192.0.2.1") is not None
    reactor.advance(1)
    assert gate.refusal("192.0.2.1") is None
    reactor.advance(1e9)
    assert gate.refusal("198.51.100.1") is not None


_STEPPED_REACTOR = """
import time
wall, stepped = time.time, []
time.time = lambda: wall() - 3600 * len(stepped)  # before Twisted remembers the function
from twisted.internet import reactor
from chatserver.tap import use_monotonic_clock
if {monotonic}:
    use_monotonic_clock(reactor)
began = time.monotonic()
def end():
    print("late" if time.monotonic() - began > 5 else "in time")
    reactor.stop()
def late():
    print("late")
    reactor.stop()
reactor.callLater(0.5, end)
reactor.callLater(0.1, stepped.append, 1)
reactor.callFromThread(reactor.callLater, 0, print, "next turn")
import threading
threading.Timer(3, reactor.callFromThread, [late]).start()
reactor.run()
import os, sys
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize(("monotonic", "expected"), [(True, "in time"), (False, "late")])
def test_the_reactor(monotonic: bool, expected: str) -> None:
    """The server's reactor makes its calls in time although the wall clock is stepped back by an hour meanwhile. (As
    Twisted has it, they would come an hour late. If that test fails, we no longer need to do anything about it.)"""
    done = subprocess.run(
        [sys.executable, "-c", _STEPPED_REACTOR.replace("{monotonic}", str(monotonic))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split("\n")[:2] == ["next turn", expected], done.stderr


def test_who_reads_the_wall_clock() -> None:
    """Only `times.py` reads the wall clock: intervals have another one."""
    readers = {
        path.name
        for path in Path(chatserver.__file__).parent.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in ("time.time", "datetime.now", "utcnow", "today()"))
    }
    assert readers == {"times.py"}
