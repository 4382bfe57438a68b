"""No answer is larger than the limit, whatever it lists, and the rest is there to be asked for."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Engine, insert, text

from chatserver.handlers import READS
from chatserver.handlers.outcome import Ask
from chatserver.settings.tables import DEFAULT_LIMITS, Limits
from chatserver.store.db.schema import AccountRow, MembershipRow, RoomRow
from chatserver.store.messages import Draft, append
from chatserver.values import commands as c
from chatserver.values.events import OPERATOR, Person
from chatserver.wire.dialect import Asked
from chatserver.wire.dialects import DIALECTS
from tests.handlers.world import START, World, undone
from tests.support.hall import QUIET, Hall

TEXTS = ('"' * 4096, "\\" * 4096, "日" * 2700, "🙂" * 2000, "\n".join("x" * 80 for _ in range(100)), "words " * 600)
"""The longest messages, whose renderings differ most from their number of characters."""

Pages = Iterator[tuple[list[Any], bool, c.Command]]


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """Ana owns a room with more long messages than one answer can have."""
    with undone(engine) as db:
        one = World(db, limits=DEFAULT_LIMITS)
        ana, _ = one.person("ana"), one.person("root", OPERATOR)
        one.do("ana", c.Create(room="books"))
        room_id = one.outcome("ana", c.Look(room="books")).turn_to.facts.id  # type: ignore[union-attr]
        for n, words in enumerate(TEXTS * 20):
            append(db, [Draft(room_id, ana.id, f"common {words}", f"{n:064}")], one.at + timedelta(seconds=n))
        yield one


def sizes(who: Person, answer: Any) -> list[int]:
    """Of an answer in each dialect, with the longest tag."""
    return [len(dialect.answer(Asked('"' * 64, who.id, who.name), answer)) for dialect in DIALECTS]


def pages(
    world: World, who: str, command: Any, field: str, following: Callable[[Any], dict[str, Any] | None]
) -> list[Any]:
    """All items that a command lists, page by page; no answer is larger than the limit, and none is empty."""
    items, count = [], 0
    while True:
        answer = world.do(who, command)
        assert max(sizes(world.people[who], answer)) <= world.limits.answer_bytes
        page = getattr(answer, field)
        assert page, command
        items += page
        count += 1
        more = following(answer)
        if more is None:
            break
        command = structs.replace(command, **more)
    assert count > 1
    return items


def test_history(world: World) -> None:
    """Every message comes exactly once, in either direction."""
    last = len(TEXTS) * 20 + 1
    up = pages(world, "ana", c.History(room="books", after=1, limit=500), "entries",
               lambda log: {"after": log.entries[-1].seq} if log.more else None)  # fmt: skip
    assert [entry.seq for entry in up] == list(range(2, last + 1))
    down = pages(world, "ana", c.History(room="books", limit=500), "entries",
                 lambda log: {"before": log.entries[0].seq} if log.more else None)  # fmt: skip
    assert sorted(entry.seq for entry in down) == list(range(1, last + 1))


@pytest.mark.parametrize("room", ["books", None])
def test_search_and_export(world: World, room: str | None) -> None:
    """A search in one room or in all finds every message once, and an export has every entry once."""
    command = c.Search(text="common", room=room, limit=500)
    found = pages(world, "ana", command, "entries", lambda one: {"before": one.before} if one.more else None)
    assert len({entry.seq for _, entry in found}) == len(found) == len(TEXTS) * 20
    mine = pages(world, "ana", c.Export(), "entries", lambda one: {"after": one.next} if one.next else None)
    assert len({entry.seq for _, entry in mine}) == len(mine) == len(TEXTS) * 20 + 1


def test_one_at_least(world: World) -> None:
    """A message that is larger than the limit is sent all the same, alone. Without a limit a page is whole."""
    world.limits = Limits(answer_bytes=100)
    answer = world.do("ana", c.History(room="books"))
    assert ([entry.seq for entry in answer.entries], answer.more) == ([len(TEXTS) * 20 + 1], True)
    world.limits = Limits(answer_bytes=0)
    assert len(world.do("ana", c.History(room="books", limit=100)).entries) == 100


def fill(world: World, count: int, topic: str) -> None:
    """So many public rooms that ana is in, each with a topic, a message, and a person in it and in `books`."""
    db, ana = world.db, world.people["ana"].id
    numbers = range(10_000, 10_000 + count)
    books = world.outcome("ana", c.Look(room="books")).turn_to.facts.id  # type: ignore[union-attr]
    people = [{"id": n, "name": f"Person{n}", "name_key": f"person{n}", "created_at": START} for n in numbers]
    rooms = [{"id": n, "name": f"room{n}", "kind": "public", "topic": topic, "created_at": START} for n in numbers]
    inside = [{"room_id": n, "account_id": ana, "joined_seq": 0} for n in numbers]
    inside += [{"room_id": books, "account_id": n, "joined_seq": 0} for n in numbers]
    for table, rows in ((AccountRow, people), (RoomRow, rooms), (MembershipRow, inside)):
        db.execute(insert(table), rows)
    db.execute(text("UPDATE room SET last_seq = 1 WHERE id >= 10000"))


def test_lists(world: World) -> None:
    """Rooms, unread marks, members and bans come in pages; the next one begins behind the last name."""
    fill(world, 1200, "日" * 500)
    rooms = pages(
        world, "ana", c.Rooms(limit=500), "rooms", lambda one: {"after": one.rooms[-1].room} if one.more else None
    )
    assert [line.room for line in rooms] == ["books", *(f"room{n}" for n in range(10_000, 11_200))]
    unread = pages(world, "ana", c.Unread(), "rooms", lambda one: {"after": one.rooms[-1].room} if one.more else None)
    assert [(line.room, line.seq - line.read) for line in unread][1:] == [
        (f"room{n}", 1) for n in range(10_000, 11_200)
    ]
    names = pages(
        world,
        "ana",
        c.Members(room="books"),
        "members",
        lambda one: {"after": one.members[-1].name} if one.more else None,
    )
    assert [line.name for line in names] == ["ana", *(f"Person{n}" for n in range(10_000, 11_200))]
    assert world.do("ana", c.Members(room="books", limit=1)).more == 1200
    last = world.do("ana", c.Members(room="books", after="PERSON11198"))
    assert ([line.name for line in last.members], last.more, last.whole) == (["Person11199"], 0, False)
    for n in range(10_000, 10_150):
        world.do("ana", c.Ban(room="books", name=f"person{n}", reason="日" * 500))
    bans = pages(world, "ana", c.Bans(room="books"), "bans", lambda one: {"before": one.before} if one.before else None)
    assert [line.name for line in bans] == [f"Person{n}" for n in range(10_149, 9_999, -1)]
    assert world.do("root", c.Bans()).bans == []


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_the_order_of_ones_rooms(world: World, limit: int) -> None:
    """Rooms and direct rooms are in one order, character by character, whatever the rules of the database are."""
    for name in ("Zoe", "bob"):
        world.person(name)
        world.do(name, c.Say(room="@ana", text="hello"))
    for room in ("a_b", "ab", "0day", "a-b"):
        world.do("ana", c.Create(room=room))
    labels: list[str] = []
    while True:
        answer = world.do("ana", c.Unread(after=labels[-1] if labels else "", limit=limit))
        labels += [line.room for line in answer.rooms]
        if not answer.more:
            break
    assert labels == ["0day", "@bob", "@Zoe", "a-b", "a_b", "ab", "books"]


def test_people_see_unread_rooms_only(world: World) -> None:
    """The list for people leaves out rooms in which they have read everything, so that no page of it is empty."""
    fill(world, 700, "")
    world.db.execute(text("UPDATE membership SET read_seq = 1 WHERE room_id >= 10000 AND room_id < 10600"))
    said = "INSERT INTO entry (room_id, seq, kind, author_id, text, at) SELECT id, 1, 'message', 99, '', created_at"
    world.db.execute(text(f"{said} FROM room WHERE id >= 10000"))
    answer = as_person(world, "ana", c.Unread(limit=50))
    assert ([line.room for line in answer.rooms][:2], len(answer.rooms), answer.more) == (
        ["room10600", "room10601"], 50, True
    )  # fmt: skip


def as_person(world: World, who: str, command: c.Command) -> Any:
    """The answer to a command by somebody at a terminal."""
    return READS[type(command)](world.db, Ask(world.people[who], world.at, for_people=True), command).answer


def test_login(tmp_path: Path) -> None:
    """Somebody who is in thousands of rooms is told of as many as fit, hears all of them, and asks for the others."""
    hall = Hall(tmp_path, limits=structs.replace(QUIET, answer_bytes=DEFAULT_LIMITS.answer_bytes))
    hall.client().come_in("ana").cut()
    count = 5000
    with hall.engine.begin() as db:
        numbers = range(10_000, 10_000 + count)
        made = {"kind": "public", "last_seq": 1, "created_at": START}
        rows = [{"id": n, "name": f"{'room' * 10}{n}", **made} for n in numbers]
        db.execute(insert(RoomRow), rows)
        db.execute(insert(MembershipRow), [{"room_id": n, "account_id": 1, "joined_seq": 0} for n in numbers])
        said = "INSERT INTO entry (room_id, seq, kind, author_id, text, at) SELECT id, 1, 'message', 99, '', created_at"
        db.execute(text(f"{said} FROM room WHERE id >= 10000"))
    ana = hall.client().post("login", name="ana", password="s3cret-words")
    [welcome] = [line for line in ana.lines if line.startswith('{"ok"')]
    assert len(welcome) < DEFAULT_LIMITS.answer_bytes
    [answer] = ana.answers
    assert answer["more"] is True
    names = [line["room"] for line in answer["rooms"]]
    while answer.get("more"):
        answer = ana.post("unread", after=names[-1]).answers[-1]
        names += [line["room"] for line in answer["rooms"]]
    assert names == sorted(names)
    assert len(set(names)) == len(names) == count + 1
    bob = hall.program("bob")
    for room in (names[1], names[-1]):
        bob.post("join", room=room)
        bob.say("hello", room)
        assert ana.heard(room) == [2, 3]
    person = hall.client().type("/login ana s3cret-words")
    assert "* And 4901 more: /unread lists those with unread messages." in person.lines
    assert len(person.seen) < 20_000
    person.type("/unread", "/members general", "/members general ana", "/unread after=zzz")
    assert person.lines[-4:] == [
        f"* More: /unread after={'room' * 10}10199",
        "* general, 2 here: ana, bob",
        "* general, here: bob",
        "* You have read everything.",
    ]
    hall.close()


def test_who(tmp_path: Path) -> None:
    """Whoever shares a room with hundreds of people who are away is told of as many as fit, and that there are more."""
    hall = Hall(tmp_path, limits=structs.replace(QUIET, answer_bytes=10_000))
    people = [hall.program(f"p{n}") for n in range(15)]
    ana = hall.client().type("/register ana s3cret-words")
    whole = people[0].post("who").answers[-1]
    assert (len(whole["users"]), "more" in whole) == (16, False)
    for one in people:
        one.post("away", text="日" * 200)
    part = people[0].post("who")
    assert (part.answers[-1]["more"], part.answers[-1]["users"][0]["name"]) == (True, "ana")
    assert 3 <= len(part.answers[-1]["users"]) < 16
    assert len(part.lines[-1].encode()) < 10_000
    ana.type("/who")
    assert ana.lines[-1].startswith("* There are more. /who NAME ")
    hall.close()


def test_an_export_of_many_rooms(world: World) -> None:
    """Of the names of thousands of rooms, the account in an export has as many as fit, and says that there are more."""
    assert world.do("ana", c.Export(limit=1)).account["rooms"] == "books"
    fill(world, 400, "")
    world.limits = structs.replace(DEFAULT_LIMITS, answer_bytes=3000)
    answer = world.do("ana", c.Export(limit=1))
    named = answer.account["rooms"].split()
    assert (named[0], answer.account["more_rooms"]) == ("books", "yes")
    assert 100 < len(named) < 400
    small = world.do("ana", c.Export(limit=1, after=answer.next))
    assert (small.account, len(small.entries)) == (None, 1)
