"""Logins that have read who is in a room before another node sent further entries."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from chatserver.store import logins
from chatserver.store.visibility import memberships
from tests.support.cluster import never, nodes
from tests.support.hall import PASSWORD


@pytest.mark.parametrize("fields", [{}, {"since": 0}], ids=["join", "since"])
def test_a_join_that_is_answered_after_a_kick(tmp_path: Path, fields: dict[str, Any]) -> None:
    """The database answers a `join` late, and the entries by which the account came and was kicked have been published
    by then: it hears nothing more of the room."""
    _, (one, two) = nodes(tmp_path, "one", "two")
    ana = one.program("ana").post("create", room="books")
    dee, cai = two.program("dee").post("join", room="books"), two.program("cai")
    one.passes(1)
    write, answers = two.inline.write, Deferred[None]()

    async def late(*arguments: Any, **keywords: Any) -> Any:
        result = await write(*arguments, **keywords)
        await answers
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two.inline, "write", late)
        cai.post("join", room="books", **fields)
    ana.post("kick", room="books", name="cai")
    one.passes(1)
    assert dee.heard("books")[-2:] == [3, 4]
    answers.callback(None)
    one.passes(1)
    ana.say("behind their back", "books")
    one.passes(1)
    assert dee.said == ["behind their back"]
    assert cai.said == []
    one.close()


def test_left_meanwhile(tmp_path: Path) -> None:
    """A login reads that an account is in a room which nobody hears there. Before it is over, the account leaves at
    another node, of which this one hears nothing but how far the room goes: the session is soon out of the room."""
    air, (one, two) = nodes(tmp_path, "one", "two")
    ana = one.program("ana").post("create", room="books")
    bob = one.program("bob").post("join", room="books")
    visitor = two.client().post("login", name="bob", password=PASSWORD)
    one.passes(1)
    visitor.cut()
    air.fate = never
    read = two.registry.subscriptions.subscribe

    def late(*arguments: object, **keywords: object) -> object:
        bob.post("leave", room="books")
        ana.say("behind his back", "books")
        [books] = [room for room in two.registry.rooms if room.facts.name == "books"]
        two.registry.order.reaches(books.facts.id, 4)
        return read(*arguments, **keywords)  # type: ignore[arg-type]

    two.registry.subscriptions.subscribe = late  # type: ignore[assignment, method-assign]
    again = two.client().post("login", name="bob", password=PASSWORD)
    two.registry.subscriptions.subscribe = read  # type: ignore[method-assign]
    one.passes(0.3)
    ana.say("later", "books")
    one.passes(2)
    assert "later" not in again.said
    one.close()


def test_said_meanwhile_in_a_room_that_nobody_hears(tmp_path: Path) -> None:
    """A login has read how far a room goes that is not in memory there. Then somebody says something at another node
    that is too long for a frame: the session is sent it."""
    _, (one, two) = nodes(tmp_path, "one", "two")
    ana = one.program("ana").post("create", room="books")
    one.program("bob").post("join", room="books")
    one.passes(1)
    two.registry.order.forget()
    long, read = '"' * 4000, two.registry.subscriptions.subscribe

    def late(*arguments: object, **keywords: object) -> object:
        two.registry.subscriptions.subscribe = read  # type: ignore[method-assign]
        ana.say(long, "books")
        one.passes(0.1)
        return read(*arguments, **keywords)  # type: ignore[arg-type]

    two.registry.subscriptions.subscribe = late  # type: ignore[assignment, method-assign]
    bob = two.client().post("login", name="bob", password=PASSWORD)
    assert bob.said == [long]
    one.close()


@pytest.mark.parametrize("command", [{"cmd": "leave"}, {"cmd": "kick", "name": "bob"}])
@pytest.mark.parametrize("known", [True, False])
def test_nothing_is_heard_behind_it(tmp_path: Path, command: dict[str, str], known: bool) -> None:
    """An account leaves, or is kicked, right after a login has read its rooms, and another node sends only the
    head of the log: the session hears nothing of that room, whether or not it is in memory there."""
    air, (one, two) = nodes(tmp_path, "one", "two")
    ana = one.program("ana").post("create", room="books")
    bob = one.program("bob").post("join", room="books")
    one.passes(1)
    two.client().post("login", name="bob", password=PASSWORD).cut()
    one.passes(1)
    if not known:
        two.registry.order.forget()
    air.fate = never
    [books] = [room for room in one.registry.rooms if room.facts.name == "books"]
    read = two.inline.read

    async def late(work: Any, *args: Any, **options: Any) -> Any:
        result = await read(work, *args, **options)
        if work is logins.look_up:
            two.inline.read = read  # type: ignore[method-assign]
            (bob if command["cmd"] == "leave" else ana).post(command["cmd"], room="books", name=command.get("name"))
            ana.say("behind his back", "books")
            two.registry.order.reaches(books.facts.id, books.head)
        return result

    two.inline.read = late  # type: ignore[method-assign]
    again = two.client().post("login", name="bob", password=PASSWORD)
    one.passes(2)
    assert books.head == 4
    assert again.heard("books") == []
    one.close()


def test_kicked_right_after_joining(tmp_path: Path) -> None:
    """Somebody joins a room at one node and is kicked while another one, where they have a session and nobody hears the
    room, looks up what they are in: the session there hears nothing of the room."""
    air, (one, two) = nodes(tmp_path, "one", "two")
    ana = one.program("ana").post("create", room="books")
    phone, laptop = one.program("bob"), two.client().post("login", name="bob", password=PASSWORD)
    one.passes(1)
    air.fate = never
    [books] = [room for room in one.registry.rooms if room.facts.name == "books"]
    read = two.inline.read

    async def late(work: Any, *args: Any, **options: Any) -> Any:
        result = await read(work, *args, **options)
        if work is memberships:
            two.inline.read = read  # type: ignore[method-assign]
            ana.post("kick", room="books", name="bob").say("behind his back", "books")
            two.registry.order.reaches(books.facts.id, books.head)
        return result

    two.inline.read = late  # type: ignore[method-assign]
    phone.post("join", room="books")
    one.passes(2)
    assert two.inline.read == read
    assert books.head == 4
    assert laptop.heard("books") == []
    one.close()


def test_what_is_read_elsewhere_meanwhile(tmp_path: Path) -> None:
    """A login has read what is unread, and another device marks it as read at another node before the answer: the
    answer says so. Whether the other account of a direct room is online or away is that of all nodes."""
    _, (one, two) = nodes(tmp_path, "one", "two")
    ana, bob = one.program("ana"), one.program("bob").post("away", text="for lunch")
    bob.say("hello", "@ana")
    one.passes(1)
    read = two.inline.read_at_once
    given: list[Deferred[None]] = []

    async def late(*arguments: Any) -> Any:
        result = await read(*arguments)
        if not given:
            answer = Deferred[None]()
            given.append(answer)
            await answer
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two.inline, "read_at_once", late)
        again = two.client().post("login", name="ana", password=PASSWORD, state=True)
        ana.post("read-all")
        one.passes(1)
        given[0].callback(None)
        one.passes(1)
    rooms = {room["room"]: room for room in again.answers[-1]["rooms"]}
    assert [room["unread"] for room in rooms.values()] == [0, 0]
    assert rooms["@bob"]["with"] == {"name": "bob", "online": True, "away": "for lunch"}
    ana.post("block", name="bob")
    one.passes(1)
    answer = again.post("unread", state=True).answers[-1]
    assert answer["rooms"][0]["with"] == {"name": "bob", "online": False}
    one.close()
