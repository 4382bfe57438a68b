"""What an account wants to be notified of in a room: when the bell rings there, and who is told of the setting."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from chatserver.store import erasure
from chatserver.store.db.schema import MembershipRow
from chatserver.store.db.transactions import transact
from chatserver.store.export import account
from tests.cluster.test_effects import FATES, Pair
from tests.support.hall import PASSWORD, START, Client, Hall


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path)
    yield one
    one.close()


def person(hall: Hall, name: str) -> Client:
    return hall.client().type(f"/register {name} {PASSWORD}", "/set bell mentions")


def rings(client: Client, speaker: Client, text: str, room: str = "general") -> bool:
    """Whether the bell rings for this message."""
    before = len(client.seen)
    speaker.say(text, room)
    client.hall.passes(1)
    assert text.encode() in client.seen[before:]
    return b"\a" in client.seen[before:]


def notify(client: Client, room: str, wanted: str | None = None) -> dict[str, Any]:
    fields = {} if wanted is None else {"notify": wanted}
    answer: dict[str, Any] = client.post("prefer", room=room, **fields).answers[-1]
    return answer


def told(client: Client) -> list[dict[str, Any]]:
    return [event for event in client.events if event["event"] == "prefer"]


def test_the_bell_heeds_it(hall: Hall) -> None:
    """In each room the bell rings as is set there, on all terminals of the account and after a further login; the
    default is as before, and a bell that is off rings nowhere."""
    ana, bob = person(hall, "ana"), hall.program("bob")
    other = hall.client().type(f"/login ana {PASSWORD}")
    program = hall.client().post("login", name="ana", password=PASSWORD)
    heard = {}
    for wanted in ("default", "all", "mentions", "nothing"):
        assert notify(program, "general", wanted)["ok"]
        heard[wanted] = [(rings(one, bob, "hello"), rings(one, bob, "hello ana")) for one in (ana, other)]
    assert heard == {
        "default": [(False, True)] * 2, "all": [(True, True)] * 2, "mentions": [(False, True)] * 2,
        "nothing": [(False, False)] * 2,
    }  # fmt: skip
    late = hall.client().type(f"/login ana {PASSWORD}")
    assert not rings(late, bob, "ana?")
    ana.type("/notify all", "/set bell off")
    assert not rings(late, bob, "ana!")
    ana.type("/set bell on")
    assert rings(late, bob, "so")
    bob.post("create", room="books")
    ana.type("/join books", "/notify general mentions")
    assert (rings(late, bob, "here", "books"), rings(late, bob, "there")) == (True, False)


def test_direct_rooms_and_leaving(hall: Hall) -> None:
    """A direct room has it once there is one; leaving a room forgets it; who is not in a room is refused. The rooms of
    a login and of `unread` have it."""
    ana, bob = person(hall, "ana"), hall.program("bob")
    program = hall.client().post("login", name="ana", password=PASSWORD)
    assert notify(program, "@bob", "nothing")["error"] == "not-a-member"
    assert rings(ana, bob, "psst", "@ana")
    assert notify(program, "@bob", "nothing")["notify"] == "nothing"
    assert not rings(ana, bob, "psst!", "@ana")
    bob.post("create", room="books")
    assert notify(program, "books", "all")["error"] == "not-a-member"
    assert notify(program, "ghosts", "all")["error"] == "no-such-room"
    program.post("join", room="books")
    notify(program, "books", "all")
    assert rings(ana, bob, "read", "books")
    program.post("leave", room="books")
    program.post("join", room="books")
    assert "notify" not in notify(program, "books")
    assert not rings(ana, bob, "read more", "books")
    assert program.post("prefer", notify="all").answers[-1]["error"] == "bad-command"
    again = hall.client().post("login", name="ana", password=PASSWORD)
    for answer in program.post("unread").answers[-1], again.answers[-1]:
        chosen = {room["room"]: room.get("notify") for room in answer["rooms"]}
        assert chosen == {"@bob": "nothing", "books": None, "general": None}


def test_who_is_told(hall: Hall) -> None:
    """The account's other connections that asked for the state are told, and nobody else; a read-only token sets
    nothing."""
    ana = hall.program("ana")
    old = hall.client().post("login", name="ana", password=PASSWORD)
    state = hall.client().post("login", name="ana", password=PASSWORD, state=True)
    bob = hall.client().post("register", name="bob", password=PASSWORD, state=True)
    wanted = {"ok": True, "cmd": "prefer", "room": "general", "room_id": 1, "notify": "mentions"}
    assert notify(ana, "general", "mentions") == wanted
    notify(state, "general", "default")
    event = {"event": "prefer", "room": "general", "room_id": 1, "notify": "mentions"}
    assert [told(one) for one in (ana, state, old, bob)] == [[], [event], [], []]
    token = ana.post("token", label="r", password=PASSWORD, read_only=True).answers[-1]["token"]
    reader = hall.client().post("login", token=token)
    assert notify(reader, "general", "all")["error"] == "not-allowed"
    assert notify(reader, "general")["ok"]


def test_own_data(hall: Hall) -> None:
    """It is among the data that an account exports, and is erased with the account."""
    ana = hall.program("ana")
    notify(ana, "general", "mentions")
    who = ana.session.who.person
    assert transact(hall.engine, lambda db: account(db, who))["notify"] == "general:mentions"
    transact(hall.engine, lambda db: erasure.erase(db, who, START, messages=False))
    assert transact(hall.engine, lambda db: db.scalars(select(MembershipRow.notify)).all()) == [None]


@pytest.mark.parametrize("fate", FATES)
def test_other_nodes(tmp_path: Path, fate: str) -> None:
    """The bell of a terminal at another node heeds it, and connections there are told, whether or not frames are
    lost."""
    how, by_room = FATES[fate]
    pair = Pair(tmp_path, how, by_room=by_room)
    try:
        ana, bob = person(pair.two, "ana"), pair.one.program("bob")
        state = pair.two.client().post("login", name="ana", password=PASSWORD, state=True)
        program = pair.again(pair.one, "ana")
        pair.passes(2)
        notify(program, "general", "all")
        pair.passes(2)
        before = len(ana.seen)
        bob.say("hello")
        pair.passes(12)
        assert b"bob: hello\a" in ana.seen[before:]
        assert told(state) == [{"event": "prefer", "room": "general", "room_id": 1, "notify": "all"}]
    finally:
        pair.one.close()
