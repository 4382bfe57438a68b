"""Lanes: who waits where, and who is taken together."""

from twisted.internet.defer import Deferred, ensureDeferred

from chatserver import commands as c
from chatserver.queue import Lane, Lanes
from chatserver.session import Session
from chatserver.turns import MOST_TURNS


def session(name: str) -> Session:
    one = Session(f"id of {name}", "::1")
    one.name = name
    return one


class Turns:
    """The reactor's turns, which pass when the test says so."""

    def __init__(self) -> None:
        self._awaited: list[Deferred[None]] = []

    async def turn(self) -> None:
        self._awaited.append(Deferred())
        await self._awaited[-1]

    def passes(self) -> None:
        self._awaited.pop().callback(None)


def taking(lane: Lane, most: int, turns: Turns | None = None) -> list[list[Session]]:
    """The sessions of one take, once it has come about."""
    taken: list[list[Session]] = []

    async def at_once() -> None:
        pass

    ensureDeferred(lane.take(most, turns.turn if turns else at_once)).addCallback(taken.append)
    return taken


def test_whoever_is_ready_comes_along() -> None:
    """A take has those who wait, in the order they came, and no more than it may have."""
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


def test_whoever_comes_in_the_same_turn_comes_along() -> None:
    """A take that had to wait gives the others of that turn a chance, and goes when a turn has brought nobody."""
    lane, turns = Lane(), Turns()
    taken = taking(lane, 10, turns)
    people = [session(name) for name in "abc"]
    lane.put(people[0])
    assert taken == []
    turns.passes()
    assert taken == [people[:1]]


def test_who_comes_alone_is_not_kept_waiting() -> None:
    """After a take of one, whoever comes to a lane where nobody waits is taken at once, until others come along."""
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


def test_a_busy_lane_waits_for_those_who_are_just_answered() -> None:
    """Where somebody waited already, a take goes once two turns have brought nobody, or it is full."""
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


def test_a_take_does_not_wait_for_ever() -> None:
    """Clients that come one after the other, turn by turn, do not keep the first one waiting."""
    lane, turns = Lane(), Turns()
    lane.put(session("a"))
    taken = taking(lane, 1000, turns)
    for number in range(MOST_TURNS):
        assert taken == []
        lane.put(session(f"b{number}"))
        turns.passes()
    assert len(taken[0]) == 1 + MOST_TURNS


def test_a_room_is_in_one_lane() -> None:
    """Whoever speaks in a room, by whatever name they call it, is in the same lane; rooms are spread over all."""
    lanes = Lanes(4)
    ana, bob = session("Ana"), session("bob")
    for room in (f"room{n}" for n in range(50)):
        assert lanes.write_lane(ana, room) is lanes.write_lane(bob, room)
    others = [session(f"user{n}") for n in range(50)]
    for other in others:
        assert lanes.write_lane(ana, f"@{other.name.upper()}") is lanes.write_lane(other, "@ana")
    assert {id(lanes.write_lane(ana, f"room{n}")) for n in range(50)} == {id(lane) for lane in lanes.writes}
    assert {id(lanes.write_lane(ana, f"@user{n}")) for n in range(50)} == {id(lane) for lane in lanes.writes}


def test_where_a_command_belongs() -> None:
    """Reading is for the lane of the readers; writing is for that of the room named, or else looked at."""
    lanes = Lanes(4)
    ana = session("ana")
    assert ana.view is not None
    ana.view.current = "books"
    for command, room in ((c.Say(room="chess", text="hi"), "chess"), (c.Say(room=c.CURRENT, text="hi"), "books")):
        ana.inbox.append(command)
        assert lanes.next_lane(ana, writes=True) is lanes.write_lane(ana, room)
        assert lanes.next_lane(ana, writes=False) is lanes.reads
        ana.inbox.clear()
