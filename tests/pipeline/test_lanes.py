"""Lanes: in which lane a session waits, which sessions form a take, and who has to wait for others."""

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from chatserver.pipeline.lanes import BURST_SECONDS, COUNTED_SECONDS, Lane, Lanes, Shares
from chatserver.session.session import Identity, Session
from chatserver.settings.tables import Limits
from chatserver.util.waiting import MOST_TURNS
from chatserver.values import commands as c


def session(name: str, command: c.Command, account: int = 0, address: str = "::1") -> Session:
    one = Session(f"id of {name}", address)
    one.who = Identity(account, name=name)
    room: Any = object()
    one.rooms["books"] = room
    one.inbox.append(command)
    return one


def speaker(name: str) -> Session:
    return session(name, c.Say(room="books", text="hello"))


def asker(account: int, address: str = "192.0.2.1") -> Session:
    """A session whose command has a transaction of its own."""
    return session(f"user{account}", c.Topic(room="books", text="new"), account, address)


def new_lane(limits: Limits | None = None, clock: Clock | None = None) -> Lane:
    return Lane(Shares(clock or Clock(), limits or Limits()))


def order(lane: Lane) -> list[int]:
    """The accounts in the order in which they are served, all of whose sessions wait."""
    return [taking(lane, 1)[0][0].who.account_id for _ in range(len(lane))]


class Turns:
    """Turns of the reactor, which pass when the test says so."""

    def __init__(self) -> None:
        self._awaited: list[Deferred[None]] = []

    async def turn(self) -> None:
        self._awaited.append(Deferred())
        await self._awaited[-1]

    def passes(self) -> None:
        self._awaited.pop().callback(None)


def taking(lane: Lane, most: int, turns: Turns | None = None) -> list[list[Session]]:
    """A list that gets the sessions of one take, once the lane has formed it."""
    taken: list[list[Session]] = []

    async def at_once() -> None:
        pass

    ensureDeferred(lane.take(most, turns.turn if turns else at_once)).addCallback(taken.append)
    return taken


def test_waiting_sessions_share_a_take() -> None:
    """A take has the sessions that wait, in their order of arrival, up to the limit."""
    lane = new_lane()
    people = [speaker(name) for name in "abcde"]
    for one in people:
        lane.put(one)
    assert taking(lane, 3) == [people[:3]]
    assert taking(lane, 3) == [people[3:]]
    later = taking(lane, 3)
    assert later == []
    lane.put(people[4])
    assert later == [[people[4]]]


def test_a_take_waits_a_turn_for_others() -> None:
    """A take that began with an empty lane waits for others until a turn has brought nobody."""
    lane, turns = new_lane(), Turns()
    taken = taking(lane, 10, turns)
    people = [speaker(name) for name in "abc"]
    lane.put(people[0])
    assert taken == []
    turns.passes()
    assert taken == [people[:1]]


def test_a_session_that_arrives_alone_is_taken_at_once() -> None:
    """After a take of one, the next session in an empty lane is taken at once; a larger take ends that."""
    lane, turns = new_lane(), Turns()
    people = [speaker(name) for name in "abcd"]
    taken = taking(lane, 10, turns)
    lane.put(people[0])
    turns.passes()
    assert taken == [people[:1]]
    taken = taking(lane, 10, turns)
    lane.put(people[1])
    assert taken == [people[1:2]]
    for one in people[:2]:
        lane.put(one)
    assert taking(lane, 10) == [people[:2]]
    taken = taking(lane, 10, turns)
    lane.put(people[2])
    assert taken == []


def test_a_busy_lane_waits_two_turns() -> None:
    """If sessions wait already, a take is complete once two turns have brought nobody, or it is full."""
    lane, turns = new_lane(), Turns()
    people = [speaker(name) for name in "abcde"]
    lane.put(people[0])
    taken = taking(lane, 10, turns)
    turns.passes()
    lane.put(people[1])
    turns.passes()
    turns.passes()
    assert taken == []
    turns.passes()
    assert taken == [people[:2]]
    lane.put(people[2])
    taken = taking(lane, 3, turns)
    lane.put(people[3])
    lane.put(people[4])
    turns.passes()
    assert taken == [people[2:]]


def test_a_take_does_not_wait_forever() -> None:
    """Sessions that arrive in turn after turn do not keep the first one waiting for more than `MOST_TURNS`."""
    lane, turns = new_lane(), Turns()
    lane.put(speaker("a"))
    taken = taking(lane, 1000, turns)
    for number in range(MOST_TURNS):
        assert taken == []
        lane.put(speaker(f"b{number}"))
        turns.passes()
    assert len(taken[0]) == 1 + MOST_TURNS


def test_a_message_waits_for_no_crowd() -> None:
    """Behind its messages, a take has one session with another command. The next take has the messages that have come
    meanwhile, and one more."""
    lane = new_lane()
    ana, bob = speaker("ana"), speaker("bob")
    crowd = [asker(account) for account in range(1, 4)]
    for one in (*crowd, ana):
        lane.put(one)
    assert taking(lane, 10) == [[ana, crowd[0]]]
    lane.put(bob)
    assert taking(lane, 10) == [[bob, crowd[1]]]
    assert taking(lane, 10) == [[crowd[2]]]


def test_a_message_to_a_room_without_a_subscription() -> None:
    """Has a transaction of its own, and so waits with the other commands."""
    lane = new_lane()
    stranger = session("ana", c.Say(room="@bob", text="hello"), 7)
    for one in (asker(1), stranger):
        lane.put(one)
    assert [len(taking(lane, 10)[0]) for _ in range(2)] == [1, 1]


def test_addresses_take_turns() -> None:
    """However many accounts wait at one address, or behind one /64, others are served next; within an address the
    accounts take turns, and an account with many connections has one turn, wherever they are."""
    lane = new_lane()
    for account in (1, 1, 2, 3):
        lane.put(asker(account, f"2001:db8::{account}"))
    for number in range(3):
        lane.put(asker(8, f"192.0.2.{10 + number}"))
    lane.put(asker(9, "192.0.2.99"))
    assert order(lane) == [9, 1, 8, 2, 8, 3, 8, 1]


def test_an_address_has_a_share_of_the_time() -> None:
    """An address that was served for long pauses, and nobody else: neither another address nor a message."""
    clock = Clock()
    lane = new_lane(clock=clock)
    crowd, ana, bob = [asker(account) for account in range(1, 9)], asker(9, "192.0.2.9"), speaker("bob")
    for one in crowd:
        lane.put(one)
    served = 0.0
    while served < BURST_SECONDS:
        [[one]] = taking(lane, 1)
        lane.took(one, COUNTED_SECONDS)
        served += COUNTED_SECONDS
    waiting = taking(lane, 1)
    assert waiting == []
    lane.put(ana)
    assert waiting == [[ana]]
    lane.put(bob)
    assert taking(lane, 1) == [[bob]]
    waiting = taking(lane, 1)
    assert waiting == []
    clock.pump([COUNTED_SECONDS / 10] * 10)
    assert waiting != []
    assert waiting[0][0] in crowd
    later = len(lane)
    clock.pump([10, 0.1])
    for one in waiting[0]:
        lane.took(one, 100)  # most of it was spent waiting
    assert [len(taking(lane, 1)) for _ in range(later)] == [1] * later
    assert clock.getDelayedCalls() == []


def test_who_has_no_share() -> None:
    """Exempt addresses are not limited, nor are any without quotas of addresses: there accounts take turns."""
    for limits in (Limits(exempt=["192.0.2.0/24"]), Limits(connections_per_address=0)):
        lane = new_lane(limits)
        for account in (1, 1, 1, 2):
            one = asker(account)
            lane.put(one)
            lane.took(one, 10)
        assert order(lane) == [2, 1, 1, 1]


def test_a_room_is_in_one_lane() -> None:
    """All members of a room use its lane, by whichever name they know the room; rooms use all lanes."""
    lanes = Lanes(4, Clock(), Limits())
    ana, bob = speaker("Ana"), speaker("bob")
    for room in (f"room{n}" for n in range(50)):
        assert lanes.write_lane(ana, room) is lanes.write_lane(bob, room)
    others = [speaker(f"user{n}") for n in range(50)]
    for other in others:
        assert lanes.write_lane(ana, f"@{other.who.name.upper()}") is lanes.write_lane(other, "@ana")
    assert {id(lanes.write_lane(ana, f"room{n}")) for n in range(50)} == {id(lane) for lane in lanes.writes}
    assert {id(lanes.write_lane(ana, f"@user{n}")) for n in range(50)} == {id(lane) for lane in lanes.writes}


def test_the_lane_of_a_command() -> None:
    """Reads go to the read lane; writes go to the lane of the room that they name, or else of the current room."""
    lanes = Lanes(4, Clock(), Limits())
    ana = speaker("ana")
    ana.inbox.clear()
    assert ana.view is not None
    ana.view.current = "books"
    for command, room in ((c.Say(room="chess", text="hi"), "chess"), (c.Say(room=c.CURRENT, text="hi"), "books")):
        ana.inbox.append(command)
        assert lanes.next_lane(ana, writes=True) is lanes.write_lane(ana, room)
        assert lanes.next_lane(ana, writes=False) is lanes.reads
        ana.inbox.clear()
