"""A read mark that is moved back: what comes after it is unread again, whatever any screen or node knew of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from chatserver.store import sessions
from chatserver.store.visibility import find_room
from chatserver.values import commands as c
from chatserver.values.seen import Seen
from tests.cluster.test_effects import FATES, Pair
from tests.handlers.world import World, undone
from tests.support.hall import PASSWORD, Client, Hall


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """Ana and bob are in a room of two messages."""
    with undone(engine) as db:
        one = World(db)
        for name in ("ana", "bob"):
            one.person(name)
        one.do("bob", c.Create(room="books"))
        one.do("ana", c.Join(room="books"))
        for text in ("one", "two"):
            one.do("bob", c.Say(room="books", text=text))
        one.do("ana", c.Read(room="books", seq=4))
        yield one


def unread(world: World) -> tuple[int, int]:
    """The read mark, and the number of unread entries."""
    [line] = [line for line in world.do("ana", c.Unread()).rooms if line.room == "books"]
    return line.read, line.unread.entries


def era(world: World) -> int:
    return find_room(world.db, world.people["ana"], "books").era


def test_where_it_goes(world: World) -> None:
    """It goes where it is told to, forward too, but not beyond the room's last entry; repeating it changes nothing."""
    assert unread(world) == (4, 0)
    for seq, expected in ((3, (3, 1)), (3, (3, 1)), (0, (0, 3)), (9, (4, 0)), (2, (2, 2))):
        assert world.do("ana", c.Read(room="books", seq=seq, back=True)).seq == expected[0]
        assert unread(world) == expected
    assert world.do("ana", c.Read(room="books", seq=1)).seq == 2
    world.do("ana", c.Read(room="books", seq=3))
    assert unread(world) == (3, 1)
    world.do("ana", c.ReadAll())
    assert unread(world) == (4, 0)


def test_what_one_may_not_read(world: World) -> None:
    """In a private room it stays before the first entry that one may read."""
    world.do("bob", c.Create(room="club", visibility="private"))
    world.do("bob", c.Say(room="club", text="before"))
    world.do("bob", c.Invite(room="club", name="ana"))
    world.do("ana", c.Join(room="club"))
    assert world.do("ana", c.Read(room="club", seq=0, back=True)).seq == 2
    assert world.word("ana", c.Read(room="@bob", seq=0, back=True)) == "ok"  # before its first message


def seen(db: Connection, world: World, mark: int, era: int) -> None:
    room = find_room(db, world.people["ana"], "books").facts.id
    sessions.mark(db, {world.people["ana"].id: {room: Seen(mark, (), era)}})


def test_marks_that_come_later(world: World) -> None:
    """Marks of the time before, which a server stores later, no longer count; those of the time after it do, and those
    of a screen that does not know."""
    before = era(world)
    world.do("ana", c.Read(room="books", seq=2, back=True))
    seen(world.db, world, 4, before)
    assert unread(world) == (2, 2)
    seen(world.db, world, 3, era(world))
    assert unread(world) == (3, 1)
    seen(world.db, world, 4, 0)
    assert unread(world) == (4, 0)


def test_leaving_and_joining(world: World) -> None:
    """Whoever comes back finds the mark where they moved it, and marks of before do not count then either."""
    before = era(world)
    world.do("ana", c.Read(room="books", seq=2, back=True))
    world.do("ana", c.Leave(room="books"))
    world.do("ana", c.Join(room="books"))
    seen(world.db, world, 4, before)
    assert unread(world)[0] == 2


def person(hall: Hall, name: str) -> Client:
    return hall.client().type(f"/register {name} {PASSWORD}")


@pytest.mark.parametrize("fate", FATES)
def test_a_terminal_at_another_node(tmp_path: Path, fate: str) -> None:
    """What a terminal at another node has shown does not come back with what it shows next; programs are told."""
    how, by_room = FATES[fate]
    pair = Pair(tmp_path, how, by_room=by_room)
    try:
        ana, bob = person(pair.two, "ana"), pair.one.program("bob")
        program, other = pair.again(pair.one, "ana"), pair.again(pair.one, "ana")
        for text in ("one", "two", "three"):
            bob.say(text)
        pair.passes(5)
        assert any("bob: three" in line for line in ana.lines)
        first = bob.answers[-3]["seq"]
        assert program.post("read", room="general", seq=first - 1, back=True).answers[-1]["seq"] == first - 1
        [told] = [event for event in other.events if event["event"] == "read"]
        assert told == {"event": "read", "room": "general", "room_id": 1, "seq": first - 1, "back": True}
        pair.passes(2)
        bob.say("four")
        pair.passes(5)
        assert any("bob: four" in line for line in ana.lines)
        [line] = [one for one in program.post("unread").answers[-1]["rooms"] if one["room"] == "general"]
        assert (line["read"], line["messages"], line["first"]) == (first - 1, 3, first)
        ana.type("/unread general")
        pair.passes(5)
        [line] = [one for one in program.post("unread").answers[-1]["rooms"] if one["room"] == "general"]
        assert line["messages"] == 0
    finally:
        pair.one.close()


def test_a_person_at_a_terminal(tmp_path: Path) -> None:
    """`/read 3 back` keeps what comes after it for later, also for the next login."""
    hall = Hall(tmp_path)
    bob, ana = hall.program("bob"), person(hall, "ana")
    for text in ("one", "two"):
        bob.say(text)
    ana.type("/read 3 back")  # the server has not looked yet whether they have arrived
    assert ana.lines[-1] == "* You have read general up to 3."
    ana.type("/quit")
    hall.passes(4)
    again = hall.client().type(f"/login ana {PASSWORD}")
    assert "* 1 unread in general:" in again.lines
    hall.close()
