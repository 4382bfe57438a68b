"""Ordered delivery: in whatever order batches reach the registry, each session hears each room in the order stored."""

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from chatserver.delivery.catchup import RETRY_SECONDS
from chatserver.delivery.gaps import GAP_SECONDS
from chatserver.delivery.registry import Registry
from chatserver.presence.roster import Roster
from chatserver.session.link import FULL_BYTES, takes_nothing
from chatserver.session.session import Identity, Session
from chatserver.values import events
from chatserver.values.errors import Unavailable
from chatserver.values.events import GAP, Entry, Membership, RoomFacts
from chatserver.values.stages import Stage
from chatserver.values.token_scope import Scope
from chatserver.wire.dialect import Dialect, Rendered
from chatserver.wire.jsonl import JSONL, JsonLines
from chatserver.wire.text import TEXT, Text
from tests.support.link import MemoryLink
from tests.support.pages import StubPages

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")
DIRECT = RoomFacts(2, "@1:2", events.DIRECT, ((1, "ana"), (2, "bob")))
ANA, BOB = 1, 2
PAGE = 3


def entry(seq: int, kind: events.EntryKind = events.MESSAGE, author: int = 9, said: str | None = None) -> Entry:
    return Entry(seq, kind, author, f"user{author}", AT, f"text {seq}" if said is None else said)


class Listener:
    """A session, and what was written to it."""

    def __init__(self, town: "Town", account: int, dialect: Dialect) -> None:
        self.session = Session(f"s{len(town.listeners)}", "::1", dialect)
        self.session.who = Identity(account, f"user{account}")
        self.session.stage = Stage.IN
        self.link = MemoryLink(self.session)
        self._town = town

    @property
    def writes(self) -> list[bytes]:
        return self.link.writes

    def fill_up(self) -> None:
        """The transport becomes full."""
        self.link.writable = False

    def drain(self) -> None:
        """The transport becomes empty again."""
        self.link.writable = True
        self._town.registry.subscriptions.catch_up(self.session)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in b"".join(self.writes).splitlines()]

    @property
    def told(self) -> list[tuple[int, int]]:
        """For each entry of books, and each gap, the first and the last number that it stands for."""
        return [
            (e["from"], e["first"] - 1) if e["event"] == "gap" else (e["seq"], e["seq"])
            for e in self.events
            if e.get("room") == "books" and e["event"] != "live"
        ]

    def heard(self, room: str = "books") -> list[int]:
        return [e["seq"] for e in self.events if e.get("room") == room and e["event"] != "live"]


class Town:
    """A registry with a clock that only the test advances, and a store with the entries that the test puts there."""

    def __init__(self, slice: int = 0) -> None:
        self.clock = Clock()
        self.roster = Roster()
        self.rewound: list[tuple[int, ...]] = []
        self.registry = Registry(self.clock, StubPages(self.clock, self._read_page), self.roster, self)
        self.registry.order._fanout._huge, self.registry.order._fanout._slice = slice or 500, slice
        self.logs: dict[int, list[Entry]] = {BOOKS.id: [], DIRECT.id: []}
        self.listeners: list[Listener] = []
        self.reads: list[tuple[int, int]] = []
        self.first = 1
        """The first entry of books that was not removed."""
        self.unavailable = False
        self.gate: Deferred[None] | None = None

    def room_rewound(self, room_id: int, head: int, last: int) -> None:
        self.rewound.append((room_id, head, last))

    async def _read_page(self, room_id: int, seq: int) -> tuple[list[Entry], bool]:
        self.reads.append((room_id, seq))
        first = max(seq + 1, self.first if room_id == BOOKS.id else 1)
        page = [entry for entry in self.logs[room_id] if entry.seq >= first]
        if first > seq + 1:
            page.insert(0, Entry(first - 1, GAP, 0, "", AT, of=seq + 1))
        if self.gate is not None:
            await self.gate
        if self.unavailable:
            raise Unavailable()
        return page[:PAGE], len(page) > PAGE

    def login(
        self,
        account: int,
        dialect: Dialect = JSONL,
        *,
        resume: int | None = None,
        seq: int | None = None,
        floor: int = 1,
        facts: RoomFacts | None = BOOKS,
    ) -> Listener:
        """A member of that room logs in; `seq` is the head of the room that the login has read from the store."""
        one = Listener(self, account, dialect)
        self.listeners.append(one)
        memberships = []
        if facts is not None:
            head = len(self.logs[facts.id]) if seq is None else seq
            memberships = [Membership(facts, head, 0, "member", floor, allowed=floor)]
        resumed = {} if resume is None else {"books": resume}
        self.roster.add(one.session)
        self.registry.subscriptions.subscribe(one.session, memberships, resumed)
        self.registry.subscriptions.catch_up(one.session)
        return one

    def remove(self, session: Session) -> None:
        """The session ends."""
        self.registry.subscriptions.remove(session)
        self.roster.remove(session)

    def store(self, *entries: Entry, facts: RoomFacts = BOOKS) -> list[Entry]:
        """Stores entries without announcing them."""
        self.logs[facts.id] += entries
        return list(entries)

    def publish(self, *entries: Entry, facts: RoomFacts = BOOKS) -> None:
        """Stores entries and announces them."""
        self.registry.order.announce(facts, self.store(*entries, facts=facts))

    def say(self, count: int = 1) -> None:
        head = len(self.logs[BOOKS.id])
        self.publish(*(entry(head + n) for n in range(1, count + 1)))


@pytest.fixture
def town() -> Town:
    return Town()


@given(st.data())
def test_batches_in_any_order(data: st.DataObject) -> None:
    """Batches arrive early and late, readers stop and go on: each hears 1, 2, 3, ... to the end."""
    town = Town(data.draw(st.integers(0, 2), "slice"))
    listeners = [town.login(account) for account in (ANA, ANA, BOB)]
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=12), "sizes")
    batches: list[list[Entry]] = []
    for size in sizes:
        head = len(town.logs[BOOKS.id])
        batches.append(town.store(*(entry(head + n) for n in range(1, size + 1))))
    total = sum(sizes)
    for batch in data.draw(st.permutations(batches), "order"):
        who = data.draw(st.sampled_from(listeners), "who")
        what = data.draw(st.sampled_from(["nothing", "fill up", "drain", "wait", "be lost"]), "what")
        if what == "fill up":
            who.fill_up()
        elif what == "drain":
            who.drain()
        elif what == "wait":
            town.clock.advance(data.draw(st.sampled_from([GAP_SECONDS / 2, GAP_SECONDS]), "seconds"))
        if what != "be lost":  # a lost one is stored but never announced, as if by another node
            town.registry.order.announce(BOOKS, batch)
        for one in listeners:
            assert one.heard() == list(range(1, len(one.heard()) + 1))
    room = town.registry.rooms.find(BOOKS.id)
    assert room is not None
    town.registry.order.doubt(room)
    town.clock.advance(GAP_SECONDS)
    for one in listeners:
        one.drain()
        assert one.heard() == list(range(1, total + 1))


@given(st.data())
def test_a_huge_room_is_written_to_in_slices(data: st.DataObject) -> None:
    """While entries are written to a huge room slice by slice, people join, leave, stop reading and read on, and say
    more: each hears exactly what happened while they were in the room, in order."""
    town = Town(data.draw(st.integers(1, 3), "slice"))
    people = [town.login(account) for account in range(1, 7)]
    inside: dict[int, bool] = dict.fromkeys(range(1, 7), True)
    expected: dict[int, list[int]] = {account: [] for account in inside}
    seq = 0
    for _ in range(data.draw(st.integers(1, 25), "steps")):
        what = data.draw(st.sampled_from(["say", "say", "come or go", "fill up", "drain", "turn"]), "what")
        account = data.draw(st.integers(1, 6), "account")
        if what == "fill up":
            people[account - 1].fill_up()
        elif what == "drain":
            people[account - 1].drain()
        elif what == "turn":
            for call in town.clock.getDelayedCalls()[:1]:
                if call.getTime() <= town.clock.seconds():
                    work: Any = call
                    run, args = work.func, work.args
                    call.cancel()
                    run(*args)
        else:
            seq += 1
            kind: events.EntryKind = events.LEFT if inside[account] else events.JOINED
            if what == "say":
                kind = events.MESSAGE
            if kind == events.JOINED:
                inside[account] = True
            elif kind == events.LEFT:  # they have read everything before, but may stop reading at this entry
                town.clock.advance(0)
                people[account - 1].drain()
                people[account - 1].link.writable = data.draw(st.booleans(), "reads on")
            for one in inside:
                if inside[one]:
                    expected[one].append(seq)
            if kind == events.LEFT:
                inside[account] = False
            town.publish(entry(seq, kind, account))
    town.clock.advance(0)
    for person in people:
        person.drain()
    town.clock.advance(RETRY_SECONDS)
    assert {number: one.heard() for number, one in enumerate(people, 1)} == expected
    assert not town.registry.order.lagging


def test_a_gap_is_filled_from_the_store(town: Town) -> None:
    """An early batch waits a moment for the entries before it; then these are read from the store."""
    ana = town.login(ANA)
    town.store(entry(1), entry(2))
    town.publish(entry(3))
    town.clock.advance(GAP_SECONDS * 0.9)
    assert (ana.heard(), town.reads) == ([], [])
    town.clock.advance(GAP_SECONDS * 0.1)
    assert ana.heard() == [1, 2, 3]
    town.registry.order.announce(BOOKS, town.logs[BOOKS.id][:2])  # announced too late
    town.say()
    assert ana.heard() == [1, 2, 3, 4]


def test_an_early_batch_needs_no_store(town: Town) -> None:
    """If the missing entries arrive in time, they are not read from the store."""
    ana = town.login(ANA)
    first, second = town.store(entry(1)), town.store(entry(2), entry(3))
    town.registry.order.announce(BOOKS, second)
    town.registry.order.announce(BOOKS, first)
    assert ana.heard() == [1, 2, 3]
    assert town.reads == []


def test_a_full_transport(town: Town) -> None:
    """Nothing is written to a full transport, or read for it; once drained, it is sent exactly what it missed."""
    ana, bob = town.login(ANA), town.login(BOB)
    town.say(2)
    bob.fill_up()
    town.say(5)
    town.say(3)
    assert (ana.heard(), bob.heard(), town.reads) == (list(range(1, 11)), [1, 2], [])
    bob.drain()
    assert bob.heard() == list(range(1, 11))
    assert [seq for _, seq in town.reads] == [2, 5, 8]
    town.say()
    assert bob.heard() == ana.heard() == list(range(1, 12))


@pytest.mark.parametrize("at_once", [0, 5000])
def test_a_large_take_into_a_full_link(town: Town, at_once: int) -> None:
    """A program whose link fills up, perhaps in the middle of a line, is sent only as many entries as fill its outbox,
    and later exactly those after them. A person is sent all at once."""
    ana, bob, cai = town.login(ANA), town.login(BOB), town.login(3, TEXT)
    write = bob.link.write

    def send(data: bytes) -> int:
        write(data[:at_once])
        return at_once

    def write_and_fill(data: bytes) -> None:
        write(data)
        bob.fill_up()

    bob.link.send, bob.link.write = send, write_and_fill  # type: ignore[method-assign]
    town.publish(*(entry(n, said="x" * 1000) for n in range(1, 101)))
    assert ana.heard() == list(range(1, 101))
    assert b"".join(cai.writes).count(b"x") == 100_000
    assert FULL_BYTES < len(bob.writes[-1]) < FULL_BYTES + 1200
    got = bob.heard()
    assert got == list(range(1, len(got) + 1))
    bob.link.send, bob.link.write = takes_nothing, write  # type: ignore[method-assign]
    bob.drain()
    assert bob.heard() == list(range(1, 101))
    assert town.reads[0] == (BOOKS.id, len(got))


def test_catching_up_is_paged(town: Town) -> None:
    """A reader whose link is full again after a page is sent the next page only once it has drained."""
    bob = town.login(BOB)
    bob.fill_up()
    town.say(10)
    write = bob.link.write

    def write_and_fill(data: bytes) -> None:
        write(data)
        bob.fill_up()

    bob.link.write = write_and_fill  # type: ignore[method-assign]
    for head in (3, 6, 9, 10):
        bob.drain()
        assert bob.heard() == list(range(1, head + 1))


def test_entries_published_while_catching_up(town: Town) -> None:
    """Entries published while a page is being read are sent once, after the page."""
    bob = town.login(BOB)
    bob.fill_up()
    town.say(2)
    gate = town.gate = Deferred()
    bob.drain()
    town.say(2)
    assert bob.heard() == []
    town.gate = None
    gate.callback(None)
    assert bob.heard() == [1, 2, 3, 4]


def test_the_store_is_unavailable(town: Town) -> None:
    """Catching up and filling gaps are retried until they succeed."""
    ana, bob = town.login(ANA), town.login(BOB)
    bob.fill_up()
    town.say(2)
    town.unavailable = True
    bob.drain()
    town.store(entry(3))
    town.publish(entry(4))
    town.clock.pump([GAP_SECONDS, RETRY_SECONDS, RETRY_SECONDS])
    assert (ana.heard(), bob.heard()) == ([1, 2], [])
    town.unavailable = False
    town.clock.pump([RETRY_SECONDS, RETRY_SECONDS])
    assert ana.heard() == bob.heard() == [1, 2, 3, 4]


@pytest.mark.parametrize("since", [0, 4, 7, 99])
def test_resuming(town: Town, since: int) -> None:
    """A login that resumes is sent all later entries, then `live`, then new entries."""
    town.login(BOB)
    town.say(7)
    ana = town.login(ANA, resume=since)
    first = min(since, 7) + 1
    assert ana.heard() == list(range(first, 8))
    assert ana.events[-1] == {"event": "live", "room": "books", "room_id": 1, "seq": 7}
    town.say()
    assert ana.heard() == list(range(first, 9))
    assert sum(e["event"] == "live" for e in ana.events) == 1


def test_resuming_before_what_the_account_may_read(town: Town) -> None:
    """However early the position in `resume` is, no entry is sent that the account may not read."""
    town.say(7)
    assert town.login(ANA, resume=0, floor=5).heard() == [5, 6, 7]


def test_a_login_without_resume(town: Town) -> None:
    """It hears the entries after the number in its answer: also those published since that number was read, and none
    up to that number, even if they are published later."""
    bob = town.login(BOB)
    town.say(5)
    early = town.login(ANA, seq=3)
    assert early.heard() == [4, 5]
    late = town.store(entry(6), entry(7))
    after = town.login(ANA)
    town.registry.order.announce(BOOKS, late)
    town.say()
    assert after.heard() == [8]
    assert early.heard() == [4, 5, 6, 7, 8]
    assert bob.heard() == [1, 2, 3, 4, 5, 6, 7, 8]


@given(st.data())
def test_removals_in_any_order(data: st.DataObject) -> None:
    """While the oldest entries are removed, each reader hears every number, or that it is gone, once and in order."""
    town = Town(data.draw(st.integers(0, 2), "slice"))
    listeners = [town.login(account) for account in (ANA, ANA, BOB)]
    batches: list[list[Entry]] = []
    for size in data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=12), "sizes"):
        head = len(town.logs[BOOKS.id])
        batches.append(town.store(*(entry(head + n) for n in range(1, size + 1))))
    total = len(town.logs[BOOKS.id])

    def check(one: Listener) -> int:
        """Up to where it was told everything."""
        known = 0
        for begin, end in one.told:
            assert begin == known + 1 <= end
            known = end
        return known

    for batch in data.draw(st.permutations(batches), "order"):
        who = data.draw(st.sampled_from(listeners), "who")
        what = data.draw(st.sampled_from(["nothing", "fill up", "drain", "wait", "be lost", "remove"]), "what")
        if what == "fill up":
            who.fill_up()
        elif what == "drain":
            who.drain()
        elif what == "wait":
            town.clock.advance(GAP_SECONDS)
        elif what == "remove":
            town.first = data.draw(st.integers(town.first, total + 1), "first")
        if what != "be lost":
            town.registry.order.announce(BOOKS, batch)
        for one in listeners:
            check(one)
    room = town.registry.rooms.find(BOOKS.id)
    assert room is not None
    town.registry.order.doubt(room)
    for _ in range(5):
        town.clock.advance(GAP_SECONDS)
        for one in listeners:
            one.drain()
    assert [check(one) for one in listeners] == [total] * 3
    assert town.rewound == []


def test_entries_that_nobody_announced(town: Town) -> None:
    """Entries that a login finds in the store, and that nobody announced, are read and published for everybody."""
    bob = town.login(BOB)
    town.store(entry(1), entry(2))
    town.login(ANA)
    town.clock.advance(GAP_SECONDS)
    assert bob.heard() == [1, 2]


def test_entries_in_doubt(town: Town) -> None:
    """If it is unknown whether something was stored, the store is asked immediately, and only once."""
    ana = town.login(ANA)
    town.store(*(entry(seq) for seq in range(1, 5)))
    room = town.registry.rooms.find(BOOKS.id)
    assert room is not None
    gate = town.gate = Deferred()
    town.registry.order.doubt(room)
    town.gate = None
    gate.callback(None)
    assert ana.heard() == [1, 2, 3, 4]
    reads = len(town.reads)
    town.registry.order.doubt(room)
    assert len(town.reads) == reads + 1


def test_joining_and_leaving(town: Town) -> None:
    """Every connection of an account hears the room from the entry of its joining to that of its leaving."""
    bob, ana, other = town.login(BOB), town.login(ANA, facts=None), town.login(ANA, facts=None)
    town.say()
    town.publish(entry(2, events.JOINED, ANA))
    town.publish(entry(3), entry(4, events.LEFT, ANA), entry(5), entry(6, events.JOINED, ANA), entry(7))
    assert ana.heard() == other.heard() == [2, 3, 4, 6, 7]
    assert bob.heard() == [1, 2, 3, 4, 5, 6, 7]
    assert "books" in ana.session.rooms
    town.publish(entry(8, events.LEFT, ANA))
    assert "books" not in ana.session.rooms


def test_leaving_while_behind(town: Town) -> None:
    """A slow reader who leaves is still sent everything up to the entry of their leaving, and nothing after it."""
    ana = town.login(ANA)
    town.login(BOB)
    ana.fill_up()
    town.say(4)
    town.publish(entry(5, events.LEFT, ANA))
    town.say(3)
    ana.drain()
    assert ana.heard() == [1, 2, 3, 4, 5]
    assert "books" not in ana.session.rooms


def test_unsubscribing(town: Town) -> None:
    """Once unsubscribed, a session is sent nothing more of the room, not even entries that it has missed."""
    ana, bob = town.login(ANA), town.login(BOB)
    ana.fill_up()
    town.say(4)
    town.publish(entry(5, events.LEFT, ANA))
    town.registry.subscriptions.unsubscribe(ana.session, BOOKS)
    ana.drain()
    town.say()
    assert (ana.heard(), bob.heard()) == ([], [1, 2, 3, 4, 5, 6])
    town.publish(entry(7, events.JOINED, ANA))
    assert ana.heard() == [7]


def test_a_session_ends(town: Town) -> None:
    """A session that has ended hears nothing, and its account no longer counts as online with it."""
    ana, other = town.login(ANA), town.login(ANA)
    town.remove(ana.session)
    assert town.roster.sessions(ana.session.who.account_id) == [other.session]
    town.say()
    assert (ana.heard(), other.heard()) == ([], [1])
    town.remove(other.session)
    assert town.roster.sessions(ana.session.who.account_id) == []
    town.say()
    assert other.heard() == [1]
    assert town.login(BOB, seq=2).heard() == []


def test_a_direct_room(town: Town) -> None:
    """Its first message creates it: all connections of both people hear it, each under the name of the other person."""
    ana, again, bob, cai = (town.login(account, facts=None) for account in (ANA, ANA, BOB, 3))
    town.publish(entry(1, author=ANA), facts=DIRECT)
    town.publish(entry(2, author=BOB), facts=DIRECT)
    assert ana.heard("@bob") == again.heard("@bob") == bob.heard("@ana") == [1, 2]
    assert cai.writes == []
    assert "@bob" in ana.session.rooms


def test_a_change_makes_a_pending_login_stale(town: Town) -> None:
    """If the rooms of an account change while a login reads them, it has to read them again."""
    for change in (entry(1, events.JOINED, ANA), entry(2, events.LEFT, ANA), entry(3), entry(4, events.JOINED, BOB)):
        with town.registry.logins.begin(ANA) as login:
            town.publish(change)
            assert login.stale is (change.author_id == ANA)
    with town.registry.logins.begin(ANA) as login:
        town.publish(entry(1, author=BOB), facts=DIRECT)
        assert login.stale


def test_a_token_for_one_room(town: Town) -> None:
    """A session whose token is for one room hears no other room that its account is in, or comes into."""
    ana, bound = town.login(ANA), town.login(ANA)
    bound.session.who = structs.replace(bound.session.who, scope=Scope(room_id=BOOKS.id))
    town.publish(entry(1))
    town.publish(entry(1, author=BOB), facts=DIRECT)
    assert (ana.heard("@bob"), ana.heard()) == ([1], [1])
    assert (bound.heard(), list(bound.session.rooms)) == ([1], ["books"])


def test_doubt_about_some_logins(town: Town) -> None:
    """Logins under way read again what may have changed: those of the accounts that are named, or else all."""
    with town.registry.logins.begin(ANA) as ana, town.registry.logins.begin(BOB) as bob:
        town.registry.logins.doubt(ANA, 3)
        assert (ana.stale, bob.stale) == (True, False)
        town.registry.logins.doubt()
        assert (ana.stale, bob.stale) == (True, True)


def test_who_is_muted(town: Town) -> None:
    """When an entry that mutes or unmutes is published, the part that follows mutes is notified."""
    told: list[int] = []
    town.roster.follow_mutes(SimpleNamespace(mutes_changed=told.append))
    town.login(ANA)
    muted = Entry(1, events.MUTED, ANA, "ana", AT, target_id=BOB, target="bob")
    town.publish(muted, entry(2), structs.replace(muted, seq=3, kind=events.UNMUTED, target_id=3))
    assert told == [BOB, 3]


def counted(monkeypatch: pytest.MonkeyPatch, name: str, kind: type, calls: Counter[str]) -> None:
    entries: Callable[..., Rendered] = kind.entries  # type: ignore[attr-defined]

    def count(*args: Any) -> Rendered:
        calls[name] += 1
        return entries(*args)

    monkeypatch.setattr(kind, "entries", staticmethod(count) if kind is JsonLines else count)


def test_many_who_read_again_at_once(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs and people who have stopped at different places and read again at once share what is read and rendered:
    that costs as much as a few readers, however many there are, and each is sent everything once."""
    readers = [town.login(account, TEXT if account % 2 else JSONL) for account in range(1, 101)]
    for number, one in enumerate(readers):
        one.fill_up()
        if number % 10 == 9:
            town.say()
    town.say(40)
    calls: Counter[str] = Counter()
    counted(monkeypatch, "json", JsonLines, calls)
    counted(monkeypatch, "text", Text, calls)
    gate = town.gate = Deferred()
    town.reads.clear()
    for one in readers:
        one.drain()
    town.gate = None
    gate.callback(None)
    town.clock.advance(0)
    assert all(one.heard() == list(range(1, 51)) for one in readers[1::2])
    assert all(one.link.written == readers[0].link.written for one in readers[::2])
    assert len(town.reads) <= 3 * 50 / PAGE
    assert calls.total() <= 3 * 2 * 50 / PAGE


def test_one_encoding_and_one_write(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is encoded once for each dialect, and once more for a sender, who sees their ids; each gets one write."""
    calls: Counter[str] = Counter()
    counted(monkeypatch, "json", JsonLines, calls)
    counted(monkeypatch, "text", Text, calls)
    programs = [town.login(account) for account in range(1, 21)]
    people = [town.login(account, TEXT) for account in range(21, 41)]
    town.say(5)
    assert calls == {"json": 1, "text": 1}
    assert {len(one.writes) for one in (*programs, *people)} == {1}
    own = Entry(6, events.MESSAGE, ANA, "user1", AT, "mine", "k1")
    town.publish(own, entry(7))
    assert calls == {"json": 3, "text": 2}
    assert {len(one.writes) for one in (*programs, *people)} == {2}
    assert [e.get("id") for e in programs[0].events[-2:]] == ["k1", None]
    assert [e.get("id") for e in programs[1].events[-2:]] == [None, None]
    lines = people[0].writes[1].decode().splitlines()
    assert [re.sub(r"\d\d:\d\d", "10:02", line) for line in lines] == [
        "[books] 10:02 user1: mine",
        "[books] 10:02 user9: text 7",
    ]
