"""`chatctl room`: rooms, including private, direct and deleted ones."""

from datetime import UTC, datetime

import pytest

from chatserver.events import PRIVATE, PUBLIC, Person
from chatserver.store import rooms
from chatserver.store.database import open_ready, parse_url
from chatserver.store.visibility import find_room
from tests.admin.conftest import Chatctl

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
    monkeypatch.setattr("chatserver.admin.room.PAGE", 2)
    housed.add(*[f"guest{n}" for n in range(5)])
    room, *log = housed.lines("room", "export", "general")
    assert (room["room"]["id"], room["room"]["entries"]) == (1, 7)
    assert [line["seq"] for line in log] == list(range(1, 8))
    [direct] = housed.lines("room", "export", "--id", "4", "--json")
    assert direct["room"]["kind"] == "direct"
