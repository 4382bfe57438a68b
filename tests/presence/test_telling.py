"""News that somebody is online or has gone: its recipients and its time."""

import json
from collections.abc import Collection
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from chatserver.delivery.registry import Registry
from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.session.session import Identity, Session
from chatserver.settings.tables import Limits
from chatserver.sync.rewind import Rewind
from chatserver.values.errors import Unavailable
from chatserver.values.events import Membership, RoomFacts
from chatserver.values.stages import Stage
from chatserver.wire.jsonl import JSONL
from tests.support.link import MemoryLink
from tests.support.pages import StubPages

BOOKS, CARDS = RoomFacts(1, "books"), RoomFacts(2, "cards")
ANA, BOB, CAI = 1, 2, 3
NAMES = {ANA: "ana", BOB: "bob", CAI: "cai"}
SECONDS = 2.0
NEWS_SECONDS = 5.0
HERE, GONE = ("ana", True), ("ana", False)


class Person:
    """One session of somebody."""

    def __init__(self, town: "Town", account: int, rooms: tuple[RoomFacts, ...], apart: frozenset[int]) -> None:
        self._town = town
        self.session = Session("s", "::1", JSONL)
        self.session.who = Identity(account, NAMES.get(account, f"user{account}"))
        self.session.stage = Stage.IN
        self.link = MemoryLink(self.session)
        town.roster.add(self.session, apart)
        town.registry.subscriptions.subscribe(self.session, [Membership(facts, 0, 0, "member") for facts in rooms], {})
        town.presence.came(self.session)

    def leaves(self) -> None:
        """Its connection ends: the order is that of `tap.py`."""
        self._town.presence.going(self.session)
        self._town.registry.subscriptions.remove(self.session)
        self._town.roster.remove(self.session)

    def away(self, text: str = "") -> None:
        self._town.presence.away(self.session, text)

    @property
    def shown(self) -> dict[str, str]:
        """The away texts in the list of those who are near."""
        town, me = self._town, self.session
        near = {other.who.account_id: other.who.name for other in town.roster.nearby(me)}
        return {name: text for id, name in near.items() if (text := town.roster.away_text_shown(me, id))}

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
    def __init__(self, max_subscribers: int = 0, news_seconds: float = 0) -> None:
        self.clock = Clock()
        self.roster = Roster()
        self.registry = Registry(self.clock, StubPages(self.clock, self._read_page), self.roster, Rewind())
        self.muted_in: dict[int, frozenset[int]] = {}
        self.answers: list[Deferred[None]] | None = None
        """The reads of mutes under way; None: each is answered at once."""
        limits = Limits(presence_seconds=SECONDS, presence_members=max_subscribers, news_seconds=news_seconds)
        self.presence = Presence(self.clock, self.roster, limits, self._mutes)

    async def _mutes(self, account_ids: Collection[int]) -> dict[int, frozenset[int]]:
        known = {account_id: self.muted_in.get(account_id, frozenset()) for account_id in account_ids}
        if self.answers is not None:
            self.answers.append(Deferred())
            await self.answers[-1]
        return known

    def mute(self, account_id: int, room: RoomFacts) -> None:
        """The database has it, and then everybody hears it."""
        self.muted_in[account_id] = self.muted_in.get(account_id, frozenset()) | {room.id}
        self.roster.mutes_changed(account_id)

    async def _read_page(self, room_id: int, seq: int) -> Any:
        raise AssertionError("Nothing is stored.")

    def passes(self, seconds: float) -> None:
        """Time passes, in steps of a tenth of a second."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)

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
    """An account that is back in time neither went nor came; the time counts from the last going."""
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
    """Only the first connection of an account is an arrival, and only the end of the last one a departure."""
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


def test_a_login_that_fails_halfway(town: Town) -> None:
    """An account of which nobody was told that it came may go, even twice: that is one departure."""
    bob, ana = town.arrive(BOB), town.arrive(ANA)
    assert bob.told == [HERE]
    ana.leaves()
    town.roster.add(ana.session)
    town.registry.subscriptions.subscribe(ana.session, [Membership(BOOKS, 0, 0, "member")], {})
    ana.leaves()
    ana.leaves()
    town.clock.advance(SECONDS)
    assert (bob.told, town.clock.getDelayedCalls()) == ([GONE], [])


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
    """Accounts that are blocked, or have blocked, are told neither; the others are."""
    bob, cai = town.arrive(BOB, apart=frozenset({ANA})), town.arrive(CAI)
    assert bob.told == [("cai", True)]
    ana = town.arrive(ANA, apart=frozenset({BOB}))
    ana.leaves()
    town.clock.advance(SECONDS)
    assert (bob.told, cai.told) == ([], [HERE, GONE])


def test_away(town: Town) -> None:
    """Everybody near except the account itself is told that it is away, why, and that it is back."""
    bob, ana, second = town.arrive(BOB), town.arrive(ANA), town.arrive(ANA)
    assert bob.told == [HERE]
    ana.away("lunch")
    second.away("lunch")
    assert (bob.told, ana.told, second.told) == ([("ana", True, "lunch")], [], [])
    second.away()
    ana.away()
    assert bob.told == [HERE]


def test_whoever_comes_back_is_not_away(town: Town) -> None:
    """Being away ends with the last connection; those who were told of it are told when the account is back at once."""
    bob, ana = town.arrive(BOB), town.arrive(ANA)
    ana.away("lunch")
    assert bob.told == [HERE, ("ana", True, "lunch")]
    ana.leaves()
    town.arrive(ANA)
    assert bob.told == [HERE]


# Often


@pytest.fixture
def paced() -> Town:
    return Town(news_seconds=NEWS_SECONDS)


def test_the_last_state_wins(paced: Town) -> None:
    """After a quiet time a change is told at once, and what follows within `news_seconds` once they are over: only the
    last of it."""
    bob, ana = paced.arrive(BOB), paced.arrive(ANA)
    paced.passes(60)
    assert bob.told == [HERE]
    for n in range(100):
        ana.away(f"number {n}")
    assert bob.told == [("ana", True, "number 0")]
    paced.clock.advance(NEWS_SECONDS - 0.1)
    assert bob.told == []
    paced.clock.advance(0.1)
    assert bob.told == [("ana", True, "number 99")]
    paced.passes(60)
    assert (bob.told, paced.clock.getDelayedCalls()) == ([], [])
    ana.away()
    assert bob.told == [HERE]


def test_a_change_and_its_reversal(paced: Town) -> None:
    """Nothing is told of what has changed back by the time at which it could be told."""
    bob, ana = paced.arrive(BOB), paced.arrive(ANA)
    paced.passes(60)
    ana.away("lunch")
    assert bob.told == [HERE, ("ana", True, "lunch")]
    for _ in range(10):
        ana.away()
        ana.away("lunch")
    ana.leaves()
    ana = paced.arrive(ANA)
    ana.away("lunch")
    paced.passes(60)
    assert (bob.told, paced.clock.getDelayedCalls()) == ([], [])


@pytest.mark.parametrize("pause", [0.1, 0.5, 1, 1.9, 2.1, 3, 4.9])
def test_flapping(paced: Town, pause: float) -> None:
    """However somebody comes and goes, is away and back, others are told once in `news_seconds` at most, and in the
    end what is so."""
    bob = paced.arrive(BOB)
    times: list[float] = []
    told: list[Any] = []

    def passes(seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            paced.clock.advance(0.1)
            if news := bob.told:
                times.append(paced.clock.seconds())
                told.extend(news)

    for _ in range(30):
        ana = paced.arrive(ANA)
        passes(pause)
        ana.away("lunch")
        passes(pause)
        ana.leaves()
        passes(pause)
    passes(20)
    assert all(later - earlier > NEWS_SECONDS - 0.11 for earlier, later in pairwise(times))
    assert len(told) == len(times) > 0
    assert told[-1] == GONE or bob.told == []
    assert paced.clock.getDelayedCalls() == []


def test_one_quiet_account_does_not_wait_for_a_noisy_one(paced: Town) -> None:
    """Somebody who changes all the time holds up the news of others for a second at most."""
    bob, ana, cai = paced.arrive(BOB), paced.arrive(ANA), paced.arrive(CAI)
    paced.passes(60)
    _ = bob.told
    ana.away("one")
    cai.away("lunch")
    ana.away("two")
    assert bob.told == [("ana", True, "one")]
    paced.clock.advance(1)
    assert bob.told == [("cai", True, "lunch")]
    paced.passes(60)
    assert bob.told == [("ana", True, "two")]


def test_a_mass_return(paced: Town) -> None:
    """When many come within a second, each recipient is told in one piece."""
    bob = paced.arrive(BOB)
    paced.arrive(ANA)
    assert len(bob.told) == 1
    bob.link.calls.clear()
    for account in range(10, 110):
        paced.arrive(account)
        paced.clock.advance(0.005)
    assert bob.link.calls == []
    paced.clock.advance(1)
    assert bob.link.calls == ["hold", *["write"] * 100, "release"]
    assert len(bob.told) == 100
    for account in range(10, 110):
        Person(paced, account, (BOOKS,), frozenset()).leaves()
    assert paced.clock.getDelayedCalls() == []


def test_a_mass_return_takes_several_turns(paced: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of notices written in one turn of the reactor is bounded; the rest follow in the next turns."""
    monkeypatch.setattr("chatserver.presence.telling.SLICE_RECIPIENTS", 29)
    paced.arrive(BOB)
    everybody = [paced.arrive(account) for account in range(10, 20)]
    paced.clock.advance(1)
    assert [len(person.told) for person in everybody] == [9, *[8] * 9]  # the first one came before all others
    assert everybody[0].link.calls.count("hold") == 3


def test_a_block_meanwhile(paced: Town) -> None:
    """An account that is kept apart by the time at which news is sent is told nothing."""
    bob, cai, ana = paced.arrive(BOB), paced.arrive(CAI), paced.arrive(ANA)
    paced.passes(60)
    _ = bob.told, cai.told
    ana.away("lunch")
    ana.away("work")
    ana.leaves()
    paced.roster.set_apart(BOB, ANA, apart=True)
    paced.passes(60)
    assert (bob.told, cai.told) == ([("ana", True, "lunch")], [("ana", True, "lunch"), GONE])


# Muted


def test_the_away_text_of_somebody_who_is_muted(town: Town) -> None:
    """Those who share only rooms where an account is muted see no away text: neither as news nor in a list."""
    ana, bob, cai = town.arrive(ANA, BOOKS, CARDS), town.arrive(BOB, BOOKS), town.arrive(CAI, BOOKS, CARDS)
    _ = bob.told, cai.told
    town.mute(ANA, BOOKS)
    ana.away("lunch")
    assert (bob.told, bob.shown) == ([], {})
    assert (cai.told, cai.shown) == ([("ana", True, "lunch")], {"ana": "lunch"})
    town.mute(ANA, CARDS)
    assert (bob.shown, cai.shown) == ({}, {})
    town.muted_in.clear()
    town.roster.mutes_changed(ANA)
    assert (bob.shown, cai.shown) == ({"ana": "lunch"}, {"ana": "lunch"})
    ana.away()
    assert (bob.told, cai.told) == ([HERE], [HERE])


def test_who_comes_back_muted_and_away(paced: Town) -> None:
    """Where an away text is not shown, others still see that its author is online."""
    bob = paced.arrive(BOB)
    paced.arrive(CAI, CARDS)
    paced.muted_in[ANA] = frozenset({BOOKS.id})
    paced.arrive(4)
    ana = paced.arrive(ANA)
    ana.away("lunch")
    paced.clock.advance(1)
    assert bob.told == [("user4", True), HERE]


def test_a_mute_while_mutes_are_read(town: Town) -> None:
    """Until it is known where somebody is muted, nobody sees their away text; a read from before the mute is not
    believed."""
    ana, bob = town.arrive(ANA), town.arrive(BOB)
    town.answers = []
    ana.away("lunch")
    assert (bob.told, bob.shown) == ([], {})
    town.mute(ANA, BOOKS)
    for n in range(10):
        ana.away(f"lunch {n}")
    for reads in (1, 2):  # however often it is asked, one at a time
        assert len(town.answers) == reads
        town.answers[-1].callback(None)
        assert (bob.told, bob.shown) == ([], {})
    assert len(town.answers) == 2


def test_news_while_mutes_are_read(paced: Town) -> None:
    """What is due while it is read where somebody is muted is told right after that, and is not lost."""
    cai, ana = paced.arrive(CAI, CARDS), paced.arrive(ANA, BOOKS, CARDS)
    paced.passes(60)
    ana.away("lunch")
    ana.away("work")
    assert cai.told == [HERE, ("ana", True, "lunch")]
    paced.answers = []
    paced.mute(ANA, BOOKS)
    paced.passes(NEWS_SECONDS)
    assert cai.told == []
    paced.answers[-1].callback(None)
    assert cai.told == [("ana", True, "work")]


def test_mutes_that_cannot_be_read(town: Town) -> None:
    """While the database is away, away texts are told to nobody; once it is back they are."""
    ana, bob = town.arrive(ANA), town.arrive(BOB)
    town.answers = []
    ana.away("lunch")
    town.answers.pop().errback(Unavailable())
    assert (bob.told, bob.shown) == ([], {})
    town.answers = None
    town.clock.advance(1)
    assert (bob.told, bob.shown) == ([("ana", True, "lunch")], {"ana": "lunch"})


def test_news_that_cannot_be_told(paced: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in telling one piece of news, or in reading where somebody is muted, keeps no later news from anybody."""
    bob, ana = paced.arrive(BOB), paced.arrive(ANA)
    paced.passes(60)
    assert bob.told == [HERE]
    with monkeypatch.context() as broken:
        broken.setattr(paced.roster, "tell", None)
        ana.away("lunch")
    assert bob.told == []
    paced.answers = []
    ana.away("work")
    paced.answers.pop().errback(ValueError())
    paced.answers = None
    paced.passes(60)
    ana.away()
    assert bob.told == [HERE]
