"""The service: the order in which the parts of the server start and stop."""

import gc
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.logger import Logger

from chatserver.config import Settings
from chatserver.errors import Unavailable
from chatserver.net import doors
from chatserver.net.connections import Connections
from chatserver.net.factory import ChatFactory
from chatserver.passwords import Hasher
from chatserver.processor import Processors
from chatserver.sessionlog import SessionLog
from chatserver.store.threads import Store
from chatserver.turns import until
from chatserver.watch import Watch

SWEEP_SECONDS = 60.0
BACKLOG = 1024
GC_THRESHOLDS = (2000, 10, 100)
SWITCH_SECONDS = 0.001
"""A thread with a page of rows may not keep the reactor waiting for Python's usual 5 ms."""


class CannotStart(SystemExit):
    """The server cannot run: ends the program with status 1 and one line that says what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(f"chatserver: {text}")


class ChatService(Service):
    """Starts threads, processors and listeners. Stops listeners, reading, what has arrived, connections, threads."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        store: Store,
        hasher: Hasher,
        session_log: SessionLog,
        watch: Watch,
        processors: Processors,
        connections: Connections,
        new_id: Callable[[], str],
        now: Callable[[], datetime],
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._store = store
        self._hasher = hasher
        self._session_log = session_log
        self._watch = watch
        self._processors = processors
        self._connections = connections
        self._new_id = new_id
        self._now = now
        self._ports: list[IListeningPort] = []
        self._sweep_call: IDelayedCall

    def privilegedStartService(self) -> None:
        """Listens, while ports below 1024 may still be taken. Raises CannotStart."""
        for description in self._settings.server.listen:
            new_door, endpoint_string = doors.split(description)
            factory = ChatFactory(self._connections, partial(new_door, self._settings), self._new_id)
            try:
                endpoint = serverFromString(self._reactor, with_backlog(endpoint_string))
                listening = endpoint.listen(factory)
            except Exception as error:
                raise CannotStart(f"--listen {description} is not an endpoint ({error}). Try tcp:4000.") from None
            self._opened(description, listening)

    def _opened(self, description: str, listening: "Deferred[IListeningPort]") -> None:
        problems: list[Exception] = []

        def opened(port: IListeningPort) -> None:
            self._ports.append(port)
            host: Any = port.getHost()
            unix = not hasattr(host, "port")
            where = os.fsdecode(getattr(host, "name", str(host))) if unix else f"{host.host}:{host.port}"
            self.log.info("Listening on {where}", where=where)

        listening.addCallbacks(opened, lambda failure: problems.append(failure.value))
        for problem in problems:
            if isinstance(problem, CannotListenError):
                reason = getattr(problem.socketError, "strerror", None) or str(problem.socketError)
            else:
                reason = str(problem)
            raise CannotStart(
                f"Cannot listen on {description} ({reason}). Stop what listens there, or choose another with --listen."
            )

    def startService(self) -> None:
        """Begins to serve. This may still wait for the database: the reactor is not running yet."""
        Service.startService(self)
        server = self._settings.server
        try:
            left_open = self._store.prepare(server.node, server.default_rooms, self._now())
        except Unavailable as problem:
            raise CannotStart(
                f"The database does not answer ({problem.__cause__}). Start it, then start the server."
            ) from None
        if left_open:
            self.log.warn("Closed {count} sessions that a crash had left open.", count=left_open)
        self._reactor.callWhenRunning(self._take_signals)
        _tune_process()
        self._hasher.start()
        self._processors.start(self._settings.pipeline.read_lanes)
        self._watch.start()
        self._sweep()

    def _sweep(self) -> None:
        self._connections.admission.sweep()
        self._sweep_call = self._reactor.callLater(SWEEP_SECONDS, self._sweep)

    def _take_signals(self) -> None:
        """Stopping on request is no failure: the exit status is 0, not the signal's. A second signal kills at once."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._reactor.callFromThread(self._reactor.stop)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    def stopService(self) -> "Deferred[None]":
        Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        shutdown, connections = self._settings.shutdown, self._connections
        self._sweep_call.cancel()
        self._watch.stop()
        connections.closing = True
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        self.log.info("Stopping with {count} open connections.", count=len(connections.open))
        for connection in list(connections.open):
            connection.advance()  # which reads no further
        await until(self._reactor, lambda: not connections.busy, shutdown.drain_seconds)
        self._processors.stop()
        for connection in list(connections.open):
            # Spread over some seconds, so that clients do not all come back at once.
            connection.hang_up(
                "shutdown", "The server is restarting. Everything you sent is saved.", retry=random.randint(3, 10)
            )
        await until(self._reactor, lambda: not connections.open, shutdown.flush_seconds)
        for connection in list(connections.open):
            connection.abort()
        await until(self._reactor, lambda: not connections.open, 1.0)
        await self._session_log.flush()
        await until(self._reactor, lambda: self._session_log.written, 1.0)
        self._store.stop()
        self._hasher.stop()
        self.log.info("Stopped.")


def with_backlog(description: str) -> str:
    """An endpoint string with room for a burst of connections. Twisted's default of 50 overflows in milliseconds, and a
    client that is dropped then tries again only after a second (RFC 6298, section 2)."""
    kind = description.partition(":")[0]
    return (
        description
        if kind not in ("tcp", "tcp6", "ssl") or ":backlog=" in description
        else f"{description}:backlog={BACKLOG}"
    )


def _tune_process() -> None:
    # The garbage collector stops everything to look through everything. What is loaded now stays loaded, and
    # connections leave no circles of references behind.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)  # each connection is a file
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
