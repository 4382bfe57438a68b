"""Guests leave when their connection ends."""

from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.task import Clock

from chatserver.delivery.registry import Registry
from chatserver.errors import Unavailable
from chatserver.events import GUEST, LEFT, Entry, Membership, Person, RoomFacts
from chatserver.guests import Guests
from chatserver.roster import Roster
from chatserver.session import Session
from chatserver.stages import Stage
from chatserver.store.rooms import dismiss_guest
from chatserver.turns import POLL_SECONDS
from chatserver.wire.jsonl import JSONL
from tests.support.link import MemoryLink
from tests.support.memory import MemoryStore, logged_failures

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)
BOOKS, CARDS = RoomFacts(1, "books"), RoomFacts(2, "cards")
BOB = 1
GUEST_7 = Person(7, "~7", GUEST)


class Town:
    def __init__(self) -> None:
        self.clock = Clock()
        self.roster = Roster()
        self.registry = Registry(self.clock, self._read_page, self.roster)
        self.store = MemoryStore(
            {
                dismiss_guest: lambda who, at: [
                    (facts, [Entry(1, LEFT, who.id, who.name, at)]) for facts in (BOOKS, CARDS)
                ]
            }
        )
        store: Any = self.store
        self.guests = Guests(self.clock, store, self.registry, lambda: AT)
        self.bob, self.guest = self._session(Person(BOB, "bob")), self._session(GUEST_7)
        self.bob_link = MemoryLink(self.bob)
        self.roster.add(self.bob)
        self.registry.subscribe(self.bob, [Membership(facts, 0, 0, "member") for facts in (BOOKS, CARDS)], {})

    async def _read_page(self, room_id: int, seq: int) -> Any:
        raise AssertionError("Nothing is missed here.")

    def _session(self, person: Person) -> Session:
        session = Session("s", "::1", JSONL)
        session.account_id, session.name, session.kind = person.id, person.name, person.kind
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


@pytest.mark.parametrize("error", [RuntimeError("a bug"), Unavailable()])
def test_a_guest_who_could_not_leave(town: Town, error: Exception) -> None:
    """That is logged, and nobody hears anything; the start of the server dismisses the guest."""
    town.store.fail(dismiss_guest, error)
    with logged_failures() as failures:
        town.guests.dismiss(town.guest)
    assert (failures, town.heard) == ([error], [])
