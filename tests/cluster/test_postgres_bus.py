"""The bus over PostgreSQL's notifications: real connections, and a reactor of the test's own."""

import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url
from twisted.internet.defer import ensureDeferred
from twisted.internet.epollreactor import EPollReactor
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from chatserver.cluster.bus import postgres
from chatserver.cluster.bus.bus import Parcel
from chatserver.cluster.bus.postgres import MOST_TOGETHER, MOST_WAITING, PostgresBus
from chatserver.cluster.frames import MOST_BYTES
from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.nodes.listen_notify import CHANNEL, NAME
from chatserver.store.nodes.nodes import LOCKS
from tests.support.cluster import OneNode
from tests.support.hanging import Relay, stopped
from tests.support.postgres import PostgresServer

SECONDS = 15.0
SECRET = "5ec2e7" * 5


class Listener:
    """One node's bus, and what came over it."""

    def __init__(self, house: "House", url: str, name: str) -> None:
        self.name = name
        self.engine = open_engine(parse_url(url))
        self.bus = PostgresBus(house.reactor, self.engine, OneNode(name), SECRET)
        self.heard: list[bytes] = []
        self.joins: list[list[str]] = []
        self.bus.start(self)

    def received(self, data: bytes) -> None:
        self.heard.append(data)

    def joined(self, channels: Sequence[str]) -> None:
        self.joins.append(list(channels))

    def says(self, *frames: bytes) -> None:
        self.bus.publish([Parcel("", frame) for frame in frames])


class House:
    """A reactor that runs while the test waits, and buses in it."""

    def __init__(self) -> None:
        self.reactor: Any = EPollReactor()
        self.log: list[str] = []
        self.listeners: list[Listener] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            self._observe(event)

        self._observer = observe
        globalLogPublisher.addObserver(observe)

    def _observe(self, event: LogEvent) -> None:
        self.log.append(f"{formatEvent(event)} {event.get('log_failure', '')}")

    def bus(self, url: str, name: str = "one") -> Listener:
        listener = Listener(self, url, name)
        self.listeners.append(listener)
        self.until(lambda: listener.joins, "the bus is connected")
        return listener

    def until(self, true: Callable[[], Any], what: str, seconds: float = SECONDS) -> None:
        deadline = monotonic() + seconds
        while not true():
            assert monotonic() < deadline, f"Not within {seconds:g} s: {what}. {self.log}"
            self.reactor.iterate(0.01)

    def hears(self, listener: Listener, *frames: bytes) -> None:
        self.until(lambda: listener.heard[-len(frames) :] == list(frames), f"{listener.name} hears {frames[-1]!r}")

    def reaches(self, listener: Listener, frame: bytes) -> None:
        """The bus carries frames."""
        listener.says(frame)
        self.until(lambda: frame in listener.heard, f"{frame!r} comes back")

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        over: list[object] = []
        ensureDeferred(work).addBoth(over.append)
        self.until(lambda: over, "the work is done")
        assert over == [None]

    def close(self) -> None:
        for listener in self.listeners:
            self.run(listener.bus.stop())
            listener.engine.dispose()
        globalLogPublisher.removeObserver(self._observer)
        self.reactor.removeAll()
        for reader in list(self.reactor._internalReaders):
            reader.connectionLost(None)
        self.reactor._poller.close()
        assert not [line for line in self.log if "Traceback" in line]


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.close()


def execute(url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    options = make_url(url).translate_connect_args(username="user", database="dbname")
    connection = psycopg2.connect(**options)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())
    finally:
        connection.close()


def end(url: str, pid: int) -> None:
    """Ends the process of one of the connections of a bus."""
    assert execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND pid = %s",
        NAME,
        pid,
    ) == [(True,)]


def has_lock(url: str, node: str) -> bool:
    """Whether somebody has the advisory lock of a node."""
    return execute(url, "SELECT pg_try_advisory_lock(%s, hashtext(%s))", LOCKS, node) == [(False,)]


def descriptors() -> set[int]:
    return {int(path.name) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}


def frames_of(words: str, count: int) -> list[bytes]:
    return [f'["{words}",{number}]'.encode() for number in range(count)]


def test_frames_reach_every_node(house: House, postgres_url: str) -> None:
    """Frames come to all nodes, also the one that sent them, in the order in which it did, whatever is in them, up to
    the largest one."""
    one, two = house.bus(postgres_url, "one"), house.bus(postgres_url, "two")
    assert one.joins == two.joins == [[""]]
    strange = '["%s %(a)s {} \' \'\' \\\\ \\u0000 $1 :a", "žluťoučký 🐎"]'.encode()
    largest = b'["' + b"x" * (MOST_BYTES - 4) + b'"]'
    frames = [*frames_of("one", 3 * MOST_TOGETHER), strange, largest]
    one.says(*frames[:2])
    one.says(*frames[2:])
    for listener in (one, two):
        house.hears(listener, *frames)
        assert listener.heard == frames
    assert one.bus.dropped == 0


def test_what_others_notify_of_is_not_taken(house: House, postgres_url: str) -> None:
    """Other programs may use notifications in the same database."""
    one = house.bus(postgres_url)
    execute(postgres_url, "SELECT pg_notify('orders', 'x'), pg_notify(%s, '[1]')", CHANNEL + SECRET)
    house.hears(one, b"[1]")
    assert one.heard == [b"[1]"]


def test_the_channel_is_shown_to_nobody(house: House, postgres_url: str) -> None:
    """A role that may watch all connections of the database does not see the channel's name in the bus's statements."""
    one = house.bus(postgres_url)
    watched = "SELECT query FROM pg_stat_activity WHERE application_name = %s"
    before = execute(postgres_url, watched, NAME)
    house.reaches(one, b"[1]")
    seen = [query for (query,) in [*before, *execute(postgres_url, watched, NAME)]]
    assert len(seen) == 4
    assert not [query for query in seen if SECRET in query]


@pytest.mark.parametrize("which", ["listener", "sender"])
def test_a_connection_that_is_ended(house: House, postgres_url: str, which: str) -> None:
    """If either connection is ended, the bus connects anew by itself, says so, and has the node's lock again. What was
    published meanwhile is sent."""
    one, two = house.bus(postgres_url, "one"), house.bus(postgres_url, "two")
    house.reaches(one, b"[1]")
    line = one.bus._line
    assert line is not None
    end(postgres_url, getattr(line, f"_{which}").get_backend_pid())
    one.says(b"[2]")
    house.until(lambda: one.bus.reconnects, "it connects anew")
    house.hears(two, b"[2]")
    house.reaches(one, b"[3]")
    assert one.joins == [[""], [""]]
    assert has_lock(postgres_url, "one")
    assert [line for line in house.log if "The bus" in line][1:] == ["The bus is connected again. "]


@pytest.mark.slow
def test_a_restart_of_the_server(house: House, postgres_server: PostgresServer) -> None:
    """While the server is away, the bus tries again and again, and logs one line. Its password is in none."""
    url = make_url(postgres_server.create_database()).set(password="s3cret-words")
    one = house.bus(url.render_as_string(hide_password=False))
    house.reaches(one, b"[1]")
    postgres_server.stop()
    house.until(lambda: not one.bus.connected, "it notices")
    one.says(*frames_of("meanwhile", 5))
    line = one.bus._line
    house.until(lambda: one.bus._line is not line, "it tries again")
    postgres_server.start()
    house.until(lambda: one.bus.connected, "it connects anew")
    house.reaches(one, b"[2]")
    ours = [line for line in house.log if "The bus" in line]
    assert len(ours) == 2
    assert ours[0].startswith("The bus has no connection to the database. Trying again. ")
    assert "s3cret" not in "".join([*house.log, repr(one.bus), repr(one.bus._line), repr(vars(one.bus))])


@pytest.mark.slow
def test_a_database_that_hangs(house: House, postgres_server: PostgresServer) -> None:
    """While the database hangs, nobody waits for it: the oldest frames are dropped, and counted, beyond a number. Once
    it goes on, the newest come in order."""
    one = house.bus(postgres_server.create_database())
    frames = frames_of("one", 3 * MOST_WAITING)
    with stopped(postgres_server):
        one.says(frames[0])
        house.until(lambda: not one.bus._waiting, "its thread waits for the database")
        for start in range(1, len(frames), 10):
            before = monotonic()
            one.says(*frames[start : start + 10])
            assert monotonic() - before < 1
        assert one.bus.connected
        assert len(one.bus._waiting) == MOST_WAITING
        assert one.bus.dropped == len(frames) - MOST_WAITING - 1
    house.hears(one, *frames[-MOST_WAITING:])
    assert len(one.heard) == len(frames) - one.bus.dropped
    assert one.heard == sorted(one.heard, key=frames.index)


def test_a_bus_that_is_silent(house: House, postgres_url: str) -> None:
    """A bus whose connections are dead without a sign can be told to connect anew. It gets the node's lock although the
    server has not noticed the end of the connection that had it."""
    relay = Relay(make_url(postgres_url).port or 5432)
    try:
        one = house.bus(make_url(postgres_url).set(host="127.0.0.1", port=relay.port).render_as_string(False))
        house.reaches(one, b"[1]")
        relay.deaf = True
        one.says(b"[2]")
        house.until(lambda: not one.bus._waiting, "it is sent")
        one.bus.reconnect()
        house.until(lambda: not one.bus.connected, "the connections are given up")
        assert has_lock(postgres_url, "one")
        relay.deaf = False
        house.until(lambda: one.bus.connected, "it connects anew")
        house.reaches(one, b"[3]")
        assert not house.log  # whoever asked for it has said why
        backend = one.bus._line.backend  # type: ignore[union-attr]
        assert backend is not None
        found = execute(
            postgres_url, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())", LOCKS,
        )  # fmt: skip
        assert found == [(backend.pid,)]
    finally:
        relay.close()


def test_a_connection_that_answers_nothing(house: House, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is made, and on which no statement is answered, is given up. Once one is, the bus works."""
    monkeypatch.setattr(postgres, "OPEN_SECONDS", 0.3)
    relay = Relay(make_url(postgres_url).port or 5432)
    try:
        one = house.bus(make_url(postgres_url).set(host="127.0.0.1", port=relay.port).render_as_string(False))
        relay.deaf_to = b"LISTEN"
        one.bus.reconnect()
        house.until(lambda: house.log, "the connection is given up")
        relay.deaf_to = b""
        house.reaches(one, b"[1]")
        assert [line.partition(".")[0] for line in house.log] == [
            "The bus has no connection to the database",
            "The bus is connected again",
        ]
    finally:
        relay.close()


def test_what_was_published_is_sent_before_the_end(house: House, postgres_url: str) -> None:
    """A bus that stops sends what it was given; then neither its thread nor a descriptor nor its lock is left."""
    two = house.bus(postgres_url, "two")
    house.reaches(two, b"[0]")
    before = descriptors()
    one = house.bus(postgres_url, "one")
    frames = frames_of("last", 2 * MOST_TOGETHER)
    one.says(*frames)
    house.run(one.bus.stop())
    one.says(b"[1]")
    assert [thread.name for thread in threading.enumerate()].count("bus") == 1
    house.hears(two, *frames)
    assert descriptors() == before
    house.until(lambda: not has_lock(postgres_url, "one"), "the lock is free")
    assert not one.bus.connected


@pytest.mark.slow
def test_stopping_while_the_database_hangs(house: House, postgres_server: PostgresServer) -> None:
    """The end of a server does not wait for a database that hangs."""
    one = house.bus(postgres_server.create_database())
    with stopped(postgres_server):
        one.says(b"[1]")
        house.until(lambda: not one.bus._waiting, "it is sent")
        before = monotonic()
        house.run(one.bus.stop())
        assert monotonic() - before < 3
        assert "bus" not in [thread.name for thread in threading.enumerate()]


def test_frames_that_the_database_refuses(house: House, postgres_url: str) -> None:
    """A frame that cannot be sent is dropped and counted; the ones after it come, over the same connection."""
    one = house.bus(postgres_url)
    for number, wrong in enumerate((b"\xff", b"\x00", b"x" * 8_000)):
        one.says(wrong)
        house.until(lambda: not one.bus._waiting, "it is taken")
        house.reaches(one, b"[%d]" % number)
    assert one.bus.dropped == 3
    assert one.bus.reconnects == 0
    assert len([line for line in house.log if "does not send" in line]) == 1
    assert not any("x" * 100 in line for line in house.log)
