"""The messages that answer a message: listing them, and how many there are, on both databases."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from chatserver.store import replies, retention
from chatserver.values import commands as c
from chatserver.values.answers import Gap
from tests.handlers.world import World, undone
from tests.support.hall import PASSWORD, Hall


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """Ana has books, a private room, in which she said `hello` before bob joined, and `again` after that."""
    with undone(engine) as db:
        one = World(db)
        for name in ("ana", "bob", "cai"):
            one.person(name)
        one.do("ana", c.Create(room="books", visibility="private"))
        one.do("ana", c.Say(room="books", text="hello"))
        one.do("ana", c.Invite(room="books", name="bob"))
        one.do("bob", c.Join(room="books"))
        one.do("ana", c.Say(room="books", text="again"))
        yield one


HELLO, AGAIN = 2, 4


def reply(world: World, who: str, seq: int, text: str) -> int:
    return int(world.do(who, c.Reply(room="books", seq=seq, text=text)).seq)


def listed(world: World, who: str, seq: int, **fields: Any) -> tuple[list[str], bool]:
    found = world.do(who, c.Replies(room="books", seq=seq, **fields))
    return [entry.text for entry in found.entries], found.more


def counts(world: World, who: str = "ana") -> dict[int, int]:
    """How many replies each message has, by the history."""
    found = world.do(who, c.History(room="books"))
    return {entry.seq: entry.replies for entry in found.entries if entry.replies}


def test_what_answers_a_message(world: World) -> None:
    """Replies are listed oldest first, in pages, and counted; edited ones as they are, erased ones not at all. What
    else is about a message is no reply to it. An erased message keeps its replies."""
    seqs = [reply(world, "ana", AGAIN, f"text {n}") for n in range(5)]
    inner = reply(world, "bob", seqs[0], "to the first")
    world.do("bob", c.React(room="books", seq=AGAIN, reaction="+1"))
    world.do("bob", c.Pin(room="books", seq=AGAIN))
    assert listed(world, "bob", AGAIN, limit=2) == (["text 0", "text 1"], True)
    assert listed(world, "bob", AGAIN, limit=3, after=seqs[1]) == (["text 2", "text 3", "text 4"], False)
    assert listed(world, "bob", AGAIN, after=seqs[4]) == ([], False)
    assert listed(world, "ana", HELLO) == ([], False)
    assert counts(world) == counts(world, "bob") == {AGAIN: 5, seqs[0]: 1}
    world.do("ana", c.Edit(room="books", seq=seqs[1], text="better"))
    world.do("ana", c.Erase(room="books", seq=seqs[2]))
    world.do("ana", c.Erase(room="books", seq=AGAIN))
    assert listed(world, "bob", AGAIN) == (["text 0", "better", "text 3", "text 4"], False)
    assert counts(world) == {AGAIN: 4, seqs[0]: 1}
    world.do("bob", c.Erase(room="books", seq=inner))
    assert counts(world) == {AGAIN: 4}
    [(_, found)] = world.do("ana", c.Search(text="text 0")).entries
    assert found.replies == 0


def test_replies_to_what_one_may_not_read(world: World) -> None:
    """Who may not read a message, or the room, is not told what answers it, nor whether there is such a message."""
    reply(world, "ana", HELLO, "yes")
    assert listed(world, "ana", HELLO) == (["yes"], False)
    assert counts(world, "bob") == {}
    hidden = world.told("bob", c.Replies(room="books", seq=HELLO))
    missing = world.told("bob", c.Replies(room="books", seq=999))
    assert isinstance(hidden, tuple)
    assert isinstance(missing, tuple)
    assert hidden[0] == missing[0] == "bad-command"
    assert str(hidden[1]).replace("#2", "#999") == missing[1]
    assert world.word("bob", c.Replies(room="books", seq=1)) == "bad-command"
    assert world.word("bob", c.Replies(room="@ana", seq=1)) == "bad-command"
    assert world.word("cai", c.Replies(room="books", seq=AGAIN)) == "no-such-room"


def test_replies_to_what_was_removed(world: World) -> None:
    """Of a message that was removed, the replies that are left are listed, behind a gap."""
    early, late = reply(world, "ana", HELLO, "early"), reply(world, "ana", HELLO, "late")
    retention.remove(world.db, world.do("ana", c.History(room="books")).facts.id, 1, late)
    found = world.do("ana", c.Replies(room="books", seq=HELLO))
    assert [entry.text for entry in found.entries] == ["late"]
    assert found.gap == Gap(HELLO, late)
    assert early < late
    assert world.do("ana", c.Replies(room="books", seq=HELLO, after=late)).gap is None


def test_counting_is_bounded(world: World) -> None:
    """However many messages answer one, only so many are looked at; an index of replies finds them."""
    for n in range(3):
        reply(world, "ana", AGAIN, f"text {n}")
    statement = replies._COUNTS[world.db.dialect.name]
    assert f"LIMIT {replies.MOST_COUNTED}" in statement.text
    if world.db.dialect.name == "sqlite":
        plan = world.db.exec_driver_sql(
            "EXPLAIN QUERY PLAN " + statement.text.replace(":places", "?"), ("[[1,4,9]]",)
        ).all()
        assert any("INDEX ix_entry_replies" in row[-1] for row in plan), plan


def test_a_thread_at_a_terminal(tmp_path: Any) -> None:
    """A person is shown a message and what answers it, but for those whom they ignore; it does not count as seen. A
    program that resumes is told how many replies there are, and one that hears them live is told nothing more."""
    hall = Hall(tmp_path)
    try:
        ana, bob = hall.program("ana"), hall.client().type(f"/register bob {PASSWORD}")
        hall.program("dan").say("rude")
        ana.say("hello")
        hello = ana.answers[-1]["seq"]
        ana.post("reply", room="general", seq=hello, text="one")
        dan = hall.client().post("login", name="dan", password=PASSWORD)
        dan.post("reply", room="general", seq=hello, text="two")
        bob.type("/ignore dan", f"/thread {hello}")
        assert [line.rpartition(": ")[2] for line in bob.lines[-2:]] == ["hello", "one"]
        again = hall.client().post("login", name="ana", password=PASSWORD, resume={"general": hello - 1})
        assert [event.get("replies") for event in again.events if event["event"] == "message"] == [2, None, None]
        assert all("replies" not in event for event in ana.events)
    finally:
        hall.close()
