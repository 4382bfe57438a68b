"""The processors, with a store that commits when the test says so."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from chatserver.delivery.registry import Registry
from chatserver.handlers.outcome import Online, Outcome
from chatserver.pipeline.lanes import Lanes
from chatserver.pipeline.processor import Processors
from chatserver.pipeline.takes import TAKE_CHARACTERS
from chatserver.presence.roster import Roster
from chatserver.session.session import Identity, Session
from chatserver.settings.tables import Limits, Pipeline, Settings
from chatserver.store.db.faults import Conflict
from chatserver.store.messages import Draft, Verdict
from chatserver.sync.rewind import Rewind
from chatserver.util.waiting import turns
from chatserver.values import commands as c
from chatserver.values.answers import Done, Log
from chatserver.values.errors import Unavailable
from chatserver.values.events import Entry, Membership, RoomFacts
from chatserver.values.stages import Stage
from chatserver.wire.jsonl import JSONL
from tests.support.hall import pipeline_parts
from tests.support.link import MemoryLink
from tests.support.pages import StubPages

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
# Two rooms that are in different lanes if there are two lanes.
BOOKS, CARDS = RoomFacts(1, "books"), RoomFacts(2, "cards")
TAKE = 5


class Call:
    """A call that the store has not answered yet."""

    def __init__(self, work: Any, args: tuple[Any, ...]) -> None:
        self.work, self.args = work, args
        self.answer: Deferred[Any] = Deferred()

    @property
    def drafts(self) -> list[Draft]:
        return list(self.args[0])


class HeldStore:
    """A store whose transactions last until the test ends them; the clock then runs what is due."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.appends: list[Call] = []
        self.reads: list[Call] = []
        self.writes: list[Call] = []
        self.logs: dict[int, list[Entry]] = {BOOKS.id: [], CARDS.id: []}

    async def append(self, work: Any, *args: Any) -> list[Verdict]:
        return await self._held(self.appends, work, args)  # type: ignore[no-any-return]

    async def write(self, work: Any, *args: Any) -> Any:
        return await self._held(self.writes, work, args)

    async def read(self, work: Any, *args: Any) -> Any:
        return await self._held(self.reads, work, args)

    async def _held(self, calls: list[Call], work: Any, args: tuple[Any, ...]) -> Any:
        call = Call(work, args)
        calls.append(call)
        return await call.answer

    def commit(self) -> list[Draft]:
        """The oldest transaction is committed."""
        call = self.appends.pop(0)
        verdicts = [self._keep(draft) for draft in call.drafts]
        call.answer.callback(verdicts)
        self._clock.advance(0)
        return call.drafts

    def _keep(self, draft: Draft) -> Verdict:
        log = self.logs[draft.room_id]
        log.append(Entry(len(log) + 1, "message", draft.author_id, f"user{draft.author_id}", AT, draft.text))
        return Verdict("stored", len(log), AT)

    def fail(self, error: Exception, *, stored: bool = False) -> None:
        """The oldest transaction fails; with `stored`, it was committed but its answer is lost."""
        call = self.appends.pop(0)
        if stored:
            for draft in call.drafts:
                self._keep(draft)
        call.answer.errback(error)
        self._clock.advance(0)


class Client:
    def __init__(self, town: "Town", account: int, facts: tuple[RoomFacts, ...]) -> None:
        self.session = session = Session(f"s{account}", "::1", JSONL)
        session.who, session.stage = Identity(account, f"user{account}"), Stage.IN
        self.link = MemoryLink(session)
        self._town = town
        town.roster.add(session)
        town.registry.subscriptions.subscribe(session, [Membership(one, 0, 0, "member") for one in facts], {})

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in b"".join(self.link.writes).splitlines()]

    def sends(self, *words: c.Command) -> None:
        self.session.inbox.extend(words)
        self._town.processors.schedule(self.session)
        self._town.clock.advance(0)

    def says(self, *texts: str, room: str = "books") -> None:
        self.sends(*(c.Say(room=room, text=text, tag=text) for text in texts))

    @property
    def heard(self) -> list[str]:
        return [one["text"] for one in self.told if one.get("event") == "message"]

    @property
    def answers(self) -> list[Any]:
        """The tag of each command that succeeded; for each that failed, its tag, error word and `retry`."""
        return [
            one["tag"] if one["ok"] else (one["tag"], one["error"], one.get("retry"))
            for one in self.told
            if "ok" in one
        ]


class Town:
    def __init__(self) -> None:
        self.clock = Clock()
        self.store = HeldStore(self.clock)
        self.roster = Roster()
        self.registry = Registry(self.clock, StubPages(self.clock, self._read_page), self.roster, Rewind())
        nothing: Any = None
        store: Any = self.store
        parts = pipeline_parts(
            settings=Settings(pipeline=Pipeline(take=TAKE)), turn=turns(self.clock), store=store,
            registry=self.registry, online=Online(self.roster, nothing, lambda: AT), marks=nothing,
            reconciler=SimpleNamespace(suspect=lambda who: None),
        )  # fmt: skip
        self.processors = Processors(parts, Lanes(2, self.clock, Limits()), {c.Password: self._slow})
        self.slow: Deferred[Outcome] = Deferred()
        self.processors.start(1)

    async def _read_page(self, room_id: int, seq: int) -> tuple[list[Entry], bool]:
        return self.store.logs[room_id][seq:], False

    async def _slow(self, session: Session, command: c.Command) -> Outcome:
        return await self.slow

    def client(self, account: int, *facts: RoomFacts) -> Client:
        return Client(self, account, facts or (BOOKS, CARDS))


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.fixture
def faults() -> Iterator[list[Exception]]:
    """The exceptions that were logged as failures."""
    found: list[Exception] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event["log_level"] is LogLevel.critical:
            found.append(event["log_failure"].value)

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


def test_nobody_hears_what_is_not_stored(town: Town) -> None:
    """Nobody hears a message, and nobody is answered, before the store has it."""
    ana, bob = town.client(1), town.client(2)
    ana.says("hello")
    assert (ana.told, bob.told) == ([], [])
    town.store.commit()
    assert (ana.heard, ana.answers, bob.heard) == (["hello"], ["hello"], ["hello"])


def test_messages_that_arrive_meanwhile_share_a_transaction(town: Town) -> None:
    """A room has one transaction at a time; all messages that arrive while it is under way share the next one."""
    people = [town.client(account) for account in range(1, 5)]
    for turn in ("first", "second", "third"):
        for one in people:
            one.says(turn)
    assert [len(call.drafts) for call in town.store.appends] == [1]
    assert len(town.store.commit()) == 1
    assert [len(call.drafts) for call in town.store.appends] == [11]
    town.store.commit()
    assert all(one.answers == ["first", "second", "third"] for one in people)
    assert people[0].heard == people[3].heard
    assert len(people[0].heard) == 12


def test_a_take_is_bounded(town: Town) -> None:
    """A take serves a limited number of sessions. The others come next, before those that have more commands."""
    people = [town.client(account) for account in range(1, 10)]
    people[0].says("0")
    for one in people:
        one.says("a", "b")
    town.store.commit()
    first = town.store.commit()
    assert [draft.author_id for draft in first] == [2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    people[1].says("c")
    assert [draft.author_id for draft in town.store.commit()] == [7, 7, 8, 8, 9, 9, 1, 1]
    assert [draft.author_id for draft in town.store.commit()] == [2]


def test_long_messages(town: Town) -> None:
    """A session has no more text in a take than one message may have: others do not wait for more. Order is kept."""
    ana, bob = town.client(1), town.client(2)
    bob.says("0")
    ana.says("1" * (TAKE_CHARACTERS // 2), "2" * (TAKE_CHARACTERS // 2), "3" * 2 * TAKE_CHARACTERS, "4")
    town.store.commit()
    bob.says("hello")
    assert [draft.text[0] for draft in town.store.commit()] == ["1", "2"]
    assert [draft.text[0] for draft in town.store.commit()] == ["h", "3"]
    assert [draft.text[0] for draft in town.store.commit()] == ["4"]


def test_rooms_do_not_wait_for_each_other(town: Town) -> None:
    """Rooms in different lanes can have transactions at the same time."""
    ana, bob = town.client(1), town.client(2)
    ana.says("here")
    bob.says("there", room="cards")
    assert len(town.store.appends) == 2


def test_commands_are_answered_in_order(town: Town) -> None:
    """The commands of a client are executed and answered in the order sent, whichever lane they take, if any."""
    ana = town.client(1)
    ana.sends(
        c.Say(room="books", text="1", tag=1),
        c.Ping(tag=2),
        c.History(room="books", tag=3),
        c.Say(room="cards", text="4", tag=4),
        c.Say(room="books", text="5", tag=5),
        c.Password(old="x", new="y", tag=6),
        c.Ping(tag=7),
    )
    assert (ana.answers, len(town.store.reads)) == ([], 0)
    town.store.commit()
    town.clock.advance(0)
    assert ana.answers == [1, 2]
    town.store.reads.pop().answer.callback(Outcome(Log(BOOKS, [], False)))
    town.clock.advance(0)
    assert ana.answers == [1, 2, 3]
    assert [draft.text for draft in town.store.commit()] == ["4"]
    town.clock.advance(0)
    assert [draft.text for draft in town.store.commit()] == ["5"]
    assert ana.answers == [1, 2, 3, 4, 5]
    town.slow.callback(Outcome(Done()))
    assert ana.answers == [1, 2, 3, 4, 5, 6, 7]


def test_other_commands_delay_a_message_once(town: Town) -> None:
    """A message waits for one command that has a transaction of its own, however many wait before it."""
    crowd, ana = [town.client(account) for account in range(1, 9)], town.client(9)
    for one in crowd:
        one.sends(*(c.Topic(room="books", text="new", tag=number) for number in range(3)))
    ana.says("hello")
    assert (len(town.store.writes), len(town.store.appends)) == (1, 0)
    town.store.writes.pop().answer.callback(Outcome(Done()))
    town.clock.advance(0)
    assert (len(town.store.writes), len(town.store.appends)) == (0, 1)
    town.store.commit()
    assert ana.answers == ["hello"]
    assert len(town.store.writes) == 1


def test_a_slow_query_delays_no_message(town: Town) -> None:
    """Messages of others are stored and delivered while a query runs."""
    ana, bob = town.client(1), town.client(2)
    ana.sends(c.History(room="books", tag=1), c.Say(room="books", text="mine", tag=2))
    bob.says("hello")
    town.store.commit()
    assert (ana.heard, bob.answers, ana.answers) == (["hello"], ["hello"], [])


def test_a_slow_search_delays_no_reading(town: Town) -> None:
    """Searches wait for each other, and other reading does not wait for them."""
    ana, bob, cai = town.client(1), town.client(2), town.client(3)
    ana.sends(c.Search(text="words", tag=1))
    bob.sends(c.Search(text="words", tag=2))
    cai.sends(c.History(room="books", tag=3))
    assert len(town.store.reads) == 2
    town.store.reads.pop().answer.callback(Outcome(Log(BOOKS, [], False)))
    assert (cai.answers, len(town.store.reads)) == ([3], 1)
    town.store.reads.pop().answer.callback(Outcome(Done()))
    assert (ana.answers, bob.answers, len(town.store.reads)) == ([1], [], 1)
    town.store.reads.pop().answer.callback(Outcome(Done()))
    assert bob.answers == [2]


def test_the_store_is_unavailable(town: Town) -> None:
    """Everybody in the take gets an answer that says to retry. If the messages were stored all the same, subscribers
    receive them."""
    ana, bob, cai = town.client(1), town.client(2), town.client(3)
    cai.says("zero")
    ana.says("one")
    bob.says("two")
    town.store.commit()
    town.store.fail(Unavailable(), stored=True)
    assert ana.answers == [("one", "unavailable", True)]
    assert bob.answers == [("two", "unavailable", True)]
    assert cai.heard == ["zero", "one", "two"]
    ana.says("three")
    town.store.commit()
    assert cai.heard == ["zero", "one", "two", "three"]


@pytest.mark.parametrize("error", [Conflict(), RuntimeError("a bug")])
def test_a_failure_affects_one_client(town: Town, error: Exception, faults: list[Exception]) -> None:
    """The messages of a failed take are retried one by one. One that fails again is refused; a bug is logged."""
    ana, bob, cai = town.client(1), town.client(2), town.client(3)
    cai.says("zero")
    ana.says("one")
    bob.says("two")
    town.store.commit()
    town.store.fail(error)
    assert [draft.text for draft in town.store.commit()] == ["one"]
    if isinstance(error, Conflict):
        town.store.fail(error)  # the second retry sees the entry of the other transaction
        town.store.commit()
        assert (bob.answers, faults) == (["two"], [])
    else:
        town.store.fail(error)
        assert bob.answers == [("two", "unavailable", True)]
        assert faults == [error]
    assert ana.answers == ["one"]
    assert town.store.appends == []
    bob.says("three")
    town.store.commit()
    assert ana.heard[-1] == "three"


def test_a_bug_in_a_query(town: Town, faults: list[Exception]) -> None:
    """Only that command fails, and the lane goes on."""
    ana = town.client(1)
    ana.sends(c.History(room="books", tag=1), c.History(room="books", tag=2))
    error = RuntimeError("a bug")
    town.store.reads.pop().answer.errback(error)
    town.clock.advance(0)
    town.store.reads.pop().answer.callback(Outcome(Log(BOOKS, [], False)))
    assert ana.answers == [(1, "unavailable", True), 2]
    assert faults == [error]


def test_a_full_link_is_not_served(town: Town) -> None:
    """The commands of a client that reads no answers stay in its inbox until it reads."""
    ana = town.client(1)
    ana.link.writable = False
    ana.says("one", "two")
    assert (len(ana.session.inbox), town.store.appends) == (2, [])
    ana.link.writable = True
    town.processors.schedule(ana.session)
    town.clock.advance(0)
    town.store.commit()
    assert ana.answers == ["one", "two"]


def test_a_client_disconnects_meanwhile(town: Town) -> None:
    """Others hear a message whose sender has disconnected; commands still in the inbox are dropped."""
    ana, bob = town.client(1), town.client(2)
    ana.says("one")
    town.registry.subscriptions.remove(ana.session)
    town.roster.remove(ana.session)
    ana.session.stage = Stage.ENDING
    town.store.commit()
    assert bob.heard == ["one"]
    bob.sends(c.History(room="books", tag=1))
    ana.session.inbox.append(c.History(room="books", tag=2))
    town.processors.schedule(ana.session)
    ana.session.inbox.clear()
    town.store.reads.pop().answer.callback(Outcome(Log(BOOKS, [], False)))
    town.clock.advance(0)
    assert town.store.reads == []


def test_stopping(town: Town) -> None:
    """Transactions under way are finished; nothing else begins."""
    ana: Client = town.client(1)
    ana.says("one")
    ana.says("two")
    town.processors.stop()
    town.store.commit()
    assert (ana.answers, town.store.appends) == (["one"], [])


def test_one_write_for_each_client(town: Town) -> None:
    """In a take, what a sender hears and its answers go out in one write, and so does what each other client hears."""
    ana, bob = town.client(1), town.client(2)
    ana.says("one", "two")
    town.store.commit()
    assert ana.link.calls == ["hold", "write", "write", "write", "release"]
    assert bob.link.calls == ["write"]
