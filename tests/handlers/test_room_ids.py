"""`room_id`: what tells rooms apart whatever they are called."""

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from chatserver.chatctl.main import main
from tests.conftest import StartServer
from tests.support.client import JsonClient


def named(lines: Any) -> set[tuple[str, int | None]]:
    """The labels in what a client was sent, wherever they are, each with the id behind it."""
    match lines:
        case list():
            return {one for line in lines for one in named(line)}
        case dict():
            here = {(lines["room"], lines.get("room_id"))} if isinstance(lines.get("room"), str) else set()
            return here.union(*map(named, lines.values()))
        case _:
            return set()


def ids(lines: Any, label: str) -> set[int | None]:
    return {id for name, id in named(lines) if name == label}


def everything(client: JsonClient, label: str, begin: int) -> list[Any]:
    """What its commands say about the rooms of a client, and the events that it has been sent from `begin` on."""
    answers = [client.ok(word) for word in ("unread", "rooms", "mentions", "export")]
    answers += [client.ok(word, room=label) for word in ("history", "pins", "prefer")]
    answers += [client.ok(word, room=label, seq=1) for word in ("replies", "reactions", "read")]
    answers += [client.ok("search", text="hello"), client.ok("join", room=label, since=0)]
    answers += [client.ok("say", room=label, text="hello again")]
    live = client.wait_event("live")
    return [*answers, live, *client.events[begin:]]


def test_a_renamed_direct_room(server: StartServer, database_url: str, tmp_path: Path) -> None:
    """Both people know a direct room by the same id, before and after one of them is renamed, and after a restore.
    Before its first message it has none."""
    first = server(database_url)
    ana, bob = JsonClient(first.address), JsonClient(first.address)
    ana.register("ana")
    bob.register("bob")
    assert "room_id" not in ana.ok("join", room="@bob")
    assert "room_id" not in ana.ok("history", room="@bob")
    [general] = ids(ana.ok("unread"), "general")
    id = ana.say("@bob", "hello bob")["room_id"]
    assert id > 0
    assert id != general
    bob.hears("hello bob")
    bob.ok("pin", room="@ana", seq=1)
    for client, label in ((ana, "@bob"), (bob, "@ana")):
        assert named(everything(client, label, 0)) >= {(label, id), ("general", general)}
        assert ids(client.events, label) == {id}
    before = len(ana.events)
    bob.ok("rename", name="robert")
    ana.wait_event("renamed")
    told = everything(ana, "@robert", before)
    assert (ids(told, "@robert"), ids(told, "general")) == ({id}, {general})
    assert {id for name, id in named([ana.events, told])} == {general, id}
    ana.close()
    bob.close()
    first.stop()
    for words in (["backup"], ["restore", "--replace"]):
        done = CliRunner().invoke(main, ["--database", database_url, *words, str(tmp_path / "backup")])
        assert done.exit_code == 0, done.output
    again = JsonClient(server(database_url).address)
    assert named(again.login("ana", state=True)["rooms"]) == {("@robert", id), ("general", general)}


def test_a_room_made_anew(server: StartServer, database_url: str) -> None:
    """A room that takes the name of a deleted one has another id, which nobody is told who may not see it."""
    address = server(database_url).address
    ana, bob = JsonClient(address), JsonClient(address)
    ana.register("ana")
    bob.register("bob")
    made: list[int] = []
    for n in range(3):
        id = ana.ok("create", room="den", visibility="private")["room_id"]
        for answer in (bob.cmd("join", room="den"), bob.cmd("history", room="den"), bob.ok("rooms"), bob.ok("unread")):
            assert ids(answer, "den") == set(), answer
        assert ana.ok("invite", room="den", name="bob")["room_id"] == id
        assert bob.wait_event("invited")["room_id"] == id
        assert bob.ok("join", room="den")["room_id"] == id
        bob.say("den", f"hello {n}")
        ana.hears(f"hello {n}")
        ana.ok("delete", room="den")
        assert bob.wait_event("deleted")["room_id"] == id
        made.append(id)
    assert len(set(made)) == 3
    entries = [event for event in bob.events if event.get("room") == "den"]
    assert [event["room_id"] for event in entries] == sorted(event["room_id"] for event in entries)
    assert ids(entries, "den") == set(made)
