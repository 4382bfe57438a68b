"""A bus that is connected, and carries nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from chatserver.cluster.postgres import PostgresBus
from tests.support.cluster import nodes


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
