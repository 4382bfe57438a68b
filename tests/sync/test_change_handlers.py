"""What a reload changes for those who come, and for those who are there."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs
from twisted.internet.defer import ensureDeferred

from chatserver.login.hashing import Hasher, hash_nobody
from chatserver.net.connection import connections
from chatserver.net.connection.connection import Connection
from chatserver.net.doors.factory import ProxyGate
from chatserver.net.doors.line import LineDoor
from chatserver.net.limits.account_share import Allowance
from chatserver.session.link import FULL_BYTES
from chatserver.settings.tables import Passwords
from chatserver.values.events import AccountLimits
from chatserver.wire.addresses import Listed
from tests.operation.reloading import Town
from tests.support.hall import PASSWORD, Client

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.7"


def errors(client: Client) -> list[str]:
    return [answer["error"] for answer in client.answers if not answer["ok"]]


def log_in(town: Town, name: str, password: str = PASSWORD) -> Client:
    return town.hall.client().post("login", name=name, password=password)


# The server


def test_words(town: Town) -> None:
    """The greeting, the name and the message of the day are for those who come from then on."""
    before = town.hall.client()
    town.server(name="chat.example.org")
    assert town.hall.client().lines == ["* Welcome to chat.example.org. Type your name to log in, or /help."]
    town.server(greeting="Hello!", motd="Closed on Sunday.")
    assert (len(before.lines), town.hall.client().lines) == (1, ["* Hello!"])
    assert [e["text"] for e in town.hall.program("ana").events if e["event"] == "notice"][-1] == "Closed on Sunday."


def test_who_may_register(town: Town) -> None:
    """Registration, its code, reserved names and guests."""
    newcomers = iter(["ana", "bob", "cai", "dan", "eve"])

    def registers(**fields: Any) -> list[str]:
        return errors(town.hall.client().post("register", name=next(newcomers), password=PASSWORD, **fields))

    assert registers() == []
    town.server(registration="closed")
    assert registers() == ["closed-registration"]
    town.server(registration="code", registration_code="sesame")
    assert (registers(code="other"), registers(code="sesame")) == (["closed-registration"], [])
    town.server(reserved_names=["eve"])
    assert registers() == ["bad-name"]
    assert errors(town.hall.client().post("guest")) == ["not-allowed"]
    town.server(guests=True)
    assert errors(town.hall.client().post("guest")) == []


def test_default_rooms(town: Town) -> None:
    """A new one is created as by a restart: those who register from then on are members, and others can join it."""
    ana = town.hall.program("ana")
    assert town.server(default_rooms=["general", "news"]).changed == ["server.default_rooms"]
    bob = town.hall.program("bob")
    bob.say("hello", room="news")
    assert (bob.heard("news"), ana.heard("news")) == ([2], [])
    assert ana.post("join", room="news").answers[-1]["ok"]
    town.server(default_rooms=["general"])
    assert town.hall.program("cai").heard("news") == []


def test_proxies(town: Town) -> None:
    """Connections from a proxy that was added have to begin with a header."""
    hall, server = town.hall, town.hall.settings.server
    proxies = Listed(lambda: server.trusted_proxies)
    chat = hall.factory(proxies=proxies)
    at: Any = SimpleNamespace(host=HERE)
    assert isinstance(chat.buildProtocol(at), LineDoor)
    town.server(trusted_proxies=[f"{HERE}/32"])
    assert isinstance(chat.buildProtocol(at), ProxyGate)


def test_origins(town: Town) -> None:
    """Pages that may connect, from then on."""

    def status(origin: str) -> bytes:
        browser = town.hall.browser()
        request = browser.protocol.connect()
        request.headers["Origin"] = origin
        browser.protocol.send_request(request)
        return browser.raw(b"".join(browser.protocol.data_to_send())).wire.taken[9:12]

    assert status("https://www.example.org") == b"403"
    town.server(origins=["https://www.example.org"])
    assert status("https://www.example.org") == b"101"


# Rates and counts, for connections that are there


def pings(client: Client, count: int) -> int:
    """Sends so many at once; returns how many are answered at once."""
    before = len(client.answers)
    client.send(b'{"cmd":"ping"}\n' * count)
    return len(client.answers) - before


def test_rates(town: Town) -> None:
    """Of a connection, of an account, and none any more."""
    ana = town.hall.program("ana")
    other = log_in(town, "ana")
    assert pings(ana, 50) == 50
    town.limits(commands_per_second=1, command_burst=5)
    assert pings(ana, 50) == 5
    town.hall.passes(3)
    assert pings(ana, 0) == 0
    assert len(ana.answers) == 1 + 50 + 5 + 3
    town.limits(account_commands_per_second=1, account_command_burst=3, commands_per_second=0)
    town.hall.passes(100)
    assert sum(pings(one, 10) for one in (ana, other)) == 3
    town.limits()
    town.hall.passes(100)
    assert pings(ana, 200) == 200


def test_rates_of_an_account_with_limits_of_its_own(town: Town) -> None:
    """A value that an operator has set for an account stays, whatever the settings say."""
    ana = town.hall.program("ana")
    ana.session.who = structs.replace(ana.session.who, limits=AccountLimits(commands_per_second=1))
    assert pings(ana, 50) == 10
    town.limits(commands_per_second=30, command_burst=40)
    town.hall.passes(100)
    assert pings(ana, 50) == 10


def test_bytes(town: Town) -> None:
    """A client that was as fast as it liked is read later than it sends."""
    ana = town.hall.program("ana")
    town.limits(bytes_per_second=100, byte_burst=1000)
    ana.say("x" * 2000)
    assert pings(ana, 1) == 0
    town.hall.passes(20)
    assert ana.said == ["x" * 2000]


def test_what_is_read_at_once(town: Town) -> None:
    """The window, and the lines and bytes of a turn."""
    ana = town.hall.program("ana")
    town.limits(window=2, turn_lines=3, turn_bytes=100)
    assert (ana.connection.reader.intake.limited, pings(ana, 50)) == (True, 50)
    town.hall.inline.hold()
    ana.send(b'{"cmd":"rooms"}\n' * 10)
    assert len(ana.session.inbox) <= 2
    town.hall.inline.release()
    town.hall.settle()


def test_connections_of_an_account(town: Town) -> None:
    """Those that are there may stay; the next login ends the oldest."""
    anas = [town.hall.program("ana"), log_in(town, "ana"), log_in(town, "ana")]
    town.limits(connections_per_account=3)
    assert [ana.closing for ana in anas] == [[], [], []]
    log_in(town, "ana")
    assert [ana.closing for ana in anas] == [["too-many-connections"], [], []]


def test_unsent_bytes(town: Town) -> None:
    """More waits for an account that reads nothing, or less."""
    ana = town.hall.program("ana")
    ana.wire.room = 0
    town.hall.program("bob").say("x" * 2000)
    assert ana.connection.writable
    town.limits(unsent_bytes_per_account=1000)
    log_in(town, "bob").say("hello")
    assert not ana.connection.writable


def test_refused_commands(town: Town) -> None:
    """Strikes, failed logins, and what may be sent before logging in."""
    ana = town.hall.program("ana")
    town.limits(strikes=2, failed_logins=1, handshake_bytes=100)
    ana.send(b"{}\n{}\n")
    assert ana.closing == ["strikes"]
    assert log_in(town, "ana", "wrong-words").closing == ["failed-logins"]
    assert town.hall.client().send(b"{" + b" " * 200).closing == ["handshake"]


def test_silence(town: Town) -> None:
    """Clients that are there are pinged from then on, and those that are pinged are not any more."""
    ana = town.hall.program("ana")
    town.hall.passes(100)
    town.limits(ping_seconds=10, pong_seconds=5)
    town.hall.passes(11)
    assert [e["event"] for e in ana.events[-1:]] == ["ping"]
    ana.post("ping")
    town.limits(ping_seconds=50, pong_seconds=5)
    pinged = len(ana.events)
    town.hall.passes(45)
    assert len(ana.events) == pinged
    town.hall.passes(6)
    assert len(ana.events) == pinged + 1
    town.limits(ping_seconds=0)
    town.hall.passes(1000)
    assert (len(ana.events), ana.closing, town.hall.clock.getDelayedCalls()) == (pinged + 1, [], [])


def test_those_who_read_nothing(town: Town) -> None:
    """A client that is stuck already has the new time, from then on; or any."""
    ana = town.hall.program("ana")
    ana.wire.room = 0
    bob = town.hall.program("bob")
    for _ in range(FULL_BYTES // 4000 + 1):
        bob.say("x" * 4000)
    assert not ana.connection.writable
    town.limits(stalled_seconds=10)
    town.hall.passes(5)
    town.limits(stalled_seconds=0)
    town.hall.passes(100)
    assert not ana.wire.aborted
    town.limits(stalled_seconds=10, least_bytes_per_second=64)
    town.hall.passes(9)
    assert not ana.wire.aborted
    town.hall.passes(2)
    assert ana.wire.aborted


def test_presence(town: Town) -> None:
    """How soon others are told, how often, and in rooms of which size."""
    hall = town.hall
    ana, bob = hall.program("ana"), hall.program("bob")

    def told() -> list[bool]:
        return [e["online"] for e in ana.events if e["event"] == "presence"]

    before = len(told())
    town.limits(presence_seconds=10)
    bob.cut()
    hall.passes(9)
    assert len(told()) == before
    hall.passes(2)
    assert told()[before:] == [False]
    town.limits(presence_members=1)
    log_in(town, "bob").cut()
    hall.passes(100)
    assert len(told()) == before + 1
    town.limits(news_seconds=50)
    bob = log_in(town, "bob")
    bob.post("away", text="lunch")
    hall.passes(40)
    assert told()[before:] == [False, True]
    town.limits(news_seconds=1)
    bob.post("away", text="tea")
    hall.passes(3)
    assert told()[before:] == [False, True, True]


# For those who come


def test_the_time_to_log_in(town: Town) -> None:
    """For connections that come from then on."""
    before = town.hall.client()
    town.limits(typing_seconds=5)
    after = town.hall.client()
    town.hall.passes(6)
    assert (len(before.lines), "did not log in" in after.lines[-1]) == (1, True)


def test_the_longest_line(town: Town) -> None:
    """For connections that come from then on; each is told the limit that it has."""
    ana = town.hall.program("ana")
    town.limits(max_line_bytes=100)
    bob = town.hall.program("bob")
    for client in (ana, bob):
        client.say("x" * 1000)
    assert (ana.said, errors(bob)) == (["x" * 1000], ["line-too-long"])
    ana.say("x" * 60_000)
    assert ["at most 53248 bytes" in ana.answers[-1]["text"], "at most 100 bytes" in bob.answers[-1]["text"]] == [
        True
    ] * 2


def test_quotas(town: Town) -> None:
    """How many may come from an address, and how fast."""
    for _ in range(5):
        town.comes_from(HERE)
    town.limits(connections_per_address=6, pending_per_address=0)
    first = town.comes_from(HERE)
    assert first.lines[0].startswith("* Welcome")
    town.comes_from(HERE)
    assert town.hall.connections.admission._open[HERE] == 6
    town.limits(connections_per_minute=2)
    for _ in range(30):
        town.hall.connections.admission.arrivals.count(HERE, town.hall.clock.seconds())
    assert "too-many-connections" in town.comes_from(HERE).lines[0]
    town.limits(offences_per_address=1)
    for _ in range(20):
        town.hall.connections.admission.offence(ELSEWHERE)
    assert "too-many-connections" in town.comes_from(ELSEWHERE).lines[0]
    town.limits()
    town.hall.connections.admission.sweep()
    assert town.comes_from(ELSEWHERE).lines[0].startswith("* Welcome")


def test_a_lower_rate(town: Town) -> None:
    """Whoever was allowed to come often is not refused for minutes because of that."""
    town.limits(connections_per_minute=1000)
    for _ in range(5000):
        town.hall.connections.admission.arrivals.count(HERE, town.hall.clock.seconds())
    town.limits(connections_per_minute=1)
    town.hall.passes(121)
    assert town.hall.connections.admission.refusal(HERE) is None


def test_crowds_that_are_let_be(town: Town) -> None:
    """If the quotas of strangers end, nobody makes way any more."""
    town.limits(pending_per_address=2, pending_per_network=2)
    for _ in range(5):
        town.comes_from(HERE)
    town.limits()
    town.hall.passes(5)
    assert len(town.hall.connections.open) == 5


def test_exempt_addresses(town: Town) -> None:
    """Those who came before go on as they came; whoever is counted, and whoever is not, is so up to the end."""
    admission = town.hall.connections.admission
    counted = town.comes_from(HERE)
    town.limits(connections_per_address=2, exempt=[f"{HERE}/32"])
    free = [town.comes_from(HERE) for _ in range(3)]
    assert (admission._opens, admission.exempt(HERE)) == (1, True)
    counted.cut()
    assert admission._opens == 0
    town.limits(connections_per_address=2)
    late = [town.comes_from(HERE) for _ in range(2)]
    assert admission._opens == 2
    for client in (*free, *late):
        client.cut()
    assert (admission._opens, dict(admission._open), len(admission._pending), admission._uncounted) == (0, {}, 0, set())


def test_guesses(town: Town) -> None:
    """The wait after a wrong password."""
    town.hall.program("ana")
    for _ in range(9):
        assert errors(log_in(town, "ana", "wrong-words")) == ["bad-credentials"]
    town.limits(guess_seconds=10, guess_seconds_most=60)
    log_in(town, "ana", "wrong-words")
    answer = log_in(town, "ana", "wrong-words").answers[-1]
    assert (answer["error"], answer["retry"]) == ("slow-down", 11)


def test_new_accounts(town: Town) -> None:
    """How many are registered from an address within an hour, how many guests are there, and how long a password is."""
    town.change("[server]\nguests = true\n[limits]\nregistrations_per_hour = 2\nguests_per_address = 1\n")
    for name in ("ana", "bob"):
        town.hall.program(name)
    assert errors(town.hall.client().post("register", name="cai", password=PASSWORD)) == ["slow-down"]
    guest = town.hall.client().post("guest")
    assert errors(town.hall.client().post("guest")) == ["slow-down"]
    guest.cut()
    town.change("[passwords]\nmin_length = 20\n")
    assert errors(town.hall.client().post("register", name="dan", password="short-words")) == ["bad-password"]


def test_what_an_account_may_have(town: Town) -> None:
    """Rooms, tokens and invitations, for accounts that are there."""
    ana = town.hall.program("ana")
    town.hall.program("bob")
    assert ana.post("create", room="one", private=True).answers[-1]["ok"]
    town.limits(rooms_per_account=1)
    assert ana.post("create", room="two").answers[-1]["error"] == "not-allowed"
    ana.post("token", label="one", password=PASSWORD)
    town.limits(tokens_per_account=1)
    assert ana.post("token", label="two", password=PASSWORD).answers[-1]["error"] == "not-allowed"
    for _ in range(3):
        assert ana.post("leave", room="general").post("join", room="general").answers[-1]["ok"]
    town.limits(joins_per_minute=1)
    ana.post("leave", room="general")
    assert ana.post("join", room="general").answers[-1]["error"] == "slow-down"
    ana.post("invite", room="one", name="bob")
    town.hall.program("cai")
    town.limits(invitations_sent=1)
    assert not ana.post("invite", room="one", name="cai").answers[-1]["ok"]


def test_long_answers(town: Town) -> None:
    """An answer of the store, one without it, and the welcome."""
    ana = town.hall.program("ana")
    for number in range(40):
        ana.post("create", room=f"room{number:0>20}")
        town.hall.program(f"somebody{number}")

    def sizes() -> list[int]:
        return [
            len(json.dumps(client.answers[-1]))
            for client in (ana.post("rooms"), ana.post("who"), log_in(town, "ana"))
        ]  # fmt: skip

    assert min(sizes()) > 1500
    town.limits(answer_bytes=1000)
    assert max(sizes()) < 1500


def test_hashing(tmp_path: Path) -> None:
    """New passwords are hashed with the new parameters, in as many threads as there are to be; old ones are still
    right, and an unknown name takes as long as one whose password was set now."""
    settings = Passwords(memory_kib=8, time_cost=1, threads=1)
    hasher = Hasher(None, settings)
    before = hash_nobody(settings)
    for key, value in (("memory_kib", 64), ("threads", 3)):
        structs.force_setattr(settings, key, value)
    hasher.follow(hash_nobody(settings))
    assert ("m=64" in hasher._nobody, "m=8," in before, hasher._pool.max) == (True, True, 3)
    assert hasher._verify(before, "nobody has this password")
    made: list[str] = []
    hasher._in_thread = _at_once  # type: ignore[method-assign]
    ensureDeferred(hasher.hash("x")).addCallback(made.append)
    assert "m=64" in made[0]


async def _at_once(work: Any, *args: Any) -> Any:
    return work(*args)


def test_parts_that_are_told(town: Town) -> None:
    """The log has its level, the store knows which statements are slow, and hashes are made anew."""
    town.change("[log]\nlevel = 'warn'\nslow_seconds = 7\n[passwords]\nmemory_kib = 16\n")
    assert (town.levels, town.running.store.slow_seconds) == (["warn"], 7)
    assert ["m=16," in hash for hash in town.nobodies] == [True]
    town.change("[shutdown]\nflush_seconds = 9\n")
    assert town.hall.connections.shutdown.flush_seconds == 9


def test_many_connections(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all are told in the same turn of the reactor."""
    monkeypatch.setattr(connections, "SLICE", 3)
    for name in ("ana", "bob", "cai", "dan"):
        town.hall.program(name)
    told: list[int] = []
    counts: list[int] = []

    async def pause(clock: object, seconds: float) -> None:
        counts.append(len(told))

    monkeypatch.setattr(connections, "pause", pause)
    monkeypatch.setattr(Connection, "follow", lambda _: told.append(1))
    monkeypatch.setattr(Allowance, "follow", lambda _: told.append(1))
    ensureDeferred(town.hall.connections.follow())
    assert counts == [3, 6, 8]
