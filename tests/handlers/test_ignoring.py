"""Ignoring: a person is not shown what somebody says, wherever they look; programs are shown everything."""

from pathlib import Path

import pytest

from chatserver.handlers.people import MAX_IGNORED
from chatserver.settings.tables import Limits
from chatserver.store import accounts
from chatserver.store.db.transactions import transact
from tests.support.hall import PASSWORD, START, Client, Hall

WORDS = "unwanted words"


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path, Limits(handshake_seconds=0, ping_seconds=0, stalled_seconds=0, commands_per_second=0))


def person(hall: Hall, name: str) -> Client:
    """A person at a terminal, logged in to a new account."""
    return hall.client().type(f"/register {name} {PASSWORD}")


def again(hall: Hall, name: str) -> Client:
    return hall.client().type(f"/login {name} {PASSWORD}")


def since(client: Client, *typed: str) -> str:
    """The next lines that a person sees."""
    before = len(client.lines)
    client.type(*typed)
    return "\n".join(client.lines[before:])


def test_what_is_not_shown(hall: Hall) -> None:
    """Not what they say or change, here and in a direct room, nor that they come or go; what others say is shown, and
    the same holds in the history, in a search and at the next login. The account's programs are shown everything."""
    ana, bob, cai = person(hall, "ana"), hall.program("bob"), hall.program("cai")
    program = hall.client().post("login", name="ana", password=PASSWORD)
    ana.type("/ignore bob")
    hall.passes(10)
    before = len(ana.lines)
    bob.say(WORDS).post("topic", room="general", text=WORDS).say(WORDS, "@ana")
    bob.post("edit", room="general", seq=bob.heard()[-2], text=f"other {WORDS}")
    cai.say("welcome")
    bob.post("leave", room="general").post("join", room="general").post("away", text=WORDS)
    hall.passes(10)
    bob.cut()
    hall.passes(10)
    assert [line.split(" ", 2)[2] for line in ana.lines[before:]] == ["cai: welcome"]
    for command in ("/history", "/history @bob", f"/search {WORDS}", "/unread"):
        assert "bob" not in since(ana, command).replace("@bob", "")
        assert WORDS not in since(ana, command)
    phone = again(hall, "ana")
    assert WORDS not in phone.seen.decode()
    assert "cai: welcome" in phone.seen.decode()
    assert WORDS in program.said[0]
    assert program.heard() == list(range(4, program.heard()[-1] + 1))


def test_it_counts_as_seen(hall: Hall) -> None:
    """What is not shown leaves nothing unread."""
    ana, bob = person(hall, "ana"), hall.program("bob")
    ana.type("/ignore bob")
    bob.say(WORDS).say(WORDS)
    ana.cut()
    hall.passes(2)
    program = hall.client().post("login", name="ana", password=PASSWORD)
    assert [(one["room"], one["seq"] - one["read"]) for one in program.answers[0]["rooms"]] == [("general", 0)]


def test_all_sessions_and_back(hall: Hall) -> None:
    """The other sessions of the account follow at once, in both directions; a program is told whom it ignores."""
    ana, bob = person(hall, "ana"), hall.program("bob")
    phone = again(hall, "ana")
    program = hall.client().post("login", name="ana", password=PASSWORD)
    program.post("ignore", name="bob").post("ignore", name="bob").post("ignore")
    assert [answer["ok"] for answer in program.answers[-3:]] == [True] * 3
    assert program.answers[-1]["names"] == ["bob"]
    bob.say("one")
    phone.type("/unignore bob")
    bob.say("two")
    assert [["bob: one" in one.seen.decode(), "bob: two" in one.seen.decode()] for one in (ana, phone)] == [
        [False, True], [False, True],
    ]  # fmt: skip
    program.post("ignore")
    assert program.answers[-1]["names"] == []


def test_moderation_is_shown(hall: Hall) -> None:
    """Who kicks or mutes whom concerns the room, whoever does it."""
    bob = hall.program("bob").post("create", room="books")
    ana = person(hall, "ana").type("/join books", "/ignore bob")
    bob.post("mute", room="books", name="ana").post("kick", room="books", name="ana")
    assert "muted by bob" in ana.seen.decode()
    assert "kicked by bob" in ana.seen.decode()


def test_a_page_of_nothing_else(hall: Hall) -> None:
    """A page of the history that has nothing else says where to go on."""
    bob = hall.program("bob")
    ana = person(hall, "ana").type("hello", "/ignore bob")
    for _ in range(60):
        bob.say(WORDS)
    seen = since(ana, "/history")
    assert "before=14" in seen
    assert "hello" in since(ana, "/history before=14")


def test_a_renamed_account(hall: Hall) -> None:
    """Another name does not help; the list has the new one."""
    bob = hall.program("bob")
    ana = person(hall, "ana").type("/ignore bob")
    bob.post("rename", name="bobby").say(WORDS)
    assert WORDS not in ana.seen.decode()
    assert "bobby" in since(ana, "/ignore")
    assert "bob is now called bobby." in since(ana, "/unignore bob")


def test_limits(hall: Hall) -> None:
    """Nobody ignores themselves, or more than so many."""
    ana = hall.program("ana").post("ignore", name="ana")
    assert ana.answers[-1]["error"] == "not-allowed"

    def many(db: object) -> None:
        for number in range(MAX_IGNORED + 1):
            accounts.create(db, f"n{number}", "", START, alike=True)  # type: ignore[arg-type]

    transact(hall.engine, many)
    for number in range(MAX_IGNORED + 1):
        ana.post("ignore", name=f"n{number}")
    assert [answer["ok"] for answer in ana.answers[-2:]] == [True, False]
    ana.post("ignore", name="n0").post("unignore", name="n0").post("ignore", name=f"n{MAX_IGNORED}")
    assert [answer["ok"] for answer in ana.answers[-3:]] == [True] * 3
