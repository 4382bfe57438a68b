"""What people change without a number is the last thing they said in the room, and never another one."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event

from chatserver.handlers import message_changes
from chatserver.store import entries, messages, saying
from chatserver.values import commands as c
from chatserver.values.events import EDITED, ERASED, MESSAGE, Entry
from tests.handlers.world import START, World, undone
from tests.support.sentences import shown


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """Bob says #3 and #5 in ana's room, and ana #4; he says something in another room later."""
    with undone(engine) as db:
        one = World(db)
        for name in ("ana", "bob"):
            one.person(name)
        for room in ("books", "chess"):
            one.do("ana", c.Create(room=room))
            one.do("bob", c.Join(room=room))
        one.do("bob", c.Say(room="books", text="first"))
        one.do("ana", c.Say(room="books", text="hers"))
        one.do("bob", c.Say(room="books", text="lunch at none, at none"))
        one.do("bob", c.Say(room="chess", text="elsewhere"))
        yield one


def entry(world: World, seq: int) -> Entry:
    [found] = world.do("ana", c.History(room="books", before=seq + 1, limit=1)).entries
    assert isinstance(found, Entry)
    assert (found.seq, found.kind) == (seq, MESSAGE)
    return found


def refusal(world: World, who: str, command: c.Command) -> str:
    told = world.told(who, command)
    assert isinstance(told, tuple), told
    return str(told[1])


def test_editing_the_last(world: World) -> None:
    """The last message in the room gets the text, and the answer has the old one, so that a mistake is not lost."""
    outcome = world.outcome("bob", c.Edit(room="books", seq=None, text="lunch at noon"))
    assert shown(outcome.answer.note) == "You edited #5, which said: lunch at none, at none"  # type: ignore[union-attr]
    assert [(one.kind, one.of) for one in outcome.announced[0].entries] == [(EDITED, 5)]
    assert (entry(world, 5).text, entry(world, 3).text) == ("lunch at noon", "first")
    assert world.outcome("bob", c.Edit(room="books", seq=None, text="lunch at noon")).announced == []


def test_amending(world: World) -> None:
    """`s/old/new/` replaces the words where they come first, with `g` everywhere; what they are not in stays as it is,
    and what they make empty is refused."""
    said = world.do("bob", c.Amend(room="books", old="none", new="noon"))
    assert shown(said.note) == "You edited #5, which now says: lunch at noon, at none"
    world.do("bob", c.Amend(room="books", old="at ", new="@", every=True))
    assert entry(world, 5).text == "lunch @noon, @none"
    assert refusal(world, "bob", c.Amend(room="books", old="Lunch", new="x")) == (
        "Your last message in books does not contain Lunch. Nothing was sent. To say the line as it is, use /say books "
        "LINE."
    )
    assert world.word("bob", c.Amend(room="books", old="lunch @noon, @none", new=" ")) == "empty"
    assert world.word("bob", c.Amend(room="books", old="l", new="x" * 5000)) == "too-long"
    assert entry(world, 5).text == "lunch @noon, @none"


def test_erasing_the_last(world: World) -> None:
    """The last message is erased, and the answer has its text. Repeating it erases nothing else."""
    outcome = world.outcome("bob", c.Erase(room="books", seq=None))
    assert shown(outcome.answer.note) == "You erased #5, which said: lunch at none, at none"  # type: ignore[union-attr]
    assert [(one.kind, one.of) for one in outcome.announced[0].entries] == [(ERASED, 5)]
    for command in (
        c.Erase(room="books", seq=None),
        c.Edit(room="books", seq=None, text="x"),
        c.Amend(room="books", old="first", new="x"),
    ):
        assert refusal(world, "bob", command).startswith("Your last message in books, #5, is erased.")
    assert (entry(world, 3).text, entry(world, 5).text) == ("first", "")


def test_nothing_said(world: World) -> None:
    """Who has said nothing in a room, or nothing lately, changes nothing there."""
    assert (
        refusal(world, "ana", c.Erase(room="chess", seq=None))
        == "You have said nothing in chess lately. Nothing was changed."
    )
    assert world.word("ana", c.Edit(room="@bob", seq=None, text="x")) == "bad-command"
    for _ in range(saying.RECENT_ENTRIES // 100):
        drafts = [messages.Draft(_room(world), world.people["ana"].id, "more", None)] * 100
        messages.append(world.db, drafts, world.at)
    assert world.word("bob", c.Erase(room="books", seq=None)) == "bad-command"
    assert entry(world, 5).text == "lunch at none, at none"


def _room(world: World) -> int:
    return int(world.do("ana", c.History(room="books", limit=1)).facts.id)


def test_history_since(world: World) -> None:
    """The entries since a time come in order from the first one, found by few statements; the page leads onward."""
    times = {}
    for _ in range(300):  # several rounds of looking up
        world.at += timedelta(minutes=1)
        said = world.do("ana", c.Say(room="books", text="more"))
        times[said.seq] = said.at
    for seq in (6, 7, 100, 204, 305):
        for at, first in ((times[seq], seq), (times[seq] + timedelta(milliseconds=1), seq + 1)):
            log = world.do("bob", c.History(room="books", since=at.isoformat(), limit=3))
            assert [one.seq for one in log.entries] == [one for one in range(first, first + 3) if one <= 305]
            assert (log.more, log.onward) == (first + 3 <= 305, True)
    asked: list[str] = []
    event.listen(world.db, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert entries.before_time(world.db, _room(world), times[204], 1, 305) == 203
    assert len([text for text in asked if " IN (" in text]) <= 3
    everything = world.do("bob", c.History(room="books", since=START.isoformat(), limit=2))
    assert [one.seq for one in everything.entries] == [1, 2]
    assert world.do("bob", c.History(room="books", since="2030-01-01")).entries == []
    assert world.word("bob", c.History(room="books", since="soon")) == "bad-command"
    assert world.word("bob", c.History(room="books", since="2h", after=1)) == "bad-command"


def test_words_that_grow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words that are replaced everywhere cannot make a message too long: nothing of such a size is even looked at."""
    world.do("bob", c.Say(room="books", text="é" * 4096))
    looked: list[str] = []
    monkeypatch.setattr(message_changes, "message_text", looked.append)
    told = refusal(world, "bob", c.Amend(room="books", old="é", new="ö" * 4000, every=True))
    assert told == "A message can have at most 4096 characters; this one would have 16384000."
    assert looked == []
