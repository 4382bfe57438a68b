"""HTTP for monitoring: /metrics, /health/live and /health/ready."""

import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from chatserver.net.listening.endpoints import explained, opening, with_mode
from chatserver.net.listening.ports import closed
from chatserver.net.listening.tls import ForwardSecret
from chatserver.operation.companion import Quiet, Running
from chatserver.operation.monitoring.counters import snapshot
from chatserver.operation.monitoring.metrics import CONTENT_TYPE, Situation, exposition
from chatserver.operation.monitoring.site import Visitors
from chatserver.store.nodes.lease import BEAT_SECONDS
from chatserver.util.exits import MISCONFIGURED, CannotStart
from chatserver.util.waiting import Batcher, pause, turns

T = TypeVar("T")

REST_SECONDS: Final = 0.25
"""Interval between the beginnings of two scrapes."""
PATIENCE_SECONDS: Final = 3 * BEAT_SECONDS
"""How long a heartbeat may take until the database counts as away. A busy one takes tenths of a second."""
MOST_SHARED: Final = 1000
TEXT: Final = "text/plain; charset=utf-8"

InThread = Callable[..., Awaitable[Any]]


class Health(Quiet):
    """Whether the server serves, as far as it knows without a query."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._starting = True
        self._stopping = False

    def started(self) -> None:
        self._starting = False

    def stopping(self) -> None:
        self._stopping = True

    def problem(self) -> str:
        """The reason to send no client here, in one line; "" if all is well."""
        if self._stopping:
            return "The server is stopping."
        if self._starting:
            return "The server is starting."
        if self._running.cluster is not None and self._running.cluster.state != "serving":
            return f"This node is {self._running.cluster.state}: others go on."
        if not self._running.lease.check():
            return "This server does not have the lease of its node. Its log says why."
        silence = self._running.lease.unanswered_seconds
        if silence > PATIENCE_SECONDS:
            return f"The database has not answered for {silence:.0f} s."
        if self._running.store.away:
            return "The database refuses calls, or does not answer them. The server's log says why."
        return ""


class Scrapes:
    """Makes the text of /metrics. Requests during a scrape share the next one, which begins a moment later: its numbers
    are never older than the request."""

    def __init__(self, running: Running, health: Health, in_thread: InThread) -> None:
        self._running = running
        self._health = health
        self._in_thread = in_thread
        self._batcher: Batcher[None, bytes] = Batcher(self._scrape, MOST_SHARED, turns(running.reactor))
        self._next = 0.0

    async def text(self) -> bytes:
        return await self._batcher.ask(None)

    async def _scrape(self, asked: list[None]) -> list[bytes]:
        running, clock = self._running, self._running.reactor
        if clock.seconds() < self._next:
            await pause(clock, self._next - clock.seconds())
        self._next = clock.seconds() + REST_SECONDS
        seen = await snapshot(running)
        situation = Situation(
            not self._health.problem(),
            running.lease.unanswered_seconds,
            running.settings.limits.connections,
            running.settings.passwords.queue,
        )
        return [await self._in_thread(exposition, seen, situation)] * len(asked)


class Pages(Resource):
    """All pages there are."""

    isLeaf = True
    log = Logger()

    def __init__(self, scrapes: Scrapes, health: Health) -> None:
        Resource.__init__(self)
        self._scrapes = scrapes
        self._health = health

    def render(self, request: Any) -> bytes | int:
        request.setHeader("server", "chatserver")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader("allow", "GET, HEAD")
            return _answer(request, 405, "Use GET.")
        match request.path:
            case b"/metrics":
                ensureDeferred(self._metrics(request))
                return int(NOT_DONE_YET)
            case b"/health/live":
                return _answer(request, 200, "The server runs.")
            case b"/health/ready":
                problem = self._health.problem()
                return _answer(request, 503 if problem else 200, problem or "The server serves.")
        return _answer(request, 404, "There are /metrics, /health/live and /health/ready.")

    async def _metrics(self, request: Any) -> None:
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)
        try:
            status, kind, body = 200, CONTENT_TYPE, await self._scrapes.text()
        except Exception:
            self.log.failure("A scrape failed.")
            status, kind, body = 500, TEXT, b"The scrape failed. The server's log has the details.\n"
        if not gone:
            request.setResponseCode(status)
            request.setHeader("content-type", kind)
            request.setHeader("content-length", str(len(body)))
            request.write(body)
            request.finish()


def _answer(request: Any, status: int, text: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader("content-type", TEXT)
    return f"{text}\n".encode()


def _shown(host: Any) -> str:
    if not hasattr(host, "port"):
        return os.fsdecode(getattr(host, "name", str(host)))
    name = f"[{host.host}]" if ":" in host.host else host.host
    return f"http://{name}:{host.port}/metrics"


class Web(Quiet):
    """Listens on `server.metrics` from before the first client until after the last one."""

    log = Logger()

    def __init__(self, running: Running) -> None:
        self._running = running
        self._reactor = running.reactor
        self._health = Health(running)
        self._port: IListeningPort | None = None
        self._visitors = Visitors(self._reactor, Pages(Scrapes(running, self._health, self._in_thread), self._health))

    async def _in_thread(self, work: Callable[..., T], *args: object) -> T:
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, *args)

    def prepare(self) -> None:
        description = self._running.settings.server.metrics
        try:
            reactor = ForwardSecret(self._reactor, description, self._running.connections.identities)
            listening = opening(reactor, with_mode(description)).listen(self._visitors)
        except Exception as error:
            raise CannotStart(f"--metrics {explained(description, error)}", MISCONFIGURED) from None
        failures: list[Failure] = []
        listening.addCallbacks(self._opened, failures.append)
        for failure in failures:
            cause: Any = getattr(failure.value, "socketError", failure.value)
            why = getattr(cause, "strerror", None) or cause
            raise CannotStart(
                f"Cannot listen on {description} ({why}). Choose another endpoint with --metrics, or stop what listens "
                "there."
            )

    def _opened(self, port: IListeningPort) -> None:
        self._port = self._visitors.port = port

    def started(self) -> None:
        self._health.started()
        if self._port is not None:
            self.log.info("Monitoring reads {where}", where=_shown(self._port.getHost()))

    def stopping(self) -> None:
        self._health.stopping()

    async def stopped(self) -> None:
        port, self._port = self._port, None
        self._visitors.close()
        if port is not None:
            await closed(port)
