"""A rename in a running server: every session of the account, and everybody who sees it, has the new name at once."""

from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from chatserver.settings.tables import Limits, Server, Settings
from chatserver.values.events import DIRECT, MESSAGE, RENAMED, Entry, RoomFacts
from chatserver.values.recorded import Renaming, recorded_renaming
from tests.support.client import Message
from tests.support.hall import PASSWORD, QUIET, START, Client, Hall

MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


def person(hall: Hall, name: str) -> Client:
    """A person at a terminal, logged in to a new account."""
    return hall.client().type(f"/register {name} {PASSWORD}")


def described(events: list[Message], *fields: str) -> list[tuple[object, ...]]:
    return [tuple(event.get(field) for field in fields) for event in events]


def last(client: Client, count: int = 1) -> list[str]:
    return client.lines[-count:]


def test_a_rename_is_an_entry(hall: Hall) -> None:
    """Everybody in a room of the account is told by an entry, in its order; the answer has the names."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.post("rename", name="anna", display="Ana María", tag=5)
    assert ana.answers[-1] == {"ok": True, "tag": 5, "cmd": "rename", "name": "anna", "display": "Ana María"}
    ana.say("hello")
    told = described(bob.events[-2:], "event", "room", "seq", "name", "to", "from", "display")
    assert told == [
        ("renamed", "general", 3, "ana", "anna", None, "Ana María"),
        ("message", "general", 4, None, None, "anna", "Ana María"),
    ]
    ana.post("history", room="general", after=1)
    assert [line for line in ana.answers[-1]["entries"] if line["seq"] > 2] == bob.events[-2:]


def test_doing_it_again(hall: Hall) -> None:
    """A retry is answered with the names, and adds no entry."""
    ana = hall.program("ana")
    for _ in range(2):
        ana.post("rename", name="anna")
        assert ana.answers[-1] == {"ok": True, "cmd": "rename", "name": "anna"}
    assert ana.heard() == [2]


def test_all_sessions(hall: Hall) -> None:
    """Every session of the account speaks under the new name at once, and a person is marked as mentioned by it."""
    ana, phone = person(hall, "ana"), hall.client().post("login", name="ana", password=PASSWORD)
    bob = hall.program("bob")
    phone.post("rename", name="anna")
    assert "ana is now called anna" in last(ana)[0]
    bob.say("anna: are you there?")
    assert "» bob: anna" in last(ana)[0]
    ana.type("yes")
    assert bob.events[-1]["from"] == "anna"
    bob.post("who")
    assert [line["name"] for line in bob.answers[-1]["users"]] == ["anna", "bob"]
    assert {session.who.name for session in hall.roster.all_sessions()} == {"anna", "bob"}


def test_a_direct_room(hall: Hall) -> None:
    """The entry itself comes under the former label of the room, and everything behind it under the new one, for
    programs and people; the current room of a person is the same one."""
    ana, bob, dan = hall.program("ana"), hall.program("bob"), person(hall, "dan")
    ana.say("psst", "@bob").say("psst", "@dan")
    dan.type("/join @ana")
    ana.post("rename", name="anna").say("again", "@bob").say("again", "@dan")
    told = [event for event in bob.events if event.get("room", "").startswith("@")]
    assert described(told, "event", "room", "seq") == [
        ("message", "@ana", 1), ("renamed", "@ana", 2), ("message", "@anna", 3),
    ]  # fmt: skip
    assert described(ana.events[-1:], "room") == [("@dan",)]
    assert sum("is now called anna" in line for line in dan.lines) == 1
    assert "* What you type now goes to @anna." in dan.lines
    dan.type("hello")
    assert described(ana.events[-1:], "event", "room", "text") == [("message", "@dan", "hello")]
    bob.say("hello", "@anna")
    assert described(ana.events[-1:], "event", "room", "text") == [("message", "@bob", "hello")]
    for command in ({"cmd": "say", "room": "@ana", "text": "hi"}, {"cmd": "who", "name": "ana"}):
        bob.post(str(command.pop("cmd")), **command)
        assert (bob.answers[-1]["error"], bob.answers[-1]["text"]) == ("no-such-user", "ana is now called anna.")


def test_resuming_a_direct_room(hall: Hall) -> None:
    """A client that was away during the rename resumes by the label that it knows, and gets everything under the
    present one."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.say("one", "@bob").say("two", "@bob")
    bob.cut()
    ana.post("rename", name="anna").say("three", "@bob")
    again = hall.client().post("login", name="bob", password=PASSWORD, resume={"@ana": 1})
    assert [one["room"] for one in again.answers[0]["rooms"]] == ["@anna", "general"]
    heard = [event for event in again.events if event.get("room") == "@anna"]
    assert described(heard, "event", "seq", "from", "name", "to") == [
        ("message", 2, "ana", None, None), ("renamed", 3, None, "ana", "anna"), ("message", 4, "anna", None, None),
        ("live", 4, None, None, None),
    ]  # fmt: skip


def test_a_slow_reader(hall: Hall) -> None:
    """Somebody who reads late is told of the rename where it happened: what is before it has the former label."""
    ana, bob = hall.program("ana"), hall.program("bob")
    bob.wire.room = 0
    for _ in range(20):
        ana.say("x" * 4000, "@bob")
    ana.post("rename", name="anna").say("one", "@bob").post("rename", name="annie").say("two", "@bob")
    assert bob.session.rooms["@annie"].is_behind(bob.session)
    bob.read()
    hall.passes(0.2)
    heard = [event for event in bob.events if event.get("room", "").startswith("@")]
    assert [event["seq"] for event in heard] == list(range(1, 25))
    assert {event["room"] for event in heard[:20]} == {"@ana"}
    assert described(heard[20:], "event", "room") == [
        ("renamed", "@ana"), ("message", "@anna"), ("renamed", "@anna"), ("message", "@annie"),
    ]  # fmt: skip


def test_entries_on_their_way(hall: Hall) -> None:
    """An entry that was stored before a rename and is announced behind it, or the other way round, has the name that
    the history will show."""
    ana, bob = hall.program("ana"), hall.program("bob")
    books = {"room": "books"}
    ana.post("create", **books)
    bob.post("join", **books)
    id, at = ana.session.who.account_id, START + timedelta(hours=1)
    facts, general = (ana.session.rooms[name].facts for name in ("books", "general"))
    before = Entry(3, MESSAGE, id, "ana", at - MILLISECOND, "before")
    after = Entry(5, MESSAGE, id, "ana", at, "after")
    renamed = Entry(4, RENAMED, id, "anna", at, recorded_renaming(Renaming("ana", "anna")))
    hall.registry.order.announce(
        general, [Entry(3, RENAMED, id, "anna", at, recorded_renaming(Renaming("ana", "anna")))]
    )
    for entry in (after, Entry(3, MESSAGE, id, "anna", before.at, "before"), renamed):
        hall.registry.order.announce(facts, [entry])
    heard = [event for event in bob.events if event.get("room") == "books"][-3:]
    assert described(heard, "event", "seq", "from") == [
        ("message", 3, "ana"), ("renamed", 4, None), ("message", 5, "anna"),
    ]  # fmt: skip
    older = Entry(4, RENAMED, id, "ann", at - timedelta(hours=1), recorded_renaming(Renaming("anya", "ann")))
    hall.registry.order.announce(general, [older])
    assert ana.session.who.name == "anna"


def test_a_lost_answer(hall: Hall) -> None:
    """If the fate of a rename is unknown, everybody learns of it as soon as the store answers, the account too; also
    where it is in no room, once it asks again."""
    ana, bob = hall.program("ana"), hall.program("bob")
    hall.inline.lost_answers = 1
    ana.post("rename", name="anna")
    assert ana.answers[-1]["error"] == "unavailable"
    hall.passes(3)
    assert described(bob.events[-1:], "event", "to") == [("renamed", "anna")]
    assert ana.session.who.name == "anna"
    ana.post("leave", room="general")
    hall.inline.lost_answers = 1
    ana.post("rename", name="annie")
    ana.post("rename", name="annie")
    assert (ana.answers[-1]["ok"], ana.session.who.name) == (True, "annie")


def test_the_former_name(hall: Hall) -> None:
    """Nobody can log in with it, or register it: the one fails as for a name that was never there."""
    ana = hall.program("ana").post("rename", name="anna")
    old, none = (hall.client().post("login", name=name, password=PASSWORD) for name in ("ana", "nobody"))
    assert old.answers == none.answers
    assert hall.client().post("register", name="ana", password=PASSWORD).answers[-1]["error"] == "bad-name"
    assert any("until lately" in line for line in hall.client().type("ana").lines)
    assert hall.client().post("login", name="ANNA", password=PASSWORD).answers[-1]["name"] == "anna"
    assert ana.session.who.name == "anna"


def test_who_may_not(tmp_path: Path) -> None:
    """Names of the server are refused, those of its settings included, and a token renames nobody."""
    hall = Hall(tmp_path, settings=Settings(server=Server(reserved_names=["acme"]), limits=QUIET))
    ana = hall.program("ana").post("rename", name="ACME")
    assert ana.answers[-1]["error"] == "bad-name"
    ana.post("rename", name="Adm1n")
    assert ana.answers[-1]["error"] == "bad-name"
    ana.post("rename", display="Server")
    assert ana.answers[-1]["error"] == "bad-name"
    ana.post("rename")
    assert ana.answers[-1]["error"] == "bad-command"
    ana.post("token", label="bot", password=PASSWORD)
    bot = hall.client().post("login", token=ana.answers[-1]["token"])
    bot.post("rename", name="anna")
    assert bot.answers[-1]["error"] == "not-allowed"


def test_presence_and_lists(tmp_path: Path) -> None:
    """News that waited to be told has the new names; lists have the display name."""
    hall = Hall(tmp_path, Limits(handshake_seconds=0, ping_seconds=0, stalled_seconds=0))
    ana, bob = hall.program("ana"), hall.program("bob")
    hall.passes(10)
    ana.post("away", text="at lunch").post("away").post("away", text="out").post("rename", name="anna", display="Ana")
    hall.passes(10)
    news = [event for event in bob.events if event["event"] == "presence"]
    assert described(news[-1:], "name", "display", "away") == [("anna", "Ana", "out")]
    bob.post("members", room="general")
    assert bob.answers[-1]["members"][0] == {
        "name": "anna", "role": "member", "online": True, "display": "Ana",
    }  # fmt: skip
    bob.post("who", name="anna")
    assert bob.answers[-1]["users"][0]["display"] == "Ana"
    bob.post("who")
    assert [line.get("display") for line in bob.answers[-1]["users"]] == ["Ana", None]


def test_many_rooms(hall: Hall) -> None:
    """In very many rooms everybody is told too, a little later."""
    ana, bob = hall.program("ana"), hall.program("bob")
    for number in range(60):
        ana.post("create", room=f"r{number}")
        bob.post("join", room=f"r{number}")
    ana.post("rename", name="anna")
    hall.passes(0.1)
    assert len([event for event in bob.events if event["event"] == "renamed"]) == 61


def test_a_limit(tmp_path: Path) -> None:
    """Somebody who was renamed too often is told when to try again."""
    hall = Hall(tmp_path, Limits(handshake_seconds=0, ping_seconds=0, renames_per_day=1))
    ana = hall.program("ana").post("rename", display="Ana").post("rename", display="Anna")
    assert (ana.answers[-1]["error"], ana.answers[-1]["retry"]) == ("slow-down", 86400)


def test_a_direct_room_that_begins_meanwhile(hall: Hall) -> None:
    """A direct room of which the first message was on its way is called by the new name, as nothing in it says that
    there was another one."""
    ana, bob = hall.program("ana"), hall.program("bob")
    one, other = (client.session.who.account_id for client in (ana, bob))
    ana.post("rename", name="anna")
    facts = RoomFacts(99, f"@{one}:{other}", DIRECT, ((one, "ana"), (other, "bob")))
    hall.registry.order.announce(facts, [Entry(1, MESSAGE, other, "bob", START + timedelta(hours=1), "psst")])
    assert described(bob.events[-1:], "room", "text") == [("@anna", "psst")]


def test_a_quiet_session(hall: Hall) -> None:
    """A script that hears nothing writes under the new name, to the rooms as they are called now."""
    ana, bob = hall.program("ana").say("psst", "@bob"), hall.program("bob")
    ana.say("psst", "@bob")
    scripts = [hall.client().post("login", name=name, password=PASSWORD, quiet=True) for name in ("ana", "bob")]
    ana.post("rename", name="anna")
    scripts[0].say("from a script", "@bob")
    assert described(bob.events[-1:], "from", "text") == [("anna", "from a script")]
    scripts[1].say("likewise", "@anna")
    assert described(ana.events[-1:], "from", "text") == [("bob", "likewise")]
    assert set(scripts[1].session.rooms) == {"@anna", "general"}


@pytest.mark.parametrize("seed", range(4))
def test_what_was_heard_is_the_history(hall: Hall, seed: int) -> None:
    """Whatever people say and are called in turns, everybody has heard the entries of each room as the history has
    them, and the label of a direct room has followed the names."""
    chance = Random(seed)
    crowd = [hall.program(name) for name in ("ana", "bob", "cai")]
    for number in range(60):
        one, other = chance.sample(crowd, 2)
        match chance.randrange(6):
            case 0:
                one.post("rename", name=f"{chance.choice(['dan', 'eve', 'fay', 'ana'])}{'xyz'[crowd.index(one)]}")
            case 1:
                one.post("rename", display=chance.choice(["", "Eins", "Zwei"]))
            case 2:
                one.say(f"psst {number}", f"@{other.session.who.name}")
            case 3:
                one.post("topic", room="general", text=str(number))
            case _:
                one.say(f"words {number}")
        hall.clock.advance(0.001 * chance.randrange(3))
    for client in crowd:
        heard = logs(client)
        assert set(heard) == set(client.session.rooms)
        for label, log in heard.items():
            client.post("history", room=label, after=log[0]["seq"] - 1, limit=500)
            assert [entry | {"room": ""} for entry in log] == [
                entry | {"room": ""} for entry in client.answers[-1]["entries"]
            ]


def logs(client: Client) -> dict[str, list[Message]]:
    """The entries that a client has received, by the room's present label, which it derives from the entries alone."""
    found: dict[str, list[Message]] = {}
    for event in client.events:
        if "seq" in event:
            label = event["room"].lower()
            found.setdefault(label, []).append(event)
            if event["event"] == "renamed" and label == f"@{event['name']}".lower():
                found[f"@{event['to']}".lower()] = found.pop(label)
    return found


def test_a_person_is_told_once(hall: Hall) -> None:
    """A person who shares several rooms with the account is shown one of the entries, and of the next rename again; the
    history of each room has them."""
    ana = hall.program("ana").post("create", room="books").post("create", room="chess")
    bob = person(hall, "bob").type("/join books", "/join chess")
    before = len(bob.lines)
    ana.post("rename", name="anna").say("hello", "books").post("rename", name="annie")
    told = [line.split("-- ")[-1] for line in bob.lines[before:] if "is now called" in line]
    assert told == ["ana is now called anna", "anna is now called annie"]
    before = len(bob.lines)
    bob.type("/history chess")
    assert sum("is now called" in line for line in bob.lines[before:]) == 2
