"""Takes over a changed settings file, and renewed certificates, while the server runs.

Everything new is read and checked before anything is changed, in a thread of its own: a file may be on a disk that
hangs.
"""

import signal
import time
from collections.abc import Callable
from threading import Thread
from types import FrameType
from typing import Final

from argon2.exceptions import HashingError
from msgspec import Struct
from msgspec.structs import force_setattr
from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.internet.defer import TimeoutError as Overdue
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.login.hashing import hash_nobody
from chatserver.net.doors import table
from chatserver.net.listening.endpoints import WrongEndpoint, examine
from chatserver.net.listening.tls import Identity
from chatserver.operation.companion import Quiet, Running
from chatserver.operation.control.caller import FAULT
from chatserver.operation.systemd.notify import notify
from chatserver.settings.tables import ConfigProblem, Passwords, Settings, each_setting
from chatserver.store import rooms
from chatserver.store.db.engine import DatabaseProblem, parse_url
from chatserver.util.times import now
from chatserver.values.errors import Unavailable

CERTIFICATES: Final = "certificates"
"""Stands among the names of settings for the certificates of TLS endpoints."""
STOPPING: Final = "The server is stopping."
READ_SECONDS: Final = 30.0
"""How long reading may take: a disk that hangs must not block later reloads."""
AT_START: Final = frozenset(
    {
        "server.node",
        "server.listen",
        "server.database",
        "server.metrics",
        "server.control",
        "pipeline.write_lanes",
        "pipeline.read_lanes",
        "pipeline.take",
        "pipeline.database_seconds",
        "pipeline.read_seconds",
        "log.format",
        "bus.url",
        "search.language",
    }
)
"""The settings that need a restart: the server reads them when it starts. All others follow a reload."""


def adopt(settings: Settings, new: Settings) -> tuple[list[str], list[str]]:
    """Copies changed values of `new` into `settings`, but for AT_START. Returns the names of the settings that were
    changed, and of those that differ and are kept. Call it in the reactor's thread."""
    changed, kept = [], []
    for name, owner, key, value in each_setting(settings):
        other = getattr(getattr(new, name.partition(".")[0]), key)
        if other != value:
            if name == "server.node" and not other:  # it was given none, and has taken one
                continue
            if name in AT_START:
                kept.append(name)
            else:
                force_setattr(owner, key, other)
                changed.append(name)
    return changed, kept


class Reloaded(Struct, frozen=True):
    """Result of a reload. Settings are named as in the file: `limits.window`. With a problem, nothing was changed."""

    changed: list[str]  # take effect now
    kept: list[str]  # were changed, too, but take effect at the next start
    problem: str | None = None  # one line: why nothing was changed


class Found(Struct, frozen=True):
    """Files that were read and checked."""

    settings: Settings
    identities: dict[str, Identity]  # by endpoint
    nobody: str | None  # see `hashing.hash_nobody`; None: as before


Problems: Final = (ConfigProblem, DatabaseProblem, WrongEndpoint)


class Reload(Quiet):
    """Reloads on SIGHUP and for callers of `reload`. A request during a reload is served after it, so that the last
    file wins. A signal that comes before the server serves waits until it does; once the server stops, nothing is
    reloaded."""

    log = Logger()

    def __init__(self, running: Running) -> None:
        self._running = running
        self._lock = DeferredLock()
        self._serving = False
        self._waiting = False  # a signal has come that the reactor does not know of yet
        self._asked = False  # by a signal, and not begun yet

    # Signals

    def prepare(self) -> None:
        signal.signal(signal.SIGHUP, self._hung_up)

    def started(self) -> None:
        self._serving = True
        for one in self._running.connections.identities:
            self._warn(one.identity)
        if self._asked:
            self._begin()

    def stopping(self) -> None:
        self._serving = False
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a handler of ours would not be there up to the very end

    def _hung_up(self, _number: int, _frame: FrameType | None) -> None:
        if not self._waiting:  # signals may come faster than they can be heeded
            self._waiting = True
            self._running.reactor.callFromThread(self._signalled)

    def _signalled(self) -> None:
        self._waiting = False
        if not self._asked:
            self._asked = True
            if self._serving:
                self._begin()

    def _begin(self) -> None:
        ensureDeferred(self.reload())

    # Reloading

    async def reload(self) -> Reloaded:
        """Raises nothing. The log says what was done, too."""
        await self._lock.acquire()
        self._asked = False
        try:
            if not self._serving:
                return Reloaded([], [], STOPPING)
            notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            done = await self._reload()
        except Exception:
            self.log.failure("The settings could not be reloaded.")
            done = Reloaded([], [], FAULT)
        finally:
            if self._serving:
                notify("READY=1")
            self._lock.release()
        self._log(done)
        return done

    async def _reload(self) -> Reloaded:
        try:
            found = await self._in_thread(self._read)
            await self._create_rooms(found.settings.server.default_rooms)
        except Problems as problem:
            return Reloaded([], [], str(problem))
        except Unavailable:
            return Reloaded(
                [], [], "The database does not answer, so no default rooms can be created. Try again later."
            )
        if not self._serving:
            return Reloaded([], [], STOPPING)
        changed, kept = adopt(self._running.settings, found.settings)
        shown = self._running.connections.identities
        renewed = [one.renew(found.identities[one.identity.endpoint]) for one in shown]
        if any(renewed):
            changed.append(CERTIFICATES)
        for identity in found.identities.values():
            self._warn(identity)
        if found.nobody is not None:
            self._running.hasher.follow(found.nobody)
        log = self._running.settings.log
        self._running.logs.set_level(log.level)
        self._running.store.slow_seconds = log.slow_seconds
        if any(name.startswith("limits.") for name in changed):
            await self._running.connections.follow()
        return Reloaded(changed, kept)

    def _read(self) -> Found:
        """In a thread. Reads all files, and checks what is in them. Raises Problems."""
        settings = self._running.read_settings()
        parse_url(settings.server.database)
        open_now = [one.identity.endpoint for one in self._running.connections.identities]
        new = [table.split(description)[1] for description in settings.server.listen]
        if settings.server.metrics:
            new.append(settings.server.metrics)
        found = {endpoint: examine(endpoint).identity for endpoint in {*open_now, *new}}  # the next start needs all
        identities = {endpoint: identity for endpoint, identity in found.items() if identity is not None}
        return Found(settings, identities, self._hash_nobody(settings.passwords))

    def _hash_nobody(self, passwords: Passwords) -> str | None:
        if passwords == self._running.settings.passwords:
            return None
        try:
            return hash_nobody(passwords)
        except (HashingError, MemoryError) as error:
            raise ConfigProblem(
                f"With these settings no password can be hashed ({error}). Correct passwords.memory_kib, "
                "passwords.time_cost or passwords.parallelism."
            ) from None

    async def _create_rooms(self, names: list[str]) -> None:
        """Creates those that are new, as a start does. Raises Unavailable."""
        new = [name for name in names if name not in self._running.settings.server.default_rooms]
        if new:
            await self._running.store.write(rooms.ensure, new, self._running.now())

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        read: Deferred[Found] = Deferred()
        from_thread = self._running.reactor.callFromThread

        def run() -> None:
            try:
                found = work()
            except BaseException:
                from_thread(read.errback, Failure())
            else:
                from_thread(read.callback, found)

        Thread(target=run, name="reload", daemon=True).start()
        try:
            return await read.addTimeout(READ_SECONDS, self._running.connections.clock)
        except Overdue:
            text = f"The files could not be read within {READ_SECONDS:g} s. Look after their disk, then try again."
            raise ConfigProblem(text) from None

    # What the log says

    def _log(self, done: Reloaded) -> None:
        if done.problem is not None:
            self.log.error("Nothing was reloaded, and nothing has changed. {problem}", problem=done.problem)
            return
        self.log.info("Reloaded: {changed}.", changed=", ".join(done.changed) or "nothing has changed")
        if done.kept:
            self.log.warn("These settings were changed, too, but need a restart: {kept}.", kept=", ".join(done.kept))

    def _warn(self, identity: Identity) -> None:
        for warning in identity.warnings(now()):
            self.log.warn("{warning}", warning=warning)
