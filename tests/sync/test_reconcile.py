"""What was stored although the answer of the database was lost: everybody is told within two seconds."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from twisted.internet.defer import Deferred

from chatserver.store import accounts, renames, rooms
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


@pytest.mark.parametrize("found", ["entries", "memberships"])
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_join_that_is_found_before_its_answer(hall: Hall, found: str, is_lost: bool) -> None:
    """Whoever joins with `since` gets what was said meanwhile first, even if their joining is found in the database
    before it is answered, and hears the room if the answer is lost."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    bob.post("create", room="den")
    ana.post("join", room="den", since=0)
    ana.post("leave", room="den")
    known = ana.heard("den")
    bob.say("meanwhile", room="den")
    late = hall.inline.late_answer = Deferred()
    ana.post("join", room="den", since=known[-1])
    if found == "entries":
        hall.reconciler.compare()
    else:
        hall.reconciler.entered(ana.session.who.account_id)
    hall.passes(SOON)
    assert ana.heard("den") == known
    hall.inline.lost_answers = int(is_lost)
    late.callback(None)
    hall.passes(SOON)
    if is_lost:
        assert ana.answers[-1]["error"] == "unavailable"
        assert ana.heard("den")[-1] == 5
        ana.post("join", room="den", since=known[-1])
        assert ana.heard("den")[-2:] == [4, 5]
    else:
        assert ana.heard("den") == [1, 2, 3, 4, 5]
    bob.say("later", room="den")
    assert ana.heard("den")[-1] == 6


def test_an_invitation(hall: Hall) -> None:
    """Who was invited is told, though the inviter's answer was lost."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    ana.post("create", room="den", visibility="private")
    lost(hall, ana, "invite", room="den", name="bob")
    hall.passes(SOON)
    assert {"event": "invited", "room": "den", "room_id": 2, "by": "ana"} in bob.events


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


def test_a_name_that_was_given_elsewhere(hall: Hall) -> None:
    """A message that names an account by the name that the rooms show for it mentions it, though the account is not
    online here and was renamed by another process."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    ana.cut()
    hall.roster.names_known.update(["ana", "bob"])
    hall.roster.names_known.complete = True

    def rename(db: Connection) -> None:
        found = accounts.find(db, "ana")
        assert found is not None
        renames.rename(db, found.id, "anna", None, hall.now(), renames.Quota())

    transact(hall.engine, rename)
    hall.reconciler.suspect()
    hall.passes(SOON)
    assert last(bob)["to"] == "anna"
    bob.say("anna?")
    again = hall.client().post("login", name="anna", password="s3cret-words", state=True)
    assert again.answers[-1]["rooms"][0]["mentions"] == 1
