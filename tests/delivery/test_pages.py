"""Pages for sessions that are behind: a few at a time, in turns, and one page for all who wait for the same."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from chatserver.delivery.pages import PAGE_ENTRIES, PAGES_AT_ONCE, PART_ENTRIES, SESSIONS_A_TURN, Page, Stretch
from chatserver.session.session import Identity, Session
from chatserver.values.errors import Unavailable
from chatserver.values.events import GAP, MESSAGE, Entry, RoomFacts
from chatserver.values.stages import Stage
from chatserver.wire.dialect import Dialect
from chatserver.wire.jsonl import JSONL
from chatserver.wire.text import TEXT
from tests.support.pages import StubPages

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")


def entry(seq: int) -> Entry:
    return Entry(seq, MESSAGE, 9, "ana", AT, f"text {seq}")


class Log:
    """Logs of any length, whose pages come when the test says, and those who wait for them."""

    def __init__(self, page: int = PAGE_ENTRIES) -> None:
        self.clock = Clock()
        self.pages = StubPages(self.clock, self._read)
        self.under_way: list[tuple[int, int, Deferred[None]]] = []
        self.reads: list[tuple[int, int]] = []
        self.got: list[tuple[int, int, Page]] = []
        """The room and the position of each who has a page, in the order in which they got it."""
        self.failed = 0
        self._page = page

    async def _read(self, room_id: int, seq: int) -> Stretch:
        self.reads.append((room_id, seq))
        gate: Deferred[None] = Deferred()
        self.under_way.append((room_id, seq, gate))
        await gate
        return [entry(number) for number in range(seq + 1, seq + 1 + self._page)], True

    def want(self, room_id: int, seq: int, account: int = 1, dialect: Dialect = JSONL) -> Session:
        """A session of this account waits for a page."""
        session = Session("s", "::1", dialect)
        session.who, session.stage = Identity(account), Stage.IN

        async def wait() -> None:
            try:
                page = await self.pages.read(room_id, seq, session)
            except Unavailable:
                self.failed += 1
            else:
                self.got.append((room_id, seq, page))

        waiting: Any = wait()
        ensureDeferred(waiting)
        return session

    def bring(self, error: Exception | None = None) -> int:
        """The oldest read is over; returns of which room it was."""
        room_id, _, gate = self.under_way.pop(0)
        gate.callback(None) if error is None else gate.errback(error)
        return room_id

    def turn(self) -> None:
        """One turn of the reactor: what is called later in it comes in the next one."""
        for call in self.clock.getDelayedCalls():
            due: Any = call
            run, args = due.func, due.args
            due.cancel()
            run(*args)

    def finish(self) -> None:
        while self.under_way or self.clock.getDelayedCalls():
            if self.under_way:
                self.bring()
            self.clock.advance(0)


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_page_for_all_who_wait_for_the_same(log: Log) -> None:
    """A thousand sessions that wait at different places in a page cause two reads: that of the first one, and one from
    the lowest place on. Those at one place share what is rendered, and each gets everything behind its own place."""
    log.want(1, 100)
    for number in range(1000):
        log.want(1, 10 + number % 50, number, TEXT if number % 2 else JSONL)
    assert log.reads == [(1, 100)]
    log.finish()
    assert log.reads == [(1, 100), (1, 10)]
    assert Counter(seq for _, seq, _ in log.got) == {100: 1} | {10 + number: 20 for number in range(50)}
    batches = {(seq, page.part(BOOKS, seq, 999, for_people=False)) for _, seq, page in log.got}
    assert len(batches) == 51
    assert {(seq, batch.entries[0].seq) for seq, batch in batches if batch} == {(seq, seq + 1) for seq, _ in batches}


def test_a_few_pages_at_a_time(log: Log) -> None:
    """However many rooms are waited for, a few pages are read at a time, one of each room. Rooms take turns: one reader
    of a room does not wait for all pages of a room in which many are far behind at different places."""
    for number in range(50):
        log.want(1, number * PAGE_ENTRIES)
    assert len(log.under_way) == 1
    for room_id in range(2, 40):
        log.want(room_id, 0)
    assert len(log.under_way) == PAGES_AT_ONCE
    served = []
    while log.under_way:
        assert len({room_id for room_id, _, _ in log.under_way}) == len(log.under_way) <= PAGES_AT_ONCE
        served.append(log.bring())
        log.clock.advance(0)
    assert Counter(served) == {1: 50} | dict.fromkeys(range(2, 40), 1)
    assert set(served[:80]) == set(range(1, 40))


def test_accounts_take_turns(log: Log) -> None:
    """An account that waits at many places of a room gets one page in turn with the others who wait there."""
    for number in range(50):
        log.want(1, number * PAGE_ENTRIES)
    for account in (2, 3):
        log.want(1, 60 * account * PAGE_ENTRIES, account)
        log.want(1, 70 * account * PAGE_ENTRIES, account)
    log.finish()
    assert {seq // PAGE_ENTRIES for _, seq in log.reads[:8]} >= {120, 140, 180, 210}
    assert len(log.got) == 54


def test_those_who_are_gone(log: Log) -> None:
    """Nothing is read for sessions that have ended before their turn came, and the others get what they need."""
    log.want(1, 0)
    gone = [log.want(1, 5), log.want(1, 3 * PAGE_ENTRIES)]
    log.want(1, 7)
    for session in gone:
        session.stage = Stage.ENDING
    log.finish()
    assert log.reads == [(1, 0), (1, 7)]
    assert len(log.got) == 4


def test_a_page_takes_many_turns(log: Log) -> None:
    """A page that many wait for is handed to a few of them in each turn of the reactor, so that everybody else is
    served in between. The room's next page waits until all have it."""
    log.want(1, 0)
    for _ in range(3 * SESSIONS_A_TURN):
        log.want(1, 0)
    log.bring()
    log.want(1, PAGE_ENTRIES)
    log.bring()
    for turn in range(1, 4):
        assert len(log.got) == 1 + turn * SESSIONS_A_TURN
        assert log.reads == [(1, 0), (1, 0)] + [(1, PAGE_ENTRIES)] * (turn == 3)
        log.turn()


def test_texts_that_fill_a_page() -> None:
    """If the texts behind the lowest place fill the page, those behind its end get the next one."""
    log = Log(page=10)
    log.want(1, 150)
    for seq in (0, 5, 10, 12, 35):
        log.want(1, seq)
    log.finish()
    assert log.reads == [(1, 150), (1, 0), (1, 10), (1, 35)]
    assert sorted(seq for _, seq, _ in log.got) == [0, 5, 10, 12, 35, 150]
    assert all(page.part(BOOKS, seq, 999, for_people=False) for _, seq, page in log.got)


def test_an_outage_is_for_all_who_wait(log: Log) -> None:
    """If a page cannot be read, all who wait for it are told, and the next ones are read as usual."""
    for _ in range(9):
        log.want(1, 7)
    log.bring()
    log.bring(Unavailable())
    log.want(1, 8)
    log.finish()
    assert log.failed == 8
    assert [seq for _, seq, _ in log.got] == [7, 8]


@given(st.data())
def test_the_parts_of_a_page(data: st.DataObject) -> None:
    """Whatever place of a page a session is at, and wherever it is to end, its parts are all entries in between, in
    order and each once, with one gap at most. They end where everybody's parts end."""
    first = data.draw(st.integers(1, 300), "first")
    removed = data.draw(st.integers(0, 300), "removed before it")
    count = data.draw(st.integers(0 if removed else 1, PAGE_ENTRIES), "count")
    begin = first - removed
    entries = [entry(number) for number in range(first, first + count)]
    if removed:
        entries.insert(0, Entry(first - 1, GAP, 0, "", AT, of=begin))
    page = Page(entries)
    end = entries[-1].seq
    for _ in range(data.draw(st.integers(1, 3), "readers")):
        position = data.draw(st.integers(begin - 1, end - 1), "position")
        last = data.draw(st.integers(position + 1, end + 5), "last")
        told: list[tuple[int, int]] = []
        at = position
        while at < last and (batch := page.part(BOOKS, at, last, for_people=False)):
            assert page.part(BOOKS, at, last, for_people=False) is batch
            told += [(one.begin, one.seq) for one in batch.entries]
            at = batch.entries[-1].seq
            assert at % PART_ENTRIES == 0 or at == min(last, end) or batch.entries[-1].kind == GAP
        assert at == min(last, end)
        assert [begin for begin, _ in told] == [position + 1, *(end + 1 for _, end in told[:-1])]
        assert all(begin == end for begin, end in told[1:])


def test_a_gap_that_a_reader_leaves_in() -> None:
    """A gap is told in one piece, however long, and ends where its reader ends: in the room, or by leaving it."""
    page = Page([Entry(500, GAP, 0, "", AT, of=1), entry(501)])
    for position, last in ((0, 501), (0, 300), (120, 300), (120, 501), (0, 20)):
        batch = page.part(BOOKS, position, last, for_people=False)
        assert batch is not None
        assert (batch.entries[0].begin, batch.entries[0].seq) == (position + 1, min(last, 500))
