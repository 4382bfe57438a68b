"""Entries are removed while clients are away, behind, or looking at them: each is told what is gone, once."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from chatserver.settings.tables import Retention
from chatserver.store import entries, messages, retention, rooms
from chatserver.store.db.schema import EntryRow, RoomRow
from chatserver.store.db.transactions import transact
from chatserver.store.messages import Draft
from chatserver.store.visibility import find_room
from tests.support.hall import PASSWORD, START, Client, Hall

Line = tuple[str, int, int]


@pytest.fixture
def hall(tmp_path: Path) -> Any:
    one = Hall(tmp_path)
    yield one
    one.close()


def remove(hall: Hall, kept: int, room: str = "general") -> int:
    """Leaves so many entries of a room. Returns the first number left."""

    def work(db: Connection) -> int:
        row = db.execute(select(RoomRow.id, RoomRow.last_seq).where(RoomRow.name == room)).one()
        # They are as old as they have to be.
        db.execute(update(EntryRow).where(EntryRow.room_id == row.id).values(at=START.replace(year=2000)))
        settings = Retention(entries=kept) if kept else Retention(days=1)
        while retention.step(db, row.id, settings, 1_000_000).more:
            pass
        return int(row.last_seq) - kept + 1

    return transact(hall.engine, work)


def lines(client: Client, room: str = "general") -> list[Line]:
    """The numbers of a room that a program was told of, as they came: (kind, first, last)."""
    found: list[Line] = []
    for event in client.events:
        if event.get("room") == room and event["event"] not in ("live", "read"):
            gap = event["event"] == "gap"
            found.append(("gap", event["from"], event["first"] - 1) if gap else ("entry", event["seq"], event["seq"]))
    return found


def whole(found: list[Line], begin: int, end: int) -> bool:
    """Whether every number of these was told once, in order."""
    ends = [(first, last) for _, first, last in found]
    return [first for first, _ in ends] == [begin, *(last + 1 for _, last in ends[:-1])] and ends[-1][1] == end


def again(hall: Hall, name: str, **fields: Any) -> Client:
    client = hall.client()
    client.post("login", name=name, password=PASSWORD, **fields)
    return client


def test_resuming(hall: Hall) -> None:
    """A client that resumes before the first number left is told of the gap, then of the entries, then `live`."""
    ana, bob = hall.program("ana"), hall.program("bob")
    bob.cut()
    for n in range(20):
        ana.say(str(n))
    assert remove(hall, 5) == 18
    back = again(hall, "bob", resume={"general": 4})
    assert lines(back) == [("gap", 5, 17), *(("entry", n, n) for n in range(18, 23))]
    gap = next(event for event in back.events if event["event"] == "gap")
    assert gap == {"event": "gap", "room": "general", "room_id": 1, "from": 5, "first": 18}
    assert back.events[-1] == {"event": "live", "room": "general", "room_id": 1, "seq": 22}
    for position, first in ((17, []), (18, []), (16, [("gap", 17, 17)])):
        some = again(hall, "bob", resume={"general": position})
        assert lines(some) == [*first, *(("entry", n, n) for n in range(max(position + 1, 18), 23))]
    remove(hall, 0)
    empty = again(hall, "bob", resume={"general": 4})
    assert lines(empty) == [("gap", 5, 22)]
    assert empty.events[-1] == {"event": "live", "room": "general", "room_id": 1, "seq": 22}
    ana.say("new")
    assert lines(empty)[1:] == [("entry", 23, 23)]


def test_joining_with_since(hall: Hall) -> None:
    """`since` is answered in the same way, also in a room that the client has not been in."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.post("create", room="books")
    for n in range(10):
        ana.say(str(n), "books")
    remove(hall, 3, "books")
    bob.post("join", room="books", since=2)
    assert whole(lines(bob, "books"), 3, 12)
    assert lines(bob, "books")[0] == ("gap", 3, 8)


def test_people(hall: Hall) -> None:
    """A person is told in a line, wherever something is missing, and unread messages that are gone are not counted."""
    ana = hall.program("ana")
    ana.post("create", room="books")
    hall.client().type("/register bob s3cret-words", "/join books", "/quit")
    for n in range(20):
        ana.say(f"word{n}", "books")
    assert remove(hall, 5, "books") == 18
    bob = hall.client().type("/login bob s3cret-words")
    assert "* Your rooms: books (5 unread), general" in bob.lines
    gone = "* Messages before #18 in books were removed."
    assert gone not in bob.lines
    for typed in ("/unread", "/join books", "/history", "/search #books word19", "/history books before=5"):
        before = len(bob.lines)
        bob.type(typed)
        assert bob.lines[before:].count(gone) == 1, (typed, bob.lines[before:])
    bob.type("/edit 3 anew")
    assert bob.lines[-1] == "! The message 3 was removed, as all messages before #18 in books."


def test_pages(hall: Hall) -> None:
    """`history`, `search` and `unread` name the first number left where something before it is missing."""
    ana = hall.program("ana")
    for n in range(2, 21):
        ana.say(f"word all {n}")
    remove(hall, 5)
    gap = {"from": 1, "first": 16}

    def answer(word: str, **fields: Any) -> Any:
        return ana.post(word, **fields).answers[-1]

    def numbers(found: Any) -> list[int]:
        return [entry["seq"] for entry in found["entries"]]

    latest = answer("history", room="general")
    assert (numbers(latest), latest["more"], latest["gap"]) == ([16, 17, 18, 19, 20], False, gap)
    page = answer("history", room="general", limit=2)
    assert (numbers(page), page["more"], "gap" in page) == ([19, 20], True, False)
    around = answer("history", room="general", before=18)
    assert (numbers(around), around["gap"]) == ([16, 17], gap)
    removed = answer("history", room="general", before=9)
    assert (numbers(removed), removed["more"], removed["gap"]) == ([], False, gap)
    after = answer("history", room="general", after=3, limit=2)
    assert (numbers(after), after["more"], after["gap"]) == ([16, 17], True, {"from": 4, "first": 16})
    assert "gap" not in answer("history", room="general", after=15)
    found = answer("search", room="general", text="all", limit=3)
    assert (numbers(found), found["more"], "gap" in found) == ([20, 19, 18], True, False)
    found = answer("search", room="general", text="all", before=found["before"])
    assert (numbers(found), found["more"], found["gap"]) == ([17, 16], False, gap)
    assert numbers(answer("search", text="all")) == [20, 19, 18, 17, 16]
    assert answer("unread")["rooms"] == [
        {
            "room": "general",
            "room_id": 1,
            "seq": 20,
            "read": 1,
            "role": "member",
            "gap": {"from": 2, "first": 16},
            "unread": 0,
            "messages": 0,
            "mentions": 0,
        }
    ]  # her own messages are read
    ana.post("read", room="general", seq=17)
    assert answer("unread")["rooms"] == [
        {"room": "general", "room_id": 1, "seq": 20, "read": 17, "role": "member"}
        | {"unread": 0, "messages": 0, "mentions": 0}
    ]
    for word in ("edit", "erase"):
        refused = answer(word, room="general", seq=9, **({"text": "anew"} if word == "edit" else {}))
        assert (refused["error"], refused["text"]) == (
            "bad-command", "The message 9 was removed, as all messages before #16 in general."
        )  # fmt: skip
    remove(hall, 0)
    assert answer("unread")["rooms"][0]["unread"] == 0
    assert answer("history", room="general")["gap"] == {"from": 1, "first": 21}


def test_over_all_rooms(hall: Hall) -> None:
    """A search over all rooms, `mentions` and `export` name, on their last page, each room in which older entries were
    removed that might have been among what was asked for, and no others."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.post("create", room="books").post("create", room="den", visibility="private")
    bob.post("join", room="books").post("say", room="@ana", text="word ana")
    for room in ("general", "books", "den"):
        ana.say("word", room)
    remove(hall, 1, "books")
    remove(hall, 1, "den")
    ana.post("invite", room="den", name="bob")
    bob.post("join", room="den")
    words: tuple[tuple[str, dict[str, Any]], ...] = (("search", {"text": "word"}), ("mentions", {}), ("export", {}))

    def told(client: Client) -> list[Any]:
        return [client.post(word, **fields).answers[-1].get("removed") for word, fields in words]

    assert told(ana) == [{"books": 3, "den": 2}] * 3
    assert told(bob) == [{"books": 3}] * 3
    remove(hall, 0, "@1:2")
    assert told(ana) == [{"@bob": 2, "books": 3, "den": 2}] * 3
    bob.post("leave", room="books")
    assert told(bob) == [{"@ana": 2}, {"@ana": 2}, {"@ana": 2, "books": 3}]
    page = ana.post("search", text="word", limit=1).answers[-1]
    assert (page["more"], "removed" in page) == (True, False)
    text = hall.client().type(f"/login ana {PASSWORD}", "/search word")
    gone = "* Messages were removed: in @bob before #2, in books before #3, in den before"
    assert text.rows[-2:] == [gone, "   | #2."]
    text.type("/export")
    assert text.rows[-3:] == [gone, "   | #2.", "* That is all."]


def test_a_past_that_is_closed(hall: Hall) -> None:
    """Nobody is told that something was removed that they could never see."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.post("create", room="den", visibility="private")
    for n in range(10):
        ana.say(str(n), "den")
    ana.post("invite", room="den", name="bob")
    bob.post("join", room="den")
    for n in range(10):
        ana.say(str(n), "den")
    joined = 12
    assert remove(hall, 15, "den") < joined

    def told(**fields: Any) -> Any:
        return bob.post("history", room="den", **fields).answers[-1].get("gap")

    assert told() is None
    assert told(after=0) is None
    assert lines(again(hall, "bob", resume={"den": 0}), "den")[0] == ("entry", joined, joined)
    assert ana.post("history", room="den").answers[-1]["gap"] == {"from": 1, "first": 8}
    assert remove(hall, 5, "den") == 18
    assert told() == told(after=0) == {"from": joined, "first": 18}
    assert lines(again(hall, "bob", resume={"den": 0}), "den")[0] == ("gap", joined, 17)


def test_removed_under_a_slow_reader(hall: Hall) -> None:
    """A reader that is behind when its entries are removed is told so, and goes on behind them. So is one that was
    kicked, up to its kick."""
    ana = hall.program("ana")
    ana.post("create", room="books")
    slow, kicked = (hall.client().come_in(name) for name in ("slow", "kicked"))
    for client in (slow, kicked):
        client.post("join", room="books")
        client.wire.room = 200
    for n in range(300):
        ana.say(f"{n} " + "x" * 200, "books")
    ana.post("kick", room="books", name="kicked")
    for n in range(50):
        ana.say(str(n), "books")
    head = ana.heard("books")[-1]
    first = remove(hall, 20, "books")
    slow.read()
    kicked.read()
    hall.passes(5)
    assert whole(lines(slow, "books"), lines(slow, "books")[0][1], head)
    [gap] = [line for line in lines(slow, "books") if line[0] == "gap"]
    assert gap[2] == first - 1
    assert lines(kicked, "books")[-1][0] == "gap"
    assert lines(kicked, "books")[-1][2] == head - 50
    assert whole(lines(kicked, "books"), lines(kicked, "books")[0][1], head - 50)
    ana.say("more", "books")
    assert lines(slow, "books")[-1] == ("entry", head + 1, head + 1)
    assert lines(kicked, "books")[-1][2] == head - 50
    assert not hall.left


def test_removed_before_it_was_published(hall: Hall) -> None:
    """Entries of another server that were removed before this one heard of them: their numbers are skipped, and who
    came and left meanwhile is looked up."""
    ana, bob, cai = (hall.program(name) for name in ("ana", "bob", "cai"))
    for client in (ana, bob):
        client.post("create" if client is ana else "join", room="books")
    head = ana.heard("books")[-1]

    def elsewhere(db: Connection) -> int:
        people = {client.session.who.name: client.session.who.person for client in (ana, bob, cai)}
        rooms.leave(db, people["bob"], "books", START)
        access = find_room(db, people["cai"], "books", lock=True)
        rooms.join(db, people["cai"], access, START)
        drafts = [Draft(access.facts.id, people["ana"].id, str(n), None) for n in range(10)]
        return messages.append(db, drafts, START)[-1].seq

    last = transact(hall.engine, elsewhere)
    first = remove(hall, 4, "books")
    room = hall.registry.rooms.find(ana.session.rooms["books"].facts.id)
    assert room is not None
    hall.registry.order.doubt(room)
    hall.passes(5)
    assert lines(ana, "books")[-5:] == [
        ("gap", head + 1, first - 1),
        *(("entry", n, n) for n in range(first, last + 1)),
    ]
    assert "books" not in bob.session.rooms
    assert lines(cai, "books") == [("gap", head + 2, first - 1), *(("entry", n, n) for n in range(first, last + 1))]
    ana.say("more", "books")
    assert lines(ana, "books")[-1] == lines(cai, "books")[-1] == ("entry", last + 1, last + 1)
    assert lines(bob, "books")[-1] != ("entry", last + 1, last + 1)
    assert not hall.left


def test_erasing_what_was_edited(hall: Hall) -> None:
    """The texts that a removed message was edited to can be erased still, by its author."""
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.say("secret")
    seq = ana.heard()[-1]
    for n in range(10):
        ana.say(str(n))
    ana.post("edit", room="general", seq=seq, text="secret again")
    remove(hall, 2)
    assert bob.post("erase", room="general", seq=seq).answers[-1]["error"] == "not-allowed"
    assert ana.post("erase", room="general", seq=seq).answers[-1]["ok"]
    log = transact(hall.engine, lambda db: entries.after(db, 1, 0, 100)[0])
    assert not any("secret" in entry.text for entry in log)
    assert ana.post("erase", room="general", seq=seq).answers[-1]["error"] == "bad-command"


def test_a_retry(hall: Hall) -> None:
    """A retry of a removed message gets the first answer again, also after a restart, and nothing is stored."""
    ana = hall.program("ana")
    ana.say("once", id="k1")
    ana.say("twice")
    remove(hall, 1)
    answer = ana.say("once", id="k1").answers[-1]
    assert (answer["seq"], answer["dup"]) == (2, True)
    head = ana.heard()[-1]
    assert ana.post("leave", room="general").say("once", id="k1").answers[-1] == answer
    hall.registry.order.forget()
    ana.post("join", room="general")
    assert ana.say("once", id="k1").answers[-1] == answer
    assert ana.heard()[-1] == head + 2
    assert not hall.left


def test_people_behind(hall: Hall) -> None:
    """Somebody at a terminal who reads on behind a gap has read everything: nothing is unread."""
    ana = hall.program("ana")
    bob = hall.client().type("/register bob s3cret-words")
    bob.wire.room = 0
    for n in range(300):
        ana.say(f"{n} " + "x" * 200)
    first = remove(hall, 10)
    bob.read()
    hall.passes(5)
    assert f"* Messages before #{first} in general were removed." in bob.lines
    assert bob.session.view is not None
    seen = bob.session.view.marks.shown()[bob.session.rooms["general"].facts.id]
    assert (seen.mark, seen.runs) == (ana.heard()[-1], ())
