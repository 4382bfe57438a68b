"""`chatctl room`: rooms, including private, direct and deleted ones."""

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from chatserver.settings.tables import Retention
from chatserver.store import retention, rooms
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.store.db.schema import EntryRow
from chatserver.store.visibility import find_room
from chatserver.values.events import PRIVATE, PUBLIC, Person
from tests.chatctl.conftest import Chatctl

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)


@pytest.fixture
def housed(chatctl: Chatctl) -> Chatctl:
    """Ana owns a public and a private room, and has a direct room with Bob."""
    chatctl.add("ana", "bob")
    ana = Person(1, "ana")
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        rooms.create(db, ana, "books", PUBLIC, "what we \x1b]0;read\x07", AT)
        rooms.create(db, ana, "secret", PRIVATE, "", AT)
        rooms.open_direct(db, ana, find_room(db, ana, "@bob"), AT)
    engine.dispose()
    return chatctl


def test_listing(housed: Chatctl) -> None:
    """Public and private rooms are listed, direct ones are not. Control characters in a topic are escaped."""
    listed = housed.json("room", "list")
    assert [(one["id"], one["name"], one["kind"], one["members"], one["entries"]) for one in listed] == [
        (1, "general", "public", 2, 2),
        (2, "books", "public", 1, 1),
        (3, "secret", "private", 1, 1),
    ]
    assert listed[1]["topic"] == "what we \x1b]0;read\x07"
    text = housed("room", "list")
    assert "what we \\u001b]0;read\\u0007\n" in text
    amounts = [" ".join(found) for found in re.findall(r"(\d+ member\w*) +(\d+ entr\w+)", text)]
    assert amounts == ["2 members 2 entries", "1 member 1 entry", "1 member 1 entry"]
    assert housed.json("room", "list", "--deleted") == []


def test_showing(housed: Chatctl) -> None:
    shown = housed.json("room", "show", "Books")
    assert (shown["name"], shown["members"]) == ("books", [{"name": "ana", "role": "owner"}])
    assert shown["created"] == "2026-03-02T10:02:00.123Z"
    text = housed("room", "show", "secret")
    assert "Kind:         private\n" in text
    assert "Members:      ana (owner)\n" in text
    assert housed.json("room", "show", "--id", "4")["name"] == "@ana@bob"
    assert housed.fails("room", "show", "chess") == "There is no room chess. See: chatctl room list"
    assert "no room with the id 9" in housed.fails("room", "show", "--id", "9")
    assert "--id" in housed.fails("room", "show", "@bob")
    assert "A room's name" in housed.fails("room", "show", "no room")
    assert "--id" in housed.misused("room", "show")
    assert "--id" in housed.misused("room", "show", "books", "--id", "2")


def test_deleting(housed: Chatctl) -> None:
    """A room is deleted by the server itself: it has no members, its name is free, its log is exported by id."""
    assert "--yes" in housed.misused("room", "delete", "books")
    assert housed.json("room", "delete", "BOOKS", "--yes") == {"room": "books", "id": 2, "deleted": True}
    assert "There is no room books" in housed.fails("room", "delete", "books", "--yes")
    assert "There is no room" in housed.fails("room", "export", "books")
    assert "direct" in housed.fails("room", "delete", "@bob", "--yes")
    assert [one["name"] for one in housed.json("room", "list")] == ["general", "secret"]
    [gone] = housed.json("room", "list", "--deleted")
    assert (gone["id"], gone["name"], gone["members"]) == (2, "books", 0)
    assert gone["deleted"] in housed("room", "list", "--deleted")
    assert "Deleted: " in housed("room", "show", "--id", "2")
    room, created, deleted = housed.lines("room", "export", "--id", "2")
    assert (room["room"]["name"], created["event"], deleted["event"]) == ("books", "created", "deleted")
    assert "by" not in deleted
    assert [one["room"] for one in housed.json("user", "show", "ana")["rooms"]] == ["@bob", "general", "secret"]


def test_exporting(housed: Chatctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export has the room, then its whole log, in however many pages."""
    monkeypatch.setattr("chatserver.chatctl.transfer.PAGE", 2)
    housed.add(*[f"guest{n}" for n in range(5)])
    room, *log = housed.lines("room", "export", "general")
    assert (room["room"]["id"], room["room"]["entries"]) == (1, 7)
    assert [line["seq"] for line in log] == list(range(1, 8))
    [direct] = housed.lines("room", "export", "--id", "4", "--json")
    assert direct["room"]["kind"] == "direct"


def test_retention(housed: Chatctl) -> None:
    """Without options it shows what holds, and what there is. What removes entries has to be confirmed, and says before
    how many."""
    housed.add(*[f"guest{n}" for n in range(5)])
    engine = open_ready(parse_url(housed.database))
    with engine.begin() as db:
        db.execute(update(EntryRow).values(at=AT))
    shown = housed.json("room", "retention", "general")
    assert shown == {
        "room": "general", "id": 1, "first": 1, "entries": 7, "keep_days": 0, "keep_entries": 0, "own_days": None,
        "own_entries": None, "oldest": "2026-03-02T10:02:00.123Z", "excess": 0,
    }  # fmt: skip
    assert "This removes 4 of the 7 entries of general." in housed.misused(
        "room", "retention", "general", "--entries=3"
    )
    assert housed.json("room", "retention", "general")["own_entries"] is None
    shown = housed.json("room", "retention", "general", "--entries", "3", "--yes")
    assert (shown["keep_entries"], shown["own_entries"], shown["excess"]) == (3, 3, 4)
    assert housed.json("room", "retention", "general", "--days", "30.5", "--yes")["own_entries"] == 3
    text = housed("room", "retention", "general")
    assert "Kept days:    30.5 (as set for this room)\nKept entries: 3 (as set for this room)\n" in text
    with engine.begin() as db:
        retention.step(db, 1, Retention(), 1_000_000)
    engine.dispose()
    shown = housed.json("room", "show", "general")
    assert (shown["entries"], shown["first"], shown["retention"]["own_days"]) == (0, 8, 30.5)
    assert "First entry:  #8\n" in housed("room", "show", "general")
    assert housed.lines("room", "export", "general")[0]["room"]["first"] == 8
    assert "Kept days:    all (as set for this room)" in housed("room", "retention", "general", "--keep-all")
    assert "Kept days:    all (as set for the server)" in housed("room", "retention", "general", "--default")
    assert housed.json("room", "retention", "--id", "4", "--entries", "100")["room"] == "@ana@bob"
    assert "--default" in housed.misused("room", "retention", "general", "--keep-all", "--days", "3")
    assert "--days" in housed.misused("room", "retention", "general", "--days", "-1")
