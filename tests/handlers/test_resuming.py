"""Resuming with a limit, and rooms that one is not in."""

from pathlib import Path
from typing import Any

import pytest

from chatserver.store import retention
from tests.support.hall import PASSWORD, Client, Hall


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


def resumed(hall: Hall, **resume: Any) -> Any:
    """A new connection of bob that resumes."""
    return hall.client().post("login", name="bob", password=PASSWORD, resume=resume)


def seqs(client: Any, event: str) -> list[Any]:
    return [one.get("seq") for one in client.events if one["event"] == event]


def skipped(client: Any) -> list[tuple[str, int, int]]:
    return [(one["room"], one["from"], one["first"]) for one in client.events if one["event"] == "skipped"]


@pytest.mark.parametrize(
    ("wanted", "left_out", "sent"),
    [
        (2, [], [3, 4, 5, 6, 7]),
        ({"seq": 2}, [], [3, 4, 5, 6, 7]),
        ({"seq": 2, "most": 5}, [], [3, 4, 5, 6, 7]),
        ({"seq": 2, "most": 4}, [("general", 3, 4)], [4, 5, 6, 7]),
        ({"seq": 2, "most": 1}, [("general", 3, 7)], [7]),
        ({"seq": 2, "most": 0}, [("general", 3, 8)], []),
        ({"seq": 7, "most": 0}, [], []),
        ({"seq": 99, "most": 3}, [], []),
        ({"seq": 0, "most": 2**53}, [], [3, 4, 5, 6, 7]),
    ],
)
def test_most(hall: Hall, wanted: Any, left_out: list[Any], sent: list[int]) -> None:
    """What is more than a client wants is left out in front, and one event says so before the entries that follow; then
    the room goes on without a gap, and `history` has what was left out."""
    ana, bob = hall.program("ana"), hall.program("bob")
    for word in "abcde":
        ana.say(word)
    again = resumed(hall, general=wanted)
    assert (skipped(again), seqs(again, "message"), seqs(again, "live")) == (left_out, sent, [7])
    kinds = [one["event"] for one in again.events]
    assert "skipped" not in kinds or kinds.index("skipped") == 0
    ana.say("f")
    assert seqs(again, "message") == [*sent, 8]
    for room, begin, first in left_out:
        again.post("history", room=room, after=begin - 1, limit=first - begin)
        assert [line["seq"] for line in again.answers[-1]["entries"]] == list(range(begin, first))
    assert bob.said == [*"abcdef"]


def test_what_is_no_limit_is_refused(hall: Hall) -> None:
    """A position is a number, or an object with `seq`; `most` is no less than 0."""
    hall.program("bob")
    for wanted in (-1, {"most": 3}, {"seq": 2, "most": -1}, {"seq": 2, "most": "all"}, [2]):
        assert resumed(hall, general=wanted).answers[-1]["error"] == "bad-command"


def test_absent(hall: Hall) -> None:
    """Rooms that one is not in are named, in lower case, whether they exist or not; others are resumed all the same,
    and without any the answer has no such field."""
    ana, _ = hall.program("ana"), hall.program("bob")
    ana.post("create", room="den", visibility="private")
    ana.post("create", room="attic")
    again = resumed(hall, General=2, den=0, Nowhere={"seq": 4, "most": 1}, attic=1, **{"@ana": 3, "@nobody": 1})
    assert again.answers[-1]["absent"] == ["den", "nowhere", "attic", "@ana", "@nobody"]
    assert seqs(again, "live") == [2]
    assert "absent" not in resumed(hall, general=0).answers[-1]
    assert "absent" not in hall.client().post("login", name="bob", password=PASSWORD).answers[-1]


def news(client: Any, room: str = "general") -> list[Any]:
    """What a client was sent of a room: the numbers of its entries, and where some are missing."""
    holes = {"gap", "skipped"}
    return [
        (one["event"], one["from"], one["first"]) if one["event"] in holes else one["seq"]
        for one in client.events
        if one.get("room") == room and one["event"] != "live"
    ]


def with_removed(hall: Hall, first: int) -> Client:
    """A room with seven entries, of which those before `first` are removed."""
    ana, _ = hall.program("ana"), hall.program("bob")
    for word in "abcde":
        ana.say(word)
    with hall.engine.begin() as db:
        retention.remove(db, 1, 1, first)
    hall.passes(2)
    return ana


@pytest.mark.parametrize(
    ("most", "sent"),
    [
        (9, [("gap", 3, 5), 5, 6, 7]),
        (4, [("gap", 3, 5), 5, 6, 7]),
        (3, [("gap", 3, 5), 5, 6, 7]),
        (2, [("skipped", 3, 6), 6, 7]),
        (0, [("skipped", 3, 8)]),
    ],
)
def test_most_of_what_was_removed(hall: Hall, most: int, sent: list[Any]) -> None:
    """There is one hole at most in what follows: if all of it was removed it is a gap, else `skipped`, and the history
    behind it then has the gap."""
    with_removed(hall, 5)
    again = resumed(hall, general={"seq": 2, "most": most})
    assert news(again) == sent
    again.post("history", room="general", after=2, limit=5)
    answer = again.answers[-1]
    assert (answer["gap"], [one["seq"] for one in answer["entries"]]) == ({"from": 3, "first": 5}, [5, 6, 7])


@pytest.mark.parametrize("most", [0, 1, 9])
def test_most_where_all_was_removed(hall: Hall, most: int) -> None:
    """Nothing is left out that could be read, so it is a gap."""
    ana = with_removed(hall, 8)
    again = resumed(hall, general={"seq": 2, "most": most})
    ana.say("next")
    assert news(again) == [("gap", 3, 8), 8]


@pytest.mark.parametrize("most", [0, 1, 2, 3, 9])
def test_most_of_a_late_member(hall: Hall, most: int) -> None:
    """What a member of a private room may not read is neither sent nor left out."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.post("create", room="den", visibility="private")
    for word in "abc":
        ana.say(word, "den")
    ana.post("invite", room="den", name="bob")
    bob.post("join", room="den")
    first = bob.answers[-1]["seq"]
    ana.say("d", "den"), ana.say("e", "den")
    last = first + 2
    again = resumed(hall, den={"seq": 0, "most": most})
    begin = max(last - most + 1, first)
    assert news(again, "den") == [*([("skipped", first, begin)] if begin > first else []), *range(begin, last + 1)]


def test_absent_for_a_token_of_one_room(hall: Hall) -> None:
    """For a session of a token for one room all others are absent, also those of its account."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.post("create", room="attic")
    bob.post("join", room="attic")
    ana.say("psst", "@bob")
    bob.post("token", label="one", password=PASSWORD, room="attic")
    token = bob.answers[-1]["token"]
    resume = {"attic": {"seq": 0, "most": 1}, "general": 0, "@ana": {"seq": 0, "most": 0}, "nowhere": 1}
    again = hall.client().post("login", token=token, resume=resume)
    assert again.answers[-1]["absent"] == ["general", "@ana", "nowhere"]
    assert {one["room"] for one in again.events} == {"attic"}
    assert news(again, "attic")[0][0] == "skipped"
