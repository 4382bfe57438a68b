"""What follows from a command stands in its outcome, so that the processor needs to know no command."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Engine

from chatserver.handlers import READS, WRITES
from chatserver.handlers import accounts as handlers_accounts
from chatserver.handlers.accounts import forget
from chatserver.handlers.outcome import Ask, HangUp, Hears, Outcome, TurnTo
from chatserver.store import accounts, erasure
from chatserver.store.visibility import memberships
from chatserver.values import commands as c
from chatserver.values.answers import Joined, Looked
from chatserver.values.events import CREATED, DELETED, JOINED, LEFT, MESSAGE, ROLE, TOPIC
from chatserver.values.seen import Seen
from tests.handlers.world import World, undone


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """Ana owns a room that bob is in."""
    with undone(engine) as db:
        one = World(db)
        for name in ("ana", "bob", "cai"):
            one.person(name)
        one.do("ana", c.Create(room="books"))
        one.do("bob", c.Join(room="books"))
        yield one


def announced(outcome: Outcome) -> list[tuple[str, list[tuple[int, str]]]]:
    return [(one.facts.name, [(entry.seq, entry.kind) for entry in one.entries]) for one in outcome.announced]


def as_person(world: World, who: str, command: c.Command, seen: dict[int, Seen]) -> Outcome:
    """The outcome of a command by somebody at a terminal; `World` runs those of programs."""
    return {**WRITES, **READS}[type(command)](
        world.db, Ask(world.people[who], world.at, seen=seen, for_people=True), command
    )


def test_entering(world: World) -> None:
    """Creating, joining and looking turn a person to the room."""
    created = world.outcome("cai", c.Create(room="chess"))
    assert announced(created) == [("chess", [(1, CREATED)])]
    assert created.turn_to == TurnTo(created.announced[0].facts)
    joined = world.outcome("cai", c.Join(room="books"))
    assert announced(joined) == [("books", [(3, JOINED)])]
    assert joined.turn_to is not None
    assert joined.turn_to == TurnTo(joined.announced[0].facts)
    again = world.outcome("cai", c.Join(room="books"))
    assert (again.announced, again.turn_to) == ([], joined.turn_to)
    hears = Hears(joined.turn_to.facts, 2, 3)
    assert world.outcome("cai", c.Look(room="books")) == Outcome(Looked("books"), hears=hears, turn_to=joined.turn_to)
    assert {outcome.echo for outcome in (created, joined, again)} == {"never"}


def heard(world: World, who: str, command: c.Command) -> tuple[str, int, int] | None:
    """The room that the session hears then, from behind which entry on, and the room's head."""
    hears = world.outcome(who, command).hears
    return None if hears is None else (hears.facts.name, hears.position, hears.head)


def test_whose_answers_were_lost(world: World) -> None:
    """Every answer that implies membership lets the session hear the room: from the entry with which the account joined
    on, or, after `create` and `join`, from what the answer's `seq` does not cover."""
    assert heard(world, "cai", c.Create(room="chess")) == ("chess", 0, 0)
    assert heard(world, "ana", c.Join(room="chess")) == ("chess", 1, 1)
    assert heard(world, "cai", c.Create(room="chess")) == ("chess", 1, 2)
    assert heard(world, "cai", c.Join(room="chess", since=0)) == ("chess", 2, 2)
    assert heard(world, "cai", c.Look(room="chess")) == ("chess", 0, 2)
    assert heard(world, "cai", c.Say(room="chess", text="hello", id="1")) == ("chess", 0, 2)
    world.do("ana", c.Say(room="chess", text="hello"))
    assert heard(world, "cai", c.Say(room="chess", text="hello", id="1")) == ("chess", 0, 4)
    for command in (
        c.Topic(room="chess", text="e4"),
        c.Topic(room="chess", text="e4"),
        c.Set(room="chess", invites="moderators"),
        c.Set(room="chess", invites="moderators"),
        c.Edit(room="chess", seq=3, text="hullo"),
        c.Edit(room="chess", seq=3, text="hullo"),
        c.Read(room="chess", seq=1),
        c.Erase(room="chess", seq=3),
        c.Erase(room="chess", seq=3),
    ):
        [last] = [line.seq for line in world.do("cai", c.Rooms()).rooms if line.room == "chess"]
        assert heard(world, "cai", command) == ("chess", 0, last)
    assert heard(world, "ana", c.Join(room="@cai")) is None  # before its first message
    first = world.outcome("ana", c.Say(room="@cai", text="psst", id="2"))
    assert first.hears == Hears(first.announced[0].facts, 0, 0)
    assert heard(world, "ana", c.Look(room="@cai")) == (first.announced[0].facts.name, 0, 1)


def test_who_hears_nothing(world: World) -> None:
    """A retry by somebody who has left is answered, and lets nobody hear the room; after rejoining a private room, none
    lets them hear what they may not read."""
    world.do("ana", c.Create(room="club", visibility="private"))
    world.do("ana", c.Invite(room="club", name="bob"))
    world.do("bob", c.Join(room="club"))
    retry = c.Say(room="club", text="hello", id="1")
    assert world.do("bob", retry).seq == 3
    world.do("bob", c.Leave(room="club"))
    world.do("ana", c.Say(room="club", text="he is gone"))
    assert heard(world, "bob", retry) is None
    world.do("ana", c.Invite(room="club", name="bob"))
    world.do("bob", c.Join(room="club"))
    assert heard(world, "bob", retry) == ("club", 5, 6)


def test_creating_again(world: World) -> None:
    """Within ten minutes, the owner of a room who creates it once more, like that, gets the first answer; otherwise the
    name is taken."""
    command = c.Create(room="chess", visibility="private", topic="e4")
    first = world.do("cai", command)
    world.do("cai", c.Topic(room="chess", text="d4"))
    again = world.outcome("cai", command)
    assert (again.answer, again.announced) == (first, [])
    assert world.word("cai", c.Create(room="chess", visibility="public", topic="e4")) == "room-taken"
    assert world.word("cai", c.Create(room="chess", visibility="private", topic="d4")) == "room-taken"
    assert world.word("ana", command) == "room-taken"
    world.at += accounts.RETRY_WINDOW - timedelta(seconds=10)
    assert world.word("cai", command) == "ok"
    world.at += timedelta(seconds=10)
    assert world.word("cai", command) == "room-taken"


@pytest.mark.parametrize("visibility", ["public", "private"])
def test_creating_again_what_one_has_lost(world: World, visibility: Any) -> None:
    """Nobody gets an answer to creating a room that they are not in, or do not own: its name is taken."""
    command = c.Create(room="chess", visibility=visibility)
    world.do("cai", command)
    world.do("cai", c.Invite(room="chess", name="bob"))
    world.do("bob", c.Join(room="chess"))
    world.do("cai", c.Role(room="chess", name="bob", role="owner"))
    world.do("cai", c.Role(room="chess", name="cai", role="member"))
    assert world.word("cai", command) == "room-taken"
    world.do("cai", c.Leave(room="chess"))
    assert world.word("cai", command) == "room-taken"
    world.do("bob", c.Delete(room="chess"))
    assert world.word("cai", command) == "ok"


def test_joining_with_since(world: World) -> None:
    """The replay begins behind `since`, and its head is the one before the new entry."""
    replay = world.outcome("cai", c.Join(room="books", since=1)).replay
    assert replay is not None
    assert (replay.facts.name, replay.since, replay.head) == ("books", 1, 2)
    assert world.outcome("cai", c.Join(room="@ana", since=0)).replay is None


def test_a_direct_room_that_does_not_exist_yet(world: World) -> None:
    """A person turns to it before its first message makes it."""
    outcome = world.outcome("ana", c.Join(room="@bob"))
    assert outcome.turn_to is not None
    assert (outcome.turn_to.facts.id, outcome.turn_to.facts.label(world.people["ana"].id)) == (0, "@bob")
    assert outcome.announced == []


def test_people_are_shown_what_they_missed(world: World) -> None:
    """A person who joins again is shown names and unread entries; a program is told the numbers alone."""
    world.do("bob", c.Leave(room="books"))
    world.do("ana", c.Say(room="books", text="hello"))
    access = world.outcome("ana", c.Look(room="books")).turn_to
    assert access is not None
    person = as_person(world, "bob", c.Look(room="@ana"), {}).answer
    assert person == Looked("@ana")
    joined = as_person(world, "bob", c.Join(room="books"), {access.facts.id: Seen(3)}).answer
    assert isinstance(joined, Joined)
    assert (joined.names, joined.unread) == (["ana"], 1)
    assert joined.recent is not None
    assert [entry.seq for entry in joined.recent.entries] == [4]
    assert world.do("bob", c.Join(room="books")) == structs.replace(joined, names=[], unread=0, recent=None)


def test_leaving(world: World) -> None:
    """The session hears the room no more after the entries; an heir is named in them."""
    outcome = world.outcome("ana", c.Leave(room="books"))
    assert announced(outcome) == [("books", [(3, LEFT), (4, ROLE)])]
    assert outcome.left == outcome.announced[0].facts
    assert (outcome.turn_to, outcome.closed, outcome.echo) == (None, None, "never")


def test_deleting(world: World) -> None:
    outcome = world.outcome("ana", c.Delete(room="books"))
    assert announced(outcome) == [("books", [(3, DELETED)])]
    assert outcome.closed == outcome.announced[0].facts
    assert outcome.left is None


def test_echoes(world: World) -> None:
    """A topic is shown to the person who set it too, a message only where they do not look, everything else never."""
    said = world.outcome("bob", c.Say(room="books", text="hello", id="1"))
    assert (announced(said), said.echo) == ([("books", [(3, MESSAGE)])], "elsewhere")
    topic = world.outcome("bob", c.Topic(room="books", text="news"))
    assert (announced(topic), topic.echo) == ([("books", [(4, TOPIC)])], "always")
    assert world.outcome("bob", c.Edit(room="books", seq=3, text="hullo")).echo == "never"
    assert world.outcome("ana", c.Kick(room="books", name="bob")).echo == "never"


def test_nothing_new(world: World) -> None:
    """A retry, and a change to what is so already, announce nothing."""
    world.do("bob", c.Say(room="books", text="hello", id="1"))
    world.do("bob", c.Say(room="books", text="hullo"))
    for who, command in (
        ("bob", c.Say(room="books", text="hello", id="1")),
        ("bob", c.Edit(room="books", seq=3, text="hello")),
        ("bob", c.Topic(room="books", text="")),
        ("ana", c.Set(room="books", invites="members")),
        ("ana", c.Set(room="books", past="closed", invites="members")),
        ("ana", c.Role(room="books", name="bob", role="member")),
    ):
        assert world.outcome(who, command).announced == []
    assert world.outcome("ana", c.Erase(room="books", seq=4)).announced != []
    for who in ("ana", "bob"):
        again = world.outcome(who, c.Erase(room="books", seq=4))
        assert (again.answer.seq, again.announced) == (None, [])  # type: ignore[union-attr]
    assert world.word("bob", c.Edit(room="books", seq=4, text="hi")) == "bad-command"
    assert world.word("bob", c.Erase(room="books", seq=2)) == "bad-command"  # no message


def test_a_retry_to_somebody_who_blocks(world: World) -> None:
    """Whoever was blocked since gets the first answer to a message that was stored before, as everywhere else."""
    first = world.do("ana", c.Say(room="@bob", text="psst", id="1"))
    world.do("bob", c.Block(name="ana"))
    assert world.do("ana", c.Say(room="@bob", text="psst", id="1")) == structs.replace(first, dup=True)
    assert world.word("ana", c.Say(room="@bob", text="psst", id="2")) == "blocked"


def test_forgetting(world: World) -> None:
    """All rooms that the account leaves hear of it, and all its connections end."""
    world.do("bob", c.Create(room="chess"))
    outcome = forget(world.db, Ask(world.people["bob"], world.at), messages=False)
    assert announced(outcome) == [("books", [(3, LEFT)]), ("chess", [(2, LEFT)])]
    [ended] = outcome.effects
    assert isinstance(ended, HangUp)
    assert (ended.account_id, ended.reason, ended.spare) == (world.people["bob"].id, "erased", False)


def test_forgetting_many_rooms(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who is in very many rooms leaves some of them at once, and the rest in steps."""
    monkeypatch.setattr(handlers_accounts, "ROOMS_AT_ONCE", 2)
    monkeypatch.setattr(erasure, "STEP_ROOMS", 2)
    for n in range(5):
        world.do("cai", c.Create(room=f"room{n}"))
    outcome = forget(world.db, Ask(world.people["cai"], world.at), messages=False)
    assert [announced.facts.name for announced in outcome.announced] == ["room0", "room1"]
    steps = 0
    while erasure.places(world.db, world.people["cai"].id) is not None:
        erasure.step(world.db, world.people["cai"].id, [], world.at)
        steps += 1
    assert steps >= 2
    assert memberships(world.db, world.people["cai"]) == []
