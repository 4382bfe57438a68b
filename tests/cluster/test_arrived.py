"""Entries that another node has committed: they come in any order, twice, in other batches, or not at all."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.delivery.fanout import MAX_EARLY_BATCHES
from chatserver.delivery.gaps import GAP_SECONDS
from chatserver.session.other_nodes import Elsewhere
from chatserver.values import events
from chatserver.values.events import Entry, RoomFacts
from tests.delivery.test_registry import ANA, BOB, BOOKS, DIRECT, Town, entry


class Others(Elsewhere):
    """The frames that this node sends to others."""

    def __init__(self) -> None:
        self.told: list[list[int]] = []
        self.heads: list[tuple[int, int]] = []
        self.rooms: list[tuple[int, bool]] = []

    def announced(self, facts: RoomFacts, entries: Any) -> None:
        self.told.append([one.seq for one in entries])

    def found(self, room_id: int, seq: int) -> None:
        self.heads.append((room_id, seq))

    def heard(self, room_id: int, *, here: bool) -> None:
        self.rooms.append((room_id, here))


@pytest.fixture
def town() -> Town:
    town = Town()
    town.roster.nodes.join(Others())
    return town


def others(town: Town) -> Others:
    found = town.registry.elsewhere
    assert isinstance(found, Others)
    return found


@given(st.data())
def test_any_pieces_in_any_order(data: st.DataObject) -> None:
    """Some entries are committed here, the others come as overlapping pieces, as numbers, or not at all: every reader
    hears 1, 2, 3, ... and nobody takes that for a database that was set back."""
    town = Town(data.draw(st.integers(0, 2), "slice"))
    listeners = [town.login(account) for account in (ANA, BOB)]
    log = town.store(*(entry(seq) for seq in range(1, data.draw(st.integers(1, 12), "length") + 1)))
    own = data.draw(st.sets(st.sampled_from(range(1, len(log) + 1))), "own")
    acts: list[tuple[str, int, int]] = [("commit", seq, seq) for seq in own]
    for _ in range(data.draw(st.integers(0, 10), "pieces")):
        first = data.draw(st.integers(1, len(log)), "first")
        last = data.draw(st.integers(first, len(log)), "last")
        if not own & set(range(first, last + 1)):
            acts.append(("arrive", first, last))
        acts.append(("number", last, last))
    for what, first, last in data.draw(st.permutations(acts), "order"):
        match what:
            case "commit":
                town.registry.order.announce(BOOKS, log[first - 1 : last])
            case "arrive":
                town.registry.order.arrived(BOOKS, log[first - 1 : last])
            case _:
                town.registry.order.reaches(BOOKS.id, last)
        if data.draw(st.booleans(), "time passes"):
            town.clock.advance(GAP_SECONDS / 2)
        for one in listeners:
            assert one.heard() == list(range(1, len(one.heard()) + 1))
    town.registry.order.reaches(BOOKS.id, len(log))
    town.clock.advance(1)
    assert [one.heard() for one in listeners] == [list(range(1, len(log) + 1))] * 2
    assert town.rewound == []


def test_only_what_is_committed_here_is_told(town: Town) -> None:
    """A node sends others what it has committed, and the number of what it found in the store in doubt; never what
    came from them."""
    town.login(ANA)
    town.registry.order.arrived(BOOKS, town.store(entry(1)))
    town.say()
    town.store(entry(3))
    town.registry.order.reaches(BOOKS.id, 3)
    town.clock.advance(1)
    assert (others(town).told, others(town).heads) == ([[2]], [])
    town.store(entry(4))
    room = town.registry.rooms.find(BOOKS.id)
    assert room is not None
    town.registry.order.doubt(room)
    town.clock.advance(1)
    assert others(town).heads == [(BOOKS.id, 4)]


def test_a_room_that_nobody_heard_for_long(town: Town) -> None:
    """A session that comes into a room where others have talked meanwhile is neither sent the entries that this node
    has missed, nor does it wait for them."""
    town.say(3)
    for seq in range(4, 40):
        town.store(entry(seq))
    one = town.login(ANA)
    town.clock.advance(1)
    assert (one.heard(), town.reads) == ([], [])
    town.registry.order.arrived(BOOKS, town.store(entry(40)))
    assert one.heard() == [40]
    assert town.reads == []


def test_between_reading_and_hearing(town: Town) -> None:
    """Entries that arrive after a login has read the head of a room, and before it subscribes, are not lost."""
    log = town.store(*(entry(seq) for seq in range(1, 6)))
    town.registry.order.arrived(BOOKS, log[3:])
    one = town.login(ANA, seq=3)
    town.clock.advance(1)
    assert one.heard() == [4, 5]


def test_who_enters_elsewhere(town: Town) -> None:
    """A session hears a room that its account enters at another node, and a direct room from its first message on."""
    one = town.login(ANA, facts=None)
    town.registry.order.arrived(BOOKS, town.store(entry(1, events.JOINED, ANA), entry(2)))
    town.registry.order.arrived(DIRECT, town.store(entry(1, author=BOB), facts=DIRECT))
    town.clock.advance(1)
    assert one.heard() == [1, 2]
    assert one.heard("@bob") == [1]


def test_an_entry_that_comes_behind_later_ones(town: Town) -> None:
    """If nobody hears a room, entries are not waited for: somebody here who entered it by one that comes too late is
    looked up."""
    missed: list[int] = []
    town.registry.rooms.follow(SimpleNamespace(missed=missed.append))
    town.login(ANA, facts=None)
    town.registry.order.arrived(BOOKS, [entry(8)])
    town.registry.order.arrived(BOOKS, [entry(7, events.JOINED, BOB)])
    assert missed == []
    town.registry.order.arrived(BOOKS, [entry(6, events.JOINED, ANA)])
    assert missed == [BOOKS.id]


def test_more_than_can_be_written() -> None:
    """While a huge room is being written to, no more than some batches of other nodes are kept in memory: the rest is
    read once there is time for it."""
    town = Town(slice=1)
    listeners = [town.login(account) for account in range(1, 5)]
    for seq in range(1, 10 * MAX_EARLY_BATCHES):
        town.registry.order.arrived(BOOKS, town.store(entry(seq)))
        room = town.registry.rooms.find(BOOKS.id)
        assert room is not None
        assert len(room.early) <= MAX_EARLY_BATCHES + 1
    for _ in range(1000):
        town.clock.advance(0.01)
    assert all(one.heard() == list(range(1, 10 * MAX_EARLY_BATCHES)) for one in listeners)


def test_which_rooms_are_heard(town: Town) -> None:
    """The first subscriber and the last one make a difference to the bus, and nobody in between."""
    one, two = town.login(ANA), town.login(BOB)
    town.remove(one.session)
    town.remove(two.session)
    assert others(town).rooms == [(BOOKS.id, True), (BOOKS.id, False)]


def test_a_shorter_batch_does_not_replace_a_longer_one(town: Town) -> None:
    """Two nodes may send the same entries: the longer batch waits, so that nothing is read again."""
    one = town.login(ANA)
    log: list[Entry] = town.store(*(entry(seq) for seq in range(1, 5)))
    for batch in (log[1:], log[1:2], log[:1]):
        town.registry.order.arrived(BOOKS, batch)
    assert one.heard() == [1, 2, 3, 4]
    assert town.reads == []
