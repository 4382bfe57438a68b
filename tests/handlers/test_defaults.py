"""Default rooms, which the server itself creates, belong to nobody who joins them."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from chatserver.handlers.accounts import forget
from chatserver.handlers.outcome import Ask
from chatserver.store import rooms
from chatserver.values import commands as c
from chatserver.values.errors import ErrorWord
from chatserver.values.events import GUEST, OPERATOR, PUBLIC
from tests.handlers.world import World, undone

GENERAL = "general"


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """Nobody is in the default room yet."""
    with undone(engine) as db:
        one = World(db)
        rooms.ensure(db, [GENERAL], one.at)
        for name in ("ana", "bob"):
            one.person(name)
        one.person("root", OPERATOR)
        yield one


def roles(world: World, room: str = GENERAL) -> dict[str, str]:
    return {line.name: line.role for line in world.do("ana", c.Members(room=room)).members}


def leave(world: World) -> None:
    world.do("bob", c.Leave(room=GENERAL))


def be_erased(world: World) -> None:
    forget(world.db, Ask(world.people["bob"], world.at), messages=False)


def be_kicked(world: World) -> None:
    world.do("root", c.Kick(room=GENERAL, name="bob"))


def be_banned(world: World) -> None:
    world.do("root", c.Ban(room=GENERAL, name="bob"))


def step_down(world: World) -> None:
    world.do("root", c.Role(room=GENERAL, name="bob", role="member"))


@pytest.mark.parametrize("go", [leave, be_erased, be_kicked, be_banned, step_down])
def test_no_heir(world: World, go: Callable[[World], None]) -> None:
    """When an owner whom an operator appointed goes, whichever way, nobody inherits a default room."""
    for name in ("ana", "bob", "root"):
        world.do(name, c.Join(room=GENERAL))
    world.do("root", c.Role(room=GENERAL, name="ana", role="moderator"))
    world.do("root", c.Role(room=GENERAL, name="bob", role="owner"))
    go(world)
    assert {name: role for name, role in roles(world).items() if name != "bob"} == {
        "ana": "moderator",
        "root": "member",
    }
    assert roles(world).get("bob", "member") == "member"


def test_alone_in_it(world: World) -> None:
    """Whoever is first or alone in a default room, or joins it after everybody has left, is a member like any other."""
    world.do("ana", c.Join(room=GENERAL))
    assert roles(world) == {"ana": "member"}
    guest = world.person("visitor", GUEST)
    world.do("visitor", c.Join(room=GENERAL))
    world.do("ana", c.Leave(room=GENERAL))
    rooms.dismiss_guest(world.db, guest, world.at)
    world.do("bob", c.Join(room=GENERAL))
    assert roles(world) == {"bob": "member"}
    newcomer, _ = rooms.register(world.db, "cai", "hash", [GENERAL], world.at)
    world.people["cai"] = newcomer
    world.do("bob", c.Leave(room=GENERAL))
    assert roles(world) == {"cai": "member"}
    for command in (c.Delete(room=GENERAL), c.Set(room=GENERAL, invites="moderators")):
        assert world.word("cai", command) == "not-allowed"


def test_deleting(world: World) -> None:
    """Not even an owner deletes a default room; an operator does. Rooms that people create still have heirs."""
    for name in ("ana", "bob"):
        world.do(name, c.Join(room=GENERAL))
    world.do("root", c.Role(room=GENERAL, name="ana", role="owner"))
    assert world.told("ana", c.Delete(room=GENERAL)) == (
        ErrorWord.NOT_ALLOWED,
        "general is a default room of this server. Ask one of its operators to delete it.",
    )
    assert world.word("root", c.Delete(room=GENERAL)) == "ok"
    world.do("ana", c.Create(room="books", visibility=PUBLIC))
    world.do("ana", c.Leave(room="books"))
    world.do("bob", c.Join(room="books"))
    assert roles(world, "books") == {"bob": "owner"}
    assert world.word("bob", c.Delete(room="books")) == "ok"
