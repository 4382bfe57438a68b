"""A server that takes note of a change while it is doing something else misses nothing of it."""

from datetime import UTC, datetime

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from chatserver.events import DELETED, JOINED, Entry, RoomFacts, Standing
from chatserver.registry import Registry
from chatserver.session import Dialect, Session, Stage

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")

Page = tuple[list[Entry], bool]


class Store:
    """Gives a page when the test says so."""

    def __init__(self) -> None:
        self.readings: list[Deferred[Page]] = []

    async def read_page(self, room_id: int, seq: int) -> Page:
        reading: Deferred[Page] = Deferred()
        self.readings.append(reading)
        return await reading


def reader(registry: Registry) -> Session:
    """Ana, who hears the room from its first entry on."""
    session = Session("1", "192.0.2.1")
    session.account_id, session.name, session.dialect, session.stage = 7, "ana", Dialect.JSON, Stage.IN
    registry.arrive(session, [Standing(BOOKS, 1, 1, "member")], {}, frozenset())
    return session


def test_a_doubt_while_reading() -> None:
    """What was read before the room was deleted does not have the entry that says so: it is read again."""
    store = Store()
    registry = Registry(Clock(), store.read_page)
    said: list[bytes] = []
    session = reader(registry)
    session.write = said.append
    room = registry.room(1)
    assert room is not None
    registry.doubt(room)
    registry.doubt(room)
    store.readings[0].callback(([Entry(2, JOINED, 8, "bob", AT)], False))
    store.readings[1].callback(([Entry(3, DELETED, 0, "", AT)], False))
    assert [b'"joined"' in said[0], b'"deleted"' in said[1]] == [True, True]
    assert session.rooms == {}
    assert len(store.readings) == 2


def test_a_login_under_way() -> None:
    """It reads again what it stands on, and so sees that the account is disabled, or the room gone."""
    registry = Registry(Clock(), Store().read_page)
    with registry.arriving(7) as ana, registry.arriving(8) as bob:
        assert not ana.stale
        registry.doubt_arrivals()
        assert (ana.stale, bob.stale) == (True, True)
    registry.doubt_arrivals()
