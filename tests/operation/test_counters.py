"""The numbers that /metrics and `chatctl stats` show are true."""

import json
import random
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs
from twisted.internet.defer import Deferred

from chatserver.net.counts import ENDINGS, OTHER, ConnectionCounts
from chatserver.operation.monitoring.counters import PROBE_SECONDS, Behind, Lag
from chatserver.util.histogram import TAKE_SIZES, Histogram
from tests.net.conftest import OpenHall
from tests.support.hall import PASSWORD, QUIET, Client, Hall, PlainHasher
from tests.support.observed import running, seen
from tests.support.sentences import written


def open_connections(hall: Hall) -> dict[tuple[str, str, str], int]:
    return seen(hall).connections


def test_connections_are_counted_by_stage_dialect_and_door(hall: Hall) -> None:
    """Where everybody stands is counted, and nobody any more once all have left."""
    stranger = hall.client()
    typist = hall.client().type("ana", "yes", "s3cret-words", "s3cret-words")
    program = hall.program("bob")
    browser = hall.browser().upgrade()
    page = hall.browser().upgrade().come_in("carla")
    prompted = hall.client().type("dora")

    assert open_connections(hall) == {
        ("new", "text", "line"): 1,
        ("in", "text", "line"): 1,
        ("in", "jsonl", "line"): 1,
        ("greeting", "jsonl", "ws"): 1,
        ("in", "jsonl", "ws"): 1,
        ("confirm", "text", "line"): 1,
    }
    assert (seen(hall).accounts, seen(hall).rooms, seen(hall).subscriptions) == (3, 1, 3)

    for client in (stranger, typist, program, browser, page, prompted):
        client.cut()
    hall.passes(3)
    gone = seen(hall)
    assert (gone.connections, gone.accounts, gone.rooms, gone.subscriptions) == ({}, 0, 0, 0)
    assert gone.accepted == 6
    assert gone.endings == {"lost": 6}


def test_commands_are_counted_by_kind_and_outcome(hall: Hall) -> None:
    """Every command that is answered counts once, and a refused login counts as one."""
    ana = hall.program("ana")
    hall.client().post("register", name="ana", password="other-words").post("login", name="bob", password="x" * 9)
    for number in range(5):
        ana.say(str(number))
    ana.say("again", id="one").say("again", id="one")  # a retry is done, too
    ana.post("ping").post("rooms").post("delete", room="general").post("who")
    ana.say("hello", room="nowhere").post("join", room="nowhere").post("nonsense")

    now = seen(hall)
    assert now.commands == {
        ("login", "ok"): 1,
        ("login", "name-taken"): 1,
        ("login", "bad-credentials"): 1,
        ("say", "ok"): 7,
        ("say", "no-such-room"): 1,
        ("ping", "ok"): 1,
        ("rooms", "ok"): 1,
        ("delete", "not-allowed"): 1,
        ("who", "ok"): 1,
        ("join", "no-such-room"): 1,
    }
    assert now.stored == 6
    assert now.refusals == {
        "name-taken": 1, "bad-credentials": 1, "no-such-room": 2, "not-allowed": 1, "bad-command": 1,
    }  # fmt: skip
    assert sum(now.refusals.values()) == sum(answer["ok"] is False for answer in ana.answers) + 2


def test_messages_that_the_store_refuses_count_as_such(hall: Hall) -> None:
    """A message whose fate is unknown is not counted as stored, and its command as unavailable."""
    ana = hall.program("ana")
    hall.inline.lost_answers = 1
    ana.say("hello")
    assert seen(hall).commands["say", "unavailable"] == 1
    assert seen(hall).stored == 0


def test_a_bug_is_a_fault(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that met a bug is not counted like a database that is away."""

    async def broken(*_: object) -> None:
        raise RuntimeError

    ana = hall.program("ana")
    monkeypatch.setattr(hall.inline, "read", broken)
    ana.post("rooms")
    assert seen(hall).commands["rooms", "fault"] == 1


def test_deliveries_are_counted_for_each_subscriber(hall: Hall) -> None:
    """Each entry counts for each subscriber once, whether it was sent at once or read from the store later."""
    members = [hall.program(name) for name in ("ana", "bob", "carla", "dora")]
    before = seen(hall).delivered
    members[0].send(b"".join(b'{"cmd":"say","room":"general","text":"%d"}\n' % number for number in range(10)))
    assert seen(hall).delivered - before == 40
    assert seen(hall).behind == Behind(0, 0, 0)

    slow = members[3]
    slow.wire.room = 0
    text = "x" * 4000
    for _ in range(20):
        members[0].say(text)
    stalled = seen(hall)
    assert stalled.behind.readers == 1
    assert 0 < stalled.behind.most == stalled.behind.entries < 20
    assert stalled.delivered - before == 40 + 80 - stalled.behind.entries

    slow.read()
    hall.passes(1)
    after = seen(hall)
    assert after.behind == Behind(0, 0, 0)
    assert after.delivered == stalled.delivered
    assert after.caught_up == stalled.behind.entries
    assert slow.heard()[-30:] == members[0].heard()[-30:]


def test_a_huge_room_counts_like_any_other(open_hall: OpenHall) -> None:
    """Writing in slices changes no number, and takes until the last slice is written."""
    hall = open_hall()
    members = [hall.program(f"user{number}") for number in range(7)]
    hall.registry.order._fanout._huge, hall.registry.order._fanout._slice = 3, 2
    before = seen(hall)
    members[0].say("one")
    members[0].say("two")
    now = seen(hall)
    assert now.delivered - before.delivered == 14
    assert now.delivery_seconds.count - before.delivery_seconds.count == 2


def test_times_are_measured_from_the_line_to_the_commit(hall: Hall) -> None:
    """The wait in the queue and the time to the commit begin when a message could have been served."""
    ana, bob = hall.program("ana"), hall.program("bob")
    before = seen(hall)
    hall.inline.hold()
    ana.say("first")  # its take waits for the store
    hall.passes(0.3)
    bob.say("second")  # waits in the lane
    assert seen(hall).queued == {"write": 1, "read": 0}
    hall.passes(0.2)
    hall.inline.release()
    hall.settle()

    now = seen(hall)
    assert now.queued == {"write": 0, "read": 0}
    assert now.takes.count - before.takes.count == 2
    assert now.waits["write"].total - before.waits["write"].total == pytest.approx(0.2)
    assert now.commit_seconds.total - before.commit_seconds.total == pytest.approx(0.5 + 0.2)
    assert now.commit_seconds.count - before.commit_seconds.count == 2


def test_a_client_that_reads_nothing_is_not_taken_for_a_long_queue(hall: Hall) -> None:
    """Commands that wait for their own client to read answers do not count as waiting for the server."""
    ana = hall.program("ana")
    before = seen(hall).waits
    ana.wire.room = 0
    says = [json.dumps({"cmd": "say", "room": "general", "text": "x" * 4000})] * 6
    ana.send("\n".join([*says, '{"cmd":"rooms"}', '{"cmd":"rooms"}', ""]).encode())
    assert len(ana.session.inbox) == 4
    hall.passes(60)
    ana.read()
    hall.passes(1)
    assert not ana.session.inbox
    after = seen(hall).waits
    assert after["read"].count - before["read"].count == 2
    assert after["read"].total == pytest.approx(before["read"].total)


def test_messages_of_a_take_are_counted_together(hall: Hall) -> None:
    """The size of a take is the number of messages in its transaction."""
    ana = hall.program("ana")
    hall.inline.hold()
    ana.say("alone")
    ana.send(b'{"cmd":"say","room":"general","text":"together"}\n' * 5)
    hall.inline.release()
    hall.settle()
    takes = seen(hall).takes
    assert takes.bounds == TAKE_SIZES
    assert (takes.count, takes.total) == (2, 6)


def test_passwords_that_wait_are_counted(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that waits for a hashing thread is counted until its turn comes."""
    hall.program("ana").post("quit")
    hashing: list[Deferred[bool]] = []

    async def slow(*_: object) -> bool:
        hashing.append(Deferred())
        return await hashing[-1]

    monkeypatch.setattr(PlainHasher, "verify", slow)
    clients = [hall.client().post("login", name="ana", password=PASSWORD) for _ in range(7)]
    at_once = hall.settings.passwords.threads + 1
    assert seen(hall).hashes_waiting == len(clients) - at_once
    assert len(hashing) == at_once
    assert open_connections(hall)["busy", "jsonl", "line"] == len(clients)
    while hashing:
        hashing.pop(0).callback(True)
        hall.settle()
    assert seen(hall).hashes_waiting == 0
    assert open_connections(hall)["in", "jsonl", "line"] == len(clients)


def test_certificates_are_told_by_endpoint(hall: Hall) -> None:
    """If two endpoints are shown alike, the certificate that expires first counts."""

    def shown(endpoint: str, day: int) -> Any:
        return SimpleNamespace(identity=SimpleNamespace(endpoint=endpoint, until=datetime(2026, 5, day, tzinfo=UTC)))

    hall.connections.identities += [shown("ssl:4001:interface=::1", 3), shown("ssl:4001", 2), shown("ssl:4002", 4)]
    expected = {"ssl:4001": 2, "ssl:4002": 4}
    assert seen(hall).certificates == {
        endpoint: datetime(2026, 5, day, tzinfo=UTC).timestamp() for endpoint, day in expected.items()
    }


def test_endings_are_counted_by_reason(hall: Hall) -> None:
    """Every connection ends once, for one reason; a reason that is no word of the protocol is another."""
    clients = [hall.program(f"user{number}") for number in range(5)]
    clients[0].post("quit")
    clients[1].post("logout")
    clients[2].half_close()
    clients[3].cut()
    clients[4].connection.hang_up("because I say so", written("Goodbye."))
    hall.passes(5)
    assert seen(hall).endings == {"quit": 1, "logout": 1, "eof": 1, "lost": 1, OTHER: 1}


def test_refused_connections_are_counted(open_hall: OpenHall) -> None:
    """A connection that is turned away before it has a door is not one that was let in."""
    hall = open_hall(limits=structs.replace(QUIET, connections=2))
    hall.program("ana"), hall.program("bob")
    hall.client()
    now = seen(hall)
    assert now.turned_away == {"server-full": 1}
    assert now.accepted == 2


def test_the_protocol_s_reasons_are_known() -> None:
    """The endings in the documentation can be counted by these words."""
    text = Path(__file__).parents[2].joinpath("docs/protocol.md").read_text(encoding="utf-8")
    listed = text.partition("The reasons for `closing`:")[2].partition("\n\n")[0]
    words = {word for word in listed.split("`")[1::2] if word not in ("ping", "hello")}
    assert len(words) > 10
    assert words <= ENDINGS


def test_counters_only_go_up_and_gauges_come_down(open_hall: OpenHall) -> None:
    """Whatever clients do, no counter falls; once they have left, nothing is open, queued or behind."""
    hall = open_hall()
    chance = random.Random(7)
    clients: list[Client] = []
    names = iter(range(1000))
    before = counters(hall)
    for _ in range(150):
        match chance.randrange(7):
            case 0:
                clients.append(hall.program(f"user{next(names)}"))
            case 1:
                clients.append(hall.browser().upgrade().come_in(f"user{next(names)}"))
            case 2 if clients:
                clients.pop(chance.randrange(len(clients))).cut()
            case 3 if clients:
                chance.choice(clients).wire.room = chance.choice([None, 0, 100])
            case 4 if clients:
                chance.choice(clients).post("nonsense")
            case _ if clients:
                chance.choice(clients).say("x" * chance.choice([1, 5000]))
        now = counters(hall)
        assert all(now[key] >= count for key, count in before.items()), (before, now)
        before = now
    for client in clients:
        client.cut()
    hall.passes(3)
    gone = seen(hall)
    assert (gone.connections, gone.behind, gone.queued) == ({}, Behind(0, 0, 0), {"write": 0, "read": 0})
    assert (gone.accounts, gone.rooms, gone.subscriptions) == (0, 0, 0)
    assert sum(gone.endings.values()) == gone.accepted


def counters(hall: Hall) -> dict[Any, float]:
    now = seen(hall)
    tables = ("turned_away", "endings", "commands", "refusals", "store_errors")
    found: dict[Any, float] = {(name, key): count for name in tables for key, count in getattr(now, name).items()}
    for name in ("accepted", "stored", "delivered", "caught_up", "bytes_received", "bytes_sent"):
        found[name] = getattr(now, name)
    for name in ("takes", "commit_seconds", "delivery_seconds"):
        found[name] = getattr(now, name).count
    return found


def test_many_connections_are_looked_at_in_several_turns(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reactor does other things while a server with many connections is looked at."""
    monkeypatch.setattr("chatserver.operation.monitoring.counters.SLICE", 2)
    for number in range(5):
        hall.program(f"user{number}")
    with_turns = count_turns(hall)
    assert sum(open_connections(hall).values()) == 5
    assert with_turns() == 2


def count_turns(hall: Hall) -> Callable[[], int]:
    """How many turns of the reactor something has waited for since this call."""
    asked: list[float] = []
    call_later = hall.clock.callLater

    def counting(seconds: float, *what: Any) -> Any:
        asked.append(seconds)
        return call_later(seconds, *what)

    hall.clock.callLater = counting  # type: ignore[assignment, method-assign]
    return lambda: asked.count(0)


class Pair:
    """A TCP connection through the kernel, as a transport."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.server, _ = listener.accept()

    def getHandle(self) -> socket.socket:
        return self.server

    def carry(self, sent: int, received: int) -> None:
        self.client.sendall(b"x" * received)
        self.server.sendall(b"x" * sent)
        for side, size in ((self.client, sent), (self.server, received)):
            while size:
                size -= len(side.recv(size))

    def close(self) -> None:
        self.server.close()
        self.client.close()


def test_bytes_are_the_kernel_s_and_count_once() -> None:
    """However often an open connection is looked at, each byte counts once, and stays counted after the end."""
    counts, pair, other = ConnectionCounts(), Pair(), Pair()
    pair.carry(sent=1000, received=10)
    counts.look("one", pair)
    counts.look("one", pair)
    assert (counts.bytes_sent, counts.bytes_received) == (1000, 10)
    pair.carry(sent=500, received=0)
    other.carry(sent=1, received=2)
    counts.ended("one", pair, "quit")
    counts.ended("other", other, "quit")
    counts.look("one", pair)  # its last words are still on their way
    counts.gone("one")
    for each in (pair, other):
        each.close()
    assert (counts.bytes_sent, counts.bytes_received) == (1501, 12)
    counts.ended("third", pair, "lost")  # its socket is closed: nothing more is known
    assert (counts.bytes_sent, counts.bytes_received) == (1501, 12)


def test_the_reactor_s_lag_is_how_late_it_calls(hall: Hall) -> None:
    """A reactor that something else keeps busy for a second is seen to be late by that, and nothing is left after the
    stop."""
    parts = running(hall)
    lag = Lag(parts)
    lag.started()
    hall.clock.advance(PROBE_SECONDS)
    hall.clock.advance(PROBE_SECONDS + 1)
    assert parts.lag.seen().count == 2
    assert parts.lag.seen().total == pytest.approx(1)
    lag.stopped()
    assert not hall.clock.getDelayedCalls()


def test_a_histogram_counts_each_value_in_its_range() -> None:
    """A value on a bound belongs below it, one above the last bound to the rest, and the sum is that of all."""
    histogram = Histogram((1.0, 2.0, 4.0))
    for value in (0.5, 1.0, 1.5, 4.0, 9.0):
        histogram.observe(value)
    histogram.observe_all([3.0, 3.0, 0.1])
    assert histogram.seen().counts == (3, 1, 3, 1)
    assert histogram.seen().total == pytest.approx(0.5 + 1 + 1.5 + 4 + 9 + 3 + 3 + 0.1)
    assert histogram.seen().quantile(0.5) == 2.0
    assert histogram.seen().quantile(0.99) == 4.0
    assert Histogram().seen().quantile(0.99) == 0.0
    assert Histogram().seen().mean == 0.0
    for _ in range(1000):
        histogram.observe(1.0)
    assert histogram.seen().counts == (1003, 1, 3, 1)
