"""Presence over several nodes: online, near and away, as if there were one server."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from chatserver.cluster import frames
from chatserver.presence.telling import MOVING_SECONDS
from chatserver.settings.tables import Limits
from chatserver.values.errors import Unavailable
from tests.support.cluster import Air, NodeHall, never, nodes
from tests.support.hall import PASSWORD, QUIET, Client

LIMITS = structs.replace(QUIET, presence_seconds=2.0)
GRACE = 2.1
"""How long after a departure others are told of it."""
LAPSE = 8.0
"""A node that is killed is found dead and is buried by then."""
DEFAULTS = ("presence_seconds", "presence_members", "news_seconds")
HERE, GONE = ("ana", True), ("ana", False)

Town = tuple[Air, NodeHall, NodeHall, NodeHall]


@pytest.fixture(params=[False, True], ids=["one channel", "a channel for each room"])
def town(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Town]:
    air, (one, two, three) = nodes(tmp_path, "one", "two", "three", by_room=request.param, limits=LIMITS)
    yield air, one, two, three
    one.close()


def login(hall: NodeHall, name: str, **fields: Any) -> Client:
    """Another device of somebody."""
    client = hall.client().post("login", name=name, password=PASSWORD, **fields)
    assert client.answers[-1]["ok"], client.lines
    return client


def told(client: Client) -> list[tuple[Any, ...]]:
    """What somebody was told of others since the last time: name, whether they are online, and the away text."""
    news = [event for event in client.events if event["event"] == "presence"]
    known = getattr(client, "known", 0)
    client.known = len(news)  # type: ignore[attr-defined]
    return [(one["name"], one["online"], *([one["away"]] if "away" in one else [])) for one in news[known:]]


def who(client: Client, *names: str) -> dict[str, str]:
    """Those near, or what is said of these, with their away texts."""
    users = [user for name in names for user in client.post("who", name=name).answers[-1]["users"]]
    if not names:
        users = client.post("who").answers[-1]["users"]
    return {user["name"]: user.get("away", "") for user in users if user["online"]}


def test_everybody_sees_everybody(town: Town) -> None:
    """An arrival at one node is told, listed and looked up at all others, and so is a departure, after the grace."""
    _, one, two, three = town
    bob, cai = two.program("bob"), three.program("cai")
    one.passes(0.1)
    told(bob), told(cai)
    ana = one.program("ana")
    one.passes(0.1)
    assert (told(bob), told(cai)) == ([HERE], [HERE])
    for client in (ana, bob, cai):
        assert who(client) == who(client, "ana", "bob", "cai") == {"ana": "", "bob": "", "cai": ""}
        members = client.post("members", room="general").answers[-1]["members"]
        assert [member["name"] for member in members if member["online"]] == ["ana", "bob", "cai"]
    ana.post("quit")
    one.passes(1.8)
    assert (told(bob), who(bob)) == ([], {"bob": "", "cai": ""})
    one.passes(GRACE - 1.8)
    assert (told(bob), told(cai)) == ([GONE], [GONE])


def test_a_person_who_comes_sees_names_of_other_nodes(town: Town) -> None:
    """The first screen names people at other nodes, and `who` says their display names and which are bots."""
    _, one, two, _ = town
    ana = one.program("ana").post("rename", display="Ana M.")
    one.passes(0.1)
    bob = two.client().type(f"/register bob {PASSWORD}")
    assert any("ana" in line for line in bob.lines if "general" in line and "bob" not in line.lower()), bob.lines
    ana.post("rename", name="anna")
    one.passes(0.2)
    (anna,) = [user for user in login(two, "bob").post("who").answers[-1]["users"] if user["name"] != "bob"]
    assert (anna["name"], anna["display"]) == ("anna", "Ana M.")


def test_who_changes_nodes_was_never_gone(town: Town) -> None:
    """An account that is back at another node within the grace neither went nor came, there and here. A second device
    is no arrival anywhere, and the end of one of two is no departure."""
    _, one, two, three = town
    bob, cai = two.program("bob"), three.program("cai")
    ana = one.program("ana")
    one.passes(0.5)
    told(bob), told(cai)
    ana.cut()
    one.passes(1.5)
    second = login(two, "ana")
    one.passes(4)
    third = login(three, "ana")
    one.passes(1)
    second.cut()
    one.passes(4)
    assert (told(bob), told(cai), who(bob)) == ([], [], {"ana": "", "bob": "", "cai": ""})
    third.cut()
    one.passes(4)
    assert (told(bob), told(cai)) == ([GONE], [GONE])


def test_away_at_all_nodes(town: Town) -> None:
    """An away text belongs to the account: it is set at one node and taken back at another, outlasts the device that
    set it, and ends with the last one."""
    _, one, two, three = town
    bob, here, there = three.program("bob"), one.program("ana"), login(two, "ana")
    one.passes(0.5)
    told(bob)
    here.post("away", text="lunch")
    one.passes(0.1)
    assert (told(bob), who(bob, "ana"), who(there)["ana"]) == ([(*HERE, "lunch")], {"ana": "lunch"}, "lunch")
    here.cut()
    one.passes(4)
    assert (told(bob), who(bob)["ana"]) == ([], "lunch")
    back = login(one, "ana")
    there.post("away", text="")
    one.passes(0.1)
    assert (told(bob), who(bob)["ana"], who(back)["ana"]) == ([HERE], "", "")
    back.post("away", text="tea").post("quit")
    one.passes(0.1)
    assert (told(bob), who(there)["ana"]) == ([(*HERE, "tea")], "tea")
    there.cut()
    one.passes(1)
    login(one, "ana")
    one.passes(1)
    assert (told(bob), who(bob)["ana"]) == ([HERE], "")


def test_the_away_text_of_somebody_who_is_muted(town: Town) -> None:
    """Where somebody is muted, nobody is shown their away text, whichever nodes they are at."""
    _, one, two, _ = town
    bob, ana = two.program("bob"), one.program("ana")
    bob.post("create", room="books")
    ana.post("join", room="books").post("leave", room="general")
    one.passes(0.5)
    bob.post("mute", room="books", name="ana")
    one.passes(0.5)
    told(bob)
    ana.post("away", text="idiots")
    one.passes(0.5)
    assert (told(bob), who(bob, "ana"), who(bob)["ana"]) == ([], {"ana": ""}, "")
    bob.post("unmute", room="books", name="ana")
    one.passes(0.5)
    assert (who(bob, "ana"), who(bob)["ana"]) == ({"ana": "idiots"}, "idiots")


def test_blocks_and_quiet_sessions(town: Town) -> None:
    """Nobody sees who has blocked them, and nobody sees a script, wherever they are."""
    _, one, two, three = town
    bob, cai = two.program("bob"), three.program("cai")
    login(one, "cai", quiet=True).post("block", name="bob")
    one.passes(1)
    cai.cut()
    one.passes(4)
    told(bob)
    again = login(three, "cai")
    script = login(one, "bob", quiet=True)
    again.post("away", text="lunch")
    one.passes(0.5)
    assert (told(bob), who(bob), who(bob, "cai"), told(again)) == ([], {"bob": ""}, {}, [])
    bob.cut()
    one.passes(4)
    assert (who(script), who(again, "bob")) == ({}, {})
    login(one, "cai", quiet=True).post("unblock", name="bob")
    one.passes(1)
    assert (who(script), who(again)) == ({"cai": "lunch"}, {"cai": "lunch"})


def test_a_script_sets_away_elsewhere(town: Town) -> None:
    """A script at one node can say that its person, who is at another one, is away."""
    _, one, two, _ = town
    ana, bob = one.program("ana"), one.program("bob")
    one.passes(0.5)
    script = login(two, "ana", quiet=True)
    script.post("away", text="lunch").post("quit")
    one.passes(1)
    assert (told(bob)[-1], who(ana)["ana"]) == ((*HERE, "lunch"), "lunch")


def test_large_rooms_are_told_nothing(tmp_path: Path) -> None:
    """How many hear a room is counted at all nodes."""
    limits = structs.replace(LIMITS, presence_members=3)
    _, (one, two) = nodes(tmp_path, "one", "two", limits=limits)
    bob = one.program("bob")
    two.program("cai")
    two.program("dot")
    one.passes(0.5)
    told(bob)
    two.program("ana")
    one.passes(0.5)
    assert (told(bob), len(who(bob))) == ([], 4)


def test_a_node_dies(town: Town) -> None:
    """Those who were at a node that is killed, and are nowhere else by then, go offline with it, once; nobody
    lingers."""
    _, one, two, three = town
    bob = two.program("bob")
    ana = one.program("ana")
    one.program("cai")
    one.passes(1)
    told(bob)
    one.kill()
    two.passes(3)
    login(three, "cai")
    two.passes(LAPSE - 3 + GRACE + MOVING_SECONDS)
    assert (told(bob), who(bob)) == ([GONE], {"bob": "", "cai": ""})
    assert [hall.roster.remote(ana.session.who.account_id) for hall in (two, three)] == [None, None]


def promised(what: str) -> float:
    """The number of seconds on the page."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "promises.md").read_text(encoding="utf-8")
    [row] = [line for line in page.splitlines() if line.startswith(f"| {what}")]
    return float(row.split("|")[2].split(",")[0])


@pytest.mark.parametrize("outage", [0.0, 4.0], ids=["the database answers", "the database was away"])
def test_how_late_people_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outage: float) -> None:
    """With the default settings, people are told of those whose connection or node is gone within the time that
    docs/promises.md names."""
    limits = Limits(**{name: getattr(QUIET, name) for name in QUIET.__struct_fields__ if name not in DEFAULTS})
    _, (one, two, _) = nodes(tmp_path, "one", "two", "three", limits=limits)
    bob, _, cai = two.program("bob"), one.program("ana"), one.program("cai")
    one.passes(1.5)
    assert ("cai", True) in told(bob)
    cai.cut()
    one.passes(promised("its last connection ended"))
    assert told(bob)[-1] == ("cai", False)
    one.kill()
    if outage:

        def away(*_: Any) -> None:
            raise Unavailable()

        with monkeypatch.context() as patch:
            patch.setattr("chatserver.cluster.peers.exchange", away)
            two.passes(outage)
        two.passes(promised("the same while the database was away"))
    else:
        two.passes(promised("its node was stopped or cut off from the database"))
    assert told(bob) == [GONE]
    two.close()


def test_a_node_sends_its_clients_to_others(town: Town) -> None:
    """A client that is sent to another node may take longer than one that only lost its connection, and stays online
    for everybody; one that does not come is gone."""
    _, one, two, three = town
    bob, at_three = two.program("bob"), three.program("cai")
    ana, den = one.program("ana"), one.program("den")
    one.passes(1)
    told(bob), told(at_three)
    one.cluster.state = "draining"
    ana.cut()
    den.cut()
    one.passes(GRACE + MOVING_SECONDS / 2)
    login(three, "ana")
    one.passes(GRACE + MOVING_SECONDS)
    assert [one[0] for one in told(bob)] == [one[0] for one in told(at_three)] == ["den"]


def test_a_node_that_comes_later(tmp_path: Path) -> None:
    """A node that starts knows everybody within a second, and does not tell those who log in there that they came."""
    air, (one, two) = nodes(tmp_path, "one", "two", limits=LIMITS)
    one.program("ana").post("away", text="lunch")
    bob = two.program("bob")
    one.passes(3)
    told(bob)
    three = NodeHall(tmp_path, "three", air, one.engine, limits=LIMITS)
    cai = three.program("cai")
    one.passes(1.1)
    assert (who(cai), told(cai)) == ({"ana": "lunch", "bob": "", "cai": ""}, [])
    assert told(bob) == [("cai", True)]


def test_every_frame_is_lost_for_a_while(town: Town) -> None:
    """Arrivals, departures and away texts that were lost arrive a moment after the bus carries frames again."""
    air, one, two, _ = town
    bob, cai, dot = two.program("bob"), one.program("cai"), one.program("dot")
    one.passes(1)
    air.fate = never
    one.program("ana")
    cai.cut()
    dot.post("away", text="lunch")
    one.passes(1)
    assert set(who(bob)) == {"bob", "cai", "dot"}
    told(bob)
    air.fate = lambda *_: [0.0]
    one.passes(2.5 + GRACE)
    assert (who(bob), sorted(told(bob))) == (
        {"ana": "", "bob": "", "dot": "lunch"},
        [HERE, ("cai", False), ("dot", True, "lunch")],
    )


@pytest.mark.parametrize("seed", range(3))
def test_half_of_the_frames_are_lost(town: Town, seed: int) -> None:
    """If half of the frames are lost, presence is late, and true."""
    air, one, two, three = town
    chance = random.Random(seed)
    bob = two.program("bob")
    one.passes(1)
    told(bob)
    air.fate = lambda *_: [chance.random() * 0.3] * chance.randint(1, 2) if chance.random() < 0.5 else []
    ana = one.program("ana")
    three.program("cai")
    one.passes(15)
    assert (sorted(told(bob)), set(who(bob))) == ([HERE, ("cai", True)], {"ana", "bob", "cai"})
    ana.cut()
    one.passes(15)
    assert (told(bob), set(who(bob))) == ([GONE], {"bob", "cai"})


def test_what_comes_late_is_old(tmp_path: Path) -> None:
    """An old frame does not bring back an account that has left, nor does a snapshot remove one that came during it."""
    air, (one, two) = nodes(tmp_path, "one", "two")
    air.fate = never
    people, boot = two.cluster.presence, one.me.boot

    def here(version: int, sessions: int = 1) -> frames.Here:
        return frames.Here(1000, "zoe", "", bool(sessions), version=version, sessions=sessions)

    for said, online in (
        (frames.People([here(101)]), True),
        (frames.People([here(103, sessions=0)]), False),
        (frames.People([here(102)]), False),
        (frames.People([here(202)]), True),
        (frames.People([], snapshot=201, index=0, last=True), True),
        (frames.People([], snapshot=203, index=0, last=True), False),
    ):
        people.received(boot, said)
        two.passes(0.1)
        assert two.roster.is_online(1000) == online, said
    one.close()


def test_a_bot_in_very_many_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rooms of somebody who is in more than fit into a frame are all known."""
    monkeypatch.setattr("chatserver.cluster.presence.MOST_ROOMS", 2)
    _, (one, two) = nodes(tmp_path, "one", "two", limits=LIMITS)
    ana, bob = one.program("ana"), two.program("bob")
    for number in range(7):
        ana.post("create", room=f"room{number}")
    bob.post("join", room="room6").post("leave", room="general")
    one.passes(0.5)
    assert set(who(bob)) == {"ana", "bob"}
    ana.post("leave", room="room6")
    one.passes(0.5)
    assert set(who(bob)) == {"bob"}
    assert all(len(parcel.data) <= frames.MOST_BYTES for _, parcel in one.bus._air.sent)


def terminal(hall: NodeHall, name: str) -> Client:
    """Somebody logs in at a terminal."""
    return hall.client().type(f"/login {name} {PASSWORD}")


def test_what_was_read_on_a_phone_at_another_node(town: Town) -> None:
    """What a terminal at one node has shown is read at every other one at once: for `unread`, and for whoever logs in
    there; and once the terminal is gone, too."""
    _, one, two, three = town
    bob, ana = two.program("bob"), three.program("ana")
    phone = terminal(one, "ana")
    one.passes(5)
    for number in range(3):
        bob.say(f"number {number}")
    one.passes(0.1)
    assert any("number 2" in line for line in phone.lines)
    ana.post("unread")
    one.passes(0.1)
    assert [room["unread"] for room in ana.answers[-1]["rooms"]] == [0]
    other = terminal(two, "ana")
    one.passes(0.1)
    assert not any("unread" in line for line in other.lines), other.lines
    other.cut()
    one.passes(3)
    bob.say("number 3")
    one.passes(0.1)
    phone.cut()
    last = terminal(two, "ana")
    one.passes(0.1)
    assert any("number 3" in line for line in last.lines)
    assert not any("unread" in line or "new" in line.split() for line in last.lines), last.lines


def test_what_was_marked_as_read_at_another_node(town: Town) -> None:
    """Devices at other nodes are told that something was marked as read."""
    _, one, two, _ = town
    here, there = one.program("ana"), login(two, "ana")
    one.passes(0.5)
    here.say("hello").post("read", room="general", seq=2)
    one.passes(0.1)
    assert [(event["room"], event["seq"]) for event in there.events if event["event"] == "read"] == [("general", 2)]


def test_a_node_that_does_not_answer(town: Town) -> None:
    """If what was read at another node cannot be asked for, nobody waits for longer than a moment."""
    air, one, two, _ = town
    ana = two.program("ana")
    terminal(one, "ana")
    one.passes(5)
    air.fate = never
    before = len(ana.answers)
    ana.post("unread")
    one.passes(0.6)
    assert len(ana.answers) == before + 1
    ana.post("unread")  # it is not asked again
    assert len(ana.answers) == before + 2
