"""Quiet sessions: those of scripts hear nothing but the answers to what they ask, and nobody notices them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hall import PASSWORD, Client, Hall

HELLO = "* Welcome to chatserver. Type your name to log in, or /help."


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    """Ana and deploy have accounts. Ana is here."""
    one = Hall(tmp_path)
    one.program("deploy").post("quit")
    one.passes(10)
    yield one
    one.close()


def script(hall: Hall, login: str, *lines: str) -> list[str]:
    """The output for a script that logs in, sends some commands and closes its side."""
    client = hall.client()
    client.wire.ends = True
    client.wire.come("".join(f"{line}\n" for line in (login, *lines)).encode())
    client.half_close()
    assert client.wire.lost
    assert client.lines[0] == HELLO
    return client.lines[1:]


@pytest.mark.parametrize("login", [f"/login deploy {PASSWORD}", f"/login deploy {PASSWORD} quiet"])
def test_a_script(hall: Hall, login: str) -> None:
    """It gets one line for its login, and one for each message that says under which number it was stored."""
    ana = hall.program("ana")
    assert script(hall, login, "/say general one", "two", "/say nowhere three", "/msg ana four") == [
        "* Hello deploy.",
        "* Stored as general #3.",
        "* Stored as general #4.",
        "! There is no room nowhere. For a list, use /rooms.",
        "* Stored as @ana #1.",
    ]
    hall.passes(10)
    assert ana.said == ["one", "two", "four"]
    assert [event for event in ana.events if event["event"] == "presence"] == []


def test_a_token(hall: Hall) -> None:
    """At a terminal, whoever logs in with a token is a script."""
    deploy = hall.client().post("login", name="deploy", password=PASSWORD)
    token = deploy.post("token", label="nightly", password=PASSWORD).answers[-1]["token"]
    limited = deploy.post("token", label="room", password=PASSWORD, room="general").answers[-1]["token"]
    assert script(hall, f"/token {token}", "/say general hello") == ["* Hello deploy.", "* Stored as general #2."]
    assert script(hall, f"/token {limited}", "hello", "/who ana") == [
        "* Hello deploy.", "* Stored as general #3.", "! There is no account named ana. Check the spelling."
    ]  # fmt: skip
    deploy.post("leave", room="general")
    assert script(hall, f"/token {limited}", "/say general hello")[1].startswith("! You are not in")


def test_it_stays_quiet(hall: Hall) -> None:
    """It is sent no entries and no news; it is not online, whatever it does."""
    ana = hall.program("ana")
    quiet = hall.client().type(f"/login deploy {PASSWORD} quiet")
    program = hall.client().post("login", name="deploy", password=PASSWORD, quiet=True)
    assert program.answers[-1]["rooms"] == [{"room": "general", "room_id": 1, "seq": 2, "read": 1, "role": "member"}]
    ana.say("hello").post("create", room="den", visibility="private").post("invite", room="den", name="deploy")
    ana.post("topic", room="general", text="tea").post("away", text="lunch").say("psst", "@deploy")
    hall.passes(10)
    assert (quiet.lines[1:], program.events) == (["* Hello deploy."], [])
    assert ana.post("who").answers[-1]["users"][0]["name"] == "ana"
    assert len(ana.answers[-1]["users"]) == 1
    assert ana.post("who", name="deploy").answers[-1]["users"][0]["online"] is False
    quiet.type("/history", "/away", "/join den", "/leave den", "/who")
    program.post("join", room="den", since=0).post("read-all").post("leave", room="den")
    hall.passes(10)
    assert not any(event["event"] == "presence" for event in ana.events)
    assert program.events == []
    assert [line for line in quiet.lines if "invites" in line] == []


def test_where_its_words_go(hall: Hall) -> None:
    """It is told so behind the answer to what it did itself, and not when others do something."""
    ana = hall.program("ana")
    quiet = hall.client().type(f"/login deploy {PASSWORD} quiet", "/create den", "/leave", "/create attic")
    goes = [line for line in quiet.lines if "What you type" in line]
    assert goes == [f"* What you type now goes to {room}." for room in ("den", "general", "attic")]
    ana.post("create", room="zoo")
    quiet.type("/join zoo")
    before = len(quiet.lines)
    assert ana.post("kick", room="zoo", name="deploy").answers[-1]["ok"]
    hall.passes(1)
    assert quiet.lines[before:] == []
    assert quiet.session.current == "general"


def test_how_long_its_lines_are(hall: Hall) -> None:
    """The server's own words stay on one line, where a program finds them. For people they are broken between words."""
    wrong = "/history since=soon"
    told = hall.client().type(f"/login deploy {PASSWORD} quiet", wrong).rows[-1]
    assert told.startswith("! This is no time. Use one such as today,")
    assert len(told) > 80
    stranger = hall.client()
    stranger.wire.ends = True
    stranger.wire.come(b"two words\n")
    stranger.half_close()
    assert [len(row) > 80 for row in stranger.rows] == [False, True]
    person = hall.client().type(f"/login deploy {PASSWORD}")
    before = len(person.rows)
    person.type(wrong)
    rows = person.rows[before:]
    assert (len(rows), [row[:5] for row in rows[1:]]) == (2, ["   | "])
    assert max(map(len, rows)) <= 80
    assert " ".join(row.removeprefix("   | ") for row in rows) == told


def test_marks_stay(hall: Hall) -> None:
    """What a script was shown is unread for its person."""
    ana = hall.program("ana")
    for n in range(3):
        ana.say(f"text {n}")
    script(hall, f"/login deploy {PASSWORD}", "/history", "/unread general", "/look general")
    hall.passes(5)
    assert "* 4 unread in general:" in hall.client().type(f"/login deploy {PASSWORD}").lines


def test_a_person_beside_it(hall: Hall) -> None:
    """A person stays online when their script ends, and is told what it said; when they go, they are gone."""
    ana = hall.program("ana")
    person = hall.client().type(f"/login deploy {PASSWORD}")
    quiet = hall.client().type(f"/login deploy {PASSWORD} quiet", "/say general built")
    assert person.lines[-1].endswith("deploy: built")
    person.type("/away for lunch").cut()
    hall.passes(10)
    told = [(event["online"], event.get("away")) for event in ana.events if event["event"] == "presence"]
    assert told == [(True, None), (True, "for lunch"), (False, None)]
    quiet.type("/quit")
    hall.passes(10)
    assert len([event for event in ana.events if event["event"] == "presence"]) == 3


def says_last(client: Client) -> str:
    client.half_close()
    return client.lines[-1]


def test_the_end_of_a_session_that_is_not_quiet(hall: Hall) -> None:
    """If the last thing that a client did before it closed its side was to say something, the last line tells what
    became of it."""
    person = hall.client().type(f"/login deploy {PASSWORD}")
    person.type("/say general one", "/say general two")
    assert not any("Stored" in line for line in person.lines)
    assert says_last(person) == "* Stored as general #3."
    person = hall.client().type(f"/login deploy {PASSWORD}", "/say general three", "/ping")
    assert says_last(person) == "* The server is here."
