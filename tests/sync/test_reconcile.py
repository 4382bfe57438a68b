"""What was stored although the answer of the database was lost: everybody is told within two seconds."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatserver.store import rooms
from chatserver.store.db.transactions import transact
from chatserver.sync.reconcile import DOUBT_SECONDS
from chatserver.values.errors import Unavailable
from tests.support.hall import Client, Hall

SOON = 2.0


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path)
    yield one
    one.close()


def lost(hall: Hall, client: Client, word: str, **fields: Any) -> None:
    """A client sends a command that is committed, and is told `unavailable`."""
    hall.inline.lost_answers = 1
    client.post(word, **fields)
    assert (client.answers[-1]["error"], client.answers[-1]["retry"]) == ("unavailable", True)


def last(client: Client, room: str = "general") -> Any:
    return [event for event in client.events if event.get("room") == room][-1]


Write = Callable[[Hall, Client], None]

WRITES: dict[str, tuple[str, dict[str, Any], str]] = {
    "say": ("say", {"room": "general", "text": "hello"}, "message"),
    "topic": ("topic", {"room": "general", "text": "news"}, "topic"),
    "edit": ("edit", {"room": "general", "seq": 3, "text": "better"}, "edited"),
    "erase": ("erase", {"room": "general", "seq": 3}, "erased"),
    "leave": ("leave", {"room": "general"}, "left"),
}


@pytest.mark.parametrize("name", WRITES)
def test_entries_whose_announcement_was_lost(hall: Hall, name: str) -> None:
    """An entry that is committed although its sender was told `unavailable` reaches everybody within two seconds."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    ana.say("first")
    word, fields, kind = WRITES[name]
    lost(hall, ana, word, **fields)
    hall.passes(SOON)
    assert last(bob)["event"] == kind
    assert bob.heard() == sorted(bob.heard())
    assert bob.heard()[-1] == last(bob)["seq"]


def test_a_late_commit(hall: Hall) -> None:
    """A commit some time after the failure is found too, for as long as a statement may take."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    lost(hall, ana, "say", room="general", text="lost")
    hall.passes(DOUBT_SECONDS / 2)
    before = len(bob.heard())
    transact(hall.engine, lambda db: rooms.register(db, "cai", "x", ["general"], hall.now()))  # nobody announces it
    hall.passes(SOON)
    assert len(bob.heard()) == before + 1
    assert last(bob)["event"] == "joined"


def test_after_the_start(hall: Hall) -> None:
    """A commit of the server that was killed, which comes when its successor is serving already, is found."""
    hall.reconciler.suspect()
    bob = hall.client().come_in("bob")
    transact(hall.engine, lambda db: rooms.register(db, "cai", "x", ["general"], hall.now()))
    hall.passes(SOON)
    assert last(bob)["name"] == "cai"


def test_a_comparison_during_an_outage(hall: Hall) -> None:
    """What is to be compared once is compared as soon as the database answers again."""
    bob = hall.client().come_in("bob")
    transact(hall.engine, lambda db: rooms.register(db, "cai", "x", ["general"], hall.now()))  # nobody announces it
    read = hall.inline.read

    async def away(work: Any, *args: Any, **options: Any) -> Any:
        raise Unavailable()

    hall.inline.read = away  # type: ignore[method-assign]
    hall.reconciler.compare()
    hall.passes(SOON)
    hall.inline.read = read  # type: ignore[method-assign]
    hall.passes(SOON)
    assert last(bob)["event"] == "joined"
    assert last(bob)["name"] == "cai"


def test_the_first_direct_message(hall: Hall) -> None:
    """The room that it makes, of which nobody hears yet, reaches both people."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    lost(hall, ana, "say", room="@bob", text="psst", id="k1")
    hall.passes(SOON)
    assert (bob.heard("@ana"), ana.heard("@bob")) == ([1], [1])
    ana.post("say", room="@bob", text="psst", id="k1", tag=2)
    assert ana.answers[-1]["dup"]
    ana.say("again", room="@bob")
    assert bob.heard("@ana") == [1, 2]


@pytest.mark.parametrize("word", ["join", "create"])
def test_a_deaf_member(hall: Hall, word: str) -> None:
    """After a join or a create whose answer was lost the session hears the room, though nobody else does."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    if word == "join":
        bob.post("create", room="den")
        bob.post("leave", room="den")
    lost(hall, ana, word, room="den")
    hall.passes(SOON)
    assert last(ana, "den")["event"] == {"join": "joined", "create": "created"}[word]
    ana.say("hello", room="den")
    assert ana.said[-1:] == ["hello"]


def test_an_invitation(hall: Hall) -> None:
    """Who was invited is told, though the inviter's answer was lost."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    ana.post("create", room="den", visibility="private")
    lost(hall, ana, "invite", room="den", name="bob")
    hall.passes(SOON)
    assert {"event": "invited", "room": "den", "by": "ana"} in bob.events


def test_a_retry_that_finds_its_message(hall: Hall) -> None:
    """A `dup` above the head that others know brings them the message at once."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    lost(hall, ana, "say", room="general", text="hello", id="k1")
    hall.reconciler.stop()
    ana.post("say", room="general", text="hello", id="k1", tag=3)
    assert ana.answers[-1]["dup"]
    assert bob.said == ["hello"]


def test_it_comes_to_rest(hall: Hall) -> None:
    """Once nothing more can come, nobody asks the database any more."""
    ana = hall.client().come_in("ana")
    lost(hall, ana, "say", room="general", text="hello")
    hall.passes(DOUBT_SECONDS + SOON)
    assert hall.clock.getDelayedCalls() == []


def test_nothing_is_told_twice(hall: Hall) -> None:
    """Through any mixture of lost answers everybody hears every number once, in order."""
    people = [hall.client().come_in(name) for name in ("ana", "bob", "cai")]
    for number in range(12):
        speaker = people[number % 3]
        if number % 2:
            lost(hall, speaker, "say", room="general", text=f"text {number}", id=f"k{number}")
        else:
            speaker.say(f"text {number}", id=f"k{number}")
        if number % 5 == 0:
            hall.passes(0.3)
    hall.passes(SOON)
    first = json.loads(json.dumps([one.heard()[0] for one in people]))
    assert [one.heard() for one in people] == [list(range(start, 16)) for start in first]
