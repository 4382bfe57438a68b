"""Retries: every command is sent twice, the first time with its answer lost; the second answer is what the table in
docs/protocol.md says."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from chatserver.settings.tables import Server, Settings
from chatserver.store import accounts, rooms, sessions
from chatserver.store.db.schema import EntryRow
from chatserver.store.db.transactions import transact
from chatserver.store.entries import append_event
from chatserver.values import commands as c
from chatserver.values.events import OPERATOR, TOPIC
from chatserver.values.stages import Stage
from tests.support.client import Message
from tests.support.hall import PASSWORD, QUIET, START, Client, Hall

NAMES = [str(kind.__struct_config__.tag) for kind in c.COMMANDS]
NEW_PASSWORD = "other-words"
GAP_SECONDS = 2.0
"""Within this time entries that were stored and not announced are delivered."""
HEADING = "\n| retry of |"


def table() -> dict[str, str]:
    """By command, the cell that says what the answer to a retry is."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    lines = text.split(HEADING, 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return {name.strip(" `"): answer.strip() for _, name, answer, *_ in (line.split("|") for line in lines)}


class Town:
    """A hall on either database, in which everybody and every room has a name of its own in each test.

    Ana is an operator and owns `books`, where bob is, `eve` is banned and `dan` invited and muted; `lounge` is bob's.
    """

    def __init__(self, hall: Hall, mark: str) -> None:
        self.hall = hall
        self.mark = mark
        self.clients = {name: hall.program(self.name(name)) for name in ("ana", "bob", "cai", "dan", "eve")}
        self.ana, self.bob = self.clients["ana"], self.clients["bob"]
        self.ok("ana", "create", room=self.name("books"))
        self.ok("bob", "create", room=self.name("lounge"))
        for name in ("bob", "dan"):
            self.ok(name, "join", room=self.name("books"))
        self.ok("ana", "say", room=self.name("books"), text="hello")
        self.message = self.clients["ana"].answers[-1]["seq"]
        self.ok("ana", "say", room=self.name("books"), text="pinned")
        self.pinned = self.clients["ana"].answers[-1]["seq"]
        self.ok("ana", "pin", room=self.name("books"), seq=self.pinned)
        self.ok("ana", "mute", room=self.name("books"), name=self.name("dan"))
        self.ok("ana", "ban", room=self.name("books"), name=self.name("eve"))
        self.ok("ana", "create", room=self.name("club"), visibility="private")
        self.ok("ana", "invite", room=self.name("club"), name=self.name("dan"))

    def name(self, word: str) -> str:
        return f"{word}-{self.mark}"

    def ok(self, who: str, cmd: str, **fields: Any) -> None:
        self.clients[who].post(cmd, **fields)
        assert self.clients[who].answers[-1]["ok"], self.clients[who].answers[-1]

    def fields(self, cmd: str) -> dict[str, Any]:
        """An example of each command, which changes something where it can."""
        books, bob = {"room": self.name("books")}, {"name": self.name("bob")}
        return {
            "register": {"name": self.name("zoe"), "password": PASSWORD},
            "login": {"name": self.name("ana"), "password": PASSWORD},
            "away": {"text": "at lunch"},
            "password": {"old": PASSWORD, "new": NEW_PASSWORD},
            "token": {"label": "bot", "password": PASSWORD},
            "forget": {"password": PASSWORD},
            "create": {"room": self.name("chess"), "topic": "e4"},
            "set": books | {"invites": "moderators"},
            "delete": books,
            "join": {"room": self.name("lounge")},
            "leave": books,
            "invite": {"room": self.name("club")} | bob,
            "uninvite": {"room": self.name("club"), "name": self.name("dan")},
            "typing": books,
            "say": {"room": "@" + self.name("bob"), "text": "psst", "id": "k1"},
            "reply": books | {"seq": self.message, "text": "hi", "id": "k2"},
            "edit": books | {"seq": self.message, "text": "hullo"},
            "react": books | {"seq": self.message, "reaction": "+1"},
            "pin": books | {"seq": self.message},
            "unpin": books | {"seq": self.pinned},
            "pins": books,
            "reactions": books | {"seq": self.message},
            "replies": books | {"seq": self.message},
            "erase": books | {"seq": self.message},
            "history": books,
            "search": {"text": "hello"},
            "members": books,
            "who": bob,
            "read": books | {"seq": 2},
            "topic": books | {"text": "news"},
            "role": books | bob | {"role": "moderator"},
            "kick": books | bob,
            "ban": books | bob | {"seconds": 600},
            "unban": books | {"name": self.name("eve")},
            "bans": books,
            "mute": books | bob | {"seconds": 600},
            "unmute": books | {"name": self.name("dan")},
            "block": bob,
            "unblock": bob,
            "ignore": bob,
            "unignore": bob,
            "rename": {"name": self.name("zoe"), "display": "Zoë"},
        }.get(cmd, {})

    @property
    def entries(self) -> int:
        """How many there are in the database."""
        return transact(self.hall.engine, lambda db: db.scalar(select(func.count()).select_from(EntryRow)) or 0)

    def sender(self, cmd: str) -> Client:
        return self.hall.client() if cmd in ("register", "login", "guest") else self.ana

    def loses_the_answer(self, client: Client, cmd: str, fields: dict[str, Any]) -> None:
        """Sends a command whose transaction is committed without an answer; where nothing is written, the answer does
        not reach the client."""
        self.hall.inline.lost_answers = 1
        client.post(cmd, **fields)
        self.hall.inline.lost_answers = 0

    def answer(self, client: Client, cmd: str, fields: dict[str, Any]) -> Message:
        client.post(cmd, tag="retry", **fields)
        [answer] = [answer for answer in client.answers if answer.get("tag") == "retry"]
        return answer


@pytest.fixture
def hall(engine: Engine, tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path, settings=Settings(server=Server(guests=True), limits=QUIET))
    one.engine.dispose()
    one.engine = one.inline._engine = engine
    transact(engine, lambda db: rooms.ensure(db, ["general"], START))
    sensitive = one.connections.handshake.sensitive
    one.processors._slow.update({c.Password: sensitive.change_password, c.Forget: sensitive.forget})
    yield one
    one.reconciler.stop()


def test_the_table() -> None:
    """It has every command, in the order of the table of commands."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    commands = text.split("\n| cmd |", 1)[1].split("\n\n", 1)[0]
    assert set(table()) == set(NAMES)
    assert all(f"| `{name}` |" in commands for name in table())


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True)
@pytest.mark.parametrize("cmd", NAMES)
def test_a_retry(hall: Hall, cmd: str) -> None:
    """The second answer is what the table says, and the retry adds no entry."""
    town = Town(hall, cmd)
    client, fields = town.sender(cmd), town.fields(cmd)
    before = town.entries
    town.loses_the_answer(client, cmd, fields)
    after = town.entries
    assert (after > before) == (cmd in LEAVING_ENTRIES)
    if cmd == "login" or client.session.stage is Stage.ENDING:
        client = hall.client()
    answer = town.answer(client, cmd, fields)
    told = re.findall(r"`([\w-]+)`", table()[cmd])
    assert ("ok" if answer["ok"] else answer["error"]) == told[0], answer
    assert ("seq" in answer) == (cmd in ANSWERED_WITH_SEQ and "no `seq`" not in table()[cmd])
    assert ("dup" in answer) == ("dup" in told)
    assert town.entries == after + (cmd == "guest")  # which is another guest, who joins the default room


LEAVING_ENTRIES = {
    "register", "guest", "forget", "create", "set", "delete", "join", "leave", "say", "reply", "edit", "erase", "react",
    "pin", "unpin", "topic", "role", "kick", "ban", "unban", "mute", "unmute",
    "rename",
}  # fmt: skip
ANSWERED_WITH_SEQ = {
    "create", "set", "join", "say", "reply", "edit", "erase", "react", "pin", "unpin", "topic", "role", "ban", "mute",
    "unmute", "read",
}  # fmt: skip


@pytest.mark.parametrize(("cmd", "first"), [("create", 2), ("join", 3), ("say", 1)])
def test_nobody_is_deaf(hall: Hall, cmd: str, first: int) -> None:
    """After an `ok` to a retry the connection receives what happens in the room: everything after the `seq` of the
    answer, and the message of a `say`."""
    hall.reconciler.stop()  # it would find the membership too, a little later
    town = Town(hall, f"deaf-{cmd}")
    fields = town.fields(cmd)
    town.loses_the_answer(town.ana, cmd, fields)
    assert town.answer(town.ana, cmd, fields)["ok"]
    town.ok("ana", "say", room=fields["room"], text="is anybody there?")
    last = town.ana.answers[-1]["seq"]
    hall.passes(GAP_SECONDS)
    assert town.ana.heard(fields["room"]) == list(range(first, last + 1))


def test_nobody_is_deaf_who_does_not_retry(hall: Hall) -> None:
    """Whoever does not repeat a `join` without an answer, and just speaks, hears the room from that `join` on."""
    hall.reconciler.stop()
    town = Town(hall, "spoken")
    room = town.name("lounge")
    town.loses_the_answer(town.ana, "join", {"room": room})
    town.ok("ana", "say", room=room, text="hello?", id="k2")
    town.ok("bob", "say", room=room, text="yes")
    hall.passes(GAP_SECONDS)
    assert town.ana.heard(room) == [2, 3, 4]
    assert town.bob.heard(room) == [1, 2, 3, 4]


def test_what_happened_before_the_retry(hall: Hall) -> None:
    """Of a room that others have joined meanwhile, the owner misses nothing."""
    hall.reconciler.stop()
    town = Town(hall, "meanwhile")
    fields = town.fields("create")
    town.loses_the_answer(town.ana, "create", fields)
    town.ok("bob", "join", room=fields["room"])
    town.ok("bob", "say", room=fields["room"], text="e5")
    assert town.answer(town.ana, "create", fields)["seq"] == 1
    assert town.ana.heard(fields["room"]) == [2, 3]


def test_what_comes_after_a_second_join(hall: Hall) -> None:
    """What was stored before a `join` is repeated, and not sent yet, comes behind the answer, and behind its `seq`."""
    town = Town(hall, "behind")
    room = town.name("lounge")
    town.loses_the_answer(town.ana, "join", {"room": room})
    hall.passes(GAP_SECONDS)  # the server has found the membership by itself
    [id] = [one.facts.id for one in hall.registry.rooms if one.facts.name == room]
    bob = town.bob.session.who.person
    for said in ("one", "two"):  # by another process
        transact(hall.engine, lambda db, said=said: append_event(db, id, TOPIC, bob, START, said))  # type: ignore[misc]
    before = town.ana.heard(room)
    seq = town.answer(town.ana, "join", {"room": room})["seq"]
    hall.passes(GAP_SECONDS)
    assert (before, seq) == ([2], 2)
    assert town.ana.heard(room) == [2, 3, 4]


@pytest.mark.parametrize("cmd", ["revoke", "list"])
def test_other_tokens(hall: Hall, cmd: str) -> None:
    """A token that is revoked already is refused, in words that say so; a list is a list."""
    town = Town(hall, f"token-{cmd}")
    town.ok("ana", "token", label="bot", password=PASSWORD)
    fields: dict[str, Any] = {"revoke": "bot"} if cmd == "revoke" else {"list": True}
    town.loses_the_answer(town.ana, "token", fields)
    answer = town.answer(town.ana, "token", fields)
    assert answer["ok"] == (cmd == "list")
    assert cmd == "list" or "revoked already" in answer["text"]


@pytest.mark.parametrize("cmd", ["ban", "mute"])
def test_another_end(hall: Hall, cmd: str) -> None:
    """Banning or muting somebody for longer or shorter than they are already is no retry, and leaves an entry."""
    town = Town(hall, f"end-{cmd}")
    fields = {name: value for name, value in town.fields(cmd).items() if name != "seconds"}
    for seconds in (600, 700, 650, None):
        town.ok("ana", cmd, **fields, **({} if seconds is None else {"seconds": seconds}))
        assert "seq" in town.ana.answers[-1]
    town.ok("ana", cmd, **fields)
    assert "seq" not in town.ana.answers[-1]
    town.ok("ana", cmd, **fields, seconds=600)
    assert "seq" in town.ana.answers[-1]


def test_the_first_guest_leaves(hall: Hall) -> None:
    """Nobody knows the guest whose creation was committed without an answer: it is found in the database, where the
    guests who were created at the same time have a session."""
    at = hall.now() + timedelta(hours=1)
    (lost, _), (here, _) = (transact(hall.engine, lambda db: rooms.register_guest(db, ["general"], at)) for _ in "12")
    opened = sessions.Opened(f"here-{here.id}", here.id, "one", "192.0.2.1", at, 0)
    transact(hall.engine, lambda db: sessions.record(db, [opened]))
    found = transact(hall.engine, lambda db: rooms.lost_guests(db, at))
    assert found == [lost]
    transact(hall.engine, lambda db: rooms.dismiss_guest(db, lost, at))
    assert transact(hall.engine, lambda db: rooms.lost_guests(db, at)) == []


def test_forgetting_on_another_connection(hall: Hall) -> None:
    """Whoever has erased their account cannot log in any more."""
    town = Town(hall, "forgotten")
    town.loses_the_answer(town.ana, "forget", town.fields("forget"))
    answer = town.answer(hall.client(), "login", town.fields("login"))
    assert answer["error"] == "bad-credentials"


def test_bans_from_the_server(hall: Hall) -> None:
    """Repeating a ban from the server bans once more what is banned already; lifting it again is refused."""
    town = Town(hall, "server")
    transact(hall.engine, lambda db: accounts.set_kind(db, town.ana.session.who.account_id, OPERATOR, START))
    ana = hall.client().post("login", **town.fields("login"))
    network = {"address": "192.0.2.7"}
    for cmd, second in (("ban", "ok"), ("unban", "no-such-user")):
        town.loses_the_answer(ana, cmd, network)
        ana.post(cmd, tag=cmd, **network)
        assert ana.answers[-1].get("error", "ok") == second
