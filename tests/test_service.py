"""The order in which the server starts and stops, what it waits for then, and for how long."""

import atexit
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal

import msgspec
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from chatserver import service
from chatserver.net.connection.parting import Parting
from chatserver.net.doors.factory import ChatFactory
from chatserver.net.doors.line import LineDoor
from chatserver.net.doors.websocket import WebSocketDoor
from chatserver.service import (
    BACKLOG,
    SESSIONS_SECONDS,
    STEP_SECONDS,
    SWEEP_SECONDS,
    ChatService,
    completed,
    retries,
)
from chatserver.settings.tables import Pipeline, Server, Settings, Shutdown
from chatserver.store.db.engine import DatabaseProblem
from chatserver.store.starting import Prepared
from chatserver.util.clock import Clock
from chatserver.util.exits import CannotStart
from chatserver.util.waiting import POLL_SECONDS
from chatserver.values.errors import Unavailable
from tests.support.memory import logged_warnings

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)
DRAIN, FLUSH = 3.0, 5.0
SETTINGS = Settings(
    server=Server(node="one", listen=["tcp:4000:interface=127.0.0.1"], default_rooms=["general"]),
    pipeline=Pipeline(read_lanes=7),
    shutdown=Shutdown(drain_seconds=DRAIN, flush_seconds=FLUSH),
)


class Port:
    """A port of the reactor below. It takes as long to close as `closed` says."""

    def __init__(self, journal: "Journal", number: int) -> None:
        self._journal = journal
        self._number = number
        self.closed: Deferred[None] | None = None

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self._number)

    def stopListening(self) -> Deferred[None] | None:
        self._journal.add(f"close port {self._number}")
        return self.closed


class Reactor(MemoryReactorClock):
    def __init__(self, journal: "Journal") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._journal = journal
        self.ports: list[Port] = []
        self.backlogs: list[int] = []
        self.factories: list[ChatFactory] = []
        self.taken: OSError | None = None  # why no port can be opened
        self.from_threads: list[Callable[[], object]] = []

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if self.taken is not None:
            raise CannotListenError(interface, port, self.taken)
        self._journal.add(f"listen {interface}:{port}")
        self.backlogs.append(backlog)
        self.factories.append(factory)
        self.ports.append(Port(self._journal, port))
        return self.ports[-1]

    def callFromThread(self, call: Callable[[], object]) -> None:
        self.from_threads.append(call)


class Journal:
    """The steps, in order, and their times: in seconds since `stop`."""

    def __init__(self) -> None:
        self.clock: Reactor = Reactor(self)
        self.lines: list[str] = []
        self.times: dict[str, float] = {}
        self.began = 0.0

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.times[line] = self.clock.seconds() - self.began

    def part(self, name: str, *methods: str) -> Any:
        """A part of the server that only says what it was told."""
        return SimpleNamespace(**{method: lambda *args, m=method: self.add(" ".join([name, m, *map(str, args)]))
                                  for method in methods})  # fmt: skip


class Peer:
    """A connection. It is gone once it was hung up, or once it was aborted, or never."""

    def __init__(self, journal: Journal, everybody: set["Peer"], gone_by: Literal["hang up", "abort", "never"]) -> None:
        self._journal = journal
        self._open = everybody
        self._gone_by = gone_by
        self.retry = 0
        self.text = ""
        everybody.add(self)

    def advance(self) -> None:
        self._journal.add("advance")

    def hang_up(self, reason: str, text: str, retry: int) -> None:
        self._journal.add(f"hang up {reason}")
        self.retry, self.text = retry, text
        self._end("hang up")

    def abort(self) -> None:
        self._journal.add("abort")
        self._end("abort")

    def _end(self, how: str) -> None:
        if self._gone_by == how:
            self._open.discard(self)


class Connections:
    def __init__(self, journal: Journal) -> None:
        self.admission = journal.part("admission", "sweep")
        self.clock = journal.clock
        self.identities: list[object] = []
        self.open: set[Peer] = set()
        self.busy = False
        self.parting = Parting(journal.clock)
        stop_reading = self.parting.stop_reading

        def journaled() -> None:
            journal.add("connections closing")
            stop_reading()

        self.parting.stop_reading = journaled  # type: ignore[method-assign]


class SessionRows:
    """`written` is what its `flush` leads to, unless the database is away."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.written = False
        self.away = False
        self.gate: Deferred[None] | None = None

    async def flush(self) -> None:
        self._journal.add("session log flush")
        if self.gate is not None:
            await self.gate
        self.written = not self.away


class Town:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings = SETTINGS) -> None:
        self.journal = journal = Journal()
        self.reactor = journal.clock
        self.connections = Connections(journal)
        self.session_rows = SessionRows(journal)
        connections: Any = self.connections
        session_rows: Any = self.session_rows
        self.left_open: int | Exception = 0
        self.store = journal.part("store", "hurry", "stop")
        self.store.run = None
        self.held: Exception | None = None
        lease = journal.part("lease", "start", "stop")
        lease.lost = Deferred()
        lease.me = SimpleNamespace(node="one")
        lease.acquire_blocking = lambda run: self.held
        guests = journal.part("guests", "stop")
        guests.idle = True
        monkeypatch.setattr(service, "prepare", lambda *found, **how: self.prepare(*found, **how))
        monkeypatch.setattr(service, "_tune_process", lambda: journal.add("tune"))
        running: Any = SimpleNamespace(
            reactor=self.reactor,
            settings=settings,
            store=self.store,
            hasher=journal.part("hasher", "start", "stop"),
            session_rows=session_rows,
            change_feed=journal.part("watch", "start", "stop"),
            processors=journal.part("processors", "start", "stop"),
            connections=connections,
            lease=lease,
            reconciler=journal.part("reconciler", "suspect", "stop"),
            guests=guests,
            maintenance=journal.part("maintenance", "start", "stop"),
            now=Clock(lambda: AT, lambda: 0.0),
            cluster=None,
        )
        self.service = ChatService(running)
        self.stopped: list[object] = []

    def prepare(self, _store: Any, me: Any, rooms: list[str], clock: Clock, *, together: bool) -> Prepared:
        assert not together
        self.journal.add(f"store prepare {me.node} {rooms} {clock():%H:%M}")
        if isinstance(self.left_open, Exception):
            raise self.left_open
        return Prepared(self.left_open, [])

    def peer(self, gone_by: Literal["hang up", "abort", "never"] = "hang up") -> Peer:
        return Peer(self.journal, self.connections.open, gone_by)

    def start(self) -> None:
        self.service.privilegedStartService()
        self.service.startService()
        self.journal.lines.clear()

    def stop(self) -> None:
        self.journal.began = self.reactor.seconds()
        self.service.stopService().addCallback(self.stopped.append)

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / POLL_SECONDS)):
            self.reactor.advance(POLL_SECONDS)

    def when(self, line: str) -> float:
        """The seconds from `stop` to this."""
        return self.journal.times[line]


@contextmanager
def logged(wanted: Callable[[LogEvent], bool]) -> Iterator[list[str]]:
    """The lines of the log that are wanted."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if wanted(event):
            lines.append(formatEvent(event))

    observer: Any = observe
    globalLogPublisher.addObserver(observer)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observer)


def about(seconds: float) -> Any:
    """Conditions are looked at every POLL_SECONDS."""
    return pytest.approx(seconds, abs=2 * POLL_SECONDS)


Handlers = dict[int, Any]


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Handlers:
    """By number, what the service made of signals, instead of the handlers of the process that runs the tests."""
    handlers: Handlers = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    return handlers


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Town:
    return Town(monkeypatch)


# Starting


def test_the_order_of_start(town: Town) -> None:
    """The database comes first, then the ports, while there are privileges; then what serves."""
    town.service.privilegedStartService()
    town.service.startService()
    assert town.journal.lines == [
        "store prepare one ['general'] 10:02",
        "listen 127.0.0.1:4000",
        "tune",
        "hasher start",
        "processors start 7",
        "watch start",
        "lease start",
        "maintenance start",
        "reconciler suspect",
        "admission sweep",
    ]


def test_old_counts_are_swept(town: Town) -> None:
    """Admission is swept from time to time, until the server stops."""
    town.start()
    town.reactor.pump([SWEEP_SECONDS] * 3)
    assert town.journal.lines == ["admission sweep"] * 3
    town.stop()
    town.wait(1)
    assert town.reactor.getDelayedCalls() == []


def test_every_door_and_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each `listen` gets its door, and room for a burst of connections unless it says how much."""
    listen = ["tcp:4000:interface=127.0.0.1", "ws:tcp:4080:interface=127.0.0.1", "tcp:4001:backlog=7"]
    settings = msgspec.structs.replace(SETTINGS, server=msgspec.structs.replace(SETTINGS.server, listen=listen))
    town = Town(monkeypatch, settings)
    town.service.privilegedStartService()
    assert town.journal.lines[1:] == ["listen 127.0.0.1:4000", "listen 127.0.0.1:4080", "listen :4001"]
    assert town.reactor.backlogs == [BACKLOG, BACKLOG, 7]
    assert [factory._new_door for factory in town.reactor.factories] == [LineDoor, WebSocketDoor, LineDoor]
    connections: Any = town.connections
    assert all(factory._connections is connections for factory in town.reactor.factories)


@pytest.mark.parametrize(
    ("description", "with_room"),
    [
        ("tcp:4000", f"tcp:4000:backlog={BACKLOG}"),
        ("tcp6:4000", f"tcp6:4000:backlog={BACKLOG}"),
        ("ssl:4000:privateKey=k.pem", f"ssl:4000:privateKey=k.pem:backlog={BACKLOG}"),
        ("tcp:4000:backlog=5", "tcp:4000:backlog=5"),
        ("unix:/run/chat.socket", "unix:/run/chat.socket:mode=660"),
        ("unix:/run/chat.socket:mode=600", "unix:/run/chat.socket:mode=600"),
        ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
    ],
)
def test_the_backlog(description: str, with_room: str) -> None:
    """Endpoints that know a backlog get a large one, and Unix sockets a mode."""
    assert completed(description) == with_room


def test_a_port_that_is_taken(town: Town) -> None:
    """The program ends with one line that says which port, why, and what to do. Nothing was started, and the database
    is closed again."""
    town.reactor.taken = OSError(98, "Address already in use")
    with pytest.raises(CannotStart) as ended:
        town.service.privilegedStartService()
    assert "tcp:4000:interface=127.0.0.1 (Address already in use)" in str(ended.value)
    assert ended.value.code == str(ended.value)
    assert town.journal.lines == ["store prepare one ['general'] 10:02", "store stop"]


@pytest.mark.parametrize("description", ["tpc:4000", "tcp:many", "ws:", "tcp:4000:colour=red"])
def test_what_is_no_endpoint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], description: str
) -> None:
    """A misspelt `listen` ends the program with the word that was misspelt, whatever the parser raises, and with the
    status that says that trying again is of no use."""
    server = msgspec.structs.replace(SETTINGS.server, listen=[description])
    town = Town(monkeypatch, msgspec.structs.replace(SETTINGS, server=server))
    with pytest.raises(SystemExit, match=r"^78$"):
        town.service.privilegedStartService()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"chatserver: --listen {description} ")


def test_a_database_that_is_gone_by_then(town: Town) -> None:
    """The program ends with its cause. No port was opened, and no thread was started."""
    town.left_open = Unavailable()
    town.left_open.__cause__ = OSError("connection refused")
    with pytest.raises(CannotStart, match=r"^chatserver: .*connection refused"):
        town.service.privilegedStartService()
    assert town.journal.lines == ["store prepare one ['general'] 10:02", "store stop"]


def test_a_database_that_cannot_be_used(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    """The program ends with the problem's own words."""
    town.left_open = DatabaseProblem("Another version uses it.")
    with pytest.raises(SystemExit, match=r"^78$"):
        town.service.privilegedStartService()
    assert capsys.readouterr().err == "chatserver: Another version uses it.\n"


def test_another_server_uses_the_database(town: Town) -> None:
    """The program ends with a line that names it. The database was not prepared, and no port was opened."""
    town.held = Exception("The server of host a uses it.")
    with pytest.raises(CannotStart, match=r"^chatserver: The server of host a uses it\.$"):
        town.service.privilegedStartService()
    assert town.journal.lines == ["store stop"]


def test_when_it_listens(town: Town) -> None:
    """The log says so once everything that serves has been started, and once for each port."""
    with logged(lambda event: str(event.get("log_format")).startswith("Listening")) as lines:
        town.service.privilegedStartService()
        assert lines == []
        town.service.startService()
        assert lines == ["Listening on 127.0.0.1:4000"]


# Endpoints that take their time


class SlowEndpoint:
    """`listen` returns a Deferred that the test fires."""

    def __init__(self) -> None:
        self.listening: Deferred[Any] = Deferred()

    def listen(self, factory: Any) -> Deferred[Any]:
        return self.listening


@pytest.fixture
def slow_endpoint(monkeypatch: pytest.MonkeyPatch) -> SlowEndpoint:
    endpoint = SlowEndpoint()
    monkeypatch.setattr(service, "opening", lambda reactor, description: endpoint)
    return endpoint


def test_an_endpoint_that_fails_later(town: Town, slow_endpoint: SlowEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log names the endpoint and the reason, the reactor stops, and the exit status is 1."""
    at_exit: list[object] = []
    monkeypatch.setattr(atexit, "register", lambda *call: at_exit.append(call))
    town.start()
    with logged(lambda event: event["log_level"].name == "critical") as lines:
        slow_endpoint.listening.errback(CannotListenError("::1", 4000, OSError(98, "Address already in use")))
    [line] = lines
    assert "Cannot listen on tcp:4000:interface=127.0.0.1 (Address already in use)." in line
    assert at_exit == [(service._exit_with, 1)]
    [stop] = town.reactor.from_threads
    stop()
    assert town.reactor.hasStopped


def test_ready_means_every_endpoint(town: Town, slow_endpoint: SlowEndpoint) -> None:
    """Companions, such as the one that tells systemd READY, are told once, when the last endpoint is open."""
    told: list[str] = []
    companion = SimpleNamespace(prepare=lambda: told.append("prepare"), started=lambda: told.append("started"))
    town.service._companions = [companion]
    town.start()
    assert told == ["prepare"]
    slow_endpoint.listening.callback(Port(town.journal, 4000))
    assert told == ["prepare", "started"]


def test_an_endpoint_that_opens_later(town: Town, slow_endpoint: SlowEndpoint) -> None:
    """Its port is logged when it opens, and closed with the others."""
    town.start()
    with logged(lambda event: True) as lines:
        slow_endpoint.listening.callback(Port(town.journal, 4001))
    assert lines == ["Listening on 127.0.0.1:4001"]
    town.stop()
    assert "close port 4001" in town.journal.lines


def test_an_endpoint_that_never_opens(town: Town, slow_endpoint: SlowEndpoint) -> None:
    """It does not keep the server from stopping, which is no failure of the endpoint."""
    town.start()
    with logged(lambda event: event["log_level"].name in ("error", "critical")) as lines:
        town.stop()
    assert town.stopped == [None]
    assert lines == []
    assert slow_endpoint.listening.called  # it was cancelled


def test_what_a_crash_left_open(town: Town) -> None:
    """Sessions that a crash left open are a warning in the log; without any there is none."""
    with logged_warnings() as warnings:
        town.start()
        assert warnings == []
        town.left_open = 3
        town.service.privilegedStartService()
    assert ["3 sessions" in text for text in warnings] == [True]


# Signals


def test_signals(town: Town, handlers: Handlers) -> None:
    """SIGTERM and SIGINT stop the reactor from the main loop; a second one has its usual effect."""
    town.start()
    assert set(handlers) == {signal.SIGTERM, signal.SIGINT}
    # The reactor installs its own handlers when it starts to run: they are ours.
    reactor: Any = town.reactor
    assert reactor.sigTerm is reactor.sigInt is handlers[signal.SIGTERM] is handlers[signal.SIGINT]
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert set(handlers.values()) == {signal.SIG_DFL}
    [stop] = town.reactor.from_threads
    assert not town.reactor.hasStopped
    stop()
    assert town.reactor.hasStopped


def test_a_signal_while_the_database_is_prepared(
    town: Town, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does not wait for the database: it opens no port, starts nothing, and stops once the reactor runs."""
    answered = threading.Event()

    def prepare(*_: object, **__: object) -> Prepared:
        town.journal.add("store prepare")
        handlers[signal.SIGTERM](signal.SIGTERM, None)
        answered.wait(30)
        return Prepared(0, [])

    monkeypatch.setattr(town, "prepare", prepare)
    town.service.privilegedStartService()
    town.service.startService()
    answered.set()
    assert town.journal.lines == ["store prepare"]
    assert len(town.reactor.from_threads) == 1
    town.stop()
    town.wait(1)
    assert town.journal.lines[-2:] == ["store stop", "hasher stop"]
    assert town.stopped == [None]


def test_a_signal_before_the_reactor_runs(town: Town, handlers: Handlers) -> None:
    """Whenever it comes, the server stops once the reactor runs, and closes everything that it opened."""
    town.service.privilegedStartService()
    handlers[signal.SIGINT](signal.SIGINT, None)
    town.service.startService()
    assert "watch start" not in town.journal.lines
    town.stop()
    assert "close port 4000" in town.journal.lines
    assert town.stopped == [None]


# Stopping


def test_the_order_of_stop(town: Town) -> None:
    """No new connections, no reading, what has arrived is done, goodbye to everybody, the last rows, threads."""
    town.start()
    town.peer()
    town.stop()
    town.wait(1)
    assert town.journal.lines == [
        "watch stop",
        "reconciler stop",
        "maintenance stop",
        "connections closing",
        "close port 4000",
        "advance",
        f"store hurry {DRAIN}",
        "processors stop",
        "guests stop",
        "hang up shutdown",
        f"store hurry {SESSIONS_SECONDS}",
        "session log flush",
        "lease stop",
        "store stop",
        "hasher stop",
    ]
    assert town.stopped == [None]
    assert (town.connections.parting.closing, town.service.running) == (True, 0)
    assert town.when("hasher stop") == 0  # nothing had to be waited for


def test_ports_are_closed_first(town: Town) -> None:
    """Nobody is hung up on, to come back at once, before the port is closed; but a port cannot delay the end for
    long."""
    town.start()
    town.reactor.ports[0].closed = Deferred()
    town.peer()
    town.stop()
    town.wait(STEP_SECONDS / 2)
    assert town.journal.lines[-1] == "close port 4000"
    with logged(lambda event: event["log_level"].name == "error") as lines:
        town.wait(STEP_SECONDS)
    assert lines == [f"While stopping, closing a port has not ended after {STEP_SECONDS} s; going on."]
    assert town.when("hang up shutdown") == about(STEP_SECONDS)
    assert town.stopped == [None]


@pytest.mark.parametrize("part", ["watch", "port", "advance", "processors", "hang_up", "session_rows", "store"])
def test_a_step_that_fails(town: Town, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """It is logged, and all later steps are done."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("injected")

    town.start()
    peers = [town.peer(), town.peer()]
    fails: dict[str, tuple[Any, str]] = {
        "watch": (town.service._change_feed, "stop"),
        "port": (town.reactor.ports[0], "stopListening"),
        "advance": (peers[0], "advance"),
        "processors": (town.service._processors, "stop"),
        "hang_up": (peers[0], "hang_up"),
        "session_rows": (town.session_rows, "flush"),
        "store": (town.store, "stop"),
    }
    monkeypatch.setattr(*fails[part], fail)
    with logged(lambda event: "log_failure" in event) as lines:
        town.stop()
        town.wait(DRAIN + FLUSH + 2)
    assert [line.startswith("While stopping, ") for line in lines] == [True]
    assert town.journal.lines[-1] == "hasher stop"
    assert "hang up shutdown" in town.journal.lines
    assert town.stopped == [None]


def test_rows_that_are_never_written(town: Town) -> None:
    """A database that does not answer delays the end by a second at most."""
    town.start()
    town.session_rows.gate = Deferred()
    town.stop()
    town.wait(SESSIONS_SECONDS + 1)
    assert town.when("store stop") == about(SESSIONS_SECONDS)
    assert town.stopped == [None]


def test_hashing_that_does_not_stop(town: Town) -> None:
    """It is waited for in a thread, and not for long."""
    released = threading.Event()
    town.start()
    town.service._hasher.stop = lambda: released.wait(30)  # type: ignore[assignment, method-assign]
    town.stop()
    town.wait(STEP_SECONDS / 2)
    assert town.stopped == []
    town.wait(STEP_SECONDS / 2 + 0.1)
    assert town.stopped == [None]
    released.set()


def test_what_has_arrived_is_done_first(town: Town) -> None:
    """Commands that have arrived are served before anybody is hung up on, and no longer than they take."""
    town.start()
    town.peer()
    town.connections.busy = True
    town.stop()
    town.wait(DRAIN / 2)
    assert town.journal.lines[-1] == f"store hurry {DRAIN}"
    town.connections.busy = False
    town.wait(1)
    assert town.when("processors stop") == about(DRAIN / 2)
    assert town.when("hang up shutdown") == about(DRAIN / 2)
    assert town.stopped == [None]


def test_drain_seconds(town: Town) -> None:
    """Commands that take longer than `drain_seconds` are not waited for."""
    town.start()
    town.peer()
    town.connections.busy = True
    town.stop()
    town.wait(DRAIN + 1)
    assert town.when("processors stop") == about(DRAIN)
    assert town.stopped == [None]


def test_flush_seconds(town: Town) -> None:
    """Slow clients have `flush_seconds` for what was written to them; then their connections are aborted."""
    town.start()
    town.peer("hang up")
    town.peer("abort")
    town.stop()
    town.wait(FLUSH - 2 * POLL_SECONDS)
    assert town.journal.lines.count("hang up shutdown") == 2
    assert "abort" not in town.journal.lines
    town.wait(4 * POLL_SECONDS)
    assert town.journal.lines.count("abort") == 1
    assert town.when("abort") == about(FLUSH)
    assert town.when("session log flush") == about(FLUSH)
    assert town.stopped == [None]


def test_a_connection_that_never_ends(town: Town) -> None:
    """It delays the end by a second at most."""
    town.start()
    town.peer("never")
    town.stop()
    town.wait(FLUSH + 2)
    assert town.when("store stop") == about(FLUSH + 1)
    assert town.stopped == [None]


def test_waits_of_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """With both times 0 nothing is waited for."""
    town = Town(monkeypatch, msgspec.structs.replace(SETTINGS, shutdown=Shutdown(drain_seconds=0, flush_seconds=0)))
    town.start()
    town.peer("abort")
    town.connections.busy = True
    town.stop()
    assert (town.when("abort"), town.stopped) == (0, [None])


def test_the_last_rows(town: Town) -> None:
    """The ends of the sessions are written before the store stops; a database that is away delays that by a second."""
    town.start()
    town.session_rows.away = True
    town.stop()
    town.wait(0.5)
    assert town.journal.lines[-1] == "session log flush"
    town.wait(1)
    assert town.when("store stop") == about(1)
    assert town.stopped == [None]


def test_the_last_rows_written_by_another_flush(town: Town) -> None:
    """Where a flush is under way already, its end is waited for, and no longer."""
    town.start()
    town.session_rows.away = True
    town.stop()
    town.wait(0.4)
    town.session_rows.written = True
    town.wait(0.1)
    assert town.when("store stop") == about(0.4)


def test_clients_do_not_all_come_back_at_once(town: Town) -> None:
    """Each is told another time after which to come back: whole seconds, spread over more the more they are."""
    town.start()
    people = [town.peer() for _ in range(3000)]
    town.stop()
    assert {one.retry for one in people} == set(range(2, 9))
    assert retries(10) == (2, 5)
    assert retries(10_000) == (2, 22)
