"""Passwords are never posted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support.hall import PASSWORD, Client, Hall

OTHER = "other-words"


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    hall = Hall(tmp_path)
    yield hall
    hall.close()


def stored(hall: Hall) -> str:
    """All texts in the database."""
    with hall.engine.connect() as db:
        wanted = (
            "SELECT text FROM entry",
            "SELECT topic FROM room",
            "SELECT name FROM room",
            "SELECT label FROM token",
        )
        return "\n".join(value for query in wanted for value in db.execute(text(query)).scalars())


def terminal(hall: Hall, name: str = "ana") -> Client:
    return hall.client().type(f"/register {name} {PASSWORD}")


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        " {} ",
        "my password is {}!",
        "//{}",
        "/me {}",
        "/say general {}",
        "/msg bob {}",
        "/topic {}",
        "/away {}",
        "/kick bob {}",
        "/ban bob {}",
        "/create {}",
        "/create attic {}",
        "/join {}",
        "/search {}",
        "/edit 3 {}",
        "/edit {}",
        "s/hello/{}/",
        "/reply 3 {}",
        "/react 3 {}",
        "/name {}",
        "/nick {}",
        "/set timezone {}",
        "/token {}",
        "/{}",
        "login ana {}",
        "login ana another-word",
        "password {} more-words",
    ],
)
def test_a_password_is_not_posted(hall: Hall, line: str) -> None:
    """A line with the password that was just used is not said, stored or shown, in whatever command it stands."""
    bob, ana = hall.program("bob"), terminal(hall)
    count, heard = len(ana.lines), len(bob.lines)
    ana.type(line.format(PASSWORD))
    assert [answer.startswith("! Nothing was sent") for answer in ana.lines[count:]] == [True]
    assert PASSWORD not in "".join(ana.lines)
    assert bob.lines[heard:] == []
    assert PASSWORD not in stored(hall)
    ana.type("hello")
    assert bob.said == ["hello"]


@pytest.mark.parametrize(
    ("typed", "secrets"),
    [
        (["ana", PASSWORD], [PASSWORD]),
        (["ana", "wrong-words", PASSWORD], [PASSWORD]),
        ([f"/login ana {PASSWORD}"], [PASSWORD]),
        ([f"/login ana {PASSWORD}", f"/password {PASSWORD} {OTHER}"], [PASSWORD, OTHER]),
        ([f"/login ana {PASSWORD}", f"/forget {OTHER}"], [PASSWORD, OTHER]),
        ([f"/login ana {PASSWORD}", "/token bot", OTHER], [PASSWORD, OTHER]),
        (["newcomer", "yes", OTHER, OTHER], [OTHER]),
    ],
)
def test_where_passwords_are_typed(hall: Hall, typed: list[str], secrets: list[str]) -> None:
    """Wherever a password was typed on this connection: the next line that has it is not posted, even in one piece with
    the login."""
    bob = hall.program("bob")
    terminal(hall).cut()
    ana = hall.client().type(*typed, secrets[-1])
    for secret in secrets:
        ana.type(secret)
    assert bob.said == []
    assert "\n".join(ana.lines).count("! Nothing was sent") == len(secrets) + 1
    ana.type("wrong-words")
    assert bob.said == ["wrong-words"]


def test_a_token_is_not_posted(hall: Hall) -> None:
    """Nor is a token, whoever's it is."""
    bob, ana = hall.program("bob"), terminal(hall)
    token = bob.post("token", label="bot", password=PASSWORD).answers[-1]["token"]
    ana.type(token, f"use {token}")
    assert bob.said == []
    assert [line[:18] for line in ana.lines[-2:]] == ["! Nothing was sent"] * 2


def test_others_may_say_it(hall: Hall) -> None:
    """Whoever did not type it here may say it, as may a program."""
    bob, cai = hall.program("bob"), terminal(hall, "cai")
    cai.type(f"/password {PASSWORD} {OTHER}")
    terminal(hall).type(OTHER)
    bob.say(OTHER)
    assert bob.said == [OTHER, OTHER]
