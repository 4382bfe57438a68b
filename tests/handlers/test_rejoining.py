"""Joining the same room again and again."""

import pytest
from sqlalchemy import Engine

from chatserver.settings.tables import DEFAULT_LIMITS
from chatserver.values import commands as c
from chatserver.values.errors import ErrorWord, Refused
from tests.handlers.world import World, undone


def test_joining_too_often(engine: Engine) -> None:
    """An account joins a room ten times within a minute; then it is told when it may join it again. Kicks and
    invitations change nothing about that; joining where one is already is free."""
    with undone(engine) as db:
        world = World(db, limits=DEFAULT_LIMITS)
        for name in ("owner", "ana", "bob"):
            world.person(name)
        world.do("owner", c.Create(room="den", visibility="private"))
        for n in range(10):
            world.do("owner", c.Invite(room="den", name="ana"))
            joined = world.do("ana", c.Join(room="den"))
            assert world.do("ana", c.Join(room="den")).seq == joined.seq
            world.do("owner", c.Kick(room="den", name="ana")) if n % 2 else world.do("ana", c.Leave(room="den"))
        world.do("owner", c.Invite(room="den", name="ana"))
        with pytest.raises(Refused) as refusal:
            world.do("ana", c.Join(room="den"))
        assert (refusal.value.error, refusal.value.retry) == (ErrorWord.SLOW_DOWN, 20)
        world.do("owner", c.Invite(room="den", name="bob"))
        assert world.word("bob", c.Join(room="den")) == "ok"
        for _ in range(20):
            world.do("ana", c.Rooms())
        assert world.word("ana", c.Join(room="den")) == "ok"


def test_the_owner_comes_back_too(engine: Engine) -> None:
    """To create a room counts like joining it, and other rooms do not count."""
    with undone(engine) as db:
        world = World(db, limits=DEFAULT_LIMITS)
        world.person("ana")
        for room in ("books", "chess"):
            world.do("ana", c.Create(room=room))
        for _ in range(9):
            for room in ("books", "chess"):
                world.do("ana", c.Leave(room=room))
                world.do("ana", c.Join(room=room))
        world.do("ana", c.Leave(room="books"))
        assert world.word("ana", c.Join(room="books")) == "slow-down"
