"""The service: the order in which the parts of the server start and stop."""

import atexit
import errno
import gc
import math
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from threading import Thread
from types import FrameType
from typing import Any, NoReturn, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred, maybeDeferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.net.connection.connection import Connection
from chatserver.net.doors import table
from chatserver.net.doors.factory import ChatFactory
from chatserver.net.listening.endpoints import OVERHEARD, explained, opening, plain, with_mode
from chatserver.net.listening.ports import Adopting, Inherited, Sharing, TlsInside, closed, shown
from chatserver.net.listening.tls import ForwardSecret
from chatserver.net.listening.withdrawal import restore, withdraw
from chatserver.net.way import is_loopback
from chatserver.operation.companion import Companion, Running
from chatserver.settings.endpoint import split_reuseport
from chatserver.settings.tables import named
from chatserver.store.db.engine import DatabaseProblem
from chatserver.store.starting import prepare
from chatserver.util.exits import MISCONFIGURED, CannotStart, ending
from chatserver.util.waiting import until
from chatserver.values.errors import Note, Sentence, Unavailable
from chatserver.values.events import Person
from chatserver.wire.addresses import Listed

T = TypeVar("T")

SWEEP_SECONDS = 60.0
"""Interval between sweeps of addresses that no longer count."""
SIGNAL_SECONDS = 0.05
"""How long a signal may go unnoticed while the database is prepared."""
STEP_SECONDS = 2.0
"""How long stopping waits for each step that has no limit in the settings."""
SESSIONS_SECONDS = 1.0
"""How long stopping waits for the last rows of `session`. The next start closes those that were not written."""
JOIN_SECONDS = 0.1
"""How long a step in a thread blocks the reactor before stopping waits for it without blocking."""
BACKLOG = 1024
"""Maximum number of connections that the kernel holds until they are accepted."""
RESTARTING = Sentence(Note.RESTARTING)
FIRST_RETRY_SECONDS = 2
"""How long after a restart the first clients come back. A restart takes less."""
RETURNS_PER_SECOND = 500
"""Maximum number of clients that come back in the same second. A server can log in more, by token."""
GC_THRESHOLDS = (2000, 10, 100)
"""Numbers of new objects and of younger collections before the garbage collector runs, for each generation."""
SWITCH_SECONDS = 0.001
"""How long a thread runs until it yields the interpreter to the reactor, in place of Python's 5 ms."""


class ChatService(Service):
    """Starts: prepares the database, listens, starts threads and processors. Stops in this order: listening, reading,
    serving what has arrived, connections, threads."""

    log = Logger()

    def __init__(
        self,
        running: Running,
        companions: Sequence[Companion] = (),
        inherited: Inherited | None = None,
    ) -> None:
        self._reactor = running.reactor
        self._settings = running.settings
        self._store = running.store
        self._hasher = running.hasher
        self._session_rows = running.session_rows
        self._change_feed = running.change_feed
        self._processors = running.processors
        self._connections = running.connections
        self._lease = running.lease
        self._reconciler = running.reconciler
        self._guests = running.guests
        self._maintenance = running.maintenance
        self._now = running.now
        self._companions = companions
        self._inherited = inherited or Inherited()
        self._cluster = running.cluster
        self.adopted: Callable[[Any], None] | None = None
        """Called with the application that the service is added to. twistd opens its log right after that."""
        self._opening: list[Deferred[IListeningPort]] = []
        self._ports: list[IListeningPort] = []
        self._ports_closed = False
        self._serving = False
        self._stop_requested = False  # by a signal
        self._sweep_call: IDelayedCall | None = None
        self._left_behind: list[Person] = []
        self._lease.lost.addCallback(lambda held: self.fail(CannotStart(str(held))))

    def setServiceParent(self, parent: Any) -> None:
        if self.adopted is not None:
            self.adopted(parent)
        Service.setServiceParent(self, parent)

    # Starting

    def privilegedStartService(self) -> None:
        """Prepares the database, then listens: a port is open only if the database is ready, and ports below 1024 are
        opened before twistd drops its privileges. Blocks until then. Raises CannotStart."""
        self._take_signals()
        try:
            self._prepare()
            for companion in self._companions:
                companion.prepare()
            for description in self._settings.server.listen:
                if not self._stop_requested:
                    self._listen(description)
            self._name_unwanted()
        except SystemExit as problem:
            self._release_store()
            raise ending(problem) from None

    def _prepare(self) -> None:
        server = self._settings.server
        try:
            held = self._unless_stopped(lambda: self._lease.acquire_blocking(self._store.run))
            if held is not None:
                raise CannotStart(str(held))
            named(self._settings, self._lease.me.node)
            prepared = self._unless_stopped(
                lambda: prepare(
                    self._store, self._lease.me, server.default_rooms, self._now, together=self._cluster is not None
                )
            )
        except Unavailable as problem:
            raise CannotStart(
                f"The database does not answer ({problem.__cause__}). Start it, then start the server."
            ) from None
        except DatabaseProblem as problem:
            raise CannotStart(str(problem), MISCONFIGURED) from None
        if prepared is None:
            return  # stopped
        self._left_behind = prepared.left_behind
        if prepared.closed:
            self.log.warn("Closed {count} sessions that a crash had left open.", count=prepared.closed)

    def _unless_stopped(self, work: Callable[[], T]) -> T | None:
        """Runs `work` in a thread and waits for it, but no longer than until a signal asks the server to stop: a driver
        that waits for the database in this thread would delay the signal's handler for as long."""
        if self._stop_requested:
            return None
        finished: list[Callable[[], T]] = []

        def run() -> None:
            try:
                result = work()
            except BaseException as error:
                finished.append(partial(_raise, error))
            else:
                finished.append(lambda: result)

        thread = Thread(target=run, name="start", daemon=True)
        thread.start()
        while thread.is_alive() and not self._stop_requested:
            thread.join(SIGNAL_SECONDS)
        return finished[0]() if finished else None

    def _listen(self, description: str) -> None:
        """Opens a port. Raises CannotStart if that fails at once; some endpoints fail later, when the reactor runs, and
        then the server stops with the same message and exit status."""
        door, endpoint_string = table.split(description)
        server = self._settings.server
        proxies = Listed(lambda: server.trusted_proxies)
        factory = ChatFactory(self._connections, door, self._settings, proxies)
        plainly, shared = split_reuseport(endpoint_string)
        adopting = Adopting(Sharing(self._reactor) if shared else self._reactor, self._inherited)
        try:
            reactor = ForwardSecret(TlsInside(adopting), endpoint_string, self._connections.identities)
            listening = opening(reactor, completed(plainly)).listen(factory)
        except Exception as error:
            raise CannotStart(f"--listen {explained(endpoint_string or description, error)}", MISCONFIGURED) from None
        if adopting.problem:
            self.log.warn("--listen {description} {problem}", description=description, problem=adopting.problem)
        self._opening.append(listening)
        at_once: list[CannotStart] = []
        fail = at_once.append

        def opened(port: IListeningPort) -> None:
            if self._ports_closed:
                port.stopListening()
                return
            self._ports.append(port)
            if self._serving:
                self._log_listening(port)
                self._tell_started()

        def failed(failure: Failure) -> None:
            if not self._ports_closed:
                fail(_cannot_listen(description, failure.value))

        listening.addCallbacks(opened, failed).addErrback(
            lambda failure: self.log.failure("An endpoint failed.", failure)
        )
        for problem in at_once:
            raise problem
        fail = self.fail

    def _name_unwanted(self) -> None:
        """Warns of sockets that no endpoint takes: clients that connect to them are never answered."""
        for sock in self._inherited.left:
            self.log.warn(
                "systemd passes the socket {where} on, which no endpoint in server.listen has: nobody is answered "
                "there. Add the endpoint, or remove the ListenStream= from chatserver.socket.",
                where=shown(sock),
            )

    def fail(self, problem: CannotStart) -> None:
        """Ends the running server because it cannot do what it was started for."""
        self.log.critical("{problem}", problem=str(problem))
        # The reactor gives no way to end with a status other than 0 or that of a signal.
        atexit.register(_exit_with, problem.status)
        self._reactor.callFromThread(self._stop_reactor)

    def startService(self) -> None:
        """Begins to serve. The reactor is not running yet."""
        Service.startService(self)
        if self._stop_requested:
            return  # the reactor stops as soon as it runs
        _tune_process()
        self._hasher.start()
        self._processors.start(self._settings.pipeline.read_lanes)
        self._change_feed.start()
        self._lease.start()
        self._maintenance.start()
        if self._cluster is not None:
            self._cluster.held = bool(self._inherited.taken)
            self._cluster.start(self._left_behind)
        self._reconciler.suspect()  # a commit of the run before may still come
        self._sweep()
        self._serving = True
        for port in self._ports:
            self._log_listening(port)
        self._tell_started()

    def _tell_started(self) -> None:
        """Acts once every endpoint is open, as a rule before the server begins to serve."""
        if len(self._ports) < len(self._opening):
            return
        for companion in self._companions:
            try:
                companion.started()
            except Exception:
                self.log.failure("{companion} could not be started.", companion=type(companion).__name__)

    def _log_listening(self, port: IListeningPort) -> None:
        host: Any = port.getHost()
        unix = not hasattr(host, "port")
        where = os.fsdecode(getattr(host, "name", str(host))) if unix else f"{host.host}:{host.port}"
        self.log.info("Listening on {where}", where=where)
        factory: Any = getattr(port, "factory", None)
        if getattr(factory, "serves_pages", False) and not unix:
            name = "localhost" if is_loopback(host.host) else host.host
            if name in ("0.0.0.0", "::"):
                name = socket.gethostname()
            scheme = "https" if factory.secured else "http"
            shown_name = f"[{name}]" if ":" in name else name
            self.log.info("Open {scheme}://{name}:{port}/ in a browser", scheme=scheme, name=shown_name, port=host.port)
        if plain(port):
            self.log.warn(OVERHEARD, where=where)

    def _sweep(self) -> None:
        self._connections.admission.sweep()
        self._sweep_call = self._reactor.callLater(SWEEP_SECONDS, self._sweep)

    def _take_signals(self) -> None:
        """Stopping on request is no failure: the exit status is 0, not the signal's. A second signal kills at once.

        The reactor is given the same handlers, because it installs its own when it starts to run. A signal that comes
        before that stops it as soon as it runs.
        """

        def stop(_number: int, _frame: FrameType | None = None) -> None:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._stop_requested = True
            self._reactor.sigTerm = self._reactor.sigInt = _second_signal
            self._reactor.callFromThread(self._stop_reactor)

        self._reactor.sigTerm = self._reactor.sigInt = stop
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    def _stop_reactor(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            pass  # it is stopping already

    # Stopping

    def stopService(self) -> "Deferred[None]":
        Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        """Runs all steps: one that fails or takes too long is logged and keeps none of the later ones from running."""
        shutdown, connections = self._settings.shutdown, self._connections
        if self._sweep_call is not None:
            self._sweep_call.cancel()
        for companion in self._companions:
            await self._step(f"telling {type(companion).__name__}", companion.stopping)
        await self._step("watching the database", self._change_feed.stop)
        await self._step("comparing heads", self._reconciler.stop)
        await self._step("tidying the database", self._maintenance.stop)
        if self._cluster is not None:
            self._cluster.state = "stopping"
        connections.parting.stop_reading()
        await self._close_ports()
        self.log.info("Stopping with {count} open connections.", count=len(connections.open))
        self._with_each("reading", lambda connection: connection.advance())  # which reads no further
        if shutdown.drain_seconds:
            # A database that hangs refuses what it has not answered by then, and the senders are told.
            await self._step("shortening deadlines", lambda: self._store.hurry(shutdown.drain_seconds))
        await until(self._reactor, lambda: not connections.busy, shutdown.drain_seconds)
        await self._step("serving commands", self._processors.stop)
        await self._step("dismissing guests", self._guests.stop)
        parting = connections.parting
        parting.begin()
        others = 0 if self._cluster is None else len(self._cluster.serving)
        first, last = retries(len(connections.open), others)

        def say_goodbye(connection: Connection) -> None:
            connection.hang_up("shutdown", RESTARTING, retry=random.randint(first, last))

        self._with_each("saying goodbye", say_goodbye)
        if parting.unlogged:
            self.log.info("{count} more connections were told.", count=parting.unlogged)
        await until(self._reactor, lambda: parting.all_gone() and not connections.open, shutdown.flush_seconds)
        self._with_each("closing", lambda connection: connection.abort())
        await until(self._reactor, lambda: not connections.open, 1.0)
        await self._step("shortening deadlines", lambda: self._store.hurry(SESSIONS_SECONDS))
        await until(self._reactor, lambda: self._guests.idle, 1.0)
        if self._cluster is not None:
            await self._step("leaving the cluster", partial(_deferred, self._cluster.stop))
        await self._step("recording sessions", self._record_sessions, SESSIONS_SECONDS)
        await self._step("releasing the lease", self._lease.stop)
        await self._step("closing the database", self._store.stop)
        await self._step_in_thread("hashing passwords", self._hasher.stop)
        for companion in self._companions:
            await self._step(f"ending {type(companion).__name__}", companion.stopped)
        self.log.info("Stopped.")

    async def withdraw(self) -> None:
        """Closes all ports without losing a client, and goes on serving the connected ones. Newcomers, over a Unix
        socket that systemd holds, are told to come again."""
        self._close_for_newcomers()
        ports, taken = self._ports, self._inherited.taken
        self._ports = [port for port in ports if port in taken]
        closing = [ensureDeferred(withdraw(self._reactor, port, held=port in taken)) for port in ports]
        for _, problem in await DeferredList(closing, consumeErrors=True):
            if isinstance(problem, Failure):
                self.log.failure("A port could not be closed.", problem)
        self._connections.withdraw()

    def retries(self, connections: int) -> tuple[int, int]:
        """See `drain.Server`."""
        return retries(connections)

    async def _close_ports(self) -> None:
        self._close_for_newcomers()
        for port in self._ports:
            await self._step("opening a port for the next server", partial(restore, port))
            await self._step("closing a port", partial(closed, port))

    def _close_for_newcomers(self) -> None:
        self._ports_closed = True
        for listening in self._opening:
            listening.cancel()  # does nothing to those that are open

    async def _record_sessions(self) -> None:
        await self._session_rows.flush()
        await until(self._reactor, lambda: self._session_rows.written, SESSIONS_SECONDS)

    def _with_each(self, what: str, do: Callable[[Connection], None]) -> None:
        for connection in list(self._connections.open):
            try:
                do(connection)
            except Exception:
                self.log.failure("While stopping, {what} failed for a connection.", what=what)

    async def _step(self, what: str, step: Callable[[], Any], seconds: float = STEP_SECONDS) -> None:
        """Runs a step, which may return something to wait for, and waits no longer than this."""
        over: list[object] = []
        maybeDeferred(step).addErrback(self._step_failed, what).addBoth(over.append)
        await until(self._reactor, lambda: bool(over), seconds)
        if not over:
            self._step_hangs(what, seconds)

    async def _step_in_thread(self, what: str, step: Callable[[], None]) -> None:
        """As `_step`, for a step that may block."""
        failures: list[Failure] = []

        def run() -> None:
            try:
                step()
            except BaseException:
                failures.append(Failure())

        thread = Thread(target=run, name=what, daemon=True)
        thread.start()
        thread.join(JOIN_SECONDS)  # as a rule it is over by then
        await until(self._reactor, lambda: not thread.is_alive(), STEP_SECONDS)
        if thread.is_alive():
            self._step_hangs(what, STEP_SECONDS)
        for failure in failures:
            self._step_failed(failure, what)

    def _step_failed(self, failure: Failure, what: str) -> None:
        self.log.failure("While stopping, {what} failed.", failure, what=what)

    def _step_hangs(self, what: str, seconds: float) -> None:
        self.log.error("While stopping, {what} has not ended after {seconds} s; going on.", what=what, seconds=seconds)

    def _release_store(self) -> None:
        try:
            self._store.stop()
        except Exception:
            self.log.failure("The database could not be closed.")


def _deferred(work: Callable[[], Coroutine[Any, Any, None]]) -> "Deferred[None]":
    return ensureDeferred(work())


def _raise(error: BaseException) -> NoReturn:
    raise error


def _second_signal(number: int, _frame: FrameType | None = None) -> None:
    """Stands in for the reactor's handlers where the first signal came before the reactor ran."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _cannot_listen(description: str, error: BaseException | None) -> CannotStart:
    reason = str(error)
    if isinstance(error, CannotListenError):
        reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
        error = error.socketError
    if getattr(error, "errno", 0) in (errno.EACCES, errno.ENOENT):
        return CannotStart(
            f"Cannot listen on {description} ({reason}). Choose another with --listen, or have systemd open it: "
            "chatctl example socket",
            MISCONFIGURED,
        )
    return CannotStart(
        f"Cannot listen on {description} ({reason}). Stop what listens there, or choose another with --listen."
    )


def _exit_with(status: int) -> None:
    """Called by `atexit`, when everything else is done."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def retries(connections: int, others: int = 0) -> tuple[int, int]:
    """The seconds after which the first and the last of `connections` clients come back: they are spread over the time
    between. Where `others` serve (number of nodes), nobody has to wait for this one."""
    if others:
        return 0, max(2, math.ceil(connections / (RETURNS_PER_SECOND * others)))
    return FIRST_RETRY_SECONDS, FIRST_RETRY_SECONDS + max(3, math.ceil(connections / RETURNS_PER_SECOND))


def completed(description: str) -> str:
    """An endpoint string with room for a burst of connections: Twisted's default of 50 overflows in milliseconds, and a
    client that is dropped then tries again only after a second (RFC 6298, section 2)."""
    kind = description.partition(":")[0]
    if kind in ("tcp", "tcp6", "ssl") and ":backlog=" not in description:
        return f"{description}:backlog={BACKLOG}"
    return with_mode(description)


def _tune_process() -> None:
    # The garbage collector stops everything to look through everything. Loaded modules stay loaded, and connections
    # leave no circles of references behind.
    gc.freeze()
    gc.enable()
    gc.set_threshold(*GC_THRESHOLDS)
    atexit.register(gc.freeze)  # the last collections need not look through what goes with the process
    sys.setswitchinterval(SWITCH_SECONDS)
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)  # each connection is a file
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
