"""What a message costs, counted in system calls, calls of functions and memory: no slow machine changes that."""

import gc
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from chatserver import commands as c
from chatserver.config import Limits, Settings
from chatserver.delivery.registry import Registry
from chatserver.events import Membership, RoomFacts
from chatserver.handlers.immediate import Online
from chatserver.net.connections import Connections
from chatserver.net.factory import ChatFactory
from chatserver.net.line import LineDoor
from chatserver.processor import Processors
from chatserver.queue import Lanes
from chatserver.roster import Roster
from chatserver.stages import Stage
from chatserver.store.messages import Draft, Verdict
from chatserver.turns import turns
from chatserver.wire.dialect import PLAIN
from chatserver.wire.jsonl import JSONL
from tests.test_outbox import Link

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")
CALLS_EACH = 3
"""For a recipient: the socket's `send`, what this test's one calls, and a look at how much it took."""
CALLS_MESSAGE = 25
"""For a message in a take of many, all its recipients aside."""


class Wire(Link):
    """A link that takes everything, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.sends = self.writes = 0

    def getHandle(self) -> Any:
        return Handle(self)

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.writes += 1


class Handle:
    family = socket.AF_UNIX

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def send(self, data: bytes) -> int:
        self._wire.sends += 1
        return len(data)


class Prompt:
    """A store that keeps everything at once."""

    def __init__(self) -> None:
        self.seq = 0

    async def append(self, work: Any, drafts: list[Draft], at: datetime) -> list[Verdict]:
        first, self.seq = self.seq + 1, self.seq + len(drafts)
        return [Verdict("stored", seq, at) for seq in range(first, self.seq + 1)]


class Hall:
    """A room of so many; the first of them speaks."""

    def __init__(self, people: int) -> None:
        self.clock = Clock()
        store: Any = Prompt()
        nothing: Any = None
        self.roster = Roster()
        self.registry = Registry(self.clock, nothing, self.roster)
        self.processors = Processors(
            turns(self.clock), Lanes(2), store, self.registry, Online(self.roster, nothing, lambda: AT), 512, {},
            nothing, lambda count: None,
        )  # fmt: skip
        self.processors.start(1)
        handshake: Any = SimpleNamespace(greeting="Welcome.")
        connections = Connections(
            self.clock, Limits(handshake_seconds=0, ping_seconds=0), 5.0, handshake, self.processors, self.registry,
            lambda: AT, lambda session, reason: self.registry.remove(session),
        )  # fmt: skip
        self.factory = ChatFactory(connections, lambda: LineDoor(Settings()), lambda: "id")
        self.wires = [Wire() for _ in range(people)]
        self.doors = [self._comes(number, wire) for number, wire in enumerate(self.wires)]

    def _comes(self, number: int, wire: Wire) -> LineDoor:
        door = self.factory.buildProtocol(None)
        assert isinstance(door, LineDoor)
        door.makeConnection(wire)
        session = door.connection.session
        session.speak(JSONL, PLAIN)
        session.account_id, session.name, session.stage = number + 1, f"user{number}", Stage.IN
        self.registry.subscribe(session, [Membership(BOOKS, 0, 0, "member")], {})
        session.link.admitted()
        wire.sends = 0
        return door

    def says(self, messages: int) -> None:
        speaker = self.doors[0].connection.session
        speaker.inbox += [c.Say(room="books", text="hello", tag=1) for _ in range(messages)]
        self.processors.schedule(speaker)
        self.clock.advance(0)
        assert not speaker.inbox


def calls(work: Callable[[], None]) -> int:
    """How many functions are called, those of C included; none by garbage collection, to which others add their own."""
    count = 0

    def note(_frame: Any, kind: str, _arg: Any) -> None:
        nonlocal count
        count += kind in ("call", "c_call")

    gc.disable()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


@pytest.mark.parametrize("messages", [1, 20])
def test_a_take_is_one_system_call_for_each(messages: int) -> None:
    """However many messages a take has, each recipient costs one `send`, and so does the sender with its answers."""
    hall = Hall(50)
    hall.says(messages)
    assert [wire.sends for wire in hall.wires] == [1] * 50
    assert [wire.writes for wire in hall.wires] == [0] * 50


def test_calls_for_each_recipient() -> None:
    """A recipient more costs a handful of calls: nothing is encoded, copied or awaited for it alone."""
    few, many = Hall(10), Hall(110)
    for hall in (few, many):
        hall.says(1)  # what is done once only
    assert calls(lambda: many.says(1)) - calls(lambda: few.says(1)) <= 100 * CALLS_EACH


def test_calls_for_each_message() -> None:
    """A message more in a take costs no more than it did."""
    hall = Hall(10)
    hall.says(1)
    one = calls(lambda: hall.says(1))
    assert calls(lambda: hall.says(101)) - one <= 100 * CALLS_MESSAGE


def test_nothing_is_left_of_a_message() -> None:
    """Thousands of messages leave no object behind, and nothing for the garbage collector."""
    hall = Hall(10)
    hall.says(500)
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        for _ in range(10):
            hall.says(500)
        left = sys.getallocatedblocks() - before
        assert gc.collect() == 0
        assert left < 500
    finally:
        gc.enable()


def test_nothing_is_left_of_a_connection() -> None:
    """What a connection has used is free as soon as it is gone, without the garbage collector."""
    hall = Hall(10)
    gc.collect()
    gc.disable()
    try:
        for door, wire in zip(hall.doors, hall.wires, strict=True):
            wire.unregisterProducer()  # as Twisted does
            door.connectionLost()
        hall.doors.clear()
        hall.wires.clear()
        del door, wire
        assert gc.collect() == 0
    finally:
        gc.enable()
