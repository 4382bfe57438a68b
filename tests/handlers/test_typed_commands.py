"""What people type, from the line to what everybody sees."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.hall import PASSWORD, Client, Hall


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    hall = Hall(tmp_path)
    yield hall
    hall.close()


def terminal(hall: Hall, name: str) -> Client:
    return hall.client().type(f"/register {name} {PASSWORD}")


def answers(client: Client, *lines: str) -> list[str]:
    """The lines that a client receives after it has typed these."""
    count = len(client.lines)
    client.type(*lines)
    return client.lines[count:]


@pytest.mark.parametrize("word", ["quit", " Exit", "bye", "logout", "help", "?"])
def test_a_lone_word_that_is_a_command(hall: Hall, word: str) -> None:
    """Whoever forgets the slash stays, and nobody reads the word, unless they say it with the words of the answer."""
    bob, ana = hall.program("bob"), terminal(hall, "ana")
    [answer] = answers(ana, word)
    assert answer.startswith("! Did you mean /")
    assert bob.said == []
    words = answer.partition("use ")[2].removesuffix(".")
    assert answers(ana, words.replace("ROOM", "general")) == []
    assert bob.said == [word.strip()]


def test_a_line_that_looks_like_a_password(hall: Hall) -> None:
    """The words with which the refusal says that such a line can be said say it."""
    bob, ana = hall.program("bob"), terminal(hall, "ana")
    [answer] = answers(ana, "login ana an0ther-word")
    assert answer.endswith("To say this line, use /say general LINE.")
    assert answers(ana, "/say general login ana an0ther-word") == []
    assert bob.said == ["login ana an0ther-word"]


def test_changing_the_last_message(hall: Hall) -> None:
    """Words are replaced where others see them at once; the line itself is not said."""
    bob, ana = hall.program("bob"), terminal(hall, "ana")
    ana.type("lunch at none", "s/none/noon/", "s/n\\/a/x/", "/edit lunch at one", "/erase")
    assert bob.said == ["lunch at none"]
    changes = [event for event in bob.events if event["event"] in ("edited", "erased")]
    assert [(event["of"], event.get("text")) for event in changes] == [
        (3, "lunch at noon"), (3, "lunch at one"), (3, None)
    ]  # fmt: skip
    [refused] = [line for line in ana.lines if "does not contain" in line]
    assert "contain n/a. Nothing was sent." in refused


def test_times_are_in_ones_own_zone(hall: Hall) -> None:
    """`since=` means midnight and hours where the reader is: 10:02 in UTC on 2 March is 23:02 in Auckland."""
    ana = terminal(hall, "ana")
    ana.type("yesterday there")
    hall.clock.advance(timedelta(hours=2).total_seconds())
    ana.type("today there")

    def said(since: str) -> list[str]:
        lines = answers(ana, f"/history since={since}")
        return [line.rpartition(": ")[2] for line in lines if ": " in line]

    assert said("today") == ["yesterday there", "today there"]
    ana.type("/set timezone Pacific/Auckland")
    assert (said("today"), said("0:30")) == (["today there"], ["today there"])
    assert said("yesterday") == ["yesterday there", "today there"]
    ana.type("/set timezone UTC")
    assert said("11:00") == ["today there"]


def test_going_on_in_a_history(hall: Hall) -> None:
    """Each page of a history names the command for the next one, in the direction that was asked for."""
    ana = terminal(hall, "ana")
    ana.type(*(f"line {number}" for number in range(6)))
    seen, command = [], "/history general 3 after=1"
    while command:
        shown = answers(ana, command)
        command = next((line.partition("More: ")[2] + " 3" for line in shown if "More: " in line), "")
        seen += [line.rpartition(" ")[2] for line in shown if "line " in line]
    assert seen == ["0", "1", "2", "3", "4", "5"]
