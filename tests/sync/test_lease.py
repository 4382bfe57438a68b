"""Keeping the lease, on clocks that stand still and before a database of one row."""

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from chatserver.store.nodes.lease import (
    BEAT_SECONDS,
    KEPT,
    LAPSE_SECONDS,
    Beat,
    Claim,
    Held,
    heartbeat,
    release,
    this_process,
)
from chatserver.sync.lease import RELEASE_SECONDS, Lease
from chatserver.sync.rewind import Rewind
from chatserver.values.errors import Unavailable
from tests.store.conftest import AT
from tests.support.memory import logged, logged_failures, outcome

HELD = Held("main", "elsewhere", 7, AT, alive=True, one_file=False)


class Host:
    """A process with a lease, and the row of its node: whose boot it has, and its beat."""

    def __init__(self, node: str = "main") -> None:
        self.clock = Clock()
        self.boot = ""
        self.beat = 6
        self.away = False  # the database fails at once
        self.hanging: Deferred[None] | None = None  # the database answers when this fires
        self.holder: Held | None = None  # who has the lease, if it is another process
        self.told: list[object] = []
        self.asleep = 0.0
        self.times: list[tuple[object, float, float]] = []  # the database's, and when it was asked and answered
        store: Any = self
        rewind = Rewind()
        rewind.follow(self)
        now: Any = SimpleNamespace(follow=lambda *reading: self.times.append(reading))
        self.lease = Lease(
            self.clock, store, this_process(node), rewind, lambda: self.clock.seconds() + self.asleep, now
        )
        self.lease.lost.addCallback(self.told.append)

    def database_rewound(self, *, told: bool) -> None:
        self.told.append("rewound")

    def lease_lost(self) -> None:
        self.told.append("fenced")

    async def write(self, work: Callable[..., Any], *args: Any) -> Any:
        if self.away:
            raise Unavailable
        if self.hanging is not None:
            await self.hanging
        if isinstance(work, Claim):
            if self.holder is not None:
                return self.holder
            self.boot, self.beat = work._me.boot, self.beat + 1
            return self.beat
        (me,) = args
        ours = me.boot == self.boot
        if work is heartbeat:
            self.beat += ours
            return Beat(self.beat, ours, AT)
        assert work is release
        if ours:
            self.boot = ""
        return None

    def start(self) -> None:
        assert outcome(self.lease.acquire()) is None
        self.lease.start()

    def run(self, seconds: float) -> None:
        """Time passes while the process runs."""
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)


@pytest.fixture
def host() -> Host:
    host = Host()
    host.start()
    return host


def test_heartbeats(host: Host) -> None:
    """One a second, and nothing else happens."""
    host.run(10)
    assert (host.beat, host.told, host.lease.check()) == (17, [], True)


def test_a_lease_that_is_held() -> None:
    """Acquiring returns the holder once it has been seen alive, and asks again until then."""
    host = Host()
    host.holder = Held("main", "elsewhere", 7, AT, alive=False, one_file=False)
    assert not host.lease.check()
    found: list[object] = []
    ensureDeferred(host.lease.acquire()).addCallback(found.append)
    host.run(2)
    assert found == []
    host.holder = HELD
    host.run(1)
    assert found == [HELD]
    answers: list[Any] = [HELD]
    assert host.lease.acquire_blocking(lambda claim: answers.pop()) == HELD
    assert not host.lease.check()


def test_a_node_without_a_name() -> None:
    """It takes the first name of its host that no living process has: it does not wait for one that the kernel knows to
    be running, and waits for others until they show that they live."""
    host = Host("")
    here, elsewhere, alive = (
        Held("x", "h", 7, AT, alive=alive, one_file=False, here=here)
        for alive, here in ((False, True), (False, False), (True, False))
    )
    answers: list[Any] = [here, elsewhere, alive, 1]
    asked: list[str] = []

    def run(claim: Claim) -> Any:
        asked.append(claim._me.node)
        return answers.pop(0)

    assert host.lease.acquire_blocking(run) is None
    name = socket.gethostname()
    assert asked == [name, f"{name}-2", f"{name}-2", f"{name}-3"]
    assert host.lease.me.node == f"{name}-3"


def test_no_name_helps() -> None:
    """Beside a node that has no bus, it tries no further names, and waits until that shows that it lives."""
    host = Host("")
    first, alive = (
        Held("x", "h", 7, AT, alive=alive, one_file=False, here=True, with_bus=(True, False)) for alive in (False, True)
    )
    answers: list[Any] = [first, alive]
    assert host.lease.acquire_blocking(lambda claim: answers.pop(0)) == alive


def test_a_process_that_was_stopped(host: Host) -> None:
    """It is fenced before it serves anything, once, and goes on with another boot."""
    host.run(3)
    boot = host.lease.me.boot
    host.asleep += LAPSE_SECONDS + 1
    assert not host.lease.check()
    assert not host.lease.check()
    assert host.told == ["fenced"]
    host.run(BEAT_SECONDS)
    assert host.lease.check()
    assert host.boot == host.lease.me.boot != boot
    host.run(10)
    assert host.told == ["fenced"]


def test_a_timer_after_a_stop(host: Host) -> None:
    """The heartbeat that is due after a stop finds it out too, if nothing else happens."""
    host.asleep += LAPSE_SECONDS + 1
    host.run(BEAT_SECONDS)
    assert host.told == ["fenced"]
    host.run(BEAT_SECONDS)
    assert host.lease.check()


def test_a_short_stop(host: Host) -> None:
    """A process that was stopped for less than a lease lasts goes on."""
    host.asleep += LAPSE_SECONDS - 2
    assert host.lease.check()
    host.run(2)
    assert host.told == []


@pytest.mark.parametrize("hangs", [False, True])
def test_a_database_that_is_away(host: Host, hangs: bool) -> None:
    """After an outage of any length in which nobody took the lease, the process goes on."""
    gate: Deferred[None] = Deferred()
    host.away, host.hanging = not hangs, gate if hangs else None
    host.run(30)
    assert host.lease.check()
    host.away, host.hanging = False, None
    gate.callback(None)
    host.run(3)
    assert (host.told, host.lease.check()) == ([], True)
    assert host.beat >= 9


def test_a_lease_that_another_process_took(host: Host) -> None:
    """The process is fenced, and stops if the other one has the lease still."""
    host.boot, host.beat, host.holder = "another", 20, HELD
    host.run(BEAT_SECONDS + 1)
    assert host.told == ["fenced", HELD]
    assert not host.lease.check()
    host.run(10)
    assert host.told == ["fenced", HELD]


def test_the_lease_of_another_process_that_has_gone(host: Host) -> None:
    """If the other process has released the lease, this one starts anew."""
    host.boot, host.beat = "", 20
    host.run(BEAT_SECONDS + 1)
    assert host.told == ["fenced"]
    assert host.lease.check()
    assert host.boot == host.lease.me.boot


def test_a_row_that_was_removed_meanwhile(host: Host) -> None:
    """A process that was cut off for so long that others have removed its row was not set back: it starts anew."""
    host.run(3)
    host.away = True
    host.run(2)
    host.clock.rightNow += KEPT.total_seconds()
    host.away, host.boot, host.beat = False, "", 0
    assert host.lease._answered is not None
    host.lease._ran = host.clock.seconds()  # it has run all the time
    host.run(BEAT_SECONDS + 1)
    assert host.told == ["fenced"]


def test_acquiring_anew_during_an_outage(host: Host) -> None:
    """It is tried each second until the database answers; meanwhile nothing is served."""
    host.away = True
    host.asleep += LAPSE_SECONDS + 1
    host.run(10)
    assert not host.lease.check()
    host.away = False
    host.run(2)
    assert host.lease.check()
    assert host.told == ["fenced"]


@pytest.mark.parametrize("boot", ["same", "older"])
def test_a_database_that_was_set_back(host: Host, boot: str) -> None:
    """A beat that is not above the last committed one was set back, to a time of this process or of an earlier one."""
    host.run(5)
    known, host.beat = host.beat, 3
    if boot == "older":
        host.boot = "older"
    with logged(LogLevel.error) as lines:
        host.run(BEAT_SECONDS)
    assert host.told == ["rewound"]
    found = 4 if boot == "same" else 3
    assert f"heartbeat {known} was committed, and it has {found} now" in lines[0]
    host.run(10)
    assert len(host.told) == 1
    assert host.lease.check()


def test_a_heartbeat_whose_answer_was_lost(host: Host) -> None:
    """The beat is then further on than known, which is no reason to stop."""
    host.beat += 1
    host.run(5)
    assert host.told == []


def test_cut_off(host: Host) -> None:
    """Without an answer for as long as a lease lasts, a process counts as cut off, until a heartbeat is answered in
    time: an answer that took as long says nothing. A stop of the process is noticed, too."""
    host.run(3)
    host.hanging = Deferred()
    host.run(LAPSE_SECONDS)
    assert not host.lease.cut_off
    host.run(1.25)
    assert host.lease.cut_off
    host.hanging.callback(None)
    assert host.lease.cut_off
    host.clock.advance(0)
    assert not host.lease.cut_off
    assert host.lease.back_since == host.clock.seconds()
    assert host.told == []
    host.asleep += LAPSE_SECONDS + 1
    assert host.lease.cut_off
    assert host.told == ["fenced"]
    host.run(1)
    assert not host.lease.cut_off


def test_stopping(host: Host) -> None:
    """The lease is released, and no heartbeat follows."""
    assert outcome(host.lease.stop()) is None
    assert host.boot == ""
    assert host.clock.getDelayedCalls() == []
    assert not host.lease.check()


def test_stopping_while_the_database_is_away(host: Host) -> None:
    """Stopping does not wait for a database that does not answer, and no failure is logged."""
    with logged_failures() as failures:
        host.hanging = Deferred()
        over: list[object] = []
        ensureDeferred(host.lease.stop()).addCallback(over.append)
        host.run(RELEASE_SECONDS + 0.5)
        host.away = True
        other = Host()
        other.start()
        other.away = True
        assert outcome(other.lease.stop()) is None
    assert (over, failures) == ([None], [])


def test_the_time_of_the_database(host: Host) -> None:
    """Each heartbeat brings the database's time, and says how long the answer took."""
    host.run(1)
    host.hanging = Deferred()
    host.run(1.5)
    host.hanging.callback(None)
    assert host.times == [(AT, 1.0, 1.0), (AT, 2.0, 2.5)]
