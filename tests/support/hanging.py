"""Databases that do not answer, and do not end their connections either."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.support.postgres import PostgresServer


@contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    """A block in which all processes of a Postgres server are stopped."""
    main = int(next(iter((server.folder / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines())))
    processes = [psutil.Process(main), *psutil.Process(main).children(recursive=True)]
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            os.kill(process.pid, signal.SIGCONT)


class Relay:
    """Passes bytes between clients and a server, until `deaf`: then it takes them, and passes nothing on. Nor does it
    pass on what contains `deaf_to`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.deaf = False
        self.deaf_to = b""
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                if not (self.deaf or (self.deaf_to and self.deaf_to in data)):
                    other.sendall(data)
        except OSError:
            pass
