"""The order in which things start and stop."""

import gc
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from chatserver.config import Settings
from chatserver.errors import Unavailable
from chatserver.ledger import Ledger
from chatserver.net.factory import ChatFactory
from chatserver.passwords import Hasher
from chatserver.processor import Processors
from chatserver.store.threads import Store
from chatserver.watch import Watch

POLL_SECONDS = 0.02
SWEEP_SECONDS = 60.0
BACKLOG = 1024
GARBAGE = (2000, 10, 100)
SWITCH_SECONDS = 0.001  # a thread with a page of rows may not keep the reactor waiting for Python's usual 5 ms


class CannotStart(SystemExit):
    """The server cannot run: ends the program with status 1 and one line that says what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(f"chatserver: {text}")


class ChatService(Service):
    """Starts: threads, processors, listeners. Stops: listeners, reading, what has arrived, connections, threads."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        store: Store,
        hasher: Hasher,
        ledger: Ledger,
        watch: Watch,
        processors: Processors,
        factory: ChatFactory,
        now: Callable[[], datetime],
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._store = store
        self._hasher = hasher
        self._ledger = ledger
        self._watch = watch
        self._processors = processors
        self._factory = factory
        self._now = now
        self._ports: list[IListeningPort] = []

    def privilegedStartService(self) -> None:
        """Listens, while ports below 1024 may still be taken. Raises CannotStart."""
        for description in self._settings.server.listen:
            try:
                endpoint = serverFromString(self._reactor, with_backlog(description))
                listening = endpoint.listen(self._factory)
            except Exception as error:
                raise CannotStart(f"--listen {description} is no endpoint ({error}). Try tcp:4000.") from None
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
                f"Cannot listen on {description} ({reason}). Stop what listens there, or name another with --listen."
            )

    def startService(self) -> None:
        """Begins to serve. The database is still waited for here: the reactor is not running yet."""
        Service.startService(self)
        server = self._settings.server
        try:
            left_open = self._store.prepare(server.node, server.default_rooms, self._now())
        except Unavailable as problem:
            raise CannotStart(f"The database has gone away ({problem.__cause__}). Start it, then the server.") from None
        if left_open:
            self.log.warn("{count} sessions were left open by a crash, and are closed now.", count=left_open)
        self._reactor.callWhenRunning(self._take_signals)
        # To look through everything for garbage stops everything: modules and tables stay for ever, and connections
        # leave no circles behind.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        _raise_file_limit()
        sys.setswitchinterval(SWITCH_SECONDS)
        self._hasher.start()
        self._processors.start(self._settings.pipeline.read_lanes)
        self._watch.start()
        self._sweep = self._reactor.callLater(SWEEP_SECONDS, self._swept)

    def _swept(self) -> None:
        self._factory.admission.sweep()
        self._sweep = self._reactor.callLater(SWEEP_SECONDS, self._swept)

    def _take_signals(self) -> None:
        """Stopping when told to is no failure: the exit status is 0, not the signal's. A second signal goes at once."""

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
        shutdown = self._settings.shutdown
        self._sweep.cancel()
        self._watch.stop()
        self._factory.closing = True
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        connections = list(self._factory.connections)
        self.log.info("Stopping: {count} connections.", count=len(connections))
        for connection in connections:
            connection.advance()  # which reads no further
        await self._until(lambda: not self._factory.busy, shutdown.drain_seconds)
        self._processors.stop()
        for connection in list(self._factory.connections):
            # Spread over some seconds, so that they do not all come back at once.
            connection.hang_up(
                "shutdown", "The server is restarting. Everything you sent is saved.", retry=random.randint(3, 10)
            )
        await self._until(lambda: not self._factory.connections, shutdown.flush_seconds)
        for connection in list(self._factory.connections):
            connection.abort()
        await self._until(lambda: not self._factory.connections, 1.0)
        await self._ledger.flush()
        await self._until(lambda: self._ledger.written, 1.0)
        self._store.stop()
        self._hasher.stop()
        self.log.info("Stopped.")

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        end = self._reactor.seconds() + seconds
        while not condition() and self._reactor.seconds() < end:
            turn: Deferred[None] = Deferred()
            self._reactor.callLater(POLL_SECONDS, turn.callback, None)
            await turn


def with_backlog(description: str) -> str:
    """An endpoint's description with room for a burst of connections. Twisted's own 50 overflow in milliseconds, and
    who is dropped then tries again only after a second (RFC 6298, section 2)."""
    kind = description.partition(":")[0]
    return (
        description
        if kind not in ("tcp", "tcp6", "ssl") or ":backlog=" in description
        else f"{description}:backlog={BACKLOG}"
    )


def _raise_file_limit() -> None:
    """A connection is a file: as many as the system lets this process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
