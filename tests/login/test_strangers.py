"""Strangers at the whole server, with the limits of newcomers: what they can try, and which of them wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from chatserver.login.address_quotas import FREE
from chatserver.login.guess_delays import AHEAD
from chatserver.settings.tables import Limits, Server, Settings
from chatserver.store.db.transactions import transact
from tests.support import hall as support
from tests.support.hall import PASSWORD, Client, Hall

THIEF, OWNER = "192.0.2.1", "198.51.100.1"
OpenHall = Callable[..., Hall]


@pytest.fixture
def open_hall(tmp_path: Path) -> Iterator[OpenHall]:
    """Opens a server with these settings of `server`, and these limits besides the default ones."""
    halls: list[Hall] = []

    def open_one(limits: Any = None, **server: Any) -> Hall:
        settings = Settings(
            server=Server(**server),
            limits=Limits(handshake_seconds=0, typing_seconds=0, ping_seconds=0, **(limits or {})),
        )
        halls.append(Hall(tmp_path, settings=settings))
        return halls[-1]

    yield open_one
    for one in halls:
        one.close()


@pytest.fixture
def hall(open_hall: OpenHall) -> Hall:
    return open_hall()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were hashed to be compared."""
    found: list[str] = []
    verify = support.PlainHasher.verify

    async def counting(self: Any, hash: str | None, password: str) -> bool:
        found.append(password)
        return await verify(self, hash, password)

    monkeypatch.setattr(support.PlainHasher, "verify", counting)
    return found


def come(hall: Hall, address: str = OWNER) -> Client:
    return hall.client(address=IPv4Address("TCP", address, 40000))


def registered(hall: Hall, name: str, address: str = OWNER) -> Client:
    client = come(hall, address)
    client.come_in(name)
    return client


def login(client: Client, name: str, password: str = PASSWORD) -> Client:
    return client.post("login", name=name, password=password)


@contextmanager
def everything_logged() -> Iterator[list[str]]:
    """Scope: all that is logged within it."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    observer = implementer(ILogObserver)(observe)
    globalLogPublisher.addObserver(observer)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observer)


# Guesses


def test_a_hundred_guesses_at_once(hall: Hall, hashed: list[str]) -> None:
    """A hundred connections guess at the same moment: a few get to a hash; the others are refused with the time to come
    back, and stay connected. The owner gets in from elsewhere, and with a token from anywhere."""
    ana = registered(hall, "ana")
    token = ana.post("token", label="bot", password=PASSWORD).answers[-1]["token"]
    hashed.clear()
    thieves = [login(come(hall, THIEF), "ana", f"guess {number}") for number in range(60)]
    hall.passes(20)
    assert len(hashed) <= AHEAD
    assert all(not thief.answers[-1]["ok"] for thief in thieves)
    refused = [thief for thief in thieves if thief.answers[-1]["error"] == "slow-down"]
    assert len(refused) >= 60 - AHEAD
    assert all(isinstance(thief.answers[-1]["retry"], int) and not thief.wire.lost for thief in refused)
    assert login(come(hall), "ana").answers[-1]["ok"]
    assert come(hall, THIEF).post("login", token=token).answers[-1]["ok"]


def test_known_and_unknown_names(hall: Hall, hashed: list[str]) -> None:
    """A guess at a name that does not exist is answered, delayed and hashed like one at a name that does."""
    registered(hall, "ana")
    hall.passes(1)
    hashed.clear()
    seen = []
    for number, name in enumerate(("ana", "nobody-there")):
        client = come(hall, f"203.0.113.{number}")
        for guess in range(2):
            login(client, name, f"guess {guess}")
        before = len(client.answers)
        hall.passes(3)
        seen.append((before, client.answers, len(hashed)))
        hashed.clear()
    assert seen[0] == seen[1]
    assert seen[0][2] == 2


def test_a_short_delay_is_silent(hall: Hall) -> None:
    """After a typing error the answer comes a little later, in order, and the next lines wait meanwhile."""
    registered(hall, "ana")
    client = come(hall, THIEF)
    login(client, "ana", "mistyped")
    client.post("login", name="ana", password=PASSWORD, tag=1).post("ping", tag=2)
    assert [answer.get("tag") for answer in client.answers] == [None]
    hall.passes(1.1)
    assert [answer["ok"] for answer in client.answers] == [False, True, True]


def test_wrong_codes(open_hall: OpenHall) -> None:
    """A registration code is guessed at no faster than a password, and wrong ones end the connection."""
    hall = open_hall(registration="code", registration_code="open sesame")
    client = come(hall, THIEF)
    for number in range(3):
        client.post("register", name="thief", password=PASSWORD, code=f"guess {number}")
        hall.passes(4)
    assert [answer["error"] for answer in client.answers] == ["closed-registration"] * 3
    assert client.closing == ["failed-logins"]
    for _ in range(2):
        late = come(hall, THIEF).post("register", name="thief", password=PASSWORD, code="open sesame")
        hall.passes(1)
    assert late.answers == [] or late.answers[-1].get("error") in ("slow-down", None)
    assert come(hall).post("register", name="ana", password=PASSWORD, code="open sesame").answers[-1]["ok"]


def test_the_code_is_not_checked_too_early(open_hall: OpenHall) -> None:
    """A client that has to wait learns nothing from the right code."""
    hall = open_hall(registration="code", registration_code="open sesame")
    for number in range(8):
        come(hall, THIEF).post("register", name="thief", password=PASSWORD, code=f"guess {number}")
    hall.passes(8)
    late = come(hall, THIEF).post("register", name="thief", password=PASSWORD, code="open sesame")
    assert late.answers[-1]["error"] == "slow-down"


def test_guessing_while_logged_in(hall: Hall, hashed: list[str]) -> None:
    """Commands that ask for the password count, too: an open session does not give the password away."""
    ana = registered(hall, "ana")
    hashed.clear()
    for number in range(10):
        ana.post("password", old=f"guess {number}", new="an0ther-one")
        hall.passes(1)
        ana.post("forget", password=f"guess {number}")
        hall.passes(1)
    errors = [answer["error"] for answer in ana.answers[1:]]
    assert set(errors) == {"bad-credentials", "slow-down"}
    assert len(hashed) <= 2 * 6  # the old one, and the new one in case it is a retry


def test_names_at_the_prompt(hall: Hall) -> None:
    """Nobody learns hundreds of names in a moment, from one connection or from many; others are not held up."""
    registered(hall, "ana")
    known = 0
    for _ in range(10):
        client = come(hall, THIEF)
        for number in range(90):
            client.type(f"user-{number}", "")
        hall.passes(1)
        known += client.seen.count(b"is new here")
    assert FREE <= known <= FREE + 10
    hall.passes(60)
    assert b"Too many names were tried" in client.seen
    assert "Hello ana" in come(hall).type("ana").lines[-1]


def test_names_asked_by_registering(hall: Hall) -> None:
    """The answer to `register` tells whether a name is taken, too."""
    registered(hall, "ana")
    hall.clock.advance(3600)  # until registering the name is no retry any more
    hall.settle()
    errors = []
    for _ in range(4):
        client = come(hall, THIEF)
        for _ in range(15):
            client.post("register", name="ana", password=PASSWORD)
        hall.passes(1)
        errors += [answer["error"] for answer in client.answers]
    assert errors[:FREE] == ["name-taken"] * FREE
    assert errors[FREE:].count("name-taken") <= 4


# New accounts


def test_registrations_an_hour(open_hall: OpenHall) -> None:
    """An address may register so many accounts an hour; what is refused does not count, and others may register."""
    hall = open_hall({"registrations_per_hour": 3})
    first = registered(hall, "ana", THIEF)
    come(hall, THIEF).post("register", name="ana", password=PASSWORD)
    come(hall, THIEF).post("register", name="bob", password="short")
    for name in ("bob", "cai"):
        registered(hall, name, THIEF)
    late = come(hall, THIEF).post("register", name="dan", password=PASSWORD)
    assert (late.answers[-1]["error"], late.answers[-1]["retry"]) == ("slow-down", 3601)
    assert login(late, "ana").answers[-1]["ok"]
    registered(hall, "dan")
    hall.clock.advance(3601)
    hall.settle()
    registered(hall, "eve", THIEF)
    assert not first.wire.lost


def test_guests_of_an_address(open_hall: OpenHall) -> None:
    """An address may have so many guests at the same time; a place is free again when one leaves."""
    hall = open_hall({"guests_per_address": 2}, guests=True)
    guests = [come(hall, THIEF).post("guest") for _ in range(3)]
    assert [guest.answers[-1]["ok"] for guest in guests] == [True, True, False]
    assert guests[2].answers[-1]["error"] == "slow-down"
    assert come(hall).post("guest").answers[-1]["ok"]
    guests[0].cut()
    hall.passes(1)
    assert guests[2].post("guest").answers[-1]["ok"]
    assert registered(hall, "ana", THIEF).answers[-1]["ok"]


@pytest.mark.parametrize("around", ["203.0.113.{}", "2001:db8:0:{:x}::1"])
def test_a_whole_network(open_hall: OpenHall, around: str) -> None:
    """All addresses of a network together may register, ask for names, try codes and be guests a few times as often as
    one of them; addresses elsewhere may then do all of that."""
    times = 2
    hall = open_hall({"network_times": times, "registrations_per_hour": 1, "guests_per_address": 1}, guests=True)
    for first, command, fields in (0, "register", {"password": PASSWORD}), (10, "guest", {}):
        answers = []
        for one in range(2 * times):
            name = {"name": f"new{one}"} if fields else {}
            client = come(hall, around.format(first + one)).post(command, **name, **fields)
            answers.append(client.answers[-1])
        assert [answer["ok"] for answer in answers] == [True] * times + [False] * times
        assert "from your network" in answers[-1]["text"]
        assert come(hall).post(command, **name, **fields).answers[-1]["ok"]
    known = 0
    for one in range(2 * times * FREE):
        client = come(hall, around.format(one % 250)).type(f"user-{one}")
        known += client.seen.count(b"is new here")
    assert times * (FREE - 1) <= known <= times * (FREE + 5)
    closed = open_hall({"network_times": times}, registration="code", registration_code="open sesame")
    answers = []
    for one in range(100):
        wrong = come(closed, around.format(one)).post("register", name="thief", password=PASSWORD, code="guess")
        answers += wrong.answers
    assert sum(answer["error"] == "closed-registration" for answer in answers) < 40


@pytest.mark.parametrize("name", ["admin", "Server", "ADM1N", "erased-7", "boss", "AL1CE", "alice-"])
def test_names_that_mislead(open_hall: OpenHall, name: str) -> None:
    """They cannot be registered, whether a person types them or a program sends them."""
    hall = open_hall(reserved_names=["boss"])
    registered(hall, "alice")
    program = come(hall).post("register", name=name, password=PASSWORD)
    assert program.answers[-1]["error"] == "bad-name"
    person = come(hall).type(name)
    assert person.lines[-2].startswith("! ")
    assert "hoose" in person.lines[-2]
    assert "is new here" not in person.seen.decode()


def test_display_names_that_mislead(open_hall: OpenHall) -> None:
    """Names that the server reserves cannot be display names either, in whatever letters."""
    hall = open_hall(reserved_names=["boss"])
    ana = registered(hall, "ana")
    assert ana.post("rename", display="The Bᴏѕѕ").answers[-1]["error"] == "bad-name"
    assert ana.post("rename", display="Ana Boss").answers[-1]["ok"]


def test_the_same_name_again(hall: Hall) -> None:
    """A retry of a registration, with the name in another case, is the same name, and no look-alike."""
    registered(hall, "alice")
    assert come(hall).post("register", name="Alice", password=PASSWORD).answers[-1]["name"] == "alice"


# What is logged


def test_audit_lines(open_hall: OpenHall) -> None:
    """One line for each login, failed login and registration, with address and name; of what was typed, only the names
    of accounts."""
    hall = open_hall(guests=True)
    with everything_logged() as lines:
        ana = registered(hall, "ana")
        token = ana.post("token", label="bot", password=PASSWORD).answers[-1]["token"]
        come(hall).post("login", token=token)
        login(come(hall, THIEF), "ANA", "hunter2-guess")
        hall.passes(5)
        login(come(hall, THIEF), "hunter2-name", "hunter2-guess")
        come(hall, THIEF).post("login", token="ct_hunter2-token")
        come(hall, "192.0.2.9").post("guest")
        come(hall, THIEF).type("hunter2", "", "hunter2 and words", "/login hunter2")
    found = [line for line in lines if line.startswith(("audit: login", "audit: failed-login", "audit: registered"))]
    assert found == [
        f"audit: registered address={OWNER} name=ana",
        f"audit: login address={OWNER} name=ana how=password",
        f"audit: login address={OWNER} name=ana how=token",
        f"audit: failed-login address={THIEF} name=ana why=password",
        f"audit: failed-login address={THIEF} why=password",
        f"audit: failed-login address={THIEF} why=token",
        "audit: login address=192.0.2.9 name=~2 how=guest",
    ]
    assert "hunter2" not in "".join(lines)
    assert PASSWORD not in "".join(lines)


def test_the_log_is_not_flooded(hall: Hall) -> None:
    """Refusals that say to wait leave no line: delays bound the number of lines."""
    registered(hall, "ana")
    with everything_logged() as lines:
        for _ in range(30):
            client = come(hall, THIEF)
            for number in range(3):
                login(client, "ana", f"guess {number}")
            come(hall, THIEF).type(*("ana", "") * 50)
            come(hall, THIEF).post("login", token="ct_unknown").post("login", token="ct_unknown")
        hall.passes(30)
    for why in ("password", "token", "name"):
        assert 0 < sum("failed-login" in line and line.endswith(f"why={why}") for line in lines) <= 12


def test_an_account_without_skeleton(hall: Hall) -> None:
    """Rows that were inserted by hand are names like others."""
    registered(hall, "ana")
    transact(hall.engine, lambda db: db.exec_driver_sql("UPDATE account SET skeleton = NULL"))
    assert registered(hall, "bob").answers[-1]["ok"]
    assert come(hall).post("register", name="ANA", password="an0ther-one").answers[-1]["error"] == "name-taken"
