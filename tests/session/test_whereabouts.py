"""Where what a person types goes: whatever changes it, they are told, and told once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hall import Client, Hall

GOES = "* What you type now goes to "
NOWHERE = "* What you type now goes nowhere: you are in no room. /rooms lists them, /join ROOM joins one."


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path)
    yield one
    one.close()


def person(hall: Hall, name: str) -> Client:
    return hall.client().type(f"/register {name} s3cret-words")


def lines_after(client: Client, *typed: str) -> list[str]:
    before = len(client.lines)
    client.type(*typed)
    return client.lines[before:]


def told(lines: list[str]) -> list[str]:
    return [line.removeprefix(GOES).removesuffix(".") for line in lines if line.startswith((GOES, NOWHERE))]


def test_what_one_does_oneself(hall: Hall) -> None:
    """A person who creates, joins, views, leaves or deletes a room is told once where their words go, behind the
    answer."""
    ana, bob = person(hall, "ana"), person(hall, "bob")
    assert lines_after(ana, "/create books")[-1] == f"{GOES}books."
    assert told(ana.lines) == ["books"]
    assert lines_after(bob, "/join books")[-1] == f"{GOES}books."
    assert lines_after(bob, "/join books")[-1] == "* You are in books with ana."  # they look there already
    assert told(lines_after(bob, "/look general")) == ["general"]
    assert told(lines_after(bob, "/leave books")) == []  # they look elsewhere
    assert lines_after(ana, "/leave")[-2:] == ["* You left books.", f"{GOES}general."]
    lines_after(ana, "/create attic")
    assert lines_after(ana, "/delete attic")[-2:] == ["* You deleted attic.", f"{GOES}general."]
    assert lines_after(ana, "/leave")[-2:] == ["* You left general.", NOWHERE]
    assert lines_after(ana, "hello")[-1].startswith("! You are not in any room.")


@pytest.mark.parametrize(
    "act", ["/kick #books bob spam", "/ban #books bob spam", "/delete books"], ids=["kick", "ban", "delete"]
)
def test_what_others_do(hall: Hall, act: str) -> None:
    """A person who is put out of their current room is told where their words go then, and they do go there."""
    ana, bob, cai = person(hall, "ana"), person(hall, "bob"), person(hall, "cai")
    ana.type("/create books")
    for one in (bob, cai):
        one.type("/join books")
    cai.type("/look general")
    before, aside = len(bob.lines), len(cai.lines)
    ana.type(act)
    first, *others = bob.lines[before:]
    assert first.startswith("[books] 10:02 -- ")
    assert others == [f"{GOES}general."]
    assert told(cai.lines[aside:]) == []
    assert lines_after(bob, "hello there") == []
    assert cai.lines[-1] == "[general] 10:02 bob: hello there"


def test_another_device(hall: Hall) -> None:
    """What one device does in a room moves the other ones that look there, and only these."""
    ana = person(hall, "ana")
    ana.type("/create books", "/look general")
    other = hall.client().type("/login ana s3cret-words", "/look books")
    before, mine = len(other.lines), len(ana.lines)
    ana.type("/leave books")
    assert told(other.lines[before:]) == ["general"]
    assert told(ana.lines[mine:]) == []
    before = len(other.lines)
    ana.type("/leave")
    assert other.lines[before:] == ["[general] 10:02 -- ana left", NOWHERE]
    ana.type("/join general")
    assert told(other.lines) == ["books", "general", NOWHERE.removesuffix("."), "general"]
    assert lines_after(other, "back") == []


def test_who_comes_back_at_once(hall: Hall) -> None:
    """Somebody who joins the room again in the same moment is not told that they look elsewhere."""
    ana, bob = person(hall, "ana"), person(hall, "bob")
    ana.type("/create books")
    bob.type("/join books")
    before = len(bob.lines)
    bob.type("/leave", "/join books")
    assert told(bob.lines[before:])[-1] == "books"
    assert bob.session.current == "books"


def test_a_person_without_a_room_yet(hall: Hall) -> None:
    """A direct room in which nobody has written yet is a place to look at, and stays so when another room is left."""
    ana, bob = person(hall, "ana"), person(hall, "bob")
    assert told(lines_after(ana, "/query bob")) == ["@bob"]
    assert told(lines_after(ana, "/leave general")) == []
    assert lines_after(ana, "hi") == []
    assert bob.lines[-2:] == ["(@ana) 10:02 ana: hi", "* Only you and ana see that. /r TEXT answers."]


def test_a_room_before_a_person(hall: Hall) -> None:
    """A person who leaves a room looks at another room then, and at their conversation with one person only if there is
    no room."""
    ana, bob = person(hall, "ana"), person(hall, "bob")
    ana.type("/query bob psst", "/create zoo", "/leave general", "/create attic")
    assert told(lines_after(ana, "/leave")) == ["zoo"]
    assert told(lines_after(ana, "/leave")) == ["@bob"]
    assert bob.lines[-1].endswith("ana left")


def test_asking(hall: Hall) -> None:
    """`/look` alone says where one is, and in which other rooms."""
    ana = person(hall, "ana")
    assert lines_after(ana, "/look") == [f"{GOES}general."]
    ana.type("/create books", "/create attic")
    assert lines_after(ana, "/look") == [f"{GOES}attic.", "* Your other rooms: books, general"]
    ana.type("/leave", "/leave", "/leave")
    assert lines_after(ana, "/look")[0] == NOWHERE


def test_lines_of_other_rooms(hall: Hall) -> None:
    """What comes from another room than the one looked at stands behind parentheses, until one looks there."""
    ana, bob = person(hall, "ana"), person(hall, "bob")
    ana.type("/create books")
    bob.type("/join books", "one")
    ana.type("/look general")
    bob.type("two")
    ana.type("/look books")
    bob.type("three")
    said = [line for line in ana.lines if " bob: " in line]
    assert said == ["[books] 10:02 bob: one", "(books) 10:02 bob: two", "[books] 10:02 bob: three"]


def test_a_direct_room_whose_other_person_is_renamed(hall: Hall) -> None:
    """A person who looks at a direct room is told its new label when the other person takes another name."""
    ana, bob = person(hall, "ana"), person(hall, "bob")
    ana.type("/query bob hi", "/look @bob")
    before = len(ana.lines)
    bob.type("/nick robert")
    assert told(ana.lines[before:]) == ["@robert"]
    assert lines_after(ana, "hello there") == []
    assert bob.lines[-1] == "(@ana) 10:02 ana: hello there"
