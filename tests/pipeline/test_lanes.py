"""Lanes: in which lane a session waits, and which sessions form a take."""

from twisted.internet.defer import Deferred, ensureDeferred

from chatserver.pipeline.lanes import Lane, Lanes
from chatserver.session.session import Identity, Session
from chatserver.util.waiting import MOST_TURNS
from chatserver.values import commands as c


def session(name: str) -> Session:
    one = Session(f"id of {name}", "::1")
    one.who = Identity(name=name)
    return one


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
    lane = Lane()
    people = [session(name) for name in "abcde"]
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
    lane, turns = Lane(), Turns()
    taken = taking(lane, 10, turns)
    people = [session(name) for name in "abc"]
    lane.put(people[0])
    assert taken == []
    turns.passes()
    assert taken == [people[:1]]


def test_a_session_that_arrives_alone_is_taken_at_once() -> None:
    """After a take of one, the next session in an empty lane is taken at once; a larger take ends that."""
    lane, turns = Lane(), Turns()
    people = [session(name) for name in "abcd"]
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
    lane, turns = Lane(), Turns()
    people = [session(name) for name in "abcde"]
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
    lane, turns = Lane(), Turns()
    lane.put(session("a"))
    taken = taking(lane, 1000, turns)
    for number in range(MOST_TURNS):
        assert taken == []
        lane.put(session(f"b{number}"))
        turns.passes()
    assert len(taken[0]) == 1 + MOST_TURNS


def test_a_room_is_in_one_lane() -> None:
    """All members of a room use its lane, by whichever name they know the room; rooms use all lanes."""
    lanes = Lanes(4)
    ana, bob = session("Ana"), session("bob")
    for room in (f"room{n}" for n in range(50)):
        assert lanes.write_lane(ana, room) is lanes.write_lane(bob, room)
    others = [session(f"user{n}") for n in range(50)]
    for other in others:
        assert lanes.write_lane(ana, f"@{other.who.name.upper()}") is lanes.write_lane(other, "@ana")
    assert {id(lanes.write_lane(ana, f"room{n}")) for n in range(50)} == {id(lane) for lane in lanes.writes}
    assert {id(lanes.write_lane(ana, f"@user{n}")) for n in range(50)} == {id(lane) for lane in lanes.writes}


def test_the_lane_of_a_command() -> None:
    """Reads go to the read lane; writes go to the lane of the room that they name, or else of the current room."""
    lanes = Lanes(4)
    ana = session("ana")
    assert ana.view is not None
    ana.view.current = "books"
    for command, room in ((c.Say(room="chess", text="hi"), "chess"), (c.Say(room=c.CURRENT, text="hi"), "books")):
        ana.inbox.append(command)
        assert lanes.next_lane(ana, writes=True) is lanes.write_lane(ana, room)
        assert lanes.next_lane(ana, writes=False) is lanes.reads
        ana.inbox.clear()
