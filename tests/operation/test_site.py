"""The site for monitoring: what it answers, and that nobody holds up anything with it."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from chatserver.operation.monitoring.site import MOST_CONNECTIONS, MOST_PER_SECOND, REQUEST_SECONDS, Visitor, Visitors
from chatserver.operation.monitoring.web import Health, Pages, Scrapes
from tests.support.hall import Hall
from tests.support.observed import QuietLease, running

SOMEWHERE = IPv4Address("TCP", "127.0.0.1", 50000)


class Port:
    """A listening port; `looked_at`: whether it accepts."""

    connected = True

    def __init__(self) -> None:
        self.looked_at = True

    def startReading(self) -> None:
        self.looked_at = True

    def stopReading(self) -> None:
        self.looked_at = False


class Monitoring:
    """The site of a hall. Scrapes are rendered at once, not in a thread."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.clock: Clock = hall.clock
        parts = running(hall)
        self.lease: Any = parts.lease
        assert isinstance(self.lease, QuietLease)
        self.health = Health(parts)
        self.rendered = 0
        self.visitors = Visitors(self.clock, Pages(Scrapes(parts, self.health, self._at_once), self.health))
        self.port = Port()
        self.visitors.port = cast(Any, self.port)

    async def _at_once(self, work: Callable[..., Any], *args: Any) -> Any:
        self.rendered += 1
        return work(*args)

    def connect(self) -> StringTransport | None:
        """None: the connection was closed at once."""
        visitor = self.visitors.buildProtocol(SOMEWHERE)
        if visitor is None:
            return None
        transport = StringTransport()
        transport.protocol = visitor  # type: ignore[attr-defined]
        visitor.makeConnection(transport)
        return transport

    def ask(self, request: bytes) -> bytes:
        """The answer to a request on a connection of its own."""
        transport = self.connect()
        assert transport is not None
        receive(transport, request)
        self.hall.settle()
        for _ in range(10):
            if not transport.disconnecting:
                self.hall.passes(0.1)
        leave(transport)
        return bytes(transport.value())

    def get(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        head, _, body = self.ask(f"{method} {path} HTTP/1.1\r\nHost: chat\r\n\r\n".encode()).partition(b"\r\n\r\n")
        return int(head.split()[1]), body


def receive(transport: StringTransport, data: bytes) -> None:
    visitor: Visitor = transport.protocol  # type: ignore[attr-defined]
    visitor.dataReceived(data)


def leave(transport: StringTransport) -> None:
    visitor: Visitor = transport.protocol  # type: ignore[attr-defined]
    visitor.connectionLost(connectionDone)


@pytest.fixture
def monitoring(hall: Hall) -> Monitoring:
    found = Monitoring(hall)
    found.health.started()
    return found


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


def test_pages(monitoring: Monitoring) -> None:
    """There are three pages, for GET and HEAD only, each on a connection that the server closes after the answer."""
    assert monitoring.get("/health/live") == (200, b"The server runs.\n")
    assert monitoring.get("/health/ready") == (200, b"The server serves.\n")
    assert monitoring.get("/metrics")[0] == 200
    assert b"chatserver_build_info{" in monitoring.get("/metrics?name=x")[1]
    assert monitoring.get("/metrics", "HEAD") == (200, b"")
    assert monitoring.get("/health/ready", "HEAD") == (200, b"")
    assert monitoring.get("/health/ready", "DELETE")[0] == 405
    assert monitoring.get("/metrics/", "GET")[0] == 404
    assert monitoring.get("/")[0] == 404
    answer = monitoring.ask(b"GET /metrics HTTP/1.1\r\nHost: chat\r\n\r\nGET /metrics HTTP/1.1\r\nHost: chat\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert b"Twisted" not in answer


def test_no_body_is_read(monitoring: Monitoring) -> None:
    """A request with a body is refused before the body comes."""
    for how in (b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"):
        transport = monitoring.connect()
        assert transport is not None
        receive(transport, b"POST /metrics HTTP/1.1\r\nHost: chat\r\n" + how + b"\r\n\r\n")
        assert transport.value().startswith(b"HTTP/1.1 405 ")
        assert transport.disconnecting
        leave(transport)


def test_who_asks_together_is_answered_together(monitoring: Monitoring) -> None:
    """Many who ask at the same time cost as much as one or two; nobody gets numbers that are older than the request."""
    transports = [monitoring.connect() for _ in range(MOST_CONNECTIONS)]
    for transport in transports:
        assert transport is not None
        receive(transport, b"GET /metrics HTTP/1.1\r\nHost: chat\r\n\r\n")
    monitoring.hall.passes(1)
    assert all(transport is not None and b" 200 OK" in transport.value() for transport in transports)
    assert monitoring.rendered <= 2


def test_scrapes_come_at_intervals(monitoring: Monitoring) -> None:
    """However fast somebody asks, the server looks at itself four times a second at most."""
    for _ in range(30):
        transport = monitoring.connect()
        assert transport is not None
        receive(transport, b"GET /metrics HTTP/1.1\r\nHost: chat\r\n\r\n")
        monitoring.hall.passes(0.1)
        leave(transport)
    assert monitoring.rendered <= 13


def test_newcomers_wait_while_there_are_many(monitoring: Monitoring) -> None:
    """While the most connections are open the port is left alone, and it is looked at again once one has gone."""
    transports = [monitoring.connect() for _ in range(MOST_CONNECTIONS)]
    assert not monitoring.port.looked_at
    assert monitoring.connect() is None  # accepted in the same turn
    assert transports[0] is not None
    leave(transports[0])
    assert monitoring.port.looked_at


def test_newcomers_wait_while_too_many_come(monitoring: Monitoring) -> None:
    """After so many in a second, the port is left alone until the next second."""
    for _ in range(MOST_PER_SECOND):
        assert monitoring.port.looked_at
        transport = monitoring.connect()
        assert transport is not None
        leave(transport)
    assert not monitoring.port.looked_at
    monitoring.hall.passes(1.1)
    assert monitoring.port.looked_at


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTT", b"GET /metrics HTTP/1.1\r\nX: y\r\n"])
def test_a_slow_visitor_is_cut_off(monitoring: Monitoring, logged: list[LogEvent], sent: bytes) -> None:
    """Whatever a visitor sends, and however slowly, its time is limited, and the log says nothing about it."""
    transport = monitoring.connect()
    assert transport is not None
    receive(transport, sent)
    logged.clear()
    for _ in range(int(REQUEST_SECONDS * 10) - 1):
        receive(transport, b"a")
        monitoring.clock.advance(0.1)
    assert not transport.disconnected
    monitoring.clock.advance(0.2)
    assert transport.disconnected
    assert logged == []


def test_a_visitor_may_leave_while_numbers_are_collected(monitoring: Monitoring, logged: list[LogEvent]) -> None:
    """An answer for somebody who is gone goes nowhere, and is no error."""
    transport = monitoring.connect()
    assert transport is not None
    receive(transport, b"GET /metrics HTTP/1.1\r\nHost: chat\r\n\r\n")
    leave(transport)
    monitoring.hall.passes(1)
    assert logged == []


def test_a_failed_scrape_is_logged(monitoring: Monitoring, logged: list[LogEvent]) -> None:
    """A bug in the numbers is in the log, and the next scrape is made all the same."""
    roster = monitoring.hall.registry.rooms._rooms
    monitoring.hall.registry.rooms._rooms = None  # type: ignore[assignment]
    assert monitoring.get("/metrics")[0] == 500
    assert any("log_failure" in event for event in logged)
    monitoring.hall.registry.rooms._rooms = roster
    assert monitoring.get("/metrics")[0] == 200


def test_ready(hall: Hall) -> None:
    """The server is ready while it serves, has its lease, and the database answers; one line says why it is not."""
    monitoring = Monitoring(hall)
    assert monitoring.get("/health/ready") == (503, b"The server is starting.\n")
    assert monitoring.get("/health/live")[0] == 200
    monitoring.health.started()
    assert monitoring.get("/health/ready")[0] == 200
    monitoring.lease.unanswered_seconds = 4.2
    assert monitoring.get("/health/ready") == (503, b"The database has not answered for 4 s.\n")
    monitoring.lease.unanswered_seconds = 1.1
    hall.inline.away = True
    assert monitoring.get("/health/ready")[0] == 503
    assert b"\nchatserver_ready 0.0\n" in monitoring.get("/metrics")[1]
    hall.inline.away = False
    assert b"\nchatserver_ready 1.0\n" in monitoring.get("/metrics")[1]
    monitoring.lease.held = False
    assert b"lease" in monitoring.get("/health/ready")[1]
    monitoring.health.stopping()
    assert monitoring.get("/health/ready") == (503, b"The server is stopping.\n")
    assert monitoring.get("/health/live")[0] == 200
