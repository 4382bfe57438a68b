"""Reactors for endpoints: each wraps the one given, and changes how it opens a port."""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

FIRST_FD: Final = 3
"""Number of the first descriptor: SD_LISTEN_FDS_START of sd_listen_fds(3)."""
BACKLOG: Final = 4096
"""Maximum number of newcomers that wait at a socket of systemd; see deploy/chatserver.socket."""
SO_DETACH_FILTER: Final = 27
"""Number of a socket option of Linux, socket(7). Python has no name for it."""
EVERYWHERE: Final = ("", "0.0.0.0", "::")


def closed(port: IListeningPort) -> "Deferred[None]":
    """Stops listening. Closes a Unix socket even if its file has been removed."""

    def removed(failure: Failure) -> None:
        failure.trap(FileNotFoundError)

    stopping: Any = port.stopListening
    stopped: Deferred[None] = maybeDeferred(stopping)
    return stopped.addErrback(removed)


class Securable(Protocol):
    """A factory whose protocols can be put behind TLS."""

    def secure(self, context: Any) -> None: ...


class Around:
    """A wrapper of a reactor, which behaves like it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class TlsInside(Around):
    """Makes TLS ports ordinary TCP ports, whose connections speak TLS once they are admitted.

    Twisted's own TLS ports would read the PROXY header, which comes before TLS, as TLS.
    """

    def listenSSL(
        self, port: int, factory: Securable, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        factory.secure(contextFactory)
        listening: IListeningPort = self._reactor.listenTCP(port, factory, backlog, interface)
        return listening


class Sharing(Around):
    """Opens a TCP port so that other processes of the same user can open it in the same way: the kernel gives each of
    them a part of the newcomers (SO_REUSEPORT)."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        try:
            with socket.socket(family) as sock:  # the reactor duplicates the descriptor
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
                sock.bind((interface, port))
                sock.listen(backlog)
                listening: IListeningPort = self._reactor.adoptStreamPort(sock.fileno(), family, factory)
        except OSError as error:
            raise CannotListenError(interface, port, error) from None
        return listening


class Inherited:
    """The listening sockets that systemd has opened for this process. While no process has them, newcomers wait in
    their backlog."""

    def __init__(self, sockets: Iterable[socket.socket] = ()) -> None:
        self.left = list(sockets)  # not taken by an endpoint
        self.taken: list[IListeningPort] = []
        """The ports made from the other sockets, which systemd has, too."""

    @classmethod
    def from_environment(cls) -> "Inherited":
        """Reads what sd_listen_fds(3) describes, and removes its variables: they are not for a child process."""
        for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
            os.environ.pop(name, None)
        return cls(_sockets(descriptors(_first_environment(), os.getpid())))

    def tcp(self, port: int, interface: str) -> socket.socket | None:
        """A socket with this port. If there are several, one that is open to this interface only comes first."""
        fitting = [
            sock for sock in self.left if sock.family != socket.AF_UNIX and port and sock.getsockname()[1:2] == (port,)
        ]
        fitting.sort(key=lambda sock: (sock.getsockname()[0] != interface, sock.getsockname()[0] not in EVERYWHERE))
        return self._taken(fitting[:1])

    def unix(self, path: str) -> socket.socket | None:
        return self._taken([sock for sock in self.left if sock.family == socket.AF_UNIX and shown(sock) == path])

    def _taken(self, found: list[socket.socket]) -> socket.socket | None:
        for sock in found:
            self.left.remove(sock)
            return sock
        return None


class Adopting(Around):
    """Takes over ports that systemd has opened already. Use it for one description at a time: afterwards, `problem`
    says what an administrator has to know about it."""

    def __init__(self, reactor: Any, inherited: Inherited) -> None:
        super().__init__(reactor)
        self._inherited = inherited
        self._some = bool(inherited.left)
        self.problem = ""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        sock = self._inherited.tcp(port, interface)
        listening: IListeningPort
        if sock is None:
            self._note_missing(f"{interface}:{port}" if interface not in EVERYWHERE else str(port))
            listening = self._reactor.listenTCP(port, factory, backlog, interface)
            return listening
        if sock.getsockname()[0] in EVERYWHERE and interface not in EVERYWHERE:
            self.problem = (
                f"takes the socket {shown(sock)} of systemd, which is open to others than {interface}. Write "
                f"ListenStream={_joined(interface, port)} in chatserver.socket, or remove the interface here."
            )
        listen_again(sock)
        with sock:  # the reactor duplicates the descriptor
            return self.adoptStreamPort(sock.fileno(), sock.family, factory)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> IListeningPort:
        """Takes over a port, also for endpoints of Twisted's own kind `systemd:`."""
        listening: IListeningPort = self._reactor.adoptStreamPort(fileDescriptor, addressFamily, factory)
        self._inherited.taken.append(listening)
        return listening

    def listenUNIX(
        self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        sock = self._inherited.unix(os.path.abspath(os.fsdecode(address)))  # noqa: PTH100
        if sock is None:
            self._note_missing(address)
            listening: IListeningPort = self._reactor.listenUNIX(address, factory, backlog, mode, wantPID)
            return listening
        port = InheritedUnixPort(sock, factory, self._reactor)
        port.startListening()
        self._inherited.taken.append(port)
        return port

    def _note_missing(self, where: str) -> None:
        if self._some:
            self.problem = (
                "is not among the sockets that systemd passes on: newcomers are refused there while the server "
                f"restarts. Add ListenStream={where} to chatserver.socket."
            )


class InheritedUnixPort(unix.Port):
    """A Unix port of systemd. Twisted's own way to adopt one changes its mode and backlog, and when it closes it
    removes the file and shuts the socket down for all processes that have it."""

    _shouldShutdown = False

    def __init__(self, sock: socket.socket, factory: Any, reactor: Any) -> None:
        super().__init__(sock.getsockname(), factory, reactor=reactor)
        self.socket = sock
        self.__dict__["fileno"] = sock.fileno  # Twisted deletes it when the port is closed

    def startListening(self) -> None:
        assert self.factory is not None
        self.factory.doStart()
        self.connected = True
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Any) -> None:
        tcp.Port.connectionLost(self, reason)


def listen_again(sock: socket.socket) -> None:
    """Lets newcomers wait at a socket of systemd again, whatever a server that was drained before has done to it: see
    `withdrawal.py`."""
    with suppress(OSError):  # as a rule there is no filter
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.listen(BACKLOG)


def descriptors(environ: Mapping[str, str], process: int) -> range:
    """The descriptors that systemd has passed on to this process."""
    count, whom = environ.get("LISTEN_FDS", ""), environ.get("LISTEN_PID")
    mine = count.isdecimal() and whom == str(process)
    return range(FIRST_FD, FIRST_FD + int(count)) if mine else range(0)


def _first_environment() -> dict[str, str]:
    """The environment that the process was started with: `twisted.internet.endpoints` removes the variables when it is
    imported, and keeps nothing of sockets without a name."""
    try:
        pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in (pair.partition(b"=") for pair in pairs)}


def shown(sock: socket.socket) -> str:
    """The place where a socket listens: an address and a port, or a path."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return os.fsdecode(name)
    return _joined(name[0], name[1]) if isinstance(name, tuple) else str(name)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _sockets(descriptors: Iterable[int]) -> Iterator[socket.socket]:
    for descriptor in descriptors:
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError:
            continue  # a FIFO or the like
        sock.set_inheritable(False)
        sock.setblocking(False)
        yield sock
