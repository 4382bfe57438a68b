"""What a person says while the database is away is kept, and /retry sends it again: no loss, no doubling, in order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatserver.session.retry import MOST_LINES, Kept
from chatserver.values import commands as c
from chatserver.values.errors import Refused, Unavailable, Why
from chatserver.values.events import OWN_ID
from tests.support.hall import PASSWORD, Client, Hall

AWAY = "! The server cannot reach its database. Try again in a moment. Your line is kept: /retry sends it again."


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    hall = Hall(tmp_path)
    yield hall
    hall.close()


def person(hall: Hall, name: str) -> Client:
    return hall.client().type(f"/register {name} {PASSWORD}")


def told(client: Client, *lines: str) -> list[str]:
    """The notices that a person receives after lines that they type at once."""
    seen = len(client.lines)
    client.type(*lines)
    return client.lines[seen:]


def log(hall: Hall, room: str = "general") -> list[str]:
    """The texts of the messages that are stored in a room."""
    reader = hall.client().post("login", name="reader", password=PASSWORD)
    if not reader.answers[-1]["ok"]:
        reader.post("register", name="reader", password=PASSWORD)
    reader.post("join", room=room).post("history", room=room)
    return [entry["text"] for entry in reader.answers[-1]["entries"] if entry["event"] == "message"]


@pytest.mark.parametrize("committed", [False, True])
def test_a_line_that_was_refused(hall: Hall, committed: bool) -> None:
    """It is kept and stored once, whatever became of the first attempt; its author sees where it stands."""
    ana, bob = person(hall, "ana"), hall.program("bob")
    if committed:
        hall.inline.lost_answers = 1
    else:
        hall.inline.refusals = 1
    assert AWAY in told(ana, "hello")
    hall.passes(2)
    assert bob.said == ["hello"] * committed
    lines = told(ana, "/retry")
    assert lines[0] == "* Sending 1 line again."
    assert (bob.said, log(hall)) == (["hello"], ["hello"])
    assert sum("ana: hello" in line for line in ana.lines) == 1
    assert told(ana, "/retry") == ["* There is nothing to send again."]


def test_rooms_and_order(hall: Hall) -> None:
    """Each line goes to the room that was meant, in order, before what is typed behind /retry; actions and replies
    too."""
    ana = person(hall, "ana").type("/create books", "first")
    hall.inline.refusals = 1
    lines = told(ana, "one", "/me waves", "/reply 2 two", "/look general", "three")
    assert [line for line in lines if line.startswith("!")] == [AWAY] * 3
    assert (log(hall, "books"), log(hall)) == (["first"], ["three"])
    assert told(ana, "/retry", "four")[0] == "* Sending 3 lines again."
    assert (log(hall, "books"), log(hall)) == (["first", "one", "/me waves", "two"], ["three", "four"])


def test_what_was_typed_right_behind(hall: Hall) -> None:
    """What waits behind a line that is refused is not stored before it, in whatever room: it is kept, too."""
    ana, bob = person(hall, "ana").type("/create books"), hall.program("bob")
    hall.inline.hold()
    ana.type("/look general", "one", "/say books two", "three")
    hall.inline.refusals = 1
    hall.inline.release()
    hall.settle()
    assert (bob.said, ana.lines[-3:]) == ([], [AWAY] * 3)
    ana.type("/retry")
    assert (bob.said, log(hall, "books")) == (["one", "three"], ["two"])


def test_a_retry_that_fails(hall: Hall) -> None:
    """What is refused again is kept again, in order."""
    ana = person(hall, "ana")
    hall.inline.refusals = 2
    ana.type("one", "two")
    assert [line for line in told(ana, "/retry") if line.startswith("!")] == [AWAY] * 2
    ana.type("/retry", "three")
    assert log(hall) == ["one", "two", "three"]


def test_the_first_message_to_a_person(hall: Hall) -> None:
    """A direct room that was to be opened is opened by the retry."""
    ana, bob = person(hall, "ana"), hall.program("bob")
    hall.inline.refusals = 1
    assert told(ana, "/msg bob lunch?")[0] == AWAY
    ana.type("/retry")
    assert bob.said == ["lunch?"]


def test_how_many_lines_are_kept(hall: Hall) -> None:
    """The last twenty; each one that is dropped is told of."""
    ana = person(hall, "ana")
    for number in range(MOST_LINES + 2):
        hall.inline.refusals = 1
        ana.type(f"line {number}")
    assert [line.startswith(AWAY + " No more than 20 lines are kept") for line in ana.lines[-3:]] == [False, True, True]
    ana.type("/retry")
    assert log(hall) == [f"line {number}" for number in range(2, MOST_LINES + 2)]


def test_a_line_that_came_too_early(hall: Hall) -> None:
    """In a room with a pace it is kept until its author says something else there."""
    ana, bob = person(hall, "ana").type("/create books", "/set pace 30"), person(hall, "bob").type("/join books")
    bob.type("one")
    assert told(bob, "two")[0].endswith("Your line is kept until you say something else there: /retry sends it again.")
    hall.passes(31)
    bob.type("/retry")
    assert log(hall, "books") == ["one", "two"]
    bob.type("three")
    hall.passes(31)
    bob.type("four")
    assert told(bob, "/retry") == ["* There is nothing to send again."]
    assert ana.session.who.name == "ana"


def test_the_database_is_back(hall: Hall) -> None:
    """People who were told that it is away are told once that it is back, with what they can send again; nobody else
    is."""
    ana, bob, cai, stranger = person(hall, "ana"), person(hall, "bob"), person(hall, "cai"), hall.client()
    program = hall.program("dan")
    hall.inline.refusals = 4
    ana.type("one", "two")
    bob.type("/create books")
    program.say("hello")
    stranger.type("eva", "yes", PASSWORD, PASSWORD)
    seen = {client: len(client.lines) for client in (ana, bob, cai, stranger, program)}
    for _ in range(2):
        hall.connections.answered()
    hall.settle()
    assert [client.lines[count:] for client, count in seen.items()] == [
        ["* The database is back. /retry sends what you said meanwhile: 2 lines."],
        ["* The database is back."],
        [],
        ["* The database is back.", "* Type it again:"],
        [],
    ]


def test_a_bug_is_no_outage(hall: Hall) -> None:
    """A line that met a bug of the server is kept, but no recovery is announced."""
    ana = person(hall, "ana")

    async def fails(*_: object) -> None:
        raise RuntimeError("a bug")

    append, hall.inline.append = hall.inline.append, fails  # type: ignore[method-assign, assignment]
    assert "Your line is kept" in told(ana, "hello")[0]
    hall.inline.append = append  # type: ignore[method-assign]
    assert not any(connection.unserved for connection in hall.connections.open)
    ana.type("/retry")
    assert log(hall) == ["hello"]


def test_programs_and_scripts_keep_their_own(hall: Hall) -> None:
    """A program is told `unavailable` as ever, and /retry is no command of it."""
    ana = hall.program("ana")
    hall.inline.refusals = 1
    answer = ana.say("hello").answers[-1]
    assert (answer["error"], "kept" in answer["text"]) == ("unavailable", False)
    assert ana.post("retry").answers[-1]["error"] == "bad-command"


# The ids of typed messages


def test_ids_are_never_shown(hall: Hall) -> None:
    """Nobody sees the id of a typed message, not even its author's programs; nobody can send such an id."""
    watcher = hall.program("ana")
    ana, bob = hall.client().type(f"/login ana {PASSWORD}"), hall.program("bob")
    ana.type("hello", "/reply 2 there")
    watcher.post("history", room="general").post("search", text="hello").post("export")
    for client in (watcher, bob):
        assert "hello" in client.said
        assert '"id"' not in client.seen.decode()
    assert watcher.say("mine", id="x1").events[-1]["id"] == "x1"
    assert bob.say("x", id=f"{OWN_ID}1").answers[-1]["error"] == "bad-command"


def test_ids_differ() -> None:
    """Ids differ between two connections, and between two messages of one."""
    one, other = Kept(), Kept()
    say = c.Say(room="general", text="hello")
    ids = [kept.identified(say).id for kept in (one, one, other)]
    assert len(set(ids)) == 3
    assert all(id is not None and id.startswith(OWN_ID) and len(id) <= 64 for id in ids)


def test_a_room_that_is_called_otherwise_by_now() -> None:
    """A line goes to the room that was meant, under the label that it has when it is sent again."""
    kept = Kept()
    for room_id, label in ((7, "@bob"), (0, "@cai")):
        kept.refused(c.Say(room="", text="hello", id="x"), room_id, label, Unavailable())
    assert [message.room for message in kept.take({7: "@robert", 8: "books"})] == ["@robert", "@cai"]


@pytest.mark.parametrize("why", [Why.MUTED, Why.NOT_A_MEMBER, Why.TOO_LONG])
def test_what_is_not_kept(why: Why) -> None:
    """A line that is refused for good."""
    kept, refused = Kept(), Refused(why)
    assert kept.refused(c.Say(room="general", text="hello"), 1, "general", refused) is refused
    assert len(kept) == 0


def test_messages_that_are_stored_one_by_one(hall: Hall) -> None:
    """So they are where a take meets a bug: if the database goes away then, what is behind in it waits, too."""
    ana, errors = person(hall, "ana"), [RuntimeError("a bug"), Unavailable()]
    append = hall.inline.append

    async def fails_at_first(*args: object) -> object:
        if errors:
            raise errors.pop(0)
        return await append(*args)

    hall.inline.append = fails_at_first  # type: ignore[method-assign, assignment]
    assert told(ana, "one", "two", "three") == [AWAY] * 3
    ana.type("/retry")
    assert log(hall) == ["one", "two", "three"]
