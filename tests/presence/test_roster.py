"""Who is online, who is away, and who does not see whom."""

import json
from datetime import UTC, datetime
from typing import Any

from msgspec import structs
from twisted.internet.task import Clock

from chatserver.delivery.registry import Registry
from chatserver.presence.roster import Roster
from chatserver.session.session import Identity, Session
from chatserver.sync.rewind import Rewind
from chatserver.values.events import Membership, Presence, RoomFacts
from chatserver.values.stages import Stage
from chatserver.values.token_scope import Scope
from chatserver.wire.dialect import Dialect, Rendered
from chatserver.wire.jsonl import JSONL, JsonLines
from chatserver.wire.screen import SCREEN, Screen
from chatserver.wire.text import TEXT
from tests.support.link import MemoryLink
from tests.support.pages import StubPages

BOOKS, CARDS = RoomFacts(1, "books"), RoomFacts(2, "cards")
ANA, BOB, CAI = 1, 2, 3
NEWS = Presence("dot", True)


class Town:
    def __init__(self) -> None:
        self.roster = Roster()
        self.registry = Registry(Clock(), StubPages(Clock(), self._read_page), self.roster, Rewind())

    async def _read_page(self, room_id: int, seq: int) -> Any:
        raise AssertionError("Nothing is stored.")

    def arrive(
        self, account: int, *rooms: RoomFacts, dialect: Dialect = JSONL, apart: frozenset[int] = frozenset()
    ) -> Session:
        session = Session("s", "::1", dialect)
        session.who, session.stage = Identity(account), Stage.IN
        MemoryLink(session)
        self.roster.add(session, apart)
        self.registry.subscriptions.subscribe(session, [Membership(facts, 0, 0, "member") for facts in rooms], {})
        return session

    def leave(self, session: Session) -> None:
        self.registry.subscriptions.remove(session)
        self.roster.remove(session)


def written(session: Session) -> bytes:
    link: Any = session.link
    return b"".join(link.writes)


def test_online_while_it_has_a_session() -> None:
    """An account is online until its last session has gone; removing a session twice does no harm."""
    town = Town()
    one, two, bob = town.arrive(ANA), town.arrive(ANA), town.arrive(BOB)
    assert town.roster.sessions(ANA) == [one, two]
    assert town.roster.all_sessions() == [one, two, bob]
    town.leave(one)
    town.leave(one)
    assert town.roster.visible_to(BOB) == {ANA, BOB}
    town.leave(two)
    assert town.roster.sessions(ANA) == []
    assert town.roster.visible_to(BOB) == {BOB}


def test_away_ends_with_the_last_session() -> None:
    """Away texts belong to the account: they last while it has a session, and do not come back with it."""
    town = Town()
    one, two = town.arrive(ANA), town.arrive(ANA)
    assert town.roster.set_away(ANA, "lunch")
    assert not town.roster.set_away(ANA, "lunch")
    town.leave(one)
    assert town.roster.away_texts() == {ANA: "lunch"}
    town.leave(two)
    town.arrive(ANA)
    assert (town.roster.away_text(ANA), town.roster.away_texts()) == ("", {})
    assert not town.roster.set_away(ANA, "")


def test_back() -> None:
    """An empty text ends being away."""
    town = Town()
    town.arrive(ANA)
    town.roster.set_away(ANA, "lunch")
    assert town.roster.set_away(ANA, "")
    assert town.roster.away_texts() == {}


def test_apart_both_ways() -> None:
    """Accounts kept apart do not see each other, whoever blocked whom; others see both."""
    town = Town()
    ana, bob, cai = town.arrive(ANA, BOOKS), town.arrive(BOB, BOOKS), town.arrive(CAI, BOOKS)
    town.roster.set_apart(ANA, BOB, apart=True)
    assert town.roster.visible_to(ANA) == {ANA, CAI}
    assert town.roster.visible_to(BOB) == {BOB, CAI}
    assert town.roster.visible_to(CAI) == {ANA, BOB, CAI}
    assert (town.roster.nearby(ana), town.roster.nearby(bob), town.roster.nearby(cai)) == ({cai}, {cai}, {ana, bob})
    town.roster.set_apart(BOB, ANA, apart=False)
    assert town.roster.visible_to(ANA) == town.roster.visible_to(BOB) == {ANA, BOB, CAI}


def test_apart_from_somebody_who_is_offline() -> None:
    """A block that is set while the other account is offline is in force for the one online; each login
    of the other one brings what the database has."""
    town = Town()
    town.arrive(ANA)
    town.roster.set_apart(ANA, BOB, apart=True)
    town.arrive(BOB, apart=frozenset({ANA}))
    assert town.roster.visible_to(ANA) == {ANA}
    assert town.roster.visible_to(BOB) == {BOB}
    town.arrive(BOB)  # another connection, since another process has unblocked them
    assert town.roster.visible_to(BOB) == {ANA, BOB}


def test_nearby() -> None:
    """Nearby are the sessions of other accounts that hear one of the same rooms. Large rooms do not count."""
    town = Town()
    ana, _ = town.arrive(ANA, BOOKS, CARDS), town.arrive(ANA, BOOKS)
    bob = town.arrive(BOB, BOOKS, CARDS)
    cai = town.arrive(CAI, CARDS)
    town.arrive(4)
    assert town.roster.nearby(ana) == {bob, cai}
    assert town.roster.nearby(ana, 3) == {bob, cai}
    town.arrive(BOB, CARDS)  # now four hear cards, and three books
    assert town.roster.nearby(ana, 3) == {bob}
    assert town.roster.nearby(cai, 3) == set()


def test_news_are_for_those_who_take_them() -> None:
    """News go to sessions that are logged in and have room for them; the others are not told later."""
    town = Town()
    ana, bob, cai = town.arrive(ANA), town.arrive(BOB), town.arrive(CAI)
    full: Any = bob.link
    full.writable = False
    cai.stage = Stage.ENDING
    town.roster.tell([ana, bob, cai], NEWS)
    assert json.loads(written(ana)) == {"event": "presence", "name": "dot", "online": True}
    assert (written(bob), written(cai)) == (b"", b"")


def test_news_and_tokens() -> None:
    """A session whose token is for one room is told nothing of people."""
    town = Town()
    ana, bob = town.arrive(ANA, BOOKS), town.arrive(BOB, BOOKS)
    bob.who = structs.replace(bob.who, scope=Scope(room_id=BOOKS.id))
    town.roster.tell([ana, bob], NEWS)
    assert (written(ana), written(bob)) == (JSONL.news(NEWS), b"")


class Counting(JsonLines):
    """JSON Lines that count how often news are rendered."""

    __slots__ = ("rendered",)

    def __init__(self) -> None:
        self.rendered = 0

    def news(self, item: Any, screen: Screen = SCREEN) -> bytes:
        self.rendered += 1
        return JSONL.news(item)


class Bracketed:
    """A framing that can be told apart."""

    def lines(self, data: bytes) -> bytes:
        return b"[" + data + b"]"

    def batch(self, rendered: Rendered) -> Rendered:
        raise AssertionError("No entries here.")


def test_rendered_once_for_each_dialect_and_framing() -> None:
    """However many hear it, news are rendered once for each dialect and framing, and each hears them in their own."""
    town, counting, framing = Town(), Counting(), Bracketed()
    plain = [town.arrive(account, dialect=counting) for account in range(1, 6)]
    framed = town.arrive(6)
    framed.speak(counting, framing)
    person = town.arrive(7, dialect=TEXT)
    town.roster.tell([*plain, framed, person], NEWS)
    assert counting.rendered == 2
    assert {written(session) for session in plain} == {JSONL.news(NEWS)}
    assert written(framed) == b"[" + JSONL.news(NEWS) + b"]"
    assert written(person) == TEXT.news(NEWS)


def test_mutes_end() -> None:
    """A mute holds until its end, and is known only while the account has a session here."""
    town = Town()
    now, end = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)
    town.roster.set_muted(ANA, BOOKS.id, end)
    session = town.arrive(ANA, BOOKS)
    assert not town.roster.is_muted(ANA, BOOKS.id, now)
    town.roster.set_muted(ANA, BOOKS.id, end)
    assert [town.roster.is_muted(ANA, room.id, now) for room in (BOOKS, CARDS)] == [True, False]
    assert not town.roster.is_muted(ANA, BOOKS.id, end)
    town.leave(session)
    assert not town.roster.is_muted(ANA, BOOKS.id, now)
