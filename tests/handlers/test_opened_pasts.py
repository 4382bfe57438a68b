"""The past of a private room is its members' to open."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from chatserver.values import commands as c
from chatserver.values.errors import ErrorWord, Refused
from chatserver.values.events import OPERATOR
from tests.handlers.acts import acts
from tests.handlers.town import Town
from tests.handlers.world import World, undone


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """Ana owns a private room, and an operator of the server is not in it."""
    with undone(engine) as db:
        one = World(db)
        for name in ("ana", "bob"):
            one.person(name)
        one.person("root", OPERATOR)
        one.do("ana", c.Create(room="den", visibility="private"))
        one.do("ana", c.Say(room="den", text="a secret"))
        yield one


def test_by_an_operator(world: World) -> None:
    """An operator outside does not open it, not even when invited, but may close it. Inside, they need no role."""
    opened, closed = c.Set(room="den", past="open"), c.Set(room="den", past="closed")
    assert world.told("root", opened) == (
        ErrorWord.NOT_ALLOWED,
        "Only members of den may open its past. Ask one of its owners.",
    )
    world.do("ana", c.Invite(room="den", name="root"))
    assert world.word("root", opened) == "not-allowed"
    assert world.word("root", c.Set(room="den", past="open", invites="moderators")) == "not-allowed"
    assert world.word("ana", opened) == world.word("root", closed) == "ok"
    world.do("root", c.Join(room="den"))
    assert world.word("root", opened) == "ok"
    world.do("root", c.Leave(room="den"))
    world.do("ana", c.Set(room="den", past="closed"))
    world.do("ana", c.Create(room="hall"))
    assert world.word("root", c.Set(room="hall", past="open")) == "ok"


def test_an_edit_opens_no_past(world: World) -> None:
    """An edit of a message that is older than somebody's membership is recorded without the new text, which those who
    may read the message find there. With an open past, or a younger message, everybody is told at once."""
    world.do("ana", c.Say(room="den", text="another secret"))
    world.do("ana", c.Invite(room="den", name="bob"))

    def said_by_edit(seq: int, text: str) -> str:
        [entry] = world.outcome("ana", c.Edit(room="den", seq=seq, text=text)).announced[0].entries
        assert (entry.kind, entry.of) == ("edited", seq)
        return entry.text

    assert said_by_edit(2, "a secret of old") == "a secret of old"
    world.do("bob", c.Join(room="den"))
    assert said_by_edit(2, "a new secret") == said_by_edit(3, "a better one") == ""
    read = {who: str(world.do(who, c.History(room="den"))) for who in ("ana", "bob")}
    assert ["a new secret" in read[who] for who in ("ana", "bob")] == [True, False]
    world.do("ana", c.Say(room="den", text="hello bob"))
    assert said_by_edit(world.do("ana", c.Say(room="den", text="helo", id="1")).seq, "hello") == "hello"
    world.do("ana", c.Set(room="den", past="open"))
    assert said_by_edit(3, "a secret no more") == "a secret no more"
    world.do("ana", c.Set(room="den", past="closed"))
    world.do("bob", c.Leave(room="den"))
    assert said_by_edit(3, "secret again") == "secret again"


def test_nothing_is_read_from_outside(engine: Engine) -> None:
    """Whatever an operator does in a private room from outside, no answer or replay has a word said there."""
    with undone(engine) as db:
        town = Town(db)
        for act, command in acts("den", *town.seqs("den", "operator"), town.people["guest"].name).items():
            with db.begin_nested() as attempt:
                try:
                    outcome = town.outcome("operator", command)
                except Refused:
                    continue
                assert "words of" not in str(outcome.answer), act
                assert (outcome.replay, outcome.hears) == (None, None), act
                attempt.rollback()
        found = town.do("operator", c.Search(text="words")).entries
        assert "den" not in {facts.name for facts, _ in found}
