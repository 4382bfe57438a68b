"""Mentions and unread messages, on both databases."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Engine

from chatserver.handlers import READS, accounts
from chatserver.handlers.outcome import Ask, Tell
from chatserver.store import entries
from chatserver.values import commands as c
from chatserver.values.answers import Done, Missed
from chatserver.values.errors import Note, Sentence
from chatserver.values.events import ReadMark
from chatserver.values.seen import Seen
from tests.handlers.world import World, undone


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """Ana-b is in books, and in a direct room with bob; cai is in lounge, where anybody may read."""
    with undone(engine) as db:
        one = World(db)
        for name in ("Ana-b", "bob", "cai"):
            one.person(name)
        one.do("bob", c.Create(room="books"))
        one.do("Ana-b", c.Join(room="books"))
        one.do("cai", c.Create(room="lounge"))
        yield one


def mentions(world: World, **fields: Any) -> tuple[list[str], int | None]:
    found = world.do("Ana-b", c.Mentions(**fields))
    assert found.more == (found.before is not None)
    return [entry.text for _, entry in found.entries], found.before


def test_mentions(world: World) -> None:
    """The name is a word of its own, in any case, in a message of somebody else, where one is a member; newest first,
    page by page."""
    for who, room, text in (
        ("bob", "books", "1 ana-b"), ("bob", "books", "2 ANA-B!"), ("bob", "books", "3 ana b"),
        ("bob", "books", "4 ana-bee"), ("Ana-b", "books", "5 ana-b"), ("cai", "lounge", "6 ana-b"),
        ("bob", "@Ana-b", "7 @ana-b?"), ("bob", "books", "8 nobody"), ("bob", "books", "9 (ana-b)"),
    ):  # fmt: skip
        world.do(who, c.Say(room=room, text=text))
    assert mentions(world) == (["9 (ana-b)", "7 @ana-b?", "2 ANA-B!", "1 ana-b"], None)
    pages, before = [], None
    while True:
        texts, before = mentions(world, limit=1, **({} if before is None else {"before": before}))
        pages += texts
        if before is None:
            break
    assert pages == ["9 (ana-b)", "7 @ana-b?", "2 ANA-B!", "1 ana-b"]
    world.do("bob", c.Erase(room="books", seq=3))
    assert mentions(world)[0][-1] == "2 ANA-B!"
    world.do("Ana-b", c.Leave(room="books"))
    assert mentions(world)[0] == ["7 @ana-b?"]


def test_mentions_of_a_renamed_account(world: World) -> None:
    """What counts is the name that the account had when the message was stored, or last edited, page by page; a display
    name does not count. Answers to its messages count as well."""
    me = world.people["Ana-b"]
    for text in ("0 ana-b", "1 anna"):
        world.do("bob", c.Say(room="books", text=text))
    world.do("Ana-b", c.Say(room="books", text="mine"))
    world.at += timedelta(seconds=1)
    accounts.rename(world.db, Ask(me, world.at), c.Rename(name="anna", display="Ana Banana"))
    world.people["Ana-b"] = structs.replace(me, name="anna", display="Ana Banana")
    for text in ("2 ana-b", "3 Anna", "4 Ana Banana", "5 ana-b"):
        world.do("bob", c.Say(room="books", text=text))
    world.do("bob", c.Edit(room="books", seq=3, text="0 ana-b and anna"))
    world.do("bob", c.Edit(room="books", seq=4, text="1 ana-b"))
    world.do("bob", c.Edit(room="books", seq=10, text="5 anna"))
    world.do("bob", c.Reply(room="books", seq=5, text="6 yes"))
    wanted = ["6 yes", "5 anna", "3 Anna", "0 ana-b and anna"]
    assert mentions(world) == (wanted, None)
    for limit in (1, 2, 3):
        pages, before = mentions(world, limit=limit)
        while before is not None:
            page, before = mentions(world, limit=limit, before=before)
            pages += page
        assert pages == wanted, limit


def test_reading_all_rooms(world: World) -> None:
    """All rooms are read up to their last entries, and the other connections are told of those where that changes
    anything."""
    world.do("bob", c.Say(room="@Ana-b", text="psst"))
    world.do("Ana-b", c.Join(room="lounge"))
    world.do("bob", c.Say(room="books", text="hello"))
    outcome = world.outcome("Ana-b", c.ReadAll())
    id = world.people["Ana-b"].id
    assert outcome.answer == Done(Sentence(Note.READ_ALL))
    rooms = world.do("Ana-b", c.Unread()).rooms
    ids = {line.room: line.room_id for line in rooms}
    assert outcome.effects == [Tell(id, ReadMark(room, seq, ids[room])) for room, seq in (("@bob", 1), ("books", 3))]
    assert [line.unread.entries for line in rooms] == [0, 0, 0]
    assert world.outcome("Ana-b", c.ReadAll()).effects == []


def test_what_was_missed(world: World) -> None:
    """It is shown from the mark on, without what has been on a screen already, and page by page."""
    books = world.outcome("bob", c.Say(room="books", text="3")).announced[0].facts.id
    for n in range(4, 8):
        world.do("bob", c.Say(room="books", text=f"{n}"))
    world.do("Ana-b", c.Say(room="books", text="8"))

    def missed(*seen: Seen) -> list[int] | Sentence | None:
        ask = Ask(world.people["Ana-b"], world.at, seen=dict.fromkeys([books], *seen) if seen else {}, for_people=True)
        answer = READS[c.Missed](world.db, ask, c.Missed(room="books")).answer
        if not isinstance(answer, Missed):
            return answer.note if isinstance(answer, Done) else None
        assert answer.unread == len([entry for entry in answer.recent.entries if entry.author != "Ana-b"])
        return [entry.seq for entry in answer.recent.entries]

    assert missed() == [3, 4, 5, 6, 7, 8]
    assert missed(Seen(3, ((5, 6),))) == [4, 7, 8]
    assert missed(Seen(7)) == Sentence(Note.READ_ALL_IN_ROOM, label="books")
    for n in range(c.PAGE_LIMIT):
        world.do("bob", c.Say(room="books", text=f"{n}"))
    ask = Ask(world.people["Ana-b"], world.at, seen={books: Seen(2, ((5, 6),))}, for_people=True)
    answer = READS[c.Missed](world.db, ask, c.Missed(room="books")).answer
    assert isinstance(answer, Missed)
    assert (answer.unread, answer.recent.more, len(answer.recent.entries)) == (c.PAGE_LIMIT + 3, True, c.PAGE_LIMIT)
    assert answer.recent.entries[-1].seq == c.PAGE_LIMIT + 4
    assert structs.replace(ask, seen={}).page(1000) < 1000


def test_what_is_removed_while_it_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If everything that was missed is removed at this moment, nothing is shown, and nothing fails."""
    world.do("bob", c.Say(room="books", text="3"))
    monkeypatch.setattr(entries, "after", lambda *_: ([], False))
    ask = Ask(world.people["Ana-b"], world.at, for_people=True)
    answer = READS[c.Missed](world.db, ask, c.Missed(room="books")).answer
    assert isinstance(answer, Missed)
    assert (answer.recent.entries, answer.recent.more) == ([], False)
