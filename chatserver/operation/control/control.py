"""The control socket, over which `chatctl` sends requests to this process.

It is a Unix socket, for the server's own user and root. Its answers (idle times, entries behind, bytes) exist in this
process only and come at once. Whatever has to last across restarts, such as a ban, is in the database instead, and
needs no running server.

Its clients cannot delay the chat: they are few, and take turns. See also `caller.py`.
"""

import os
import socket
import stat
from collections import deque
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from chatserver import __version__
from chatserver.net.listening.ports import closed
from chatserver.operation.companion import Quiet, Running
from chatserver.operation.control import place, requests
from chatserver.operation.control.caller import Caller, CannotDo, ControlSocket, Out
from chatserver.operation.control.figures import figures
from chatserver.operation.control.reload import STOPPING, Reload
from chatserver.operation.control.requests import Asked, Hello
from chatserver.operation.control.sessions import announce, kick, list_sessions
from chatserver.settings.tables import SOCKET_PATH_BYTES
from chatserver.util import audit_log

MODE: Final = 0o600
MOST_CALLERS: Final = 16
"""Maximum number of callers at the same time; a further one is refused."""
BACKLOG: Final = 64


class Control(Quiet):
    """Listens while the server serves. A server that cannot listen there logs that, and serves all the same."""

    log = Logger()

    def __init__(self, running: Running, reload: Reload) -> None:
        self._running = running
        self._reload = reload
        self._port: IListeningPort | None = None
        self._closed: Awaitable[None] | None = None
        self._callers: set[Caller] = set()
        self._waiting: deque[Deferred[None]] = deque()  # for their turn
        self._figures = DeferredLock()

    def started(self) -> None:
        try:
            path = place.listened(self._running.settings.server, os.environ)
            if path is not None:
                self._port = self._listen(path)
        except (place.Unsafe, OSError) as problem:
            self._complain(str(problem))
        except CannotListenError as error:
            self._complain(f"{error.socketError}: {error.port}")

    def _listen(self, path: Path) -> IListeningPort | None:
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            self._complain(
                f"the path {path} has more than {SOCKET_PATH_BYTES} bytes; set server.control to a shorter one"
            )
            return None
        if is_alive(path):
            self._complain(f"another server, or a file, is at {path}; set server.control to another path")
            return None
        port: IListeningPort = self._running.reactor.listenUNIX(os.fspath(path), ControlSocket(self), BACKLOG, MODE)
        return port

    def _complain(self, why: str) -> None:
        self.log.warn("There is no control socket, and chatctl cannot reach this server ({why}).", why=why)

    def stopping(self) -> None:
        for caller in list(self._callers):
            caller.fail(STOPPING)
        if self._port is not None:
            self._closed = closed(self._port)  # removes the file

    def stopped(self) -> Awaitable[None] | None:
        return self._closed

    # A `Receiver`, for callers

    def enter(self, caller: Caller) -> Hello | None:
        if len(self._callers) >= MOST_CALLERS:
            return None
        self._callers.add(caller)
        server = self._running.settings.server
        return Hello(requests.VERSION, __version__, server.node, place.database_mark(server), os.getpid())

    def leave(self, caller: Caller) -> None:
        self._callers.discard(caller)

    @property
    def clock(self) -> Any:
        return self._running.reactor

    def turn(self) -> "Deferred[None]":
        mine: Deferred[None] = Deferred()
        self._waiting.append(mine)
        if len(self._waiting) == 1:
            self.clock.callLater(0, self._next)
        return mine

    def _next(self) -> None:
        first = self._waiting[0]
        if len(self._waiting) > 1:
            self.clock.callLater(0, self._next)
        self._waiting.popleft()
        first.callback(None)

    async def answer(self, asked: Asked, uid: int, out: Out) -> dict[str, Any]:
        running = self._running

        def log(act: str, **what: str) -> None:
            audit_log.acted("local", "", act, by=asked.by[:64], uid=str(uid), **what)

        match asked:
            case requests.Sessions():
                return await list_sessions(running, out)
            case requests.Kick(who=who, reason=reason):
                return await kick(running, who, reason, log, self.turn)
            case requests.Announce(text=text):
                return await announce(running, text, log, self.turn)
            case requests.Stats():
                found: dict[str, Any] = await self._figures.run(lambda: ensureDeferred(figures(running)))
                return found
            case requests.Reload():
                log("reload")
                done = await self._reload.reload()
                if done.problem is not None:
                    raise CannotDo(done.problem)
                return {"changed": done.changed, "kept": done.kept}
            case requests.Audit(act=act, what=what):
                log(act[:64], **{key: value[:200] for key, value in what.items() if key in AUDITED})
                return {}


AUDITED: Final = frozenset({"target", "room", "label", "id", "off", "messages", "seconds", "outcome"})
"""Fields that `chatctl` may add to a line of the audit log."""


def is_alive(path: Path) -> bool:
    """Whether a process answers on the socket there, or something else than a socket is there. Removes the socket of a
    server that was killed."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return True
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return False
        except BlockingIOError:  # it is alive, and has much to do
            pass
    return True
