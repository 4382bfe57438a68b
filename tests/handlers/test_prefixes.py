"""The field `prefix` of members, rooms and who: only names that begin with it."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from chatserver.values import commands as c
from tests.handlers.world import World, undone
from tests.support.hall import Hall

PEOPLE = ("ana", "Ana-west", "ana_east", "anabel", "bob", "An")


def test_in_the_store(engine: Engine) -> None:
    """Both databases list alike, page by page: `_` and `-` are no wildcards, and upper and lower case are the same."""
    with undone(engine) as db:
        world = World(db)
        for name in PEOPLE:
            world.person(name)
        for room in ("books", "books-west", "books_east", "bookshop", "chess"):
            world.do("ana", c.Create(room=room))
        world.do("bob", c.Create(room="books-den", visibility="private"))
        for name in PEOPLE[1:]:
            world.do(name, c.Join(room="books"))

        def members(prefix: str, **page: Any) -> list[str]:
            return [line.name for line in world.do("ana", c.Members(room="books", prefix=prefix, **page)).members]

        def rooms(prefix: str, **page: Any) -> list[str]:
            return [line.room for line in world.do("ana", c.Rooms(prefix=prefix, **page)).rooms]

        assert set(members("ana")) == {"ana", "Ana-west", "ana_east", "anabel"}
        assert members("ana_") == ["ana_east"]
        assert members("ana-") == ["Ana-west"]
        assert members("z") == []
        ordered = members("an")
        assert len(ordered) == 5
        assert members("an", after=ordered[1], limit=2) == ordered[2:4]
        assert world.do("ana", c.Members(room="books", prefix="an", limit=2)).more == 3
        assert not world.do("ana", c.Members(room="books", prefix="an")).whole
        assert set(rooms("books")) == {"books", "books-west", "books_east", "bookshop"}
        assert rooms("books_") == ["books_east"]
        assert rooms("books-") == ["books-west"], "nor rooms that one does not see"
        first = world.do("ana", c.Rooms(prefix="books", limit=1))
        assert first.more
        assert len(rooms("books", after=first.rooms[0].room)) == 3
        world.do("ana", c.Say(room="@bob", text="hello"))
        both = [world.do("ana", c.Members(room="@bob", prefix=one)).members for one in ("b", "a")]
        assert [[line.name for line in lines] for lines in both] == [["bob"], ["ana"]]


def test_on_the_wire(tmp_path: Path) -> None:
    """`who` finds those online whose names begin so. What no name begins with is refused."""
    hall = Hall(tmp_path)
    ana, *_ = [hall.program(name) for name in PEOPLE]

    def answer(cmd: str, **fields: Any) -> Any:
        return ana.post(cmd, **fields).answers[-1]

    def names(cmd: str, found: str, **fields: Any) -> set[str]:
        return {one["name"] for one in answer(cmd, **fields)[found]}

    assert names("who", "users", prefix="ANA") == {"ana", "Ana-west", "ana_east", "anabel"}
    assert names("who", "users", prefix="ana_") == {"ana_east"}
    assert names("who", "users", prefix="x") == set()
    assert names("who", "users", prefix="") == set(PEOPLE)
    assert names("members", "members", room="general", prefix="B") == {"bob"}
    assert names("members", "members", room="general", prefix="~") == set()
    for cmd in ("who", "members", "rooms"):
        for prefix in ("%", "a%", "\u0430", "a b", "'", "a" * 65):
            room = {"room": "general"} if cmd == "members" else {}
            assert answer(cmd, prefix=prefix, **room)["ok"] is False, (cmd, prefix)
    hall.close()


@pytest.mark.parametrize("most", [5, 40])
def test_who_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """An answer looks at so many members at most, and says that there may be more."""
    monkeypatch.setattr("chatserver.presence.roster.MOST_LOOKED_AT", most)
    hall = Hall(tmp_path)
    people = [hall.program(f"user{n}") for n in range(10)]
    found = people[0].post("who", prefix="user9").answers[-1]
    assert [one["name"] for one in found["users"]] == (["user9"] if most == 40 else [])
    assert found.get("more", False) is (most == 5)
    hall.close()
