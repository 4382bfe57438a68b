"""A room's pace: how often each of its members may have something shown to all."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from chatserver.values import commands as c
from chatserver.values.errors import Refused
from chatserver.values.events import OPERATOR
from tests.handlers.world import World, undone
from tests.support.hall import Hall


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """Ana owns a room in which bob is a moderator and cai a member."""
    with undone(engine) as db:
        one = World(db)
        for name in ("ana", "bob", "cai", "dan"):
            one.person(name)
        one.person("root", OPERATOR)
        one.do("ana", c.Create(room="books"))
        for name in ("bob", "cai"):
            one.do(name, c.Join(room="books"))
        one.do("ana", c.Role(room="books", name="bob", role="moderator"))
        yield one


def test_who_sets_it(world: World) -> None:
    """Moderators, owners and operators set a pace; the log records it, and a retry changes nothing."""
    pace = c.Set(room="books", pace=30)
    for who, word in (("cai", "not-allowed"), ("dan", "not-a-member"), ("root", "ok"), ("ana", "ok"), ("bob", "ok")):
        assert world.word(who, pace) == word
    first = world.outcome("bob", c.Set(room="books", pace=0))
    assert [entry.text for entry in first.announced[0].entries] == ["pace=0"]
    assert world.outcome("bob", c.Set(room="books", pace=0)).announced == []
    assert world.word("bob", c.Set(room="books", pace=10, invites="moderators")) == "not-allowed"
    both = world.outcome("ana", c.Set(room="books", pace=10, invites="moderators"))
    assert [entry.text for entry in both.announced[0].entries] == ["invites=moderators,pace=10"]


def test_whom_it_slows(world: World) -> None:
    """Members wait after each message and are told for how long; moderators and owners are free."""
    world.do("ana", c.Set(room="books", pace=60))
    assert world.do("dan", c.Join(room="books")).pace == 60
    for who in ("ana", "bob", "cai"):
        assert world.word(who, c.Say(room="books", text="one", id=f"{who}1")) == "ok"
    assert world.word("cai", c.Say(room="books", text="two")) == "slow-down"
    assert world.word("cai", c.Say(room="books", text="one", id="cai1")) == "ok"  # a retry
    for who in ("ana", "bob"):
        assert world.word(who, c.Say(room="books", text="two")) == "ok"
    world.do("ana", c.Set(room="books", pace=0))
    assert world.word("cai", c.Say(room="books", text="two")) == "ok"
    assert world.do("cai", c.Join(room="books")).pace == 0


SHOWN = {
    "say": c.Say(room="books", text="again", id="1"),
    "reply": c.Reply(room="books", seq=5, text="again", id="1"),
    "edit": c.Edit(room="books", seq=5, text="other words"),
    "edit the last": c.Edit(room="books", seq=None, text="other words"),
    "amend": c.Amend(room="books", old="words", new="more"),
    "topic": c.Topic(room="books", text="words"),
    "pin": c.Pin(room="books", seq=5),
    "unpin": c.Unpin(room="books", seq=6),
    "react": c.React(room="books", seq=5, reaction="+1"),
    "take back": c.React(room="books", seq=6, reaction="+1", remove=True),
}
"""Commands by which a member shows something to all others, again and again."""


def shows(world: World, who: str, command: c.Command) -> bool:
    """Whether the others are shown something."""
    try:
        return world.outcome(who, command).announced != []
    except Refused:
        return False


@pytest.mark.parametrize("act", SHOWN)
def test_all_that_members_are_shown(world: World, act: str) -> None:
    """Members wait between any two things that all are shown, but not to erase one, nor for the answer to a retry.
    Moderators and owners are free, and all are once the pace is off."""
    command = SHOWN[act]
    for who in ("cai", "ana"):
        world.do(who, c.Say(room="books", text=f"words of {who}"))
    world.do("cai", c.Pin(room="books", seq=6))
    world.do("cai", c.React(room="books", seq=6, reaction="+1"))
    world.do("ana", c.Set(room="books", pace=600))
    assert world.word("cai", command) == "slow-down"
    world.at += timedelta(seconds=600)
    first = world.outcome("cai", command)
    assert len(first.announced[0].entries) == 1
    if act != "amend":
        assert world.outcome("cai", command).announced == []
    assert [name for name, other in SHOWN.items() if shows(world, "cai", other)] == []
    assert "once every 600 s" in str(world.told("cai", c.Topic(room="books", text="again")))
    assert world.word("cai", c.Erase(room="books", seq=5)) == "ok"
    for who in ("ana", "bob"):
        for reaction in ("1", "2"):
            assert world.word(who, c.React(room="books", seq=6, reaction=reaction)) == "ok"
    world.do("ana", c.Set(room="books", pace=0))
    assert world.word("cai", c.Topic(room="books", text="again")) == "ok"


def test_coming_and_going(world: World) -> None:
    """Who has left a room with a pace joins it again once it is over, a minute later at most, and may always leave."""
    world.do("ana", c.Set(room="books", pace=600))
    assert world.word("dan", c.Join(room="books")) == "ok"
    assert world.word("dan", c.Say(room="books", text="hello")) == "ok"
    assert world.word("dan", c.Leave(room="books")) == "ok"
    assert world.word("dan", c.Join(room="books")) == "slow-down"
    world.at += timedelta(seconds=60)
    assert world.word("dan", c.Join(room="books")) == "ok"
    assert world.word("dan", c.Say(room="books", text="hello")) == "slow-down"


def test_what_is_seen(tmp_path: Path) -> None:
    """In both dialects members see the entry, whoever joins later is told the pace, and who is too early reads why."""
    hall = Hall(tmp_path)
    ana, bob = hall.client().type("/register ana s3cret-words"), hall.program("bob")
    ana.type("/create books")
    bob.post("join", room="books")
    ana.type("/set pace 30")
    assert ana.lines[-1] == "* You changed the settings of books."
    [entry] = [event for event in bob.events if event["event"] == "set"]
    assert (entry["by"], entry["pace"]) == ("ana", 30)
    bob.say("one", "books").say("two", "books")
    refused = bob.answers[-1]
    assert (refused["error"], refused["retry"]) == ("slow-down", 30)
    cai = hall.client().type("/register cai s3cret-words", "/join books", "one", "two")
    assert "* Each member may send one message every 30 s here." in cai.lines
    assert cai.lines[-1].startswith("! In books each member may send one message every 30 s.")
    assert hall.program("dan").post("join", room="books").answers[-1]["pace"] == 30
    cai.type("/history")
    assert any(line.endswith("-- ana set: pace 30 s") for line in cai.lines)
    hall.passes(31)
    bob.say("three", "books")
    assert bob.answers[-1]["ok"]
    ana.type("/set books pace off")
    cai.type("/history")
    assert any(line.endswith("-- ana set: pace off") for line in cai.lines)
    hall.close()
