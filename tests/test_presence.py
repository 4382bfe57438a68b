"""Who is told that somebody is online or has gone, and when."""

import json
from typing import Any

import pytest
from twisted.internet.task import Clock

from chatserver.delivery.registry import Registry
from chatserver.events import Membership, RoomFacts
from chatserver.presence import Presence
from chatserver.roster import Roster
from chatserver.session import Session
from chatserver.stages import Stage
from chatserver.wire.jsonl import JSONL
from tests.support.link import MemoryLink

BOOKS, CARDS = RoomFacts(1, "books"), RoomFacts(2, "cards")
ANA, BOB, CAI = 1, 2, 3
NAMES = {ANA: "ana", BOB: "bob", CAI: "cai"}
SECONDS = 2.0
HERE, GONE = ("ana", True), ("ana", False)


class Person:
    """One session of somebody."""

    def __init__(self, town: "Town", account: int, rooms: tuple[RoomFacts, ...], apart: frozenset[int]) -> None:
        self._town = town
        self.session = Session("s", "::1", JSONL)
        self.session.account_id, self.session.name = account, NAMES.get(account, f"user{account}")
        self.session.stage = Stage.IN
        self.link = MemoryLink(self.session)
        town.roster.add(self.session, apart)
        town.registry.subscribe(self.session, [Membership(facts, 0, 0, "member") for facts in rooms], {})
        town.presence.came(self.session)

    def leaves(self) -> None:
        """Its connection ends: the order is that of `tap.py`."""
        self._town.presence.going(self.session)
        self._town.registry.remove(self.session)
        self._town.roster.remove(self.session)

    @property
    def told(self) -> list[tuple[str, bool] | tuple[str, bool, str]]:
        """The names of those who came (True) or went, in order; forgets them."""
        lines: list[dict[str, Any]] = [json.loads(line) for line in b"".join(self.link.writes).splitlines()]
        self.link.writes.clear()
        return [
            (line["name"], line["online"], line["away"]) if "away" in line else (line["name"], line["online"])
            for line in lines
        ]


class Town:
    def __init__(self, max_subscribers: int = 0) -> None:
        self.clock = Clock()
        self.roster = Roster()
        self.registry = Registry(self.clock, self._read_page, self.roster)
        self.presence = Presence(self.clock, self.roster, SECONDS, max_subscribers)

    async def _read_page(self, room_id: int, seq: int) -> Any:
        raise AssertionError("Nothing is stored.")

    def arrive(self, account: int, *rooms: RoomFacts, apart: frozenset[int] = frozenset()) -> Person:
        return Person(self, account, rooms or (BOOKS,), apart)


@pytest.fixture
def town() -> Town:
    return Town()


def test_coming_and_going(town: Town) -> None:
    """Those who share a room are told at once that somebody came, and a little later that they have gone."""
    bob, cai = town.arrive(BOB), town.arrive(CAI, CARDS)
    ana = town.arrive(ANA)
    assert bob.told == [HERE]
    ana.leaves()
    town.clock.advance(SECONDS * 0.9)
    assert bob.told == []
    town.clock.advance(SECONDS * 0.1)
    assert (bob.told, cai.told, ana.told) == ([GONE], [], [])


def test_a_flapping_link(town: Town) -> None:
    """Whoever is back in time neither went nor came; the time counts from the last going."""
    bob, ana = town.arrive(BOB), town.arrive(ANA)
    assert bob.told == [HERE]
    for _ in range(5):
        ana.leaves()
        town.clock.advance(SECONDS * 0.9)
        ana = town.arrive(ANA)
    town.clock.advance(SECONDS * 2)
    assert bob.told == []
    ana.leaves()
    town.clock.advance(SECONDS)
    assert bob.told == [GONE]
    town.arrive(ANA)
    assert bob.told == [HERE]


def test_several_connections(town: Town) -> None:
    """Of an account's connections only the first is an arrival, and only the last a departure."""
    bob = town.arrive(BOB)
    town.arrive(ANA).leaves()
    ana, second = town.arrive(ANA), town.arrive(ANA)
    assert bob.told == [HERE]
    ana.leaves()
    town.clock.advance(SECONDS)
    assert bob.told == []
    second.leaves()
    town.clock.advance(SECONDS)
    assert (bob.told, second.told, town.clock.getDelayedCalls()) == ([GONE], [], [])


def test_all_connections_at_once(town: Town) -> None:
    """Where all connections of an account end together, that is one departure."""
    bob, one, two = town.arrive(BOB), town.arrive(ANA), town.arrive(ANA)
    assert bob.told == [HERE]
    one.leaves()
    two.leaves()
    town.clock.advance(SECONDS)
    assert bob.told == [GONE]


def test_each_is_told_of_the_others(town: Town) -> None:
    """One account's return does not keep another's departure from being told."""
    bob, ana, cai = town.arrive(BOB), town.arrive(ANA), town.arrive(CAI)
    ana.leaves()
    cai.leaves()
    town.arrive(CAI)
    assert bob.told == [HERE, ("cai", True)]
    town.clock.advance(SECONDS)
    assert bob.told == [GONE]


def test_who_comes_meanwhile(town: Town) -> None:
    """A departure is told to those who were near: on whatever connection they have by then, but to nobody new."""
    bob, ana = town.arrive(BOB), town.arrive(ANA)
    ana.leaves()
    bob.leaves()
    again, cai = town.arrive(BOB), town.arrive(CAI)
    assert again.told == [("cai", True)]
    town.clock.advance(SECONDS)
    assert (again.told, cai.told) == ([GONE], [])


def test_large_rooms_are_told_nothing() -> None:
    """A room with more sessions than the limit, counting the one that comes or goes, is told of neither."""
    town = Town(max_subscribers=3)
    bob, cai = town.arrive(BOB), town.arrive(CAI, CARDS)
    town.arrive(4, CARDS)
    assert cai.told == [("user4", True)]
    town.arrive(5)
    ana = town.arrive(ANA, BOOKS, CARDS)  # the third in both
    assert (bob.told, cai.told) == ([("user5", True), HERE], [HERE])
    town.arrive(6, CARDS)
    ana.leaves()
    town.clock.advance(SECONDS)
    assert (bob.told, cai.told) == ([GONE], [])


def test_those_apart(town: Town) -> None:
    """Whoever is blocked, or has blocked, is told neither; the others are."""
    bob, cai = town.arrive(BOB, apart=frozenset({ANA})), town.arrive(CAI)
    assert bob.told == [("cai", True)]
    ana = town.arrive(ANA, apart=frozenset({BOB}))
    ana.leaves()
    town.clock.advance(SECONDS)
    assert (bob.told, cai.told) == ([], [HERE, GONE])


def test_away(town: Town) -> None:
    """`tell` says again that an account is online, with its away text, to everybody near except itself."""
    bob, ana, second = town.arrive(BOB), town.arrive(ANA), town.arrive(ANA)
    assert bob.told == [HERE]
    town.roster.set_away(ANA, "lunch")
    town.presence.tell(ana.session)
    assert (bob.told, ana.told, second.told) == ([("ana", True, "lunch")], [], [])
    town.roster.set_away(ANA, "")
    town.presence.tell(ana.session)
    assert bob.told == [HERE]
