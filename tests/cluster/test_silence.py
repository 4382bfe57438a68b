"""A bus that is connected, and carries nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from chatserver.cluster import frames
from chatserver.cluster.bus.postgres import PostgresBus
from tests.support.cluster import never, nodes


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def test_a_silent_bus_is_noticed(tmp_path: Path, log: list[str]) -> None:
    """A node that hears nothing of itself connects its bus anew, again and again, and says once what to look at, and
    once that it is over. Meanwhile nobody misses a message, and the lag is unknown."""
    _, (one, two) = nodes(tmp_path, "one", "two")
    try:
        ana, bob = one.program("ana"), two.program("bob")
        one.passes(3)
        assert two.cluster.lag is not None
        two.bus.advice = PostgresBus.advice

        def in_vain() -> None:
            two.bus.reconnects += 1

        reconnect, two.bus.reconnect = two.bus.reconnect, in_vain  # type: ignore[method-assign]
        two.bus.dead = True
        one.passes(20)
        assert two.bus.reconnects >= 4
        assert two.cluster.lag is None
        ana.say("hello")
        one.passes(1.2)
        assert bob.said == ["hello"]
        [warning] = [line for line in log if "carried nothing" in line]
        assert warning.endswith("needs a direct connection to PostgreSQL, not a transaction pooler such as PgBouncer.")
        assert not [line for line in log if "carries frames again" in line]
        reconnect()
        one.passes(10)
        assert two.cluster.lag is not None
        assert len([line for line in log if "carries frames again" in line]) == 1
        assert one.bus.reconnects == 0
    finally:
        one.close()


def test_nodes_on_different_buses(tmp_path: Path, log: list[str]) -> None:
    """Nodes that hear themselves, and not each other, say so once; nobody misses a message."""
    air, (one, two) = nodes(tmp_path, "one", "two")
    try:
        ana, bob = one.program("ana"), two.program("bob")
        one.passes(3)
        air.fate = never
        one.passes(20)
        mute = " is alive, and nothing of it comes over the bus"
        assert sorted(line.partition(mute)[0] for line in log if mute in line) == ["Node one", "Node two"]
        ana.say("hello")
        one.passes(1.2)
        assert bob.said == ["hello"]
    finally:
        one.close()


def test_a_number_that_nobody_has_sent(tmp_path: Path) -> None:
    """A frame in the name of a node, with a number that this is far from, silences it no longer than for a second."""
    _, (one, two) = nodes(tmp_path, "one", "two")
    ana, bob = one.program("ana"), two.program("bob")
    one.passes(1)
    two.cluster.incoming.received(frames.framed(one.me.boot, frames.ALL, 2**60, [frames.encode(frames.Changed())]))
    ana.say("hello")
    one.passes(1.2)
    assert bob.said == ["hello"]
    ana.say("hello again")
    one.passes(0.1)
    assert bob.said == ["hello", "hello again"]
    one.close()
