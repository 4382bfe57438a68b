"""The order in which the server starts and stops, what it waits for then, and for how long."""

import signal
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal

import msgspec
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from chatserver import service
from chatserver.config import Pipeline, Server, Settings, Shutdown
from chatserver.errors import Unavailable
from chatserver.net.factory import ChatFactory
from chatserver.net.line import LineDoor
from chatserver.net.websocket import WebSocketDoor
from chatserver.service import BACKLOG, SWEEP_SECONDS, CannotStart, ChatService, with_backlog
from chatserver.turns import POLL_SECONDS
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

    def run_hooks(self) -> None:
        """The reactor is running."""
        for call, args, keywords in self.whenRunningHooks:
            call(*args, **keywords)


class Journal:
    """What was done, in order, and when: in seconds since `stop`."""

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
        everybody.add(self)

    def advance(self) -> None:
        self._journal.add("advance")

    def hang_up(self, reason: str, text: str, retry: int) -> None:
        self._journal.add(f"hang up {reason}")
        self.retry = retry
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
        self.open: set[Peer] = set()
        self.busy = False
        self._journal = journal
        self._closing = False

    @property
    def closing(self) -> bool:
        return self._closing

    @closing.setter
    def closing(self, closing: bool) -> None:
        self._closing = closing
        self._journal.add("connections closing")


class SessionLog:
    """`written` is what its `flush` leads to, unless the database is away."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.written = False
        self.away = False

    async def flush(self) -> None:
        self._journal.add("session log flush")
        self.written = not self.away


class Town:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings = SETTINGS) -> None:
        self.journal = journal = Journal()
        self.reactor = journal.clock
        self.connections = Connections(journal)
        self.session_log = SessionLog(journal)
        connections: Any = self.connections
        session_log: Any = self.session_log
        self.left_open: int | Exception = 0
        self.store = journal.part("store", "stop")
        self.store.prepare = self._prepare
        monkeypatch.setattr(service, "_tune_process", lambda: journal.add("tune"))
        self.service = ChatService(
            self.reactor,
            settings,
            self.store,
            journal.part("hasher", "start", "stop"),
            session_log,
            journal.part("watch", "start", "stop"),
            journal.part("processors", "start", "stop"),
            connections,
            lambda: "s1",
            lambda: AT,
        )
        self.stopped: list[object] = []

    def _prepare(self, node: str, rooms: list[str], at: datetime) -> int:
        self.journal.add(f"store prepare {node} {rooms} {at:%H:%M}")
        if isinstance(self.left_open, Exception):
            raise self.left_open
        return self.left_open

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


def about(seconds: float) -> Any:
    """Conditions are looked at every POLL_SECONDS."""
    return pytest.approx(seconds, abs=2 * POLL_SECONDS)


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Town:
    return Town(monkeypatch)


# Starting


def test_the_order_of_start(town: Town) -> None:
    """Ports come first, while there are privileges; then the database; then what serves."""
    town.service.privilegedStartService()
    town.service.startService()
    assert town.journal.lines == [
        "listen 127.0.0.1:4000",
        "store prepare one ['general'] 10:02",
        "tune",
        "hasher start",
        "processors start 7",
        "watch start",
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
    assert town.journal.lines == ["listen 127.0.0.1:4000", "listen 127.0.0.1:4080", "listen :4001"]
    assert town.reactor.backlogs == [BACKLOG, BACKLOG, 7]
    assert [type(factory._new_door()) for factory in town.reactor.factories] == [LineDoor, WebSocketDoor, LineDoor]
    connections: Any = town.connections
    assert all(factory.connections is connections for factory in town.reactor.factories)


@pytest.mark.parametrize(
    ("description", "with_room"),
    [
        ("tcp:4000", f"tcp:4000:backlog={BACKLOG}"),
        ("tcp6:4000", f"tcp6:4000:backlog={BACKLOG}"),
        ("ssl:4000:privateKey=k.pem", f"ssl:4000:privateKey=k.pem:backlog={BACKLOG}"),
        ("tcp:4000:backlog=5", "tcp:4000:backlog=5"),
        ("unix:/run/chat.socket", "unix:/run/chat.socket"),
        ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
    ],
)
def test_the_backlog(description: str, with_room: str) -> None:
    """Endpoints that know a backlog get a large one."""
    assert with_backlog(description) == with_room


def test_a_port_that_is_taken(town: Town) -> None:
    """The program ends with one line that says which port, why, and what to do; nothing was started."""
    town.reactor.taken = OSError(98, "Address already in use")
    with pytest.raises(CannotStart) as ended:
        town.service.privilegedStartService()
    assert "tcp:4000:interface=127.0.0.1 (Address already in use)" in str(ended.value)
    assert (ended.value.code, town.journal.lines) == (str(ended.value), [])


@pytest.mark.parametrize("description", ["tpc:4000", "tcp:many", "ws:", "tcp:4000:colour=red"])
def test_what_is_no_endpoint(monkeypatch: pytest.MonkeyPatch, description: str) -> None:
    """A misspelt `listen` ends the program with the word that was misspelt, whatever the parser raises."""
    server = msgspec.structs.replace(SETTINGS.server, listen=[description])
    town = Town(monkeypatch, msgspec.structs.replace(SETTINGS, server=server))
    with pytest.raises(CannotStart, match=f"^chatserver: --listen {description} "):
        town.service.privilegedStartService()


def test_a_database_that_is_gone_by_then(town: Town) -> None:
    """The program ends with its cause, and no thread was started."""
    town.left_open = Unavailable()
    town.left_open.__cause__ = OSError("connection refused")
    town.service.privilegedStartService()
    with pytest.raises(CannotStart, match=r"^chatserver: .*connection refused"):
        town.service.startService()
    assert not any("start" in line for line in town.journal.lines)


def test_what_a_crash_left_open(town: Town) -> None:
    """Sessions that a crash left open are a warning in the log; without any there is none."""
    with logged_warnings() as warnings:
        town.start()
        assert warnings == []
        town.left_open = 3
        town.service.startService()
    assert ["3 sessions" in text for text in warnings] == [True]


# Signals


def test_signals(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the reactor runs, SIGTERM and SIGINT stop it from the main loop; a second one has its usual effect."""
    handlers: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    town.start()
    assert handlers == {}  # the reactor sets its own when it starts, which would replace ours
    town.reactor.run_hooks()
    assert set(handlers) == {signal.SIGTERM, signal.SIGINT}
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert set(handlers.values()) == {signal.SIG_DFL}
    assert town.reactor.from_threads == [town.reactor.stop]
    assert not town.reactor.hasStopped


# Stopping


def test_the_order_of_stop(town: Town) -> None:
    """No new connections, no reading, what has arrived is done, goodbye to everybody, the last rows, threads."""
    town.start()
    town.peer()
    town.stop()
    town.wait(1)
    assert town.journal.lines == [
        "watch stop",
        "connections closing",
        "close port 4000",
        "advance",
        "processors stop",
        "hang up shutdown",
        "session log flush",
        "store stop",
        "hasher stop",
    ]
    assert town.stopped == [None]
    assert (town.connections.closing, town.service.running) == (True, 0)
    assert town.when("hasher stop") == 0  # nothing had to be waited for


def test_ports_are_closed_first(town: Town) -> None:
    """Nobody is hung up on, to come back at once, before the port is closed."""
    town.start()
    closed = town.reactor.ports[0].closed = Deferred()
    town.peer()
    town.stop()
    town.wait(10)
    assert town.journal.lines[-1] == "close port 4000"
    closed.callback(None)
    assert "hang up shutdown" in town.journal.lines


def test_what_has_arrived_is_done_first(town: Town) -> None:
    """Commands that have arrived are served before anybody is hung up on, and no longer than they take."""
    town.start()
    town.peer()
    town.connections.busy = True
    town.stop()
    town.wait(DRAIN / 2)
    assert town.journal.lines[-1] == "advance"
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
    town.session_log.away = True
    town.stop()
    town.wait(0.5)
    assert town.journal.lines[-1] == "session log flush"
    town.wait(1)
    assert town.when("store stop") == about(1)
    assert town.stopped == [None]


def test_the_last_rows_written_by_another_flush(town: Town) -> None:
    """Where a flush is under way already, its end is waited for, and no longer."""
    town.start()
    town.session_log.away = True
    town.stop()
    town.wait(0.4)
    town.session_log.written = True
    town.wait(0.1)
    assert town.when("store stop") == about(0.4)


def test_clients_do_not_all_come_back_at_once(town: Town) -> None:
    """Each is told another time after which to come back: whole seconds, spread over some."""
    town.start()
    people = [town.peer() for _ in range(100)]
    town.stop()
    assert {one.retry for one in people} <= set(range(3, 11))
    assert len({one.retry for one in people}) > 1
