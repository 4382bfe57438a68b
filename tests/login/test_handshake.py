"""Logging in, before a store and a hasher that answer when the test says so."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from chatserver.background.read_marks import ReadMarks
from chatserver.background.session_rows import FLUSH_SECONDS, SessionRows
from chatserver.delivery.registry import Registry
from chatserver.handlers.accounts import change_password, forget
from chatserver.handlers.outcome import HangUp, Outcome
from chatserver.handlers.unread import FirstScreen, first_screen
from chatserver.login.authentication import MAX_LOGINS
from chatserver.login.entrance import LINES_SHOWN
from chatserver.login.guests import Guests
from chatserver.login.handshake import Handshake
from chatserver.login.parts import LoginParts
from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.session.session import Session
from chatserver.settings.tables import Limits, Passwords, Server, Settings
from chatserver.store import accounts, logins, rooms, sessions, tokens
from chatserver.store.accounts import Credentials
from chatserver.store.change_rows import AccountNow
from chatserver.store.logins import LoginFacts
from chatserver.store.sessions import Opened
from chatserver.sync.epochs import Epochs
from chatserver.sync.rewind import Rewind
from chatserver.util.waiting import POLL_SECONDS
from chatserver.values import commands as c
from chatserver.values.answers import NAMES_SHOWN, Done, Log, Unread
from chatserver.values.errors import GOODBYE, ErrorWord, Note, Refused, Rejected, Sentence, Unavailable, Why
from chatserver.values.events import (
    GUEST,
    JOINED,
    LEFT,
    MESSAGE,
    PERSON,
    Entry,
    Invited,
    Membership,
    Person,
    Rewound,
    RoomFacts,
)
from chatserver.values.seen import Seen
from chatserver.values.stages import Event, Stage
from chatserver.wire.dialect import Dialect
from chatserver.wire.jsonl import JSONL
from chatserver.wire.text import TEXT
from tests.support.link import MemoryLink
from tests.support.memory import MemoryHasher, MemoryStore, hash_of, logged_failures, outcome
from tests.support.pages import StubPages
from tests.support.sentences import shown

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
LONG_AGO = AT - accounts.RETRY_WINDOW
GENERAL, BOOKS = RoomFacts(1, "general"), RoomFacts(2, "books")
ANA, BOB = Person(1, "ana"), Person(2, "bob")
WORDS = "s3cret-words"
TOKEN = "ct_0123456789abcdefghijklmnopqrstuvwxyz"
PATIENT = Limits(guess_seconds=0)
"""Nobody waits after a wrong password: see test_guess_delays.py."""
SETTINGS = Settings(server=Server(node="one"), limits=PATIENT)
HERE = AccountNow(PERSON, gone=False, ban=None)
GONE = AccountNow(PERSON, gone=True, ban=None)


def changed(who: Person, others: bool) -> Outcome:
    """The outcome of a changed password, as the store's function gives it."""
    return Outcome(
        Done(Sentence(Note.PASSWORD_CHANGED)),
        effects=[HangUp(who.id, "password", Sentence(Note.PASSWORD_WAS_CHANGED))] if others else [],
    )


class ClientLink(MemoryLink):
    """Ends the session as a connection does; counts how often it was admitted, and records why it was refused."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.admissions = 0
        self.refusals: list[ErrorWord] = []

    def refuse(self, rejected: Rejected) -> None:
        self.refusals.append(rejected.refused.error)
        super().refuse(rejected)

    def admitted(self) -> None:
        self.admissions += 1

    def hang_up(
        self, reason: str, sentence: Sentence = GOODBYE, retry: int | None = None, rewound: Rewound | None = None
    ) -> None:
        if self.session.stage is not Stage.ENDING:
            self.session.move(Event.ENDED)
            super().hang_up(reason, sentence, retry, rewound)


class Client:
    """A client that is connected. What it sends is parsed as its dialect does."""

    def __init__(self, town: "Town", dialect: Dialect) -> None:
        self._town = town
        self.session = Session(f"s{len(town.clients)}", "192.0.2.1", dialect)
        self.session.move(Event.RECOGNIZED)
        self.link = ClientLink(self.session)
        self.failures: list[Any] = []

    @property
    def stage(self) -> Stage:
        return self.session.stage

    def types(self, line: str) -> str:
        """A person types a line. Returns what is written to them then, without the line ends."""
        self.begins(line)
        return self.screen

    def is_refused(self, line: str) -> str:
        """A person types a line that is refused. Returns the error word."""
        assert self.types(line).startswith("! ")
        return self.link.refusals[-1]

    def sends(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """A program sends a command. Returns its answer."""
        self.begins(json.dumps({"cmd": cmd, **fields}))
        return self.told[0]

    def begins(self, line: str) -> None:
        """Sends a line, and forgets what was written before."""
        self.link.writes.clear()
        assert self.stage not in (Stage.BUSY, Stage.IN, Stage.ENDING), "The handshake is given nothing at these."
        work: Any = self._town.handshake.receive(self.session, self.session.dialect.parse(line, self.stage))
        if work is not None:
            ensureDeferred(work).addErrback(self.failures.append)
            self._town.turn()

    def goes(self) -> None:
        """The connection is lost."""
        self.session.move(Event.ENDED)
        self.link.writes.clear()

    @property
    def screen(self) -> str:
        return b"".join(self.link.writes).decode().replace("\r\n", "\n").strip()

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in b"".join(self.link.writes).splitlines()]


class Town:
    """A small database, and a handshake before it."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.clock = Clock()
        self.accounts: dict[int, Credentials] = {}
        self.tokens: dict[str, tuple[int, Person]] = {}
        self.memberships: dict[int, list[Membership]] = {}
        self.now: dict[int, AccountNow] = {}
        self.apart: dict[int, frozenset[int]] = {}
        self.invitations: dict[int, list[Invited]] = {}
        self.logs: dict[int, list[Entry]] = {GENERAL.id: [], BOOKS.id: []}
        for person in (ANA, BOB):
            self.add(person, GENERAL, BOOKS)
        self.store = MemoryStore(
            {
                accounts.find: self._find,
                accounts.claimed: self._find,
                accounts.get: self.accounts.get,
                change_password: lambda ask, _, others, current: changed(ask.who, others),
                tokens.find: lambda hashes: [self.tokens.get(hash) for hash in hashes],
                logins.look_up: lambda people: [self._facts(person) for person, _ in people],
                first_screen: self._first_screen,
                rooms.register: lambda name, secret, default, at, **_: self._create(name, secret, PERSON),
                rooms.register_guest: lambda default, at: self._create("~3", "", GUEST),
                rooms.dismiss_guest: lambda guest, at: [],
                sessions.record: lambda changes: None,
                forget: lambda ask, messages: Outcome(Done(Sentence(Note.ERASED))),
            }
        )
        store: Any = self.store
        self.hasher = MemoryHasher()
        hasher: Any = self.hasher
        self.roster = Roster()
        self.registry = Registry(self.clock, StubPages(self.clock, self._page), self.roster, Rewind())
        self.presence = Presence(self.clock, self.roster, Limits(presence_members=0, news_seconds=0))
        self.loses_answer = False
        """The next account is created, and the answer is lost."""
        self.lost: list[datetime] = []
        self.suspected: list[Person | None] = []
        session_rows = SessionRows(self.clock, store)
        now: Any = self._now
        reconciler: Any = SimpleNamespace(suspect=self.suspected.append)
        self.guests = Guests(self.clock, store, self.registry, now, reconciler)
        epochs = Epochs(self.clock, store, self.registry, self.roster, Rewind())
        guests: Any = SimpleNamespace(not_admitted=self.guests.not_admitted, lost=self.lost.append)
        parts = LoginParts(
            settings=settings, clock=self.clock, now=now, store=store, hasher=hasher, registry=self.registry,
            roster=self.roster, presence=self.presence, session_rows=session_rows,
            marks=ReadMarks(self.clock, self.roster, session_rows), guests=guests, epochs=epochs,
            reconciler=reconciler,
        )  # fmt: skip
        self.handshake = Handshake(parts)
        self.clients: list[Client] = []

    def _now(self) -> datetime:
        return AT

    # The database

    def add(self, person: Person, *facts: RoomFacts) -> None:
        hash = hash_of(WORDS)
        self.accounts[person.id] = Credentials(
            person.id, person.name, person.kind, hash, disabled=False, created_at=LONG_AGO
        )
        self.memberships[person.id] = [Membership(one, len(self.logs[one.id]), 0, "member") for one in facts]

    def say(self, facts: RoomFacts, count: int) -> None:
        """Messages are in the log, and everybody in the room may read them."""
        log = self.logs[facts.id]
        for _ in range(count):
            log.append(Entry(len(log) + 1, MESSAGE, BOB.id, BOB.name, AT, f"text {len(log) + 1}"))
        for account_id, memberships in self.memberships.items():
            self.memberships[account_id] = [
                msgspec.structs.replace(one, seq=len(log)) if one.facts is facts else one for one in memberships
            ]

    def _find(self, name: str, *_: object) -> Credentials | None:
        return next((one for one in self.accounts.values() if one.name.lower() == name.lower()), None)

    def _facts(self, person: Person) -> LoginFacts:
        return LoginFacts(
            self.memberships[person.id],
            self.invitations.get(person.id, []),
            self.apart.get(person.id, frozenset()),
            self.now.get(person.id, AccountNow(person.kind, gone=False, ban=None)),
        )

    def _first_screen(self, who: Person, rooms: list[Membership], current: int, limit: int) -> FirstScreen:
        one = next(one for one in rooms if one.facts.id == current)
        found = [entry for entry in self.logs[current] if one.floor <= entry.seq <= one.seq]
        counts = {one.facts.id: one.seen.lacks(one.floor, one.seq) for one in rooms}
        unread = {id: Unread(count, count) for id, count in counts.items()}
        return FirstScreen(Log(one.facts, found[-limit:], len(found) > limit), unread)

    async def _page(self, room_id: int, seq: int) -> tuple[list[Entry], bool]:
        return self.logs[room_id][seq:], False

    def _create(self, name: str, hash: str, kind: Any) -> tuple[Person, list[tuple[RoomFacts, list[Entry]]]]:
        person = Person(3, name, kind)
        entry = Entry(len(self.logs[GENERAL.id]) + 1, JOINED, 3, name, AT)
        self.logs[GENERAL.id].append(entry)
        self.accounts[3] = Credentials(3, name, kind, hash, disabled=False, created_at=AT)
        self.memberships[3] = [Membership(GENERAL, entry.seq, entry.seq, "member", entry.seq, entry.seq)]
        if self.loses_answer:
            self.loses_answer = False
            raise Unavailable
        return person, [(GENERAL, [entry])]

    # The server

    def turn(self) -> None:
        """Turns of the reactor, in which batches are collected."""
        for _ in range(20):
            self.clock.advance(0)

    def client(self, dialect: Dialect = JSONL) -> Client:
        client = Client(self, dialect)
        self.clients.append(client)
        return client

    def logged_in(self, person: Person, dialect: Dialect = JSONL) -> Client:
        client = self.client(dialect)
        client.begins(
            f"/login {person.name} {WORDS}"
            if dialect is TEXT
            else json.dumps({"cmd": "login", "name": person.name, "password": WORDS})
        )
        assert client.stage is Stage.IN
        client.link.writes.clear()
        return client

    def release(self, work: Any) -> None:
        self.store.release(work)
        self.turn()

    @property
    def rows(self) -> list[Opened]:
        """The rows written to the log of sessions."""
        self.clock.advance(FLUSH_SECONDS)
        return [row for (changes,) in self.store.called(sessions.record) for row in changes]


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.fixture
def failures() -> Iterator[list[Exception]]:
    """The exceptions that were logged as failures."""
    with logged_failures() as found:
        yield found


def raising(error: Exception) -> Any:
    """A function that raises this."""

    def fail(*_: Any) -> None:
        raise error

    return fail


def town_with(**server: Any) -> Town:
    return Town(Settings(server=Server(node="one", **server), limits=PATIENT))


# A person at the prompts


def test_a_person_who_is_known(town: Town) -> None:
    """Name, password, in: greeted by the name as it was registered."""
    ana = town.client(TEXT)
    assert "ana" in ana.types("ANA")
    assert (ana.stage, ana.session.who.name) == (Stage.PASSWORD, "")
    screen = ana.types(WORDS)
    assert ("ana" in screen, "general" in screen) == (True, True)
    assert (ana.stage, ana.session.who.name, ana.link.admissions) == (Stage.IN, "ana", 1)


def test_a_person_who_is_new(town: Town) -> None:
    """An unknown name is confirmed, and a password typed twice; that registers it, and the others in the room hear
    it."""
    bob, cai = town.logged_in(BOB), town.client(TEXT)
    assert "new" in cai.types("cai")
    cai.types("yes")
    assert cai.is_refused("short") == "bad-password"
    assert cai.stage is Stage.NEW_PASSWORD
    cai.types(WORDS)
    assert "general with bob" in cai.types(WORDS)
    assert town.store.called(rooms.register) == [("cai", hash_of(WORDS), ["general"], AT)]
    assert [(line["event"], line["name"]) for line in bob.told] == [("joined", "cai"), ("presence", "cai")]


def test_an_empty_line_goes_back(town: Town) -> None:
    """At the prompt for a password an empty line asks for the name again, and nothing is checked."""
    ana = town.client(TEXT)
    ana.types("bob")
    assert "name" in ana.types("")
    assert (ana.stage, town.hasher.calls) == (Stage.GREETING, [])
    ana.types("ana")
    ana.types(WORDS)
    assert ana.session.who.name == "ana"


@pytest.mark.parametrize(("registration", "takes_a_code"), [("closed", False), ("code", True)])
def test_an_unknown_name_where_not_everybody_may_register(registration: str, takes_a_code: bool) -> None:
    """It is refused at once, with what can be done instead; a known name may come in."""
    town = town_with(registration=registration, registration_code="open sesame")
    cai = town.client(TEXT)
    assert cai.is_refused("cai") == "closed-registration"
    assert ("/register" in cai.screen, cai.stage) == (takes_a_code, Stage.GREETING)
    cai.types("ana")
    cai.types(WORDS)
    assert cai.session.who.name == "ana"


def test_a_name_that_is_taken_meanwhile(town: Town) -> None:
    """If somebody else registers the name first, the server asks for another name: another password would not help."""
    cai = town.client(TEXT)
    for line in ("cai", "yes", WORDS):
        cai.types(line)
    town.store.fail(rooms.register, accounts.name_taken("cai"))
    assert cai.is_refused(WORDS) == "name-taken"
    assert cai.stage is Stage.GREETING


# Programs


def test_a_program_logs_in(town: Town) -> None:
    """The answer to a login has the rooms with their numbers, and the invitations."""
    town.say(GENERAL, 3)
    town.invitations[ANA.id] = [Invited("club", "bob")]
    ana = town.client()
    assert ana.sends("login", name="ana", password=WORDS, tag=1) == {
        "ok": True,
        "tag": 1,
        "cmd": "login",
        "name": "ana",
        "rooms": [
            {"room": "books", "room_id": 2, "seq": 0, "read": 0, "role": "member"},
            {"room": "general", "room_id": 1, "seq": 3, "read": 0, "role": "member"},
        ],
        "invitations": [{"room": "club", "by": "bob"}],
    }
    assert (ana.stage, ana.link.admissions, len(ana.link.writes)) == (Stage.IN, 1, 1)
    assert town.store.called(first_screen) == []  # only a person is shown the last lines


def test_a_program_registers(town: Town) -> None:
    """A name that is taken is refused before the password is hashed, which is expensive; a free one comes in."""
    client = town.client()
    assert client.sends("register", name="ana", password=WORDS)["error"] == "name-taken"
    assert (client.stage, town.hasher.calls) == (Stage.GREETING, [])
    assert client.sends("register", name="cai", password="short")["error"] == "bad-password"
    assert client.sends("register", name="cai", password=WORDS)["name"] == "cai"
    assert client.session.who.person == Person(3, "cai")


# Retries of which the first answer was lost


@pytest.mark.parametrize("work", [logins.look_up, rooms.register])
def test_registering_again(town: Town, work: Any) -> None:
    """Registering again with the same password, a moment later, logs in."""
    client = town.client()
    town.loses_answer = work is rooms.register
    if not town.loses_answer:
        town.store.fail(work, Unavailable())
    assert client.sends("register", name="cai", password=WORDS)["error"] == "unavailable"
    assert town.suspected == ([None] if work is rooms.register else [])
    assert client.sends("register", name="CAI", password=WORDS)["name"] == "cai"
    assert len(town.store.called(rooms.register)) == 1
    assert (client.stage, client.session.failed_logins) == (Stage.IN, 0)


def test_registering_on_two_connections(town: Town) -> None:
    """A retry that comes while the first attempt is being committed is logged in too: it finds the name taken only once
    it wants to take it."""
    first, again = town.client(), town.client()
    line = json.dumps({"cmd": "register", "name": "cai", "password": WORDS})
    town.store.hold(accounts.claimed)
    again.begins(line)
    first.begins(line)
    town.store.fail(rooms.register, accounts.name_taken("cai"))
    town.release(accounts.claimed)
    assert (first.session.who.name, again.session.who.name) == ("cai", "cai")
    assert first.session.who.account_id == again.session.who.account_id
    assert (len(town.store.called(rooms.register)), again.session.failed_logins) == (2, 0)


def test_guessing_the_password_of_a_new_account(town: Town) -> None:
    """A wrong password is answered like any name that is taken, and counts as a failed login."""
    town.client().sends("register", name="cai", password=WORDS)
    thief = town.client()
    for _ in range(3):
        assert thief.sends("register", name="cai", password="another one")["error"] == "name-taken"
    assert thief.link.ended == ["failed-logins"]


@pytest.mark.parametrize(
    "known",
    [
        {"created_at": LONG_AGO},
        {"created_at": AT - timedelta(days=300)},
        {"created_at": AT, "disabled": True},
    ],
)
def test_registering_a_name_of_others(town: Town, known: Any) -> None:
    """The password of an older or disabled account is not looked at: right or wrong, the name is taken."""
    town.accounts[ANA.id] = msgspec.structs.replace(town.accounts[ANA.id], **known)
    client = town.client()
    assert client.sends("register", name="ana", password=WORDS)["error"] == "name-taken"
    assert (town.hasher.calls, client.session.failed_logins) == ([], 0)


def test_the_oldest_account_that_is_new(town: Town) -> None:
    """Within the window a retry is recognized up to its end."""
    town.accounts[ANA.id] = msgspec.structs.replace(town.accounts[ANA.id], created_at=LONG_AGO + timedelta(seconds=1))
    assert town.client().sends("register", name="ana", password=WORDS)["name"] == "ana"


# Guests who do not come in


@pytest.mark.parametrize("error", [Unavailable(), RuntimeError("a bug")])
def test_a_guest_whose_login_fails(error: Exception) -> None:
    """The account that was created for it is dismissed; a retry creates another one."""
    town = town_with(guests=True)
    client = town.client()
    town.store.fail(logins.look_up, error)
    with logged_failures():
        assert client.sends("guest")["error"] == "unavailable"
    assert town.store.called(rooms.dismiss_guest) == [(Person(3, "~3", GUEST), AT)]
    assert client.sends("guest")["ok"]
    assert len(town.store.called(rooms.dismiss_guest)) == 1


@pytest.mark.parametrize("work", [rooms.register_guest, logins.look_up])
def test_a_guest_who_is_gone_meanwhile(work: Any) -> None:
    """A connection that ends while its guest is created or looked up leaves no guest."""
    town = town_with(guests=True)
    client = town.client()
    town.store.hold(work)
    client.begins(json.dumps({"cmd": "guest"}))
    client.goes()
    town.release(work)
    assert town.store.called(rooms.dismiss_guest) == [(Person(3, "~3", GUEST), AT)]


def test_a_guest_who_may_have_been_created() -> None:
    """If the answer to its creation is lost, it is looked for later."""
    town = town_with(guests=True)
    town.loses_answer = True
    assert town.client().sends("guest")["error"] == "unavailable"
    assert (town.lost, town.suspected) == ([AT], [None])


# Faults after the commit


@pytest.mark.parametrize("cmd", ["register", "guest"])
def test_an_account_that_cannot_be_announced(cmd: str, failures: list[Exception], monkeypatch: Any) -> None:
    """The account exists, so its login goes on; the room is read again."""
    town = town_with(guests=True)
    client, error = town.client(), RuntimeError("a bug")
    monkeypatch.setattr(town.registry.order, "_announce", raising(error))
    fields = {"name": "cai", "password": WORDS} if cmd == "register" else {}
    assert client.sends(cmd, **fields)["ok"]
    assert (failures, [who.id for who in town.suspected if who is not None]) == ([error], [3])


@pytest.mark.parametrize("part", ["roster.add", "subscriptions.subscribe", "subscriptions.catch_up", "presence.came"])
def test_a_fault_in_the_middle_of_a_login(town: Town, part: str, failures: list[Exception], monkeypatch: Any) -> None:
    """A session that was admitted but not answered is not left half logged in: its connection ends with a reason."""
    ana, error = town.client(), RuntimeError("a bug")
    owner, _, name = part.partition(".")
    subscriptions = town.registry.subscriptions
    parts = {"roster": town.roster, "subscriptions": subscriptions, "presence": town.presence}
    monkeypatch.setattr(parts[owner], name, raising(error))
    ana.begins(json.dumps({"cmd": "login", "name": "ana", "password": WORDS}))
    assert (ana.link.ended, ana.stage, failures) == (["fault"], Stage.ENDING, [error])
    assert ana.link.admissions == 1  # or it would count as pending for ever
    assert ana.failures == []


@pytest.mark.parametrize(
    ("registration", "code", "error"),
    [
        ("closed", "open sesame", "closed-registration"),
        ("code", "", "closed-registration"),
        ("code", "open", "closed-registration"),
        ("code", "open sesame", None),
        ("open", "", None),
    ],
)
def test_who_may_register(registration: str, code: str, error: str | None) -> None:
    """Open to nobody, to those with the code, or to everybody."""
    town = town_with(registration=registration, registration_code="open sesame")
    answer = town.client().sends("register", name="cai", password=WORDS, **({"code": code} if code else {}))
    assert answer.get("error") == error
    assert len(town.store.called(rooms.register)) == (error is None)


def test_a_token(town: Town) -> None:
    """A token logs in without a password, and the session remembers which one: when it is revoked, the session ends."""
    town.tokens[tokens.token_hash(TOKEN)] = (7, ANA)
    ana = town.client()
    assert ana.sends("login", token=TOKEN)["name"] == "ana"
    assert (ana.session.who.token_id, town.hasher.calls) == (7, [])
    assert [args[0] for args in town.store.called(logins.look_up)] == [[(ANA, 7)]]
    assert [(row.account_id, row.token_id) for row in town.rows] == [(ANA.id, 7)]


def test_a_guest() -> None:
    """Where guests are allowed, one comes in without a name, as a guest; elsewhere not."""
    assert town_with().client().sends("guest")["error"] == "not-allowed"
    town = town_with(guests=True)
    bob, client = town.logged_in(BOB), town.client()
    assert client.sends("guest")["name"] == "~3"
    assert client.session.who.kind == GUEST
    assert [(line["event"], line["name"]) for line in bob.told] == [("joined", "~3"), ("presence", "~3")]


# What is refused


def test_what_is_illegal_before_login(town: Town) -> None:
    """Before login there are only logging in, help, ping and quit; the answer to anything else has its tag
    and its name."""
    client = town.client()
    for cmd, fields in (("say", {"room": "general", "text": "hi"}), ("rooms", {}), ("logout", {})):
        answer = client.sends(cmd, tag=cmd, **fields)
        assert (answer["error"], answer["tag"], answer["cmd"]) == ("login-required", cmd, cmd)
    assert client.sends("ping", tag=1) == {"ok": True, "tag": 1, "cmd": "ping"}
    assert "login" in client.sends("help")["commands"]
    assert client.stage is Stage.GREETING
    assert client.sends("quit") == {"ok": True, "cmd": "quit"}
    assert client.link.ended == [""]


def test_what_is_said_before_login(town: Town) -> None:
    """A person's commands are refused before login; after a blank line the question comes again; a slash may begin a
    password."""
    ana = town.client(TEXT)
    assert ana.is_refused("/join books") == "login-required"
    assert ana.types("   ") == "* Type your name to log in, or /help."
    ana.types("ana")
    assert ana.is_refused("/login ana " + WORDS) == "bad-credentials"
    assert (ana.stage, ana.session.failed_logins) == (Stage.PASSWORD, 1)


def test_wrong_passwords_are_counted(town: Town) -> None:
    """An unknown name, a wrong password and an unknown token are refused alike, take as long, and count: at the limit
    the connection ends."""
    client = town.client()
    wrong = client.sends("login", name="ana", password="another one", tag=1)
    assert wrong.pop("tag") == 1
    assert wrong["error"] == "bad-credentials"
    assert client.sends("login", name="nobody", password=WORDS) == wrong
    assert town.hasher.calls == [("verify", hash_of(WORDS)), ("verify", None)]
    assert (client.stage, client.link.ended) == (Stage.GREETING, [])
    assert client.sends("login", token=TOKEN)["error"] == "bad-credentials"
    assert client.link.ended == ["failed-logins"]


def test_other_refusals_are_not_counted(town: Town) -> None:
    """Only wrong passwords count: somebody who may not come in, or has to wait, may try again."""
    client = town.client()
    town.now[ANA.id] = AccountNow(PERSON, gone=False, ban="spam")
    for _ in range(5):
        assert client.sends("login", name="ana", password=WORDS)["error"] == "banned"
    town.hasher.error = Refused(Why.TOO_MANY_LOGINS)
    answer = client.sends("login", name="ana", password=WORDS)
    assert (answer["error"], answer["retry"]) == ("slow-down", True)
    assert (client.session.failed_logins, client.link.ended) == (0, [])


@pytest.mark.parametrize("queue", [1024, 10])
def test_strangers_who_wait_for_a_hash(queue: int) -> None:
    """Ninety logins from one address do not keep one from another out: it is next but one, also if no more can wait."""
    town = Town(Settings(limits=PATIENT, passwords=Passwords(threads=1, queue=queue)))
    gate = town.hasher.gate = Deferred()
    strangers = [town.client() for _ in range(90)]
    for stranger in strangers:
        stranger.begins(json.dumps({"cmd": "login", "name": "nobody", "password": WORDS}))
    ana = town.client()
    ana.session.address = "198.51.100.1"
    ana.begins(json.dumps({"cmd": "login", "name": "ana", "password": WORDS}))
    running = len(town.hasher.calls)
    assert running == 2
    town.hasher.gate = None
    gate.callback(None)
    town.turn()
    assert town.hasher.calls.index(("verify", hash_of(WORDS))) <= running + 1
    assert ana.stage is Stage.IN
    full = [stranger for stranger in strangers if stranger.link.refusals == ["slow-down"]]
    assert len(full) == (0 if queue > 90 else 90 - running - queue + 1)
    assert all(stranger.told[0]["retry"] == 5 and stranger.link.ended == [] for stranger in full)


def test_no_limit_of_wrong_passwords() -> None:
    """The limit 0 is none."""
    client = Town(Settings(limits=Limits(guess_seconds=0, failed_logins=0))).client()
    for _ in range(10):
        client.sends("login", name="ana", password="another one")
    assert (client.stage, client.link.ended) == (Stage.GREETING, [])


def test_a_disabled_account(town: Town) -> None:
    """It is refused like a wrong password, whatever is typed, and takes as long."""
    town.accounts[ANA.id] = msgspec.structs.replace(town.accounts[ANA.id], disabled=True)
    assert town.client().sends("login", name="ana", password=WORDS)["error"] == "bad-credentials"
    assert town.hasher.calls == [("verify", None)]


@pytest.mark.parametrize(
    ("account", "error", "reason"),
    [
        (AccountNow(PERSON, gone=False, ban="spam"), "banned", "spam"),
        (AccountNow(PERSON, gone=False, ban=""), "banned", ""),
        (GONE, "bad-credentials", ""),
    ],
)
def test_what_happened_since_the_password_was_checked(town: Town, account: AccountNow, error: str, reason: str) -> None:
    """An account that is banned, disabled or erased while its password is checked does not come in."""
    gate: Deferred[None] = Deferred()
    town.hasher.gate = gate
    ana = town.client()
    ana.begins(json.dumps({"cmd": "login", "name": "ana", "password": WORDS}))
    town.now[ANA.id] = account
    gate.callback(None)
    town.turn()
    assert (ana.told[0]["error"], ana.stage) == (error, Stage.GREETING)
    assert reason in ana.told[0]["text"]
    assert (town.roster.all_sessions(), town.rows) == ([], [])


# A store that is away, and bugs

LOGIN_STEPS = [accounts.find, logins.look_up, first_screen]


@pytest.mark.parametrize("work", LOGIN_STEPS)
def test_the_store_is_away_during_a_login(town: Town, work: Any, failures: list[Exception]) -> None:
    """At every step, the refusal says to try again, and the retry from there succeeds. Nothing counts as failed."""
    ana = town.client(TEXT)
    town.store.fail(work, Unavailable())
    assert ana.is_refused(f"/login ana {WORDS}") == "unavailable"
    assert ana.stage is Stage.GREETING
    ana.types("ana")
    town.store.fail(work, Unavailable())
    assert ana.is_refused(WORDS) == "unavailable"
    assert (ana.stage, ana.session.failed_logins, town.roster.all_sessions()) == (Stage.PASSWORD, 0, [])
    ana.types(WORDS)
    assert ana.session.who.name == "ana"
    assert (failures, ana.failures) == ([], [])


def test_the_store_is_away_at_the_name_prompt(town: Town) -> None:
    """The server asks for the name again."""
    ana = town.client(TEXT)
    town.store.fail(accounts.claimed, Unavailable())
    assert ana.is_refused("ana") == "unavailable"
    assert ana.stage is Stage.GREETING


@pytest.mark.parametrize(
    ("work", "cmd", "fields"),
    [
        (accounts.claimed, "register", {"name": "cai", "password": WORDS}),
        (rooms.register, "register", {"name": "cai", "password": WORDS}),
        (rooms.register_guest, "guest", {}),
        (tokens.find, "login", {"token": TOKEN}),
        (logins.look_up, "login", {"token": TOKEN}),
    ],
)
@pytest.mark.parametrize("error", [Unavailable(), RuntimeError("a bug")])
def test_a_program_whose_login_fails(work: Any, cmd: str, fields: Any, error: Exception) -> None:
    """Whether the store is away or there is a bug, at whatever step: the answer has `unavailable` and `retry`, and the
    same command succeeds later. A bug is logged."""
    town = town_with(guests=True)
    town.tokens[tokens.token_hash(TOKEN)] = (7, ANA)
    client = town.client()
    town.store.fail(work, error)
    with logged_failures() as failures:
        answer = client.sends(cmd, tag="a", **fields)
    assert (answer["error"], answer["retry"], answer["tag"]) == ("unavailable", True, "a")
    assert failures == ([] if isinstance(error, Unavailable) else [error])
    assert (client.stage, town.roster.all_sessions()) == (Stage.GREETING, [])
    assert client.sends(cmd, **fields)["ok"]


def test_a_bug_in_the_hasher(town: Town, failures: list[Exception]) -> None:
    """It is logged, and the login can be tried again."""
    client = town.client()
    town.hasher.error = RuntimeError("a bug")
    answer = client.sends("login", name="ana", password=WORDS)
    assert (answer["error"], answer["retry"], client.stage) == ("unavailable", True, Stage.GREETING)
    assert failures == [town.hasher.error]


def test_a_bug_at_the_prompts(town: Town, failures: list[Exception]) -> None:
    """While a name or password is looked up, too: it is logged, and the prompt comes again."""
    ana, error = town.client(TEXT), RuntimeError("a bug")
    town.store.fail(accounts.claimed, error)
    assert ana.is_refused("ana") == "unavailable"
    assert (ana.stage, failures) == (Stage.GREETING, [error])
    ana.types("ana")
    town.store.fail(accounts.find, error)
    assert ana.is_refused(WORDS) == "unavailable"
    assert ana.stage is Stage.PASSWORD
    ana.types(WORDS)
    assert ana.session.who.name == "ana"
    assert failures == [error, error]


# The connection ends while a login is being checked


@pytest.mark.parametrize("work", LOGIN_STEPS)
@pytest.mark.parametrize("line", ["ana", f"/login ana {WORDS}"])
def test_a_connection_that_ends_meanwhile(town: Town, work: Any, line: str, failures: list[Exception]) -> None:
    """Whatever is being read: nothing is written to the session, nobody is notified, and it leaves no trace."""
    bob, ana = town.logged_in(BOB), town.client(TEXT)
    town.store.hold(work)
    ana.begins(line)
    if ana.stage is Stage.PASSWORD:
        ana.begins(WORDS)
    assert ana.stage is Stage.BUSY
    ana.goes()
    town.release(work)
    assert (ana.link.writes, ana.link.admissions, ana.stage) == ([], 0, Stage.ENDING)
    assert town.roster.all_sessions() == [bob.session]
    assert (bob.told, [row.id for row in town.rows]) == ([], [bob.session.id])
    assert (failures, ana.failures) == ([], [])


@pytest.mark.parametrize("password", [WORDS, "another one"])
def test_a_connection_that_ends_while_the_password_is_checked(town: Town, password: str) -> None:
    """Right or wrong, nothing is written to it, and nothing more is read."""
    ana = town.client()
    gate: Deferred[None] = Deferred()
    town.hasher.gate = gate
    ana.begins(json.dumps({"cmd": "login", "name": "ana", "password": password}))
    ana.goes()
    gate.callback(None)
    town.turn()
    assert (ana.link.writes, town.roster.all_sessions(), town.rows) == ([], [], [])
    assert town.store.called(logins.look_up) == []


def test_a_connection_that_ends_before_it_registers(town: Town) -> None:
    """If a person goes while their name is looked up again, nothing is hashed and nobody registered."""
    cai = town.client(TEXT)
    for line in ("cai", "yes", WORDS):
        cai.types(line)
    town.store.hold(accounts.claimed)
    cai.begins(WORDS)
    cai.goes()
    town.release(accounts.claimed)
    assert (town.hasher.calls, town.store.called(rooms.register), cai.link.writes) == ([], [], [])


def test_registered_all_the_same(town: Town) -> None:
    """A connection that ends while its account is made leaves an account, whose joining the room hears."""
    bob, cai = town.logged_in(BOB), town.client()
    town.store.hold(rooms.register)
    cai.begins(json.dumps({"cmd": "register", "name": "cai", "password": WORDS}))
    cai.goes()
    town.release(rooms.register)
    assert [(line["event"], line["name"]) for line in bob.told] == [("joined", "cai")]
    assert (cai.link.writes, town.roster.sessions(3)) == ([], [])


# Memberships that change while a login reads them


def test_kicked_while_logging_in(town: Town) -> None:
    """Where the account leaves a room while its rooms are read, they are read again: it does not hear that room."""
    bob, ana = town.logged_in(BOB), town.client()
    town.store.hold(logins.look_up)
    ana.begins(json.dumps({"cmd": "login", "name": "ana", "password": WORDS}))
    town.memberships[ANA.id] = [Membership(GENERAL, 0, 0, "member")]
    town.registry.order.announce(BOOKS, [Entry(1, LEFT, ANA.id, "ana", AT)])
    town.release(logins.look_up)
    assert [room["room"] for room in ana.told[0]["rooms"]] == ["general"]
    town.registry.order.announce(BOOKS, [Entry(2, MESSAGE, BOB.id, "bob", AT, "she is gone")])
    assert (len(ana.told), bob.told[-1]["text"]) == (1, "she is gone")


@pytest.mark.parametrize("work", [logins.look_up, first_screen])
def test_joined_while_logging_in(town: Town, work: Any) -> None:
    """Where another connection of the account joins a room while its rooms or their last lines are read, the login
    hears that room too, without a hole."""
    town.logged_in(BOB)
    town.memberships[ANA.id] = [Membership(GENERAL, 0, 0, "member")]
    ana = town.client(TEXT)
    town.store.hold(work)
    ana.begins(f"/login ana {WORDS}")
    joined = Entry(1, JOINED, ANA.id, "ana", AT)
    town.logs[BOOKS.id].append(joined)
    town.memberships[ANA.id].append(Membership(BOOKS, 1, 1, "member", 1, 1))
    town.registry.order.announce(BOOKS, [joined])
    town.release(work)
    assert "books, general" in ana.screen
    assert len(town.store.called(logins.look_up)) == 3  # bob's, and two
    ana.link.writes.clear()
    town.registry.order.announce(BOOKS, [Entry(2, MESSAGE, BOB.id, "bob", AT, "welcome")])
    assert "welcome" in ana.screen


def test_kicked_from_the_only_room_while_logging_in(town: Town) -> None:
    """A person who is in no room any more, once the rooms are read again, sees no lines of the former one."""
    town.say(BOOKS, 2)
    town.memberships[ANA.id] = [Membership(BOOKS, 2, 0, "member")]
    town.logged_in(BOB)
    ana = town.client(TEXT)
    town.store.hold(first_screen)
    ana.begins(f"/login ana {WORDS}")
    town.memberships[ANA.id] = []
    town.registry.order.announce(BOOKS, [Entry(3, LEFT, ANA.id, "ana", AT)])
    town.release(first_screen)
    assert (ana.session.current, ana.session.rooms) == ("", {})
    assert "text 2" not in ana.screen


def test_banned_while_reading_again(town: Town) -> None:
    """A change that comes while the last lines are read may be a ban: the account is looked at again."""
    ana = town.client(TEXT)
    town.store.hold(first_screen)
    ana.begins(f"/login ana {WORDS}")
    town.now[ANA.id] = AccountNow(PERSON, gone=False, ban="spam")
    town.registry.logins.doubt()
    town.release(first_screen)
    assert (ana.link.refusals, "spam" in ana.screen) == (["banned"], True)
    assert (ana.stage, town.roster.all_sessions()) == (Stage.GREETING, [])


def test_logins_that_come_together(town: Town) -> None:
    """Logins that come at the same time share one look-up of accounts and one of tokens, of so many at most."""
    people = [Person(number, f"user{number}") for number in range(10, 10 + MAX_LOGINS + 5)]
    clients = []
    for person in people:
        town.add(person, GENERAL)
        town.tokens[tokens.token_hash(person.name)] = (person.id, person)
        client = town.client()
        command = c.Login(token=person.name)
        work: Any = town.handshake.receive(client.session, command)
        ensureDeferred(work)
        clients.append(client)
    town.turn()
    town.turn()
    assert [client.told[0]["name"] for client in clients] == [person.name for person in people]
    for work in (tokens.find, logins.look_up):
        assert [len(args[0]) for args in town.store.called(work)] == [MAX_LOGINS, 5]


# Once logged in


def test_resuming(town: Town) -> None:
    """A login that resumes is answered first, then sent what it missed, then `live`; room names are in any case."""
    town.say(BOOKS, 4)
    ana = town.client()
    ana.sends("login", name="ana", password=WORDS, resume={"Books": 2})
    assert [line.get("event", "answer") for line in ana.told] == ["answer", "message", "message", "live"]
    assert [line["seq"] for line in ana.told[1:]] == [3, 4, 4]


@pytest.mark.parametrize(
    ("default", "current"),
    [(["general"], "general"), (["lobby", "Books"], "books"), ([], "books"), (["cards"], "books")],
)
def test_the_room_that_a_person_looks_at_first(default: list[str], current: str) -> None:
    """The first of the default rooms that they are in, else any; that is where they type."""
    town = town_with(default_rooms=[name.lower() for name in default])
    town.memberships[ANA.id] = [Membership(BOOKS, 0, 0, "member"), Membership(GENERAL, 0, 0, "member")]
    ana = town.logged_in(ANA, TEXT)
    assert ana.session.current == current


def test_the_last_lines(town: Town) -> None:
    """A person is shown the last lines of their room, as far back as they may read. These are read then, and not those
    before them that were not shown; what was removed is not missed."""
    town.say(GENERAL, LINES_SHOWN + 5)
    town.say(BOOKS, 3)
    town.memberships[BOB.id][0] = Membership(GENERAL, LINES_SHOWN + 5, 2, "member", floor=LINES_SHOWN + 4)
    ana, bob = town.client(TEXT), town.client(TEXT)
    screen = ana.types(f"/login ana {WORDS}")
    assert [f"text {seq}" in screen for seq in (5, 6, LINES_SHOWN + 5)] == [False, True, True]
    assert "books (3 unread), general (15 unread)" in screen
    screen = bob.types(f"/login bob {WORDS}")
    assert [f"text {seq}" in screen for seq in (13, 14, 15)] == [False, True, True]
    assert ana.session.view is not None
    assert bob.session.view is not None
    assert ana.session.view.marks.shown() == {GENERAL.id: Seen(0, ((6, LINES_SHOWN + 5),)), BOOKS.id: Seen(0)}
    assert bob.session.view.marks.shown() == {GENERAL.id: Seen(2, ((14, LINES_SHOWN + 5),)), BOOKS.id: Seen(0)}


def test_who_is_there(town: Town) -> None:
    """A person sees some of the others in their room, each once, in order; neither themselves nor everybody."""
    town.logged_in(ANA)
    for number in range(20, 10, -1):
        person = Person(number, f"user{number}")
        town.add(person, GENERAL)
        town.logged_in(person)
        town.logged_in(person)
    screen = town.client(TEXT).types(f"/login ana {WORDS}")
    names = [word.strip(",.") for word in screen.split() if word.startswith("user")]
    assert names == [f"user{number}" for number in range(11, 11 + NAMES_SHOWN)]


@pytest.mark.parametrize("dialect", [TEXT, JSONL])
def test_the_message_of_the_day(dialect: Dialect) -> None:
    """It comes as a notice behind the answer, to people and programs alike."""
    town = town_with(motd="Be kind.")
    ana = town.client(dialect)
    ana.begins(
        f"/login ana {WORDS}" if dialect is TEXT else json.dumps({"cmd": "login", "name": "ana", "password": WORDS})
    )
    assert ana.link.writes[-1] == dialect.notice("Be kind.")
    assert len(ana.link.writes) == 2


def test_what_a_login_leaves(town: Town) -> None:
    """A login adds a row for the session and notifies those nearby, except accounts that block it or that it blocks."""
    bob = town.logged_in(BOB)
    cai = Person(4, "cai")
    town.add(cai, GENERAL)
    town.apart[cai.id] = frozenset({BOB.id})
    town.logged_in(cai)
    assert bob.told == []
    ana = town.logged_in(ANA)
    assert bob.told == [{"event": "presence", "name": "ana", "online": True}]
    assert town.rows[-1] == Opened(ana.session.id, ANA.id, "one", "192.0.2.1", AT, 0)


def test_the_kind_it_is_by_now(town: Town) -> None:
    """A person who is made an operator while the password is checked is one."""
    town.now[ANA.id] = AccountNow("operator", gone=False, ban=None)
    assert town.logged_in(ANA).session.who.person == Person(ANA.id, "ana", "operator")


def test_the_greeting() -> None:
    """The first words name the server, unless the settings have others."""
    assert "club" in shown(town_with(name="club").handshake.greeting)
    assert town_with(name="club", greeting="Hi!").handshake.greeting == "Hi!"


# Commands that need the password's hash


@pytest.mark.parametrize("others", [True, False])
def test_changing_the_password(town: Town, others: bool) -> None:
    """The hash of the new one is stored; with `others` the account's other connections end, and this one stays."""
    ana = town.logged_in(ANA)
    command = c.Password(old=WORDS, new="n3w-words", others=others)
    done = outcome(town.handshake.sensitive.change_password(ana.session, command))
    [(_, args, keywords)] = [call for call in town.store.calls if call[0] is change_password]
    assert (args[0].who, args[1], keywords) == (ANA, hash_of("n3w-words"), {"others": others, "current": 0})
    assert done == changed(ANA, others)


@pytest.mark.parametrize(
    ("old", "new", "error"), [("another one", "n3w-words", "bad-credentials"), (WORDS, "short", "bad-password")]
)
def test_a_password_that_is_not_changed(town: Town, old: str, new: str, error: str) -> None:
    """With the old one wrong, or the new one too short, nothing is changed."""
    ana = town.logged_in(ANA)
    with pytest.raises(Refused) as refused:
        outcome(town.handshake.sensitive.change_password(ana.session, c.Password(old=old, new=new)))
    assert (refused.value.error, town.store.called(change_password)) == (error, [])


def test_a_password_that_is_changed_already(town: Town) -> None:
    """A retry, of which the first answer was lost: the old password is wrong by now, and the new one is right."""
    ana = town.logged_in(ANA)
    command = c.Password(old="older-words", new=WORDS, others=True)
    assert outcome(town.handshake.sensitive.change_password(ana.session, command)) == changed(ANA, True)
    assert [args[1] for work, args, _ in town.store.calls if work is change_password] == [None]


def test_forgetting_an_account(town: Town) -> None:
    """Its other connections end first, and what they had sent is stored before the account is erased."""
    ana, other, bob = town.logged_in(ANA), town.logged_in(ANA), town.logged_in(BOB)
    other.session.waiting = True
    results: list[Outcome] = []
    work: Any = town.handshake.sensitive.forget(ana.session, c.Forget(password=WORDS, messages="erase"))
    ensureDeferred(work).addCallback(results.append)
    assert (ana.link.ended, other.link.ended, bob.link.ended) == ([], ["erased"], [])
    town.clock.pump([POLL_SECONDS] * 10)
    assert town.store.called(forget) == []
    other.session.waiting = False
    town.clock.advance(POLL_SECONDS)
    [(_, args, keywords)] = [call for call in town.store.calls if call[0] is forget]
    assert (args[0].who, args[0].at, keywords) == (ANA, AT, {"messages": True})
    assert results == [Outcome(Done(Sentence(Note.ERASED)))]


def test_forgetting_again(town: Town) -> None:
    """A retry on the same connection, which has not ended yet: the account is erased already."""
    ana = town.logged_in(ANA)
    town.accounts[ANA.id] = Credentials(ANA.id, "erased-1", PERSON, "", disabled=True, created_at=LONG_AGO)
    done = outcome(town.handshake.sensitive.forget(ana.session, c.Forget(password=WORDS)))
    assert [(one.account_id, one.reason) for one in done.effects] == [(ANA.id, "erased")]
    assert town.store.called(forget) == []


def test_forgetting_with_a_wrong_password(town: Town) -> None:
    """Nothing is erased, and nobody's connection ends."""
    ana, other = town.logged_in(ANA), town.logged_in(ANA)
    with pytest.raises(Refused, match="bad-credentials"):
        outcome(town.handshake.sensitive.forget(ana.session, c.Forget(password="another one")))
    assert (other.link.ended, town.store.called(forget)) == ([], [])


def test_forgetting_keeps_messages(town: Town) -> None:
    """The choice stays until another one is made."""
    ana = town.logged_in(ANA)
    outcome(town.handshake.sensitive.forget(ana.session, c.Forget(password=WORDS)))
    assert town.store.calls[-1][2] == {"messages": False}
