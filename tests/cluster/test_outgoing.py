"""Frames on their way: what shares one, and when they are sent."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from chatserver.cluster import frames
from chatserver.cluster.outgoing import HEADS_SECONDS, PACE_SECONDS, Outgoing
from chatserver.values.events import MESSAGE, Entry, RoomFacts
from tests.support.cluster import Air, MemoryBus

GENERAL, BOOKS = RoomFacts(1, "general"), RoomFacts(2, "books")


class Post:
    """The outgoing frames of one node, and what its bus was given."""

    def __init__(self, *, by_room: bool = False) -> None:
        self.clock = Clock()
        self.air = Air(self.clock, by_room=by_room)
        bus = MemoryBus(self.air, "one")
        receiver: Any = SimpleNamespace(received=lambda data: None, joined=lambda channels: None)
        bus.start(receiver)
        self.outgoing = Outgoing(self.clock, bus, "b" * 32)
        self.outgoing.open = True

    def say(self, facts: RoomFacts, *seqs: int) -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        self.outgoing.entries(facts, [Entry(seq, MESSAGE, 1, "ana", at, "hello") for seq in seqs])

    def told(self) -> list[tuple[str, int, list[frames.Part]]]:
        sent, self.air.sent = self.air.sent, []
        decoded = [frames.decode(parcel.data) for _, parcel in sent]
        return [(frame.channel, frame.number, list(frame.parts)) for frame in decoded]


def seqs(part: frames.Part) -> list[int]:
    assert isinstance(part, frames.Entries)
    return [entry.seq for entry in part.entries]


def test_at_once_then_paced() -> None:
    """After a quiet moment an entry is sent in the same turn of the reactor; what comes within the next five
    milliseconds shares a frame, and so do the entries of a room that follow each other."""
    post = Post()
    post.clock.advance(10)
    post.say(GENERAL, 1)
    post.clock.advance(0)
    [(_, number, [part])] = post.told()
    assert (number, seqs(part)) == (1, [1])
    post.say(GENERAL, 2)
    post.say(BOOKS, 9)
    post.say(GENERAL, 3, 4)
    post.say(GENERAL, 6)
    post.clock.advance(PACE_SECONDS * 0.9)
    assert post.told() == []
    post.clock.advance(PACE_SECONDS * 0.2)
    [(_, number, parts)] = post.told()
    assert number == 2
    assert sorted(map(seqs, parts)) == [[2, 3, 4], [6], [9]]


def test_nobody_is_there() -> None:
    """While no other node is alive, nothing is kept, encoded or sent."""
    post = Post()
    post.outgoing.open = False
    post.say(GENERAL, 1)
    post.outgoing.part(frames.Head(1, 1))
    assert post.clock.getDelayedCalls() == []
    post.outgoing.open = True
    post.say(GENERAL, 2)
    post.clock.advance(1)
    [(_, _, [part])] = post.told()
    assert seqs(part) == [2]


def test_channels() -> None:
    """On a bus with a channel for each room, each has its own numbers; what concerns everybody has the common one, on
    which every node is sent the heads of the rooms a moment later."""
    post = Post(by_room=True)
    for _ in range(2):
        post.say(GENERAL, 1)
        post.outgoing.part(frames.Head(2, 7), "2")
        post.outgoing.part(frames.Changed())
        post.clock.advance(HEADS_SECONDS / 2)
        post.clock.advance(HEADS_SECONDS)
        post.clock.advance(1)
    told = post.told()
    assert sorted((channel, number) for channel, number, _ in told) == [
        ("", 1), ("", 2), ("", 3), ("", 4), ("1", 1), ("1", 2), ("2", 1), ("2", 2),
    ]  # fmt: skip
    assert [parts for channel, number, parts in told if (channel, number) == ("", 2)] == [[frames.Heads({1: 1, 2: 7})]]


def test_many_entries() -> None:
    """More than a frame holds becomes several, with consecutive numbers."""
    post = Post()
    post.say(GENERAL, *range(1, 1001))
    post.clock.advance(1)
    told = post.told()
    assert [number for _, number, _ in told] == list(range(1, len(told) + 1))
    assert [seq for _, _, parts in told for part in parts for seq in seqs(part)] == list(range(1, 1001))
    assert post.outgoing.frames == len(told)


def test_the_last_frame() -> None:
    """Entries announced before the end are still sent, and nothing after it."""
    post = Post()
    post.say(GENERAL, 1)
    post.outgoing.stop()
    assert len(post.told()) == 1
    post.say(GENERAL, 2)
    post.clock.advance(1)
    assert post.told() == []
