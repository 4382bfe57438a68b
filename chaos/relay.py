"""Relays between a client and a server on the loopback interface, which cut connections and lose answers on purpose."""

import random
import re
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

Address = tuple[str, int]

BUFFER_BYTES = 16 * 1024
"""Size of the buffers of each socket: a relay with the kernel's large ones would take everything that a slow client
does not."""

_COMMIT = re.compile(rb"\b(COMMIT|EXECUTE)\b")
_LISTEN = b"LISTEN "
_NAMED = b"application_name\0"
_BUS = _NAMED + b"chatserver bus\0"
NOTIFICATION = b"A"
"""The type of a message of PostgreSQL by which a notification comes."""


class Messages:
    """The bytes of a PostgreSQL server, from the beginning of a message on, without notifications that are `lost`."""

    def __init__(self, lost: Callable[[], bool]) -> None:
        self._lost = lost
        self._rest = b""

    def pass_on(self, data: bytes) -> bytes:
        """The messages that are complete now."""
        data = self._rest + data
        passed = []
        begin = 0
        while len(data) >= begin + 5:
            end = begin + 1 + int.from_bytes(data[begin + 1 : begin + 5], "big")
            if len(data) < end:
                break
            if data[begin : begin + 1] != NOTIFICATION or not self._lost():
                passed.append(data[begin:end])
            begin = end
        self._rest = data[begin:]
        return b"".join(passed)


class Pair:
    """One relayed connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._sockets = (client, server)
        self._left: int | None = None
        self.loses_answer = False
        self._messages: Messages | None = None
        """Of a connection that hears notifications."""
        self._held = False
        """It is one of the store, not of the bus: it waits while the store is held back."""

    def cut_after(self, size: int) -> None:
        """Reset both connections after this many more bytes, in either direction."""
        self._left = size
        if size == 0:
            self.reset()

    def reset(self) -> None:
        for end in self._sockets:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)  # also wakes the thread that waits for data

    def pump(self, relay: "Relay", from_client: bool) -> None:
        """Copy one direction until it ends."""
        source, target = self._sockets if from_client else self._sockets[::-1]
        try:
            while data := source.recv(BUFFER_BYTES):
                if from_client:
                    self._held = self._held or (_NAMED in data and _BUS not in data)
                    self.loses_answer = self.loses_answer or relay.will_lose(data)
                    if self._messages is None and _LISTEN in data:  # what is answered next begins a message
                        self._messages = Messages(relay.will_lose_frame)
                elif self.loses_answer:
                    self.reset()
                    return
                elif self._messages is not None:
                    data = self._messages.pass_on(data)
                if self._held:
                    relay.flows.wait()
                left = self._left
                target.sendall(data if left is None else data[:left])
                if left is not None:
                    self._left = left - len(data)
                    if self._left <= 0:
                        self.reset()
                        return
            target.shutdown(socket.SHUT_WR)
        except OSError:
            self.reset()

    def close(self) -> None:
        for end in self._sockets:
            end.close()


class Relay:
    """Accepts connections on a port of its own, and connects each to `target()`, or closes it if nobody listens there.

    While `loss` is above 0, that share of the commits on the way to a PostgreSQL server lose their answer: the server
    gets the statement and executes it, and then both connections end. `frame_loss` is the share of the notifications on
    the way back that are lost, and nothing shows that. While `flows` is not set, nothing goes either way on connections
    of a node's store, and its bus goes on.
    """

    def __init__(self, target: Callable[[], Address], chance: random.Random) -> None:
        self.loss = 0.0
        self.frame_loss = 0.0
        self.frames_lost = 0
        self.flows = threading.Event()
        self.flows.set()
        self.closed = False
        """Nobody can connect."""
        self._target = target
        self._chance = chance
        self._pairs: set[Pair] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self.address: Address = self._listener.getsockname()
        self._start(self._accept)

    def will_lose(self, data: bytes) -> bool:
        return self.loss > 0 and _COMMIT.search(data) is not None and self._chance.random() < self.loss

    def will_lose_frame(self) -> bool:
        lost = self._chance.random() < self.frame_loss
        self.frames_lost += lost
        return lost

    def cut(self, share: float, most: int) -> int:
        """Cut this share of the connections after at most this many more bytes; returns how many connections."""
        with self._lock:
            chosen = [pair for pair in self._pairs if self._chance.random() < share]
        for pair in chosen:
            pair.cut_after(self._chance.choice((0, self._chance.randrange(most))))
        return len(chosen)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.flows.set()
        self._listener.close()
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._relay, client)

    def _relay(self, client: socket.socket) -> None:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        try:
            server.settimeout(5.0)
            if self.closed:
                raise ConnectionRefusedError
            server.connect(self._target())
        except OSError:
            client.close()
            server.close()
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = Pair(client, server)
        with self._lock:
            self._pairs.add(pair)
        upward = self._start(pair.pump, self, True)
        pair.pump(self, False)
        upward.join()
        with self._lock:
            self._pairs.discard(pair)
        pair.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        return thread
