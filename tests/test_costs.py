"""The cost of a message, counted in system calls, function calls and memory: these do not depend on the machine."""

import gc
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from chatserver.background.read_marks import ReadMarks
from chatserver.delivery.registry import Registry
from chatserver.handlers.outcome import Online
from chatserver.net.connection.connections import Connections, SessionIds
from chatserver.net.doors.factory import ChatFactory
from chatserver.net.doors.line import LineDoor
from chatserver.pipeline.lanes import Lanes
from chatserver.pipeline.processor import Processors
from chatserver.presence.roster import Roster
from chatserver.session.session import Identity
from chatserver.settings.tables import Limits, Settings, Shutdown
from chatserver.store.messages import Draft, Verdict
from chatserver.util.waiting import turns
from chatserver.values import commands as c
from chatserver.values.events import Membership, RoomFacts
from chatserver.values.stages import Stage
from chatserver.wire.dialect import PLAIN, Dialect
from chatserver.wire.jsonl import JSONL
from chatserver.wire.text import TEXT
from tests.net.test_outbox import Link
from tests.support.hall import net_parts, pipeline_parts

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")
CALLS_EACH = 3
"""For a recipient: the socket's `send`, what the one of this test calls, and a check of how much was sent."""
CALLS_NAMED = 6
"""For a person who is named: which entries name them, and which bytes those are that are rendered already."""
CALLS_RENDERED = 500
"""For rendering a message of 200 words once more."""
CALLS_MESSAGE = 30
"""For a message in a large take, not counting its recipients."""


class CountingLink(Link):
    """A link that accepts everything, and counts calls."""

    def __init__(self) -> None:
        super().__init__()
        self.sends = self.writes = 0

    def getHandle(self) -> Any:
        return CountingSocket(self)

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.writes += 1


class CountingSocket:
    family = socket.AF_UNIX

    def __init__(self, link: CountingLink) -> None:
        self._link = link

    def send(self, data: bytes) -> int:
        self._link.sends += 1
        return len(data)


class InstantStore:
    """A store that answers at once."""

    def __init__(self) -> None:
        self.seq = 0

    async def append(self, work: Any, drafts: list[Draft], at: datetime) -> list[Verdict]:
        first, self.seq = self.seq + 1, self.seq + len(drafts)
        return [Verdict("stored", seq, at) for seq in range(first, self.seq + 1)]


class Hall:
    """A room with this many people; the first one sends the messages."""

    def __init__(self, people: int, dialect: Dialect = JSONL) -> None:
        self.clock = Clock()
        self.dialect = dialect
        store: Any = InstantStore()
        nothing: Any = None
        self.roster = Roster()
        self.roster.names_known.complete = True
        self.registry = Registry(self.clock, nothing, self.roster, nothing)
        online = Online(self.roster, nothing, lambda: AT)
        pipeline = pipeline_parts(
            settings=Settings(), turn=turns(self.clock), store=store, registry=self.registry, online=online,
            reconciler=nothing, marks=nothing,
        )  # fmt: skip
        self.processors = Processors(pipeline, Lanes(2, self.clock, Limits()), {})
        self.processors.start(1)
        handshake: Any = SimpleNamespace(greet=lambda session: session.notice("Welcome."))
        parts = net_parts(
            clock=self.clock, limits=Limits(handshake_seconds=0, typing_seconds=0, ping_seconds=0), shutdown=Shutdown(),
            handshake=handshake, processors=self.processors, registry=self.registry,
            marks=ReadMarks(self.clock, self.roster, nothing),
            left=lambda session, reason, announced: self.registry.subscriptions.remove(session),
        )  # fmt: skip
        self.factory = ChatFactory(Connections(parts, SessionIds()), LineDoor, Settings())
        self.links = [CountingLink() for _ in range(people)]
        self.doors = [self._connect(number, link) for number, link in enumerate(self.links)]

    def _connect(self, number: int, link: CountingLink) -> LineDoor:
        door = self.factory.buildProtocol(None)
        assert isinstance(door, LineDoor)
        door.makeConnection(link)
        session = door.connection.session
        session.speak(self.dialect, PLAIN)
        session.who, session.stage = Identity(number + 1, f"user{number}"), Stage.IN
        self.registry.subscriptions.subscribe(session, [Membership(BOOKS, 0, 0, "member")], {})
        session.link.admitted()
        link.sends = 0
        return door

    def says(self, messages: int, text: str = "hello") -> None:
        speaker = self.doors[0].connection.session
        speaker.inbox += [c.Say(room="books", text=text, tag=1) for _ in range(messages)]
        self.processors.schedule(speaker)
        self.clock.advance(0)
        assert not speaker.inbox


def calls(work: Callable[[], None]) -> int:
    """How many functions are called, in Python and C. Garbage collection is off: it may have hooks."""
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
def test_a_take_is_one_system_call_per_recipient(messages: int) -> None:
    """However many messages a take has, each recipient costs one `send`; so does the sender, with its answers."""
    hall = Hall(50)
    hall.says(messages)
    assert [link.sends for link in hall.links] == [1] * 50
    assert [link.writes for link in hall.links] == [0] * 50


def test_calls_for_each_recipient() -> None:
    """Another recipient costs a handful of calls: nothing is encoded, copied or awaited for it alone."""
    few, many = Hall(10), Hall(110)
    for hall in (few, many):
        hall.says(1)  # warm up: some work is done only once
    assert calls(lambda: many.says(1)) - calls(lambda: few.says(1)) <= 100 * CALLS_EACH


def test_calls_for_each_person_named() -> None:
    """A message that names everybody in a room costs a handful of calls more for each of them, to find their names, and
    nothing else: it is rendered twice, with the mark and without it."""
    hall = Hall(200, TEXT)
    names = " ".join(door.connection.session.who.name for door in hall.doors)
    nobody = names.replace("user", "nobody")
    hall.says(1, names)
    spoken = calls(lambda: hall.says(1, nobody))
    assert calls(lambda: hall.says(1, names)) - spoken <= 200 * CALLS_NAMED + CALLS_RENDERED


def test_calls_for_each_message() -> None:
    """Another message in a take costs a bounded number of calls, whatever the size of the take."""
    hall = Hall(10)
    hall.says(1)
    one = calls(lambda: hall.says(1))
    assert calls(lambda: hall.says(101)) - one <= 100 * CALLS_MESSAGE


def test_nothing_is_left_of_a_message() -> None:
    """Thousands of messages leave no objects in memory, and no work for the garbage collector."""
    gc.freeze()  # the collections below are of what comes from here on
    gc.disable()
    try:
        hall = Hall(10)
        hall.says(500)
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(10):
            hall.says(500)
        left = sys.getallocatedblocks() - before
        assert gc.collect() == 0
        assert left < 500
    finally:
        gc.enable()
        gc.unfreeze()


def test_nothing_is_left_of_a_connection() -> None:
    """The memory of a connection is freed as soon as it ends, without the garbage collector."""
    gc.freeze()
    gc.disable()
    try:
        hall = Hall(10)
        gc.collect()
        for door, link in zip(hall.doors, hall.links, strict=True):
            link.unregisterProducer()  # as Twisted does
            door.connectionLost()
        hall.doors.clear()
        hall.links.clear()
        del door, link
        assert gc.collect() == 0
    finally:
        gc.enable()
        gc.unfreeze()
