"""Random lives at three nodes, whose frames are dropped, doubled, delayed and reordered: once the bus works again,
every node knows the truth, and so does everybody who was told of others."""

import gc
import json
import random
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from chatserver.cluster import frames
from chatserver.cluster.incoming import Incoming
from chatserver.cluster.outgoing import Outgoing
from chatserver.cluster.presence import SharedPresence
from chatserver.delivery.registry import Registry
from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.session.other_nodes import Elsewhere
from chatserver.session.session import Identity, Session
from chatserver.settings.tables import Limits
from chatserver.sync.rewind import Rewind
from chatserver.values.events import Membership, RoomFacts
from chatserver.values.stages import Stage
from chatserver.wire.jsonl import JSONL
from tests.support.cluster import Air, MemoryBus
from tests.support.link import MemoryLink
from tests.support.pages import StubPages

ROOMS = tuple(RoomFacts(number, f"room{number}") for number in range(1, 4))
INSIDE = ((0, 1, 2), (0,), (1,), (1, 2), ())
"""By account, the rooms that it is in."""
GRACE = 2.0
HEALED = 8.0
"""So long after the bus works again everything is known and told."""
EXAMPLES = 60
LOSSES = (0.0, 0.2, 0.5, 1.0)
TEXTS = ("", "lunch", "tea")


class Others(Elsewhere):
    def __init__(self, people: SharedPresence) -> None:
        self._people = people

    def account_changed(self, account_id: int) -> None:
        self._people.changed(account_id)


class Station:
    """A node without database, sockets and rooms' logs: it knows which others are alive because the test says so."""

    def __init__(self, air: Air, name: str) -> None:
        self.clock: Any = air.clock
        self.boot = name
        self.sessions: list[Session] = []
        self.roster = Roster()
        self.registry = Registry(self.clock, StubPages(self.clock, self._read_page), self.roster, Rewind())
        limits = Limits(presence_seconds=GRACE, presence_members=0, news_seconds=0)
        self.presence = Presence(self.clock, self.roster, limits, self._mutes)
        self.bus = MemoryBus(air, name)
        self.outgoing = Outgoing(self.clock, self.bus, name)
        self.people = SharedPresence(self.clock, self.outgoing, self.roster, self.presence)
        self.roster.nodes.join(Others(self.people))
        self.incoming = Incoming(self)
        self.alive = True
        self.people.start()
        self.bus.start(self.incoming)
        self._beat()

    @property
    def origin(self) -> str:
        return self.boot

    def lost(self, *channels: str) -> None:
        pass

    def lost_of(self, boot: str) -> None:
        self.people.want(boot)

    def joined(self, channels: Sequence[str]) -> None:
        self.people.want("")

    def came_back(self, beat: frames.Beat) -> None:
        pass

    def is_deaf(self) -> bool:
        return False

    def take(self, boot: str, number: int, part: frames.Part) -> None:
        match part:
            case frames.People():
                self.people.received(boot, part)
            case frames.AskPeople(boot=wanted) if wanted in ("", self.boot):
                self.people.requested()

    def _beat(self) -> None:
        if self.alive:
            self.outgoing.part(frames.Beat(0.0))
            self.clock.callLater(1.0, self._beat)

    async def _read_page(self, room_id: int, seq: int) -> Any:
        raise AssertionError("Nothing is stored.")

    async def _mutes(self, account_ids: Collection[int]) -> dict[int, frozenset[int]]:
        return {account_id: frozenset() for account_id in account_ids}

    def sees(self, others: Sequence["Station"]) -> None:
        """These are alive."""
        self.outgoing.open = bool(others)
        self.incoming.forget({other.boot for other in others})
        self.people.peers({other.boot for other in others})

    def login(self, account: int, rooms: Sequence[RoomFacts], apart: frozenset[int], *, quiet: bool) -> Session:
        session = Session("s", "::1", JSONL)
        session.who = Identity(account, f"user{account}")
        session.stage, session.quiet = Stage.IN, quiet
        MemoryLink(session)
        self.roster.add(session, apart)
        self.registry.subscriptions.subscribe(session, [Membership(facts, 0, 0, "member") for facts in rooms], {})
        self.presence.came(session)
        self.sessions.append(session)
        return session

    def logout(self, session: Session) -> None:
        self.presence.going(session)
        self.registry.subscriptions.remove(session)
        self.roster.remove(session)
        self.sessions.remove(session)


def told(session: Session) -> dict[str, tuple[bool, str]]:
    """What somebody was told last of each account; the same is never told twice in a row."""
    link: Any = session.link
    lines: list[dict[str, Any]] = [json.loads(line) for line in b"".join(link.writes).splitlines()]
    last: dict[str, tuple[bool, str]] = {}
    for line in lines:
        state = line["online"], line.get("away", "")
        assert last.get(line["name"]) != state, line
        last[line["name"]] = state
    return last


def passes(clock: Any, seconds: float, step: float = 0.01) -> None:
    for _ in range(round(seconds / step)):
        clock.advance(step)


class Lives(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.loss = 0.0
        self.air = Air(Clock())
        self.air.fate = self.fate
        self.number = 0
        self.stations: list[Station] = []
        self.apart: set[frozenset[int]] = set()
        self.once_apart: set[frozenset[int]] = set()
        for _ in range(3):
            self.starts()
        passes(self.air.clock, 3, 0.05)
        self.loss = self.chance.choice(LOSSES)

    def goes_on(self) -> None:
        """A little time passes, or none."""
        passes(self.air.clock, self.chance.choice((0.0, 0.02, 0.1)))

    def fate(self, sender: str, receiver: str, data: bytes) -> list[float]:
        if self.chance.random() < self.loss:
            return []
        return [self.chance.random() * 0.2 * self.loss for _ in range(self.chance.choice((1, 1, 2)))]

    def starts(self) -> None:
        self.number += 1
        self.stations.append(Station(self.air, f"boot{self.number}"))
        self.look_around()

    def look_around(self) -> None:
        for station in self.stations:
            station.sees([other for other in self.stations if other is not station])

    @property
    def sessions(self) -> list[tuple[Station, Session]]:
        return [(station, session) for station in self.stations for session in station.sessions]

    def hidden(self, account: int) -> frozenset[int]:
        return frozenset(other for pair in self.apart if account in pair for other in pair - {account})

    @rule(at=st.integers(0, 2), account=st.integers(0, 4), quiet=st.integers(0, 4))
    def login(self, at: int, account: int, quiet: int) -> None:
        rooms = [ROOMS[index] for index in INSIDE[account]]
        self.stations[at].login(account + 1, rooms, self.hidden(account + 1), quiet=not quiet)
        self.goes_on()

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 100))
    def logout(self, which: int) -> None:
        station, session = self.sessions[which % len(self.sessions)]
        station.logout(session)
        self.goes_on()

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 100), at=st.integers(0, 2))
    def reconnect(self, which: int, at: int) -> None:
        account = self.sessions[which % len(self.sessions)][1].who.account_id
        for station, session in self.sessions:
            if session.who.account_id == account:
                station.logout(session)
        self.login(at, account - 1, 1)

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 100), text=st.sampled_from(TEXTS))
    def away(self, which: int, text: str) -> None:
        station, session = self.sessions[which % len(self.sessions)]
        station.presence.away(session, text)
        self.goes_on()

    @rule(one=st.integers(1, 5), other=st.integers(1, 5), apart=st.booleans())
    def block(self, one: int, other: int, apart: bool) -> None:
        pair = frozenset((one, other))
        if len(pair) == 2:
            (self.apart.add if apart else self.apart.discard)(pair)
            self.once_apart.add(pair)
            for station in self.stations:
                station.roster.set_apart(one, other, apart=apart)

    @rule(at=st.integers(0, 10), seconds=st.sampled_from((0.0, 1.0, 6.0)))
    def kill(self, at: int, seconds: float) -> None:
        """A node is killed, the others find that out some time later, and a new one starts."""
        if at > 2:
            return  # more happens to people than to nodes
        killed = self.stations.pop(at)
        killed.alive = False
        killed.bus.cut()
        passes(self.air.clock, seconds, 0.05)
        self.look_around()
        self.starts()

    @rule(loss=st.sampled_from(LOSSES), seconds=st.sampled_from((0.02, 0.3, 2.5)))
    def weather(self, loss: float, seconds: float) -> None:
        """Time passes, and so many frames are lost from now on."""
        passes(self.air.clock, seconds)
        self.loss = loss

    def teardown(self) -> None:
        if not hasattr(self, "air"):
            return
        self.loss = 0.0
        passes(self.air.clock, HEALED, 0.05)
        self.check()
        for account in range(1, 6):  # whatever two nodes thought: the next word is heard everywhere
            mine = [(station, session) for station, session in self.sessions if session.who.account_id == account]
            if mine:
                station, session = self.chance.choice(mine)
                station.presence.away(session, self.chance.choice(TEXTS))
                passes(self.air.clock, 0.5, 0.05)
                texts = {one.roster.away_text(account) for one in self.stations}
                assert texts == {station.roster.away_text(account)}, (account, texts)
        self.check()

    def check(self) -> None:
        for station in self.stations:
            elsewhere = [session for other, session in self.sessions if other is not station]
            for account in range(1, 6):
                heard = [one for one in elsewhere if one.who.account_id == account and not one.quiet]
                online = bool(heard) or any(
                    session.who.account_id == account and not session.quiet for session in station.sessions
                )
                roster, remote = station.roster, station.roster.remote(account)
                assert (account, roster.is_online(account)) == (account, online)
                assert (remote is not None) == bool(heard)
                assert remote is None or remote.rooms == {ROOMS[index].id for index in INSIDE[account - 1]}
                assert roster.away_text(account) == self.stations[0].roster.away_text(account)
                assert online or roster.away(account) is None
        for station, session in self.sessions:
            if not session.quiet:
                self.check_told(station, session)

    def check_told(self, station: Station, session: Session) -> None:
        """Of those who share a room with it, and with whom it was never kept apart."""
        near, _ = station.roster.some_nearby(session, 100)
        mine = set(INSIDE[session.who.account_id - 1])
        online = {
            other.who.account_id
            for _, other in self.sessions
            if not other.quiet
            and mine.intersection(INSIDE[other.who.account_id - 1])
            and frozenset((other.who.account_id, session.who.account_id)) not in self.apart
        }
        assert set(near) == online | {session.who.account_id}
        for name, (is_online, text) in told(session).items():
            account = int(name.removeprefix("user"))
            if frozenset((account, session.who.account_id)) not in self.once_apart:
                roster = station.roster
                assert (name, is_online, text) == (name, roster.is_online(account), roster.away_text(account))


def test_lives() -> None:
    """Whatever happens while frames are lost, every node knows who is where and away a moment after the bus works
    again, and nobody was told something else last."""
    phases = (Phase.explicit, Phase.reuse, Phase.generate)  # to shrink an example would take minutes
    run_state_machine_as_test(
        Lives, settings=settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None, phases=phases)
    )


class TimedClock(Clock):
    """Notes how much of the processor each call took."""

    def __init__(self) -> None:
        super().__init__()
        self.took: list[float] = []

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        def timed() -> None:
            began = time.thread_time()
            callable(*args, **kw)
            self.took.append(time.thread_time() - began)

        return super().callLater(delay, timed)


def test_a_node_with_many_people() -> None:
    """All accounts of a node fit into frames and into short turns of the reactor, however many they are; those who go
    meanwhile are right, too."""
    count = 2_000
    clock = TimedClock()
    air = Air(clock)
    one = Station(air, "one")
    rooms = [RoomFacts(number, f"room{number}") for number in range(40)]
    people = [
        one.login(number, rooms[number % 30 : number % 30 + 10], frozenset(), quiet=False)
        for number in range(1, count + 1)
    ]
    two = Station(air, "two")
    watcher = two.login(0, rooms, frozenset(), quiet=False)
    gc.disable()
    try:
        one.sees([two])
        two.sees([one])
        passes(clock, 0.02)
        one.logout(people[0])
        one.logout(people[-2])
        passes(clock, 0.5)
    finally:
        gc.enable()
    near, _ = two.roster.some_nearby(watcher, count * 2)
    assert set(near) == {0, *range(2, count - 1), count}
    sizes = [len(parcel.data) for _, parcel in air.sent]
    assert max(sizes) <= frames.MOST_BYTES
    assert len(sizes) < count / 10
    assert sorted(clock.took)[-5] < 0.01  # a busy machine makes a few of them longer
