"""Pings of silent clients."""

from typing import Any

import pytest
from msgspec import structs
from twisted.internet.task import Clock

from chatserver.net.connection.liveness import RECHECK_SECONDS, Liveness
from tests.net.conftest import OpenHall
from tests.support.hall import QUIET, Hall

PING_SECONDS, PONG_SECONDS = 10.0, 5.0


class Watched:
    """A client, and how its silence was treated."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.is_read = True
        self.asked: list[float] = []
        self.given_up: list[float] = []
        self.liveness = Liveness(self.clock, self, PING_SECONDS, PONG_SECONDS)

    def ping(self) -> None:
        self.asked.append(self.clock.seconds())

    def silent(self) -> None:
        self.given_up.append(self.clock.seconds())

    def speaks(self) -> None:
        self.liveness.heard = self.clock.seconds()

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.clock.advance(1)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_silence(watched: Watched) -> None:
    """A silent client is pinged after one time and given up after another: once, and no timer is left."""
    watched.passes(100)
    assert (watched.asked, watched.given_up) == ([PING_SECONDS], [PING_SECONDS + PONG_SECONDS])
    assert watched.clock.getDelayedCalls() == []


def test_a_client_that_speaks(watched: Watched) -> None:
    """While a client sends it is not pinged, and the time runs from its last bytes."""
    for _ in range(5):
        watched.passes(6)
        watched.speaks()
    assert watched.asked == []
    watched.passes(11)
    assert watched.asked == [40]


def test_an_answer(watched: Watched) -> None:
    """Any bytes count as the answer; the next silence is answered with a ping again."""
    watched.passes(12)
    watched.speaks()
    watched.passes(12)
    assert watched.given_up == []
    assert watched.asked == [10, 22]


def test_a_client_that_is_not_read(watched: Watched) -> None:
    """The silence of a client that the server does not read means nothing, whether it was pinged before or not;
    checking it again costs a call per second at most."""
    watched.is_read = False
    watched.passes(100)
    assert watched.asked == []
    watched.is_read = True
    watched.passes(RECHECK_SECONDS)
    assert watched.asked == [101]
    watched.is_read = False
    watched.passes(100)
    assert watched.given_up == []


def test_the_end(watched: Watched) -> None:
    """Once stopped, it calls nobody."""
    watched.passes(12)
    watched.liveness.stop()
    assert watched.clock.getDelayedCalls() == []


@pytest.fixture
def hall(open_hall: OpenHall) -> Hall:
    limits: Any = structs.replace(QUIET, ping_seconds=PING_SECONDS, pong_seconds=PONG_SECONDS, window=2)
    return open_hall(limits=limits)


def test_programs_are_asked(hall: Hall) -> None:
    """A silent program gets the event `ping`, and is told why it is cut off if it stays silent; one that answers, with
    whatever line, stays. On a WebSocket it is the same."""
    silent, alive = hall.program("ana"), hall.program("bob")
    browser = hall.browser().upgrade().come_in("cai")
    hall.passes(PING_SECONDS + 1)
    for client in (silent, alive, browser):
        assert client.events[-1] == {"event": "ping"}
    alive.say("I am here")
    hall.passes(PONG_SECONDS)
    assert (silent.closing, alive.closing, browser.closing) == (["timeout"], [], ["timeout"])
    assert hall.left == [("ana", "timeout"), ("cai", "timeout")]
    hall.passes(PING_SECONDS)
    assert [event["event"] for event in alive.events].count("ping") == 2


def test_people_are_not_asked(hall: Hall) -> None:
    """A person may be silent for as long as they like."""
    person = hall.client().type("/register dan s3cret-words")
    before = person.lines
    hall.passes(10 * PING_SECONDS)
    assert person.lines == before
    assert not person.wire.lost


def test_nobody_is_asked_before_the_login(hall: Hall) -> None:
    """Before logging in there is the deadline for that, and no ping."""
    client = hall.client().post("ping")
    hall.passes(10 * PING_SECONDS)
    assert client.events == []


def test_a_program_whose_commands_wait(hall: Hall) -> None:
    """A program that is not read, since its commands wait for the store, is neither pinged nor given up."""
    ana = hall.program("ana")
    hall.inline.hold()
    for n in range(5):
        ana.say(f"{n}")
    assert not ana.wire.reading
    hall.passes(10 * PING_SECONDS)
    assert ana.closing == []
    hall.inline.release()
    hall.settle()
    assert ana.said == [f"{n}" for n in range(5)]
    hall.passes(PING_SECONDS + 1)
    assert ana.events[-1] == {"event": "ping"}


def test_a_program_that_does_not_take_anything(hall: Hall) -> None:
    """A client whose link is full cannot be pinged, so its silence means nothing: `stalled_seconds` is its limit."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.wire.room = 0
    for _ in range(100):
        bob.say("x" * 300)
    assert not ana.connection.writable
    for _ in range(5):
        hall.passes(PING_SECONDS)
        bob.post("ping")
    assert not ana.wire.lost
    ana.read()
    assert ana.heard() == list(range(2, 103))
    assert ana.closing == []
