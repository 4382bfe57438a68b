"""Guests leave when their connection ends."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs
from twisted.internet.task import Clock

from chatserver.delivery.registry import Registry
from chatserver.login.guests import LOST_SECONDS, PLACES_SWEPT, RETRY_SECONDS, GuestPlaces, Guests
from chatserver.presence.roster import Roster
from chatserver.session.session import Identity, Session
from chatserver.settings.tables import Limits
from chatserver.store.rooms import dismiss_guest, lost_guests
from chatserver.sync.rewind import Rewind
from chatserver.util.waiting import POLL_SECONDS
from chatserver.values.errors import Refused, Unavailable
from chatserver.values.events import GUEST, LEFT, Entry, Membership, Person, RoomFacts
from chatserver.values.stages import Stage
from chatserver.wire.jsonl import JSONL
from tests.support.link import MemoryLink
from tests.support.memory import MemoryStore, logged_failures
from tests.support.pages import StubPages

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)
BOOKS, CARDS = RoomFacts(1, "books"), RoomFacts(2, "cards")
BOB = 1
GUEST_7 = Person(7, "~7", GUEST)


class Town:
    def __init__(self) -> None:
        self.clock = Clock()
        self.roster = Roster()
        self.registry = Registry(self.clock, StubPages(self.clock, self._read_page), self.roster, Rewind())
        self.store = MemoryStore(
            {
                dismiss_guest: lambda who, at: [
                    (facts, [Entry(1, LEFT, who.id, who.name, at)]) for facts in (BOOKS, CARDS)
                ],
                lost_guests: lambda at: [GUEST_7] if at == AT else [],
            }
        )
        store: Any = self.store
        self.suspected: list[Person] = []
        now: Any = self._now
        reconciler: Any = SimpleNamespace(suspect=self.suspected.append)
        self.guests = Guests(self.clock, store, self.registry, now, reconciler)
        self.bob, self.guest = self._session(Person(BOB, "bob")), self._session(GUEST_7)
        self.bob_link = MemoryLink(self.bob)
        self.roster.add(self.bob)
        self.registry.subscriptions.subscribe(
            self.bob, [Membership(facts, 0, 0, "member") for facts in (BOOKS, CARDS)], {}
        )

    def _now(self) -> datetime:
        return AT

    async def _read_page(self, room_id: int, seq: int) -> Any:
        raise AssertionError("Nothing is missed here.")

    def _session(self, person: Person) -> Session:
        session = Session("s", "::1", JSONL)
        session.who = Identity(person.id, person.name, kind=person.kind)
        session.stage = Stage.IN
        return session

    @property
    def heard(self) -> list[bytes]:
        return [line for write in self.bob_link.writes for line in write.splitlines()]


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_guest_leaves_all_rooms(town: Town) -> None:
    """Those in the guest's rooms hear that the guest has left, room by room."""
    town.guests.dismiss(town.guest)
    assert town.store.called(dismiss_guest) == [(GUEST_7, AT)]
    assert [(b'"event":"left"' in line, b'"room":"books"' in line) for line in town.heard] == [
        (True, True),
        (True, False),
    ]


def test_what_the_guest_said_last_comes_first(town: Town) -> None:
    """A guest is still in the rooms while a command of theirs is being served."""
    town.guest.waiting = True
    town.guests.dismiss(town.guest)
    town.clock.pump([POLL_SECONDS] * 20)
    assert town.store.calls == []
    town.guest.waiting = False
    town.clock.advance(POLL_SECONDS)
    assert len(town.store.calls) == 1
    assert len(town.heard) == 2
    assert town.clock.getDelayedCalls() == []


def test_the_database_is_away(town: Town) -> None:
    """A guest who leaves meanwhile is dismissed as soon as it is back. Only the store logs that it is away."""
    town.store.fail(dismiss_guest, *[Unavailable()] * 3)
    with logged_failures() as failures:
        town.guests.dismiss(town.guest)
        town.clock.pump([RETRY_SECONDS] * 2)
        assert (len(town.store.calls), town.heard, town.guests.idle) == (3, [], False)
        town.clock.advance(RETRY_SECONDS)
    assert (len(town.store.calls), len(town.heard), town.guests.idle) == (4, 2, True)
    assert (failures, town.clock.getDelayedCalls()) == ([], [])
    assert town.suspected == [GUEST_7] * 3  # each of these attempts may have been committed


def test_many_guests_leave(town: Town) -> None:
    """They are dismissed one after another. While the database is away one attempt is made at a time."""
    others = [Person(number, f"~{number}", GUEST) for number in range(8, 20)]
    town.store.fail(dismiss_guest, Unavailable())
    for other in others:
        town.guests.not_admitted(other)
    assert len(town.store.calls) == 1
    town.clock.advance(RETRY_SECONDS)
    assert sorted(guest.id for guest, _ in town.store.called(dismiss_guest)[1:]) == [other.id for other in others]


def test_a_bug_in_the_dismissal_of_one(town: Town) -> None:
    """It is logged once, and tried again behind the others, whom it does not keep."""
    other, error = Person(8, "~8", GUEST), RuntimeError("a bug")
    town.store.hold(dismiss_guest)
    town.store.fail(dismiss_guest, error)
    with logged_failures() as failures:
        town.guests.dismiss(town.guest)
        town.guests.not_admitted(other)
        town.store.release(dismiss_guest)
        assert town.heard == []
        town.clock.advance(RETRY_SECONDS)
        assert [guest for guest, _ in town.store.called(dismiss_guest)] == [GUEST_7, other, GUEST_7]
        town.store.fail(dismiss_guest, *[error] * 5)
        town.guests.dismiss(town.guest)
        town.clock.pump([RETRY_SECONDS] * 5)
    assert (failures, town.guests.idle) == ([error, error], True)


def test_what_cannot_be_announced(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest is dismissed all the same, and the room is read again."""
    error = RuntimeError("a bug")

    def fail(*_: object) -> None:
        raise error

    doubted: list[int] = []
    monkeypatch.setattr(town.registry.order, "_announce", fail)
    monkeypatch.setattr(town.registry.order, "doubt", lambda room: doubted.append(room.facts.id))
    with logged_failures() as failures:
        town.guests.dismiss(town.guest)
    assert (failures, town.suspected, town.guests.idle) == ([error, error], [GUEST_7, GUEST_7], True)
    assert doubted == [room.facts.id for room in town.registry.rooms]


def test_a_guest_whose_creation_was_not_answered(town: Town) -> None:
    """It is looked for once a late commit must have come, as soon as the database answers, and then dismissed."""
    town.guests.lost(AT)
    town.store.fail(lost_guests, Unavailable())
    town.clock.advance(LOST_SECONDS)
    assert town.store.called(dismiss_guest) == []
    town.clock.advance(RETRY_SECONDS)
    assert town.store.called(dismiss_guest) == [(GUEST_7, AT)]
    assert town.clock.getDelayedCalls() == []


def test_stopping(town: Town) -> None:
    """A server that stops tries once; the next start dismisses the rest."""
    town.guests.stop()
    town.store.fail(dismiss_guest, Unavailable())
    town.guests.dismiss(town.guest)
    assert (len(town.store.calls), town.guests.idle, town.clock.getDelayedCalls()) == (1, True, [])
    town.guests.not_admitted(Person(8, "~8", GUEST))
    assert len(town.store.calls) == 2


def arriving(address: str) -> Session:
    session = Session("s", address, JSONL)
    session.stage = Stage.BUSY
    return session


def test_places() -> None:
    """Guests of an address count while they log in and while they are connected; an IPv6 /64 is one address."""
    places = GuestPlaces(Limits(guests_per_address=2, exempt=["192.0.2.0/24"]))
    one, two, three = (arriving(f"2001:db8::{number}") for number in range(3))
    places.take(one)
    places.take(one)  # once more, after it failed
    places.take(two)
    with pytest.raises(Refused, match="slow-down"):
        places.take(three)
    one.stage, one.who = Stage.IN, structs.replace(one.who, kind=GUEST)
    with pytest.raises(Refused, match="slow-down"):
        places.take(three)
    two.stage = Stage.GREETING  # it was refused for another reason
    places.take(three)
    one.stage = Stage.ENDING
    places.take(two)
    for _ in range(3):
        places.take(arriving("192.0.2.1"))
        GuestPlaces(Limits(guests_per_address=0)).take(arriving("::1"))


def test_places_are_forgotten() -> None:
    """Addresses from which nobody is there any more are not kept."""
    places = GuestPlaces(Limits(guests_per_address=1))
    for number in range(3 * PLACES_SWEPT):
        session = arriving(f"10.0.{number // 256}.{number % 256}")
        places.take(session)
        session.stage = Stage.ENDING
    assert len(places._taken) <= PLACES_SWEPT
