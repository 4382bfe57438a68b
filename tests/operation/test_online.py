"""The list of connections, their end by `chatctl session kick`, and announcements."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred

from chatserver.operation.control.caller import CannotDo
from chatserver.operation.control.requests import SessionLine
from chatserver.operation.control.sessions import (
    ANNOUNCE_SLICE,
    MOST_BEHIND,
    SLICE,
    announce,
    kick,
    list_sessions,
)
from chatserver.util import audit_log
from chatserver.util.waiting import pause, turns
from tests.net.conftest import OpenHall
from tests.operation.parts import running
from tests.support.hall import PASSWORD, Client, Hall
from tests.support.sentences import written

LONG = "x" * 4000
"""Some of these are more than a link takes before it is full."""


class Listed:
    """The items that a command sends; counts the turns that it takes."""

    def __init__(self, hall: Hall) -> None:
        self.lines: list[SessionLine] = []
        self.turns = 0
        self._hall = hall

    def item(self, value: Any) -> None:
        self.lines.append(value)

    async def turn(self) -> None:
        self.turns += 1
        await pause(self._hall.clock, 0)


def done(hall: Hall, work: Any) -> Any:
    """The result of a command, once the hall has come to rest; raises what it raises."""
    result: Deferred[Any] = ensureDeferred(work)
    hall.settle()
    found: list[Any] = []
    failed: list[BaseException] = []
    result.addCallbacks(found.append, lambda failure: failed.append(failure.value))
    if failed:
        raise failed[0]
    return found[0]


def listed(hall: Hall) -> list[SessionLine]:
    out = Listed(hall)
    assert done(hall, list_sessions(running(hall), out)) == {"sessions": len(out.lines)}
    return sorted(out.lines, key=lambda line: int(line.id[1:]))


def log(act: str, **what: str) -> None:
    audit_log.acted("local", "", act, by="root", uid="0", **what)


def kicked(hall: Hall, who: str, reason: str = "") -> Any:
    return done(hall, kick(running(hall), who, reason, log, turns(hall.clock)))


def announced(hall: Hall, text: str) -> Any:
    return done(hall, announce(running(hall), text, log, turns(hall.clock)))


def person(hall: Hall, name: str, room: int | None = None) -> Client:
    """Somebody at a terminal."""
    return hall.client(room=room).type(f"/register {name} {PASSWORD}")


def slow(hall: Hall, name: str) -> Client:
    """A program that has logged in, and takes nothing from now on."""
    client = hall.program(name)
    client.wire.room = 0
    return client


def test_who_is_there(hall: Hall) -> None:
    """The list has every connection, also those that have not logged in, with door, dialect and time; and no more once
    it has been told that it ends."""
    ana = hall.program("ana").post("ping")
    person(hall, "bob")
    hall.browser().upgrade().come_in("cai")
    hall.client()
    found = listed(hall)
    assert [(line.user, line.door, line.dialect, line.stage, line.commands) for line in found] == [
        ("ana", "unix", "jsonl", "in", 1),
        ("bob", "unix", "text", "in", 0),
        ("cai", "ws:unix", "jsonl", "in", 0),
        ("", "unix", "", "new", 0),
    ]
    assert {line.address for line in found} == {"local"}
    ana.connection.hang_up("kicked", written("Go."))
    assert [line.user for line in listed(hall)] == ["bob", "cai", ""]


def test_who_is_behind(hall: Hall) -> None:
    """For somebody who reads too slowly, the list says in which rooms they lack entries and how many: the worst few."""
    ana, bob = hall.program("ana"), slow(hall, "bob")
    rooms = [f"room{number}" for number in range(MOST_BEHIND + 1)]
    for room in rooms:
        ana.post("create", room=room)
        bob.post("join", room=room)
    for _ in range(6):
        ana.say(LONG)
    for count, room in enumerate(rooms, 1):
        for _ in range(count):
            ana.say("more", room=room)
    of_ana, of_bob = listed(hall)
    assert of_ana.behind == {}
    assert list(of_bob.behind.items()) == [(f"room{count - 1}", count) for count in range(6, 1, -1)]
    bob.read()
    hall.passes(0.1)
    assert listed(hall)[1].behind == {}


def test_listing_takes_turns(open_hall: OpenHall) -> None:
    """No turn of the reactor describes more than so many connections, or connections with more than so many rooms."""
    hall = open_hall()
    for _ in range(SLICE * 2 + 1):
        hall.client()
    out = Listed(hall)
    done(hall, list_sessions(running(hall), out))
    assert (len(out.lines), out.turns) == (SLICE * 2 + 1, 2)


def test_kicking_by_name(hall: Hall, audited: list[str]) -> None:
    """All connections of an account end, in both dialects, and say why. They are in the audit log with whoever did it,
    without the reason."""
    ana, bob = hall.program("ana"), hall.program("bob")
    also = hall.client().type(f"/login ana {PASSWORD}")
    audited.clear()
    result = kicked(hall, "ANA", "Enough for today")
    assert (result["name"], sorted(result["ended"])) == ("ana", ["s1", "s3"])
    assert ana.closing == ["kicked"]
    assert ana.events[-1]["text"] == "An administrator ended your connection: Enough for today."
    assert also.lines[-1] == "* An administrator ended your connection: Enough for today. Press Enter to leave."
    assert bob.closing == []
    assert hall.left == [("ana", "kicked")] * 2
    assert sorted(line for line in audited if line.startswith("act")) == [
        "act address=local act=kick by=root uid=0 target=ana id=s1",
        "act address=local act=kick by=root uid=0 target=ana id=s3",
    ]


def test_kicking_by_id(hall: Hall) -> None:
    """One connection ends, also before it has logged in."""
    ana, stranger = hall.program("ana"), hall.client()
    assert kicked(hall, stranger.session.id) == {
        "name": "",
        "ended": ["s2"],
    }
    assert stranger.lines[-1] == "* An administrator ended your connection. Press Enter to leave."
    assert kicked(hall, "s1", "Enough!")["name"] == "ana"
    assert ana.closing == ["kicked"]
    assert ana.events[-1]["text"] == "An administrator ended your connection: Enough!"
    for who in ("s1", "ana", ""):
        with pytest.raises(CannotDo, match="chatctl session list"):
            kicked(hall, who)
    with pytest.raises(CannotDo, match="at most 500 characters"):
        kicked(hall, "ana", "x" * 501)


def test_kicking_somebody_behind(hall: Hall) -> None:
    """Somebody who reads nothing is out at once. If they read after all, they find why behind what they were sent."""
    ana, bob = hall.program("ana"), slow(hall, "bob")
    for _ in range(6):
        ana.say(LONG)
    kicked(hall, "bob")
    assert hall.left == [("bob", "kicked")]
    assert [line.user for line in listed(hall)] == ["ana"]
    bob.read()
    assert bob.closing == ["kicked"]
    assert bob.events[-1]["event"] == "closing"
    assert bob.heard() == list(range(bob.heard()[0], bob.heard()[-1] + 1))


def test_announcing(hall: Hall, audited: list[str]) -> None:
    """Everybody who is logged in gets a notice, at every door and in both dialects; the others get nothing. The text is
    not in the audit log."""
    ana, bob, cai = hall.program("ana"), person(hall, "bob"), hall.browser().upgrade().come_in("cai")
    stranger = hall.client()
    before = stranger.seen
    assert announced(hall, "Back at 18:00.\nSee you! ") == {"told": 3}
    for program in (ana, cai):
        assert program.events[-1] == {"event": "notice", "text": "Back at 18:00.\nSee you!"}
    assert bob.rows[-2:] == ["* Back at 18:00.", "   | See you!"]
    assert stranger.seen == before
    assert audited[-1] == "act address=local act=announce by=root uid=0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"), (" ", "empty"), ("a\x1b[31mred", "control character"), ("x" * 1001, "at most 1000 characters"),
        ("x" * 10_000, "at most 1000 characters"),
    ],
)  # fmt: skip
def test_what_cannot_be_announced(hall: Hall, text: str, said: str) -> None:
    ana = hall.program("ana")
    with pytest.raises(CannotDo, match=said):
        announced(hall, text)
    assert ana.events == []


def test_announcing_to_the_slow(hall: Hall) -> None:
    """Somebody who reads slowly gets the notice in order, behind what they were sent before and before what comes after
    it, and nobody waits for them."""
    ana, bob = hall.program("ana"), slow(hall, "bob")
    for _ in range(6):
        ana.say(LONG)
    assert announced(hall, "Soon over.") == {"told": 2}
    assert ana.events[-1]["text"] == "Soon over."
    ana.say("afterwards")
    bob.read()
    hall.passes(0.1)
    told = [event.get("text") for event in bob.events]
    assert told.count("Soon over.") == 1
    assert told.index("Soon over.") < told.index("afterwards")
    assert bob.heard() == ana.heard()[-len(bob.heard()) :]
    assert told.count(LONG) == 6


def test_announcing_takes_turns(open_hall: OpenHall) -> None:
    """No turn of the reactor writes to more than so many."""
    hall = open_hall()
    clients = [hall.program(f"u{number}") for number in range(ANNOUNCE_SLICE + 1)]
    work: Deferred[Any] = ensureDeferred(announce(running(hall), "hello", log, turns(hall.clock)))

    def told() -> int:
        return sum(client.events[-1]["event"] == "notice" for client in clients)

    assert told() == ANNOUNCE_SLICE
    hall.settle()
    assert told() == ANNOUNCE_SLICE + 1
    assert work.called
