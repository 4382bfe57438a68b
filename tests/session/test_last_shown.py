"""Answers and reactions without a number, and answers to whoever wrote privately last."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatserver.session import view
from tests.support.hall import Client, Hall


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path)
    yield one
    one.close()


@pytest.fixture
def people(hall: Hall) -> list[Client]:
    """Ana, bob and cai are in general."""
    return [hall.client().type(f"/register {name} s3cret-words") for name in ("ana", "bob", "cai")]


def after(client: Client, *typed: str) -> list[str]:
    """The lines that a client is sent after it has typed these."""
    before = len(client.lines)
    client.type(*typed)
    return client.lines[before:]


def answered(client: Client, text: str) -> str:
    """The quote in the answer that a client types with /reply."""
    *_, line = after(client, f"/reply {text}")
    return line.partition("(re ")[2].partition(")")[0]


def test_the_last_one_by_somebody_else(people: list[Client]) -> None:
    """Neither one's own messages, from any device, nor joins and reactions count; with a name, the others do not."""
    ana, bob, cai = people
    bob.type("one")
    cai.type("two")
    ana.type("mine", "/react bob +1")
    assert answered(ana, "yes") == "#5 cai: two"
    assert answered(ana, "Bob: yes") == "#4 bob: one"
    assert answered(ana, "@cai yes") == "#5 cai: two"
    assert answered(ana, "bob") == "#5 cai: two"  # a name alone is what is said


def test_what_was_not_shown(hall: Hall, people: list[Client]) -> None:
    """What was erased, what is ignored, and what another room shows is not meant. What a login shows is."""
    ana, bob, cai = people
    bob.type("one", "two")
    assert answered(ana, "yes") == "#5 bob: two"
    bob.type("/erase")
    assert after(ana, "/reply yes")[0].startswith("! Nothing that somebody else said here was shown to you lately.")
    ana.type("/ignore bob")
    cai.type("three")
    bob.type("four")
    assert answered(ana, "yes") == "#8 cai: three"
    ana.type("/create books")
    assert after(ana, "/react +1")[0].startswith("! Nothing that somebody else said here")
    assert after(ana, "/react #general +1") == ["* You reacted +1 to #8."]

    again = hall.client().type("cai", "s3cret-words").type("/set clock 24")
    assert answered(again, "to you") == "#10 ana: yes"


def test_whoever_wrote_privately_last(people: list[Client]) -> None:
    """`/r` follows the last private message of somebody else, under whatever name they have by then."""
    ana, bob, cai = people
    bob.type("/msg ana from bob")
    cai.type("/msg ana from cai")
    ana.type("/r to cai", "/msg bob to bob", "/r to cai again")
    assert [line for line in cai.lines if "ana: " in line] == [
        "(@ana) 10:02 » ana: to cai",
        "(@ana) 10:02 » ana: to cai again",
    ]
    cai.type("/nick kay")
    assert after(ana, "/r hello") == ["(@kay) 10:02 ana: hello"]


def test_a_line_that_may_be_private(people: list[Client], monkeypatch: pytest.MonkeyPatch) -> None:
    """Within seconds after a private message a plain line for a public room is asked about, once for each author."""
    ana, bob, cai = people
    now = 100.0
    monkeypatch.setattr(view, "monotonic", lambda: now)
    bob.type("/msg ana one")
    assert after(ana, "/me waves", "/say general on purpose") == []
    assert after(ana, "yes")[0].startswith("! bob wrote to you privately just now. Nothing was sent")
    assert after(ana, "yes") == []
    assert bob.lines[-1] == "[general] 10:02 ana: yes"
    bob.type("/msg ana two")
    assert after(ana, "no") == []

    cai.type("/msg ana three")
    now += view.PRIVATE_SECONDS + 1
    assert after(ana, "later") == []
    cai.type("/msg ana four")
    ana.type("/query cai")
    assert after(ana, "to cai") == []  # the private room itself is meant


def test_the_room_at_the_time_of_typing(people: list[Client]) -> None:
    """Lines that are typed ahead answer the message that was shown, in its room."""
    ana, bob, _ = people
    bob.type("/create books")
    bob.type("/say general here")
    ana.type("/join books", "/reply yes")
    assert any(line.endswith("ana (re #4 bob: here): yes") for line in bob.lines), bob.lines


def test_a_message_of_several_lines(people: list[Client]) -> None:
    """After /paste no line is a command or sent alone, whatever is in it, until one with a dot ends the message."""
    ana, bob, _ = people
    assert len(after(ana, "/paste")) == 1
    assert after(ana, "for book in books:", "", "    /quit", "..") == []
    before = len(bob.rows)
    assert after(ana, ". ") == []
    told = [line.removeprefix("   | ") for line in bob.rows[before:] if not line.startswith("* ")]
    assert told == ["[general] 10:02 ana: for book in books:", "", "    /quit", ".."]

    ana.type("/paste", "nothing of it", "with s3cret-words in it")
    assert after(ana, ".")[0].startswith("! Nothing was sent: ")
    ana.type("/paste", "my settings:", "login ana s3cret-word2")
    assert after(ana, ".")[0].startswith("! Nothing was sent: did you mean /login?")
    ana.type("/paste", *["a line"] * 200)
    assert after(ana, ".")[0].startswith("! A message has at most 100 lines")
    assert after(ana, "/paste", ".")[-1].startswith("! ")
    assert after(ana, "/help paste")[0].startswith("* /paste")
