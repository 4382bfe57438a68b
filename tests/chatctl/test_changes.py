"""A server that learns of a change while it reads the database does not miss that change."""

from datetime import UTC, datetime

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from chatserver.delivery.registry import Registry
from chatserver.presence.roster import Roster
from chatserver.session.session import Identity, Session
from chatserver.sync.rewind import Rewind
from chatserver.values.events import DELETED, JOINED, Entry, Membership, RoomFacts
from chatserver.values.stages import Stage
from chatserver.wire.jsonl import JSONL
from tests.support.link import MemoryLink
from tests.support.pages import StubPages

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")

Page = tuple[list[Entry], bool]


class Store:
    """Returns a page when the test says so."""

    def __init__(self) -> None:
        self.reads: list[Deferred[Page]] = []

    async def read_page(self, room_id: int, seq: int) -> Page:
        read: Deferred[Page] = Deferred()
        self.reads.append(read)
        return await read


def test_a_change_while_reading() -> None:
    """A page that was read before the room was deleted lacks the entry that says so, so the room is read again."""
    store, roster = Store(), Roster()
    registry = Registry(Clock(), StubPages(Clock(), store.read_page), roster, Rewind())
    ana = Session("1", "192.0.2.1", JSONL)
    ana.who, ana.stage = Identity(7, "ana"), Stage.IN
    link = MemoryLink(ana)
    roster.add(ana)
    registry.subscriptions.subscribe(ana, [Membership(BOOKS, 1, 1, "member")], {})
    room = registry.rooms.find(BOOKS.id)
    assert room is not None
    registry.order.doubt(room)
    registry.order.doubt(room)
    store.reads[0].callback(([Entry(2, JOINED, 8, "bob", AT)], False))
    store.reads[1].callback(([Entry(3, DELETED, 0, "", AT)], False))
    assert [b'"joined"' in link.writes[0], b'"deleted"' in link.writes[1]] == [True, True]
    assert ana.rooms == {}
    assert len(store.reads) == 2


def test_a_change_during_a_login() -> None:
    """A login reads its account's state again, and so sees that the account was disabled or a room deleted."""
    registry = Registry(Clock(), StubPages(Clock(), Store().read_page), Roster(), Rewind())
    with registry.logins.begin(7) as ana, registry.logins.begin(8) as bob:
        assert not ana.stale
        registry.logins.doubt()
        assert (ana.stale, bob.stale) == (True, True)
    registry.logins.doubt()
