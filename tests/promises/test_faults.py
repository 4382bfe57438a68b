"""A fault at every step between a command's commit and its answer: nobody is left without an answer, and nobody misses
what was stored."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from chatserver.background.session_rows import SessionRows
from chatserver.delivery.fanout import Fanout
from chatserver.delivery.order import Order
from chatserver.delivery.renamed import Names
from chatserver.delivery.rendering import Batch
from chatserver.delivery.room import Room
from chatserver.delivery.subscriptions import Subscriptions
from chatserver.net.connection.connection import Connection
from chatserver.net.connection.outbox import Outbox
from chatserver.pipeline.outcomes import Consequences
from chatserver.presence.roster import Roster
from chatserver.session.session import Session
from chatserver.settings.tables import Server, Settings
from chatserver.values import commands as c
from chatserver.values.errors import Unavailable
from tests.support.client import Message
from tests.support.hall import PASSWORD, QUIET, Client, Hall
from tests.support.memory import logged_failures

SETTLED_SECONDS = 2
"""How long after the fault everybody has received everything that is stored."""
TAG = 7
NEW_PASSWORD = "another-s3cret"
NEW_NAME = "anna"
"""The name of ana after `rename`."""


class Injected(Exception):
    """The fault."""


class Fault:
    """Fails once, from the moment at which it is armed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hall: Hall, people: dict[str, Client]) -> None:
        self.monkeypatch = monkeypatch
        self.hall = hall
        self.people = people
        self.armed = False
        self.reached = False

    def strikes(self) -> bool:
        if self.armed:
            self.armed, self.reached = False, True
            return True
        return False

    def before(self, owner: Any, name: str, of: Callable[..., bool] = lambda *args: True) -> None:
        """Makes a call of this function raise before it does anything; `of` tells by its arguments which call."""
        real = getattr(owner, name)

        def faulty(*args: Any, **keywords: Any) -> Any:
            if of(*args) and self.strikes():
                raise Injected(name)
            return real(*args, **keywords)

        self.monkeypatch.setattr(owner, name, faulty)

    def after(self, owner: Any, name: str) -> None:
        """As `before`, after the function has done its work."""
        real = getattr(owner, name)

        def faulty(*args: Any, **keywords: Any) -> Any:
            result = real(*args, **keywords)
            if self.strikes():
                raise Injected(name)
            return result

        self.monkeypatch.setattr(owner, name, faulty)

    def in_store(self, error: Exception, *, committed: bool) -> None:
        """Makes a write raise this, before or after it commits."""
        for name in ("write", "append"):
            real = getattr(self.hall.inline, name)

            async def faulty(*args: Any, real: Any = real, **keywords: Any) -> Any:
                strikes = self.strikes()
                if strikes and not committed:
                    raise error
                result = await real(*args, **keywords)
                if strikes:
                    raise error
                return result

            self.monkeypatch.setattr(self.hall.inline, name, faulty)

    def is_of(self, name: str) -> Callable[..., bool]:
        """Whether the call is a method of this client's session or outbox."""
        session = self.people[name].session

        def one(first: Any, *_: Any) -> bool:
            return first is session or getattr(getattr(first, "_link", None), "session", None) is session

        return one


STEPS: dict[str, Callable[[Fault], None]] = {
    # In the store
    "a bug before the commit": lambda fault: fault.in_store(Injected(), committed=False),
    "a bug after the commit": lambda fault: fault.in_store(Injected(), committed=True),
    "unavailable before the commit": lambda fault: fault.in_store(Unavailable(), committed=False),
    "unavailable after the commit": lambda fault: fault.in_store(Unavailable(), committed=True),
    "Order._announce": lambda fault: fault.before(Order, "_announce"),
    "Subscriptions.replay": lambda fault: fault.before(Subscriptions, "replay"),
    "Subscriptions.unsubscribe": lambda fault: fault.before(Subscriptions, "unsubscribe"),
    "Order._publish": lambda fault: fault.before(Order, "_publish"),
    "Order._deliver": lambda fault: fault.before(Order, "_deliver"),
    "Subscriptions.entered": lambda fault: fault.before(Subscriptions, "entered"),
    "Subscriptions.departed": lambda fault: fault.before(Subscriptions, "departed"),
    "Order._move_those_ahead": lambda fault: fault.before(Order, "_move_those_ahead"),
    "Fanout.send": lambda fault: fault.before(Fanout, "send"),
    "Fanout.send, sent": lambda fault: fault.after(Fanout, "send"),
    "Batch, one form": lambda fault: fault.before(
        Batch, "rendered_for", lambda _, session: fault.is_of("bob")(session)
    ),
    "Room.move": lambda fault: fault.before(Room, "move"),
    "Outbox.write, sender": lambda fault: fault.before(Outbox, "write", fault.is_of("ana")),
    "Outbox.write, other": lambda fault: fault.before(Outbox, "write", fault.is_of("bob")),
    "Outbox.hold, sender": lambda fault: fault.before(Outbox, "hold", fault.is_of("ana")),
    "Outbox.release, sender": lambda fault: fault.before(Outbox, "release", fault.is_of("ana")),
    "Session.answer": lambda fault: fault.before(Session, "answer", fault.is_of("ana")),
    "Session.tell": lambda fault: fault.before(Session, "tell"),
    "Roster.tell": lambda fault: fault.before(Roster, "tell"),
    "Consequences._apply": lambda fault: fault.before(Consequences, "_apply"),
    "Names.renamed": lambda fault: fault.before(Names, "renamed"),
    "Names.renamed, done": lambda fault: fault.after(Names, "renamed"),
    "Session.prefer": lambda fault: fault.before(Session, "prefer"),
    "Subscriptions.catch_up": lambda fault: fault.before(Subscriptions, "catch_up"),
}

Fields = dict[str, Any]
Act = tuple[str, Fields]

ACTS: dict[str, tuple[list[Act], Act]] = {
    # by name: what comes before it, and the command
    "create": ([], ("create", {"room": "new"})),
    "set": ([], ("set", {"room": "club", "past": "open"})),
    "delete": ([], ("delete", {"room": "club"})),
    "join": ([], ("join", {"room": "hobby"})),
    "join since": ([], ("join", {"room": "hobby", "since": 0})),
    "join again": ([], ("join", {"room": "general"})),
    "leave": ([], ("leave", {"room": "general"})),
    "invite": ([], ("invite", {"room": "club", "name": "dan"})),
    "uninvite": ([("invite", {"room": "club", "name": "dan"})], ("uninvite", {"room": "club", "name": "dan"})),
    "say": ([], ("say", {"room": "general", "text": "hello"})),
    "say with an id": ([], ("say", {"room": "general", "text": "hello", "id": "one"})),
    "first direct message": ([], ("say", {"room": "@bob", "text": "hello"})),
    "direct message": ([("say", {"room": "@bob", "text": "first"})], ("say", {"room": "@bob", "text": "hello"})),
    "reply": ([], ("reply", {"room": "club", "seq": 3, "text": "yes"})),
    "reply with an id": ([], ("reply", {"room": "club", "seq": 3, "text": "yes", "id": "one"})),
    "react": ([], ("react", {"room": "club", "seq": 3, "reaction": "+1"})),
    "pin": ([], ("pin", {"room": "club", "seq": 3})),
    "unpin": ([("pin", {"room": "club", "seq": 3})], ("unpin", {"room": "club", "seq": 3})),
    "pins": ([], ("pins", {"room": "club"})),
    "reactions": ([], ("reactions", {"room": "club", "seq": 3})),
    "replies": ([], ("replies", {"room": "club", "seq": 3})),
    "edit": ([], ("edit", {"room": "club", "seq": 3, "text": "better"})),
    "erase": ([], ("erase", {"room": "club", "seq": 3})),
    "history": ([], ("history", {"room": "club"})),
    "search": ([], ("search", {"text": "words"})),
    "members": ([], ("members", {"room": "club"})),
    "who": ([], ("who", {})),
    "away": ([], ("away", {"text": "lunch"})),
    "read": ([], ("read", {"room": "club", "seq": 2})),
    "unread": ([], ("unread", {})),
    "topic": ([], ("topic", {"room": "club", "text": "chess"})),
    "role": ([], ("role", {"room": "club", "name": "bob", "role": "moderator"})),
    "kick": ([], ("kick", {"room": "club", "name": "bob"})),
    "ban": ([], ("ban", {"room": "club", "name": "bob"})),
    "unban": ([("ban", {"room": "club", "name": "dan"})], ("unban", {"room": "club", "name": "dan"})),
    "bans": ([], ("bans", {"room": "club"})),
    "mute": ([], ("mute", {"room": "club", "name": "bob"})),
    "unmute": ([("mute", {"room": "club", "name": "bob"})], ("unmute", {"room": "club", "name": "bob"})),
    "block": ([], ("block", {"name": "dan"})),
    "unblock": ([("block", {"name": "dan"})], ("unblock", {"name": "dan"})),
    "ignore": ([], ("ignore", {"name": "dan"})),
    "unignore": ([("ignore", {"name": "dan"})], ("unignore", {"name": "dan"})),
    "ignored": ([("ignore", {"name": "dan"})], ("ignore", {})),
    "rename": ([], ("rename", {"name": NEW_NAME, "display": "Anna B."})),
    "display name": ([], ("rename", {"display": "Ana B."})),
    "prefer": ([], ("prefer", {"clock": "12", "bell": "on"})),
    "preferences": ([("prefer", {"clock": "12"})], ("prefer", {})),
    "token": ([], ("token", {"label": "script", "password": PASSWORD})),
    "export": ([], ("export", {})),
    "read-all": ([], ("read-all", {})),
    "mentions": ([], ("mentions", {})),
    "rooms": ([], ("rooms", {})),
    "typing": ([], ("typing", {"room": "club"})),
    "server": ([], ("server", {})),
    "sessions": ([], ("sessions", {})),
    "ping": ([], ("ping", {})),
    "help": ([], ("help", {})),
    "password": ([], ("password", {"old": PASSWORD, "new": NEW_PASSWORD})),
    "forget": ([], ("forget", {"password": PASSWORD})),
    "logout": ([], ("logout", {})),
    "quit": ([], ("quit", {})),
}

LOGGING_IN = {"register", "login", "guest"}
"""Commands that come before a session is logged in: see `test_logging_in`."""


ENTRIES = [
    "create", "set", "delete", "join", "join since", "leave", "say", "say with an id", "first direct message",
    "direct message", "reply", "reply with an id", "react", "pin", "unpin", "edit", "erase", "topic", "role", "kick",
    "ban", "unban", "mute", "unmute", "forget", "rename",
    "display name",
]  # fmt: skip
"""Acts that make entries."""
READING = [
    "pins", "replies", "reactions", "history", "search", "mentions", "members", "who", "away", "unread", "bans",
    "export", "rooms", "typing", "server", "sessions", "ping", "help", "logout", "quit",
]  # fmt: skip
"""Acts that write nothing."""

NAMED = ["rename", "display name"]
"""Acts that change what an account is called."""
ENDING = ["quit", "logout", "forget"]
"""Commands after which the connection ends."""
SHARED = ["say", "say with an id", "direct message", "reply", "reply with an id"]
"""Acts whose transaction is shared by a take, and which have no `Outcome`."""

REACHED: dict[str, list[str]] = {
    **{step: [act for act in ACTS if act not in READING] for step in STEPS if "the commit" in step},
    **{step: ENTRIES for step in STEPS if step.startswith(("Order.", "Fanout"))},
    "Subscriptions.catch_up": [act for act in ACTS if act not in SHARED],
    "Subscriptions.replay": ["join since"],
    "Subscriptions.unsubscribe": ["leave"],
    "Subscriptions.entered": ["create", "join", "join since"],
    "Subscriptions.departed": ["leave", "delete", "kick", "ban", "forget"],
    "Batch, one form": [
        "join",
        "join since",
        "say with an id",
        "reply with an id",
        "first direct message",
        "direct message",
        "forget",
    ],
    "Room.move": ["create", "join", "join since", "first direct message"],
    "Outbox.write, other": ["away"],
    "Session.tell": ["join since", "forget"],
    "Roster.tell": ["invite", "away", "read", "read-all"],
    "Consequences._apply": [
        "invite",
        "read",
        "read-all",
        "block",
        "unblock",
        "forget",
        *NAMED,
        "ignore",
        "unignore",
        "prefer",
    ],
    "Names.renamed": NAMED,
    "Names.renamed, done": NAMED,
    "Session.prefer": ["prefer"],
}
"""By step, the acts that come to it; all others are those of every act."""


SAMPLE = 9
"""One case in so many is not marked as slow: with all of them this file takes more than a minute."""
CASES = [
    pytest.param(act, step, marks=[pytest.mark.slow] if number % SAMPLE else [])
    for number, (act, step) in enumerate((act, step) for step in STEPS for act in REACHED.get(step, ACTS))
]


def test_every_command_is_here() -> None:
    words = {command.__struct_config__.tag for command in c.COMMANDS}
    assert {word for _, (word, _) in ACTS.values()} | LOGGING_IN == words


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    hall = Hall(tmp_path, settings=Settings(limits=QUIET, server=Server(guests=True)))
    sensitive = hall.connections.handshake.sensitive
    hall.processors._slow.update({c.Password: sensitive.change_password, c.Forget: sensitive.forget})
    yield hall
    hall.close()


@pytest.fixture
def people(hall: Hall) -> dict[str, Client]:
    """Four programs. All are in `general`; ana and bob are in her private room `club`; bob and dan in `hobby`."""
    people = {name: hall.program(name) for name in ("ana", "bob", "cid", "dan")}
    ana, bob = people["ana"], people["bob"]
    ana.post("create", room="club", visibility="private").post("invite", room="club", name="bob")
    bob.post("join", room="club").post("create", room="hobby")
    people["dan"].post("join", room="hobby")
    ana.say("words", "club")
    bob.say("about", "hobby")
    pass_seconds(hall, 3)
    assert all(answer["ok"] for client in people.values() for answer in client.answers)
    return people


def pass_seconds(hall: Hall, seconds: float) -> None:
    """As `Hall.passes`, in larger steps."""
    for _ in range(round(seconds * 4)):
        hall.settle()
        hall.clock.advance(0.25)
    hall.settle()


def memberships(hall: Hall, name: str, password: str) -> dict[str, int] | None:
    """By the labels of somebody's rooms, the seq of the last entry; None if the account is gone."""
    client = hall.client().post("login", name=name, password=password)
    answer = client.answers[-1]
    client.cut()
    return {room["room"]: room["seq"] for room in answer["rooms"]} if answer["ok"] else None


def first_heard(client: Client, label: str, heard: list[Message], name: str) -> int:
    """The seq of the first entry of a room that somebody is to hear: the last one with which they entered, or the one
    after their login, or the first one of a direct room."""
    known = next((room["seq"] for room in client.answers[0]["rooms"] if room["room"] == label), 0)
    entered = [e["seq"] for e in heard if e["event"] in ("joined", "created") and e.get("name") == name]
    return int(max([*entered, known + 1]))


def check_heard(hall: Hall, name: str, client: Client, passwords: tuple[str, ...] = (PASSWORD,)) -> None:
    """Somebody heard all entries of each room that they are in, each once and in order."""
    events = list(client.events)
    logins = [(one, word) for one in ((name, NEW_NAME) if name == "ana" else (name,)) for word in passwords]
    found = next((rooms for login in logins if (rooms := memberships(hall, *login)) is not None), None)
    for label, head in (found or {}).items():
        heard = [e for e in events if e.get("room") == label and "seq" in e and e["event"] not in ("read", "live")]
        first = first_heard(client, label, heard, name)
        assert [e["seq"] for e in heard if e["seq"] >= first] == [*range(first, head + 1)], (name, label)
        room = client.session.rooms.get(label.lower())
        assert room is not None, f"{name} does not hear {label}."
        assert room.position(client.session) == head, (name, label)


@pytest.mark.parametrize(("act", "step"), CASES)
def test_a_fault(hall: Hall, people: dict[str, Client], monkeypatch: pytest.MonkeyPatch, act: str, step: str) -> None:
    """The sender of the command gets one answer, or the connection ends with a reason. All others stay, and two seconds
    later everybody has heard everything that is stored, and the next message."""
    ana = people["ana"]
    before, (word, fields) = ACTS[act]
    for earlier, its_fields in before:
        ana.post(earlier, **its_fields)
        assert ana.answers[-1]["ok"]
    pass_seconds(hall, 1)
    fault = Fault(monkeypatch, hall, people)
    STEPS[step](fault)
    with logged_failures() as failures:
        fault.armed = True
        ana.post(word, tag=TAG, **fields)
        pass_seconds(hall, SETTLED_SECONDS)
    assert fault.reached
    answers = [answer for answer in ana.answers if answer.get("tag") == TAG]
    ended = ["ana" if name == NEW_NAME else name for name, _ in hall.left]
    if "ana" in ended:
        assert len(answers) <= 1
        assert answers or ana.closing or word == "quit"
    else:
        assert len(answers) == 1, ana.lines
    victim = "bob" if step.endswith("other") else "ana"
    assert set(ended) <= {victim, "ana"} if word in ENDING else set(ended) <= {victim}, "Somebody else noticed."
    if victim == "bob" and "bob" in ended:
        assert people["bob"].closing == ["fault"]
    if not step.startswith("unavailable"):
        assert any(isinstance(failure, Injected) for failure in failures), "The fault was swallowed."
    for name, client in people.items():
        if name not in ended:
            check_heard(hall, name, client, (PASSWORD, NEW_PASSWORD))

    # Everything goes on.
    people["cid"].say("on we go", tag=TAG + 1)
    pass_seconds(hall, SETTLED_SECONDS)
    assert people["cid"].answers[-1]["ok"]
    for name, client in people.items():
        if name not in ended:
            check_heard(hall, name, client, (PASSWORD, NEW_PASSWORD))
            client.post("ping", tag=TAG + 2)
            assert client.answers[-1].get("tag") == TAG + 2, f"{name} is not served any more."


# A full disk


@pytest.fixture
def disk(hall: Hall) -> "Disk":
    return Disk(hall)


class Disk:
    """Limits the size of the database's file, in pages."""

    def __init__(self, hall: Hall) -> None:
        self.pages = 2**30
        self._engine = hall.engine
        event.listen(hall.engine, "checkout", self._limit)

    def _limit(self, raw: Any, *_: object) -> None:
        raw.execute(f"PRAGMA max_page_count = {self.pages}")

    def fill(self) -> None:
        with self._engine.connect() as db:
            self.pages = int(db.exec_driver_sql("PRAGMA page_count").scalar_one())

    def free(self) -> None:
        self.pages = 2**30


def test_a_full_disk(hall: Hall, people: dict[str, Client], disk: Disk) -> None:
    """Messages are refused as `unavailable` for as long as the disk is full, reading goes on, and the processors log
    nothing: the store does. Afterwards everything goes on, with every message that was acknowledged."""
    ana = people["ana"]
    disk.fill()
    with logged_failures() as failures:
        for number in range(40):
            ana.say(f"{number} " + "x" * 4000, tag=number)
    assert failures == []
    errors = [answer.get("error") for answer in ana.answers[-40:]]
    assert set(errors) <= {None, "unavailable"}
    assert errors[-1] == "unavailable"
    assert ana.post("history", room="general").answers[-1]["ok"]
    disk.free()
    pass_seconds(hall, SETTLED_SECONDS)
    assert ana.say("on we go").answers[-1]["ok"]
    stored = [answer["tag"] for answer in ana.answers if answer["ok"] and isinstance(answer.get("tag"), int)]
    heard = [text for text in people["bob"].said if text.endswith("x")]
    assert [int(text.split()[0]) for text in heard] == stored
    for name, client in people.items():
        check_heard(hall, name, client)


# Logging in


LOGIN_STEPS: dict[str, Callable[[Fault], None]] = {
    **{step: inject for step, inject in STEPS.items() if "the commit" in step},
    "Subscriptions.subscribe": lambda fault: fault.before(Subscriptions, "subscribe"),
    "Subscriptions.catch_up": lambda fault: fault.before(Subscriptions, "catch_up"),
    "Roster.add": lambda fault: fault.before(Roster, "add"),
    "Session.answer": lambda fault: fault.before(Session, "answer"),
    "Connection.admitted": lambda fault: fault.before(Connection, "admitted"),
    "SessionRows.add": lambda fault: fault.before(SessionRows, "add"),
    "Outbox.write": lambda fault: fault.before(
        Outbox, "write", lambda outbox, *_: fault.armed and outbox._link.session is fault.people["eve"].session
    ),
}


@pytest.mark.parametrize("step", LOGIN_STEPS)
@pytest.mark.parametrize("word", sorted(LOGGING_IN))
def test_logging_in(
    hall: Hall, people: dict[str, Client], monkeypatch: pytest.MonkeyPatch, word: str, step: str
) -> None:
    """A login that fails is answered, or the connection ends with a reason; nobody else notices, everybody hears what
    was stored, and the next login succeeds."""
    fields: Fields = {} if word == "guest" else {"name": "eve", "password": PASSWORD}
    if word == "login":
        hall.client().post("register", **fields).cut()
    people["eve"] = eve = hall.client()
    fault = Fault(monkeypatch, hall, people)
    LOGIN_STEPS[step](fault)
    earlier = len(hall.left)
    with logged_failures():
        fault.armed = True
        eve.post(word, tag=TAG, **fields)
        pass_seconds(hall, SETTLED_SECONDS)
    fault.armed = False
    answers = [answer for answer in eve.answers if answer.get("tag") == TAG]
    assert len(answers) <= 1
    assert answers or eve.closing, eve.lines
    assert all(name not in people or name == "eve" for name, _ in hall.left[earlier:])
    del people["eve"]
    again = hall.client().post("login" if word != "guest" else "guest", tag=TAG, **fields)
    if word == "register" and not again.answers[-1]["ok"]:
        again.post("register", tag=TAG, **fields)
    assert again.answers[-1]["ok"], again.lines
    people["cid"].say("on we go")
    pass_seconds(hall, SETTLED_SECONDS)
    assert again.said[-1] == "on we go"
    for name, client in people.items():
        check_heard(hall, name, client)
