"""Typing notices: who is told that somebody types, how often, and what nobody is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatserver.presence.typing import MOST_ONLINE, PACE_SECONDS
from chatserver.settings.tables import Server, Settings
from tests.cluster.test_effects import FATES, Pair
from tests.support.hall import PASSWORD, QUIET, Client, Hall


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path, settings=Settings(limits=QUIET, server=Server(guests=True)))
    yield one
    one.close()


def asking(hall: Hall, name: str) -> Client:
    """A new account, whose client asks to be told who types."""
    return hall.client().post("register", name=name, password=PASSWORD, typing=True)


def again(hall: Hall, name: str, **fields: Any) -> Client:
    return hall.client().post("login", name=name, password=PASSWORD, **fields)


def told(client: Client) -> list[tuple[str, str]]:
    """The notices that a client was sent, each as its room and name."""
    return [(event["room"], event["name"]) for event in client.events if event["event"] == "typing"]


def types(client: Client, room: str = "general", seconds: float = PACE_SECONDS) -> dict[str, Any]:
    """Types after this time; returns the answer."""
    client.hall.passes(seconds)
    answer: dict[str, Any] = client.post("typing", room=room, tag=9).answers[-1]
    assert answer["tag"] == 9
    return answer


def test_only_those_who_asked_are_told(hall: Hall) -> None:
    """Others who asked for it at their login, registration or as a guest are told; who did not ask, people at
    terminals, quiet sessions and the typist's own connections are not."""
    ana, bob = asking(hall, "ana"), asking(hall, "bob")
    cai = hall.program("cai")
    eve = hall.client().type(f"/register eve {PASSWORD}")
    guest = hall.client().post("guest", typing=True)
    second, own = again(hall, "bob", typing=True), again(hall, "ana", typing=True)
    quiet = again(hall, "bob", typing=True, quiet=True)
    seen = eve.seen
    assert types(ana) == {"ok": True, "cmd": "typing", "tag": 9}
    assert told(bob) == told(second) == told(guest) == [("general", "ana")]
    assert told(cai) == told(ana) == told(own) == told(quiet) == []
    assert eve.seen == seen
    assert bob.events[-1] == {"event": "typing", "room": "general", "room_id": 1, "name": "ana"}
    types(quiet)
    assert told(guest) == [("general", "ana")]


def test_at_most_once_in_a_while(hall: Hall) -> None:
    """An account is told of once in three seconds, in all its rooms and from all its connections together; what comes
    sooner is dropped with the same answer."""
    ana, bob = asking(hall, "ana"), asking(hall, "bob")
    own = again(hall, "ana")
    ana.post("create", room="books")
    bob.post("join", room="books")
    for client, room, seconds in (ana, "general", 0), (ana, "general", 1), (own, "books", 1), (own, "books", 0.9):
        assert types(client, room, seconds)["ok"]
    assert told(bob) == [("general", "ana")]
    types(own, "books", 0.1)
    types(bob, "books", 0)
    assert told(bob) == [("general", "ana"), ("books", "ana")]
    assert told(ana) == [("books", "bob")]
    hall.passes(60)
    types(bob)
    assert len(hall.presence.typing._told) == 1


def test_direct_rooms(hall: Hall) -> None:
    """Each calls their direct room by the other's name; before its first message, nobody is told."""
    ana, bob, cai = asking(hall, "ana"), asking(hall, "bob"), asking(hall, "cai")
    assert types(ana, "@bob")["ok"]
    assert types(ana, "@nobody")["ok"]
    assert told(bob) == []
    ana.say("psst", "@bob")
    types(ana, "@bob")
    types(bob, "@ANA")
    assert (told(bob), told(ana), told(cai)) == ([("@ana", "ana")], [("@bob", "bob")], [])


def test_blocks_and_ignored_people(hall: Hall) -> None:
    """Nobody is told of an account with which there is a block, or that theirs ignores, on any connection; this ends
    with the block."""
    ana, bob, cai = asking(hall, "ana"), asking(hall, "bob"), asking(hall, "cai")
    bob.post("block", name="ana")
    cai.post("ignore", name="ana")
    later = again(hall, "cai", typing=True)
    types(ana)
    types(bob)
    assert told(bob) == told(ana) == []
    assert told(cai) == told(later) == [("general", "bob")]
    bob.post("unblock", name="ana")
    later.post("unignore", name="ana")
    types(ana)
    assert (told(bob), told(cai)[1:], told(later)[1:]) == ([("general", "ana")],) * 3


def test_only_where_one_may_speak(hall: Hall) -> None:
    """Nobody is told of an account that is muted there, also after it has left and logged in again; who is not in the
    room is refused, whether or not there is one. Tokens are confined to what they are for, on both sides."""
    ana, bob = asking(hall, "ana"), asking(hall, "bob")
    ana.post("create", room="books")
    for name in ("ghosts", "books"):
        assert types(bob, name)["error"] == "not-a-member"
    bob.post("join", room="books")
    ana.post("mute", room="books", name="bob")
    assert types(bob, "books") == {"ok": True, "cmd": "typing", "tag": 9}
    types(again(hall, "bob"), "books")
    bob.post("leave", room="books")
    fresh = again(hall, "bob").post("join", room="books")
    types(fresh, "books")
    assert told(ana) == []
    ana.post("unmute", room="books", name="bob")
    types(fresh, "books")
    assert told(ana) == [("books", "bob")]
    scopes: list[dict[str, Any]] = [{"read_only": True}, {"room": "books"}]
    tokens = [
        fresh.post("token", label=str(n), password=PASSWORD, **scope).answers[-1]["token"]
        for n, scope in enumerate(scopes)
    ]
    reader, only = [hall.client().post("login", token=token, typing=True) for token in tokens]
    assert types(reader)["error"] == "not-allowed"
    assert types(only)["error"] == "no-such-room"
    types(ana, "general")
    types(only, "books")
    assert (told(only), told(reader)) == ([], [("general", "ana")])
    types(ana, "books")
    assert (told(only), told(ana)) == ([("books", "ana")], [("books", "bob")] * 2)


def test_many_online(hall: Hall) -> None:
    """In a room with more than fifty accounts online nobody is told; several connections of one are one."""
    ana, bob = asking(hall, "ana"), asking(hall, "bob")
    others = [asking(hall, f"user{n}") for n in range(MOST_ONLINE - 2)]
    again(hall, "bob")
    types(ana)
    assert told(bob) == told(others[-1]) == [("general", "ana")]
    late = asking(hall, "late")
    types(ana)
    assert told(late) == []
    late.cut()
    types(ana)
    assert told(bob) == [("general", "ana")] * 2


def test_no_database_and_no_queue(hall: Hall) -> None:
    """A notice needs no database, not even one that answers; a client that does not read is sent none, then or
    later."""
    ana, bob, slow = asking(hall, "ana"), asking(hall, "bob"), asking(hall, "slow")
    slow.wire.room = 0
    hall.inline.hold()
    types(ana)
    assert told(bob) == [("general", "ana")]
    hall.inline.release()
    ana.say("hello")
    for _ in range(3):
        types(ana)
    queued = slow.wire.queue
    assert b"hello" in queued
    assert queued.count(b"typing") <= 1  # the one that met an empty queue
    slow.read()
    types(ana)
    assert slow.said == ["hello"]
    assert len(told(slow)) <= 2


@pytest.mark.parametrize("fate", FATES)
def test_other_nodes(tmp_path: Path, fate: str) -> None:
    """People at other nodes are told under the same rules, each account once in three seconds over all nodes; a lost
    frame is a lost notice."""
    how, by_room = FATES[fate]
    pair = Pair(tmp_path, how, by_room=by_room)
    try:
        ana, bob = asking(pair.one, "ana"), asking(pair.two, "bob")
        cai, eve = asking(pair.two, "cai"), asking(pair.two, "eve")
        own = again(pair.two, "ana", typing=True)
        pair.passes()
        cai.post("ignore", name="ana")
        eve.post("block", name="ana")
        pair.passes()
        types(ana)
        pair.passes(1)
        types(own, seconds=0)
        pair.passes(1)
        assert told(bob) == [("general", "ana")]
        assert told(cai) == told(eve) == told(own) == told(ana) == []
        types(own)
        pair.passes(1)
        assert told(bob) == [("general", "ana")] * 2
        ana.say("psst", "@bob")
        pair.passes()
        types(ana, "@bob")
        pair.passes(1)
        assert told(bob)[2:] == ([] if fate == "lost" else [("@ana", "ana")])
    finally:
        pair.one.close()
