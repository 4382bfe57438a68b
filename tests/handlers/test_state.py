"""`"state":true` in a login: all that a client shows first, in one answer."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import force_setattr

from tests.support.hall import PASSWORD, QUIET, Client, Hall

OF_EVERY_LOGIN = ("room", "room_id", "seq", "read", "role", "gap")


def greeted(chat: Hall, name: str = "ana", **fields: Any) -> dict[str, Any]:
    """The answer to a login."""
    client = chat.client().post("login", name=name, password=PASSWORD, **fields)
    answer: dict[str, Any] = client.answers[-1]
    assert answer["ok"], answer
    client.cut()
    return answer


def by_room(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {room["room"]: room for room in answer["rooms"]}


def whole(client: Client, answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The rooms of a login's answer, and those of further pages."""
    rooms: list[dict[str, Any]] = answer["rooms"]
    while answer.get("more"):
        answer = client.post("unread", state=True, after=rooms[-1]["room"]).answers[-1]
        rooms = rooms + answer["rooms"]
    return rooms


def town(tmp_path: Path) -> tuple[Hall, Client, Client]:
    """Ana and Bob, who share a room with a topic and a direct room, in which Ana has something to read."""
    chat = Hall(tmp_path)
    ana, bob = chat.client().come_in("ana"), chat.client().come_in("bob")
    bob.post("create", room="books", topic="Reading")
    ana.post("join", room="books")
    bob.say("ana, are you there?", "books").say("hello", "@ana")
    return chat, ana, bob


def test_it_says_what_other_commands_say(tmp_path: Path) -> None:
    """Everything in the answer is what the commands for it answer then, and without `state` nothing of it is there."""
    chat, ana, bob = town(tmp_path)
    bob.post("away", text="for lunch").post("rename", display="Bob B.")
    ana.post("prefer", bell="off").post("rename", display="Ana A.").cut()
    ana = chat.client().post("login", name="ana", password=PASSWORD, state=True)
    answer = ana.answers[-1]
    ana.post("unread").post("rooms", mine=True).post("who", name="bob").post("prefer").post("server")
    unread, rooms, who, prefer, server = ([] if one is None else one for one in ana.answers[-5:])
    facts = ("ok", "cmd")
    assert [{name: room[name] for name in room if name in unread["rooms"][0]} for room in answer["rooms"]] == [
        {name: room[name] for name in room if name in unread["rooms"][0]} for room in unread["rooms"]
    ]
    listed = by_room(rooms)
    told = by_room(answer)
    assert {name: (room.get("topic", ""), room.get("members")) for name, room in told.items() if name in listed} == {
        name: (room["topic"], room["members"]) for name, room in listed.items()
    }
    [bobs] = who["users"]
    assert told["@bob"]["with"] == {name: bobs[name] for name in ("name", "display", "online", "away")}
    assert answer["prefer"] == {name: value for name, value in prefer.items() if name not in facts}
    assert answer["server"] == {name: value for name, value in server.items() if name not in facts}
    assert answer["display"] == "Ana A."
    said = next(event for event in bob.events if event.get("text") == "ana, are you there?")
    assert told["books"]["last"] == said["at"]
    plain = greeted(chat)
    assert plain.keys() <= {"ok", "cmd", "name", "rooms", "epoch"}
    assert all(room.keys() <= {*OF_EVERY_LOGIN} for room in plain["rooms"])


@pytest.mark.parametrize("command", ["register", "guest"])
def test_newcomers(tmp_path: Path, command: str) -> None:
    """`register` and `guest` take it, too."""
    chat = Hall(tmp_path)
    force_setattr(chat.settings.server, "guests", True)
    fields = {"name": "ana", "password": PASSWORD} if command == "register" else {}
    answer = chat.client().post(command, state=True, **fields).answers[-1]
    assert by_room(answer)["general"]["members"] == 1
    assert answer["prefer"] == {}
    assert answer["server"]["registration"] == "open"


def test_a_token_for_one_room(tmp_path: Path) -> None:
    """A session whose token is for one room is told about that room only, and with `resume` its entries follow."""
    chat, ana, _ = town(tmp_path)
    ana.post("token", label="bot", password=PASSWORD, room="books")
    client = chat.client().post("login", token=ana.answers[-1]["token"], state=True, resume={"books": 2})
    assert [room["room"] for room in client.answers[-1]["rooms"]] == ["books"]
    assert client.answers[-1]["rooms"][0]["topic"] == "Reading"
    assert client.said == ["ana, are you there?"]


@pytest.mark.parametrize("by", ["ana", "bob"])
def test_a_block(tmp_path: Path, by: str) -> None:
    """Of an account that has blocked the reader, or is blocked by them, the state does not say that it is online or
    away, at the login and on further pages."""
    chat, ana, bob = town(tmp_path)
    bob.post("away", text="for lunch")
    client = {"ana": ana, "bob": bob}[by]
    client.post("block", name="bob" if by == "ana" else "ana")
    assert by_room(greeted(chat, state=True))["@bob"]["with"] == {"name": "bob", "online": False}
    assert by_room(ana.post("unread", state=True).answers[-1])["@bob"]["with"] == {"name": "bob", "online": False}
    client.post("unblock", name="bob" if by == "ana" else "ana")
    beside = {"name": "bob", "online": True, "away": "for lunch"}
    assert by_room(greeted(chat, state=True))["@bob"]["with"] == beside
    assert by_room(ana.post("unread", state=True).answers[-1])["@bob"]["with"] == beside


def test_read_elsewhere_meanwhile(tmp_path: Path) -> None:
    """What another device reads between the reading of the state and the answer is in the answer."""
    chat, ana, _ = town(tmp_path)
    store, read = chat.inline, chat.inline.read_at_once
    calls: list[int] = []

    async def late(*given: Any) -> Any:
        found = await read(*given)
        calls.append(1)
        if len(calls) == 1:
            ana.post("read-all")
        return found

    store.read_at_once = late  # type: ignore
    answer = greeted(chat, state=True)
    assert len(calls) == 2
    assert [room["unread"] for room in answer["rooms"]] == [0] * 3


def test_twenty_rooms_are_small(tmp_path: Path) -> None:
    """The answer for twenty rooms with topics and unread messages has at most 6 KB."""
    chat = Hall(tmp_path)
    ana, bob = chat.client().come_in("ana"), chat.client().come_in("bob")
    for n in range(19):
        bob.post("create", room=f"room-{n:02}", topic=f"What we say in room {n:02} of the house")
        ana.post("join", room=f"room-{n:02}")
        bob.say("ana, are you there?", f"room-{n:02}")
    client = chat.client().post("login", name="ana", password=PASSWORD, state=True, tag=1)
    [line] = [line for line in client.lines if line.startswith('{"ok"')]
    assert len(json.loads(line)["rooms"]) == 20
    assert len(line) <= 6 * 1024


def test_pages(tmp_path: Path) -> None:
    """Somebody in very many rooms gets the first ones by name, and the others by `unread`, each once and with the same
    fields; an answer has no more bytes than the settings allow."""
    chat = Hall(tmp_path)
    ana = chat.client().come_in("ana")
    for n in range(40):
        ana.post("create", room=f"room{n:02}", topic="x" * 400)
    limit = 8192
    force_setattr(chat.settings.limits, "answer_bytes", limit)
    force_setattr(chat.settings.server, "motd", "Welcome back. " * 100)
    client = chat.client().post("login", name="ana", password=PASSWORD, state=True)
    answer = client.answers[-1]
    assert answer["more"]
    rooms = whole(client, answer)
    assert [room["room"] for room in rooms] == ["general", *(f"room{n:02}" for n in range(40))]
    assert all(room["topic"] == "x" * 400 for room in rooms[1:])
    assert all(len(line) <= limit for line in client.lines if line.startswith('{"ok"'))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happened(tmp_path: Path, seed: int) -> None:
    """After any acts, the state of a new login equals `unread` with `state` on a connection that was there all the
    time, and says of each room what `rooms` and `who` say."""
    random, chat = Random(seed), Hall(tmp_path, structs.replace(QUIET, strikes=0))
    people = {name: chat.client().come_in(name) for name in ("ana", "bob", "cai")}
    people["ana"].post("create", room="books", topic="x")
    for _ in range(12):
        for _ in range(15):
            name, client = random.choice(list(people.items()))
            other = random.choice([one for one in people if one != name])
            room, seq = random.choice(["books", "general", f"@{other}"]), random.randrange(1, 20)
            fields: list[tuple[str, dict[str, Any]]] = [
                ("say", {"room": room, "text": f"{other}, are you there?"}),
                ("say", {"room": room, "text": "hello"}),
                ("react", {"room": room, "seq": seq, "reaction": "+1"}),
                ("edit", {"room": room, "seq": seq, "text": "other words"}),
                ("erase", {"room": room, "seq": seq}),
                ("join", {"room": "books"}),
                ("leave", {"room": "books"}),
                ("topic", {"room": "books", "text": random.choice(["", "y", "z"])}),
                ("read", {"room": room, "seq": seq}),
                ("away", {"text": random.choice(["", "lunch"])}),
                ("block", {"name": other}),
                ("unblock", {"name": other}),
                ("ignore", {"name": other}),
                ("unignore", {"name": other}),
                ("rename", {"display": random.choice(["", f"{name.title()} X."])}),
            ]
            word, given = random.choice(fields)
            client.post(word, **given)
        for name, client in people.items():
            rooms = greeted(chat, name, state=True)["rooms"]
            assert rooms == client.post("unread", state=True).answers[-1]["rooms"]
            listed = by_room(client.post("rooms", mine=True).answers[-1])
            for room in rooms:
                if "with" in room:
                    [line] = client.post("who", name=room["with"]["name"]).answers[-1]["users"]
                    assert room["with"] == {
                        field: line[field] for field in line if field not in ("last_seen", "blocked")
                    }
                else:
                    line = listed[room["room"]]
                    assert (room.get("topic", ""), room["members"]) == (line["topic"], line["members"])
