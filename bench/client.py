"""A blocking client for chatserver's JSON Lines dialect, for what the load generator cannot do."""

import json
import re
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

SEQ = re.compile(rb'\{"event":"message","room":"[^"]*","seq":(\d+)')
TIMEOUT_SECONDS = 120.0


class OutOfOrder(Exception):
    """Entries were lost, duplicated or reordered."""


class Client:
    """`receive_bytes` limits the kernel's receive buffer, which a client that does not read then fills soon."""

    def __init__(self, port: int, receive_bytes: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(TIMEOUT_SECONDS)
        if receive_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._tag = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, **fields: Any) -> int:
        self._tag += 1
        self._socket.sendall(json.dumps({**fields, "tag": self._tag}).encode() + b"\n")
        return self._tag

    def ask(self, **fields: Any) -> dict[str, Any]:
        """Sends a command and returns its answer; drops the events before it. Raises RuntimeError if it is refused."""
        tag = self.send(**fields)
        while True:
            lines, newline, rest = self._rest.partition(b"\n")
            if not newline:
                self._rest += self._receive()
                continue
            self._rest = rest
            if not lines.startswith(b'{"ok"'):
                continue
            answer: dict[str, Any] = json.loads(lines)
            if answer.get("tag") == tag:
                if not answer["ok"]:
                    raise RuntimeError(f"refused: {lines[:300]!r}")
                return answer

    def entries(self, first: int, until: bytes | int) -> Iterator[int]:
        """Reads entries `first`, `first` + 1, …, and yields how many each chunk contains.

        Ends with the chunk that contains the bytes `until`, or the entry with that number. Raises OutOfOrder.
        """
        following = first
        while True:
            lines, newline, self._rest = self._rest.rpartition(b"\n")
            if newline:
                found = [int(seq) for seq in SEQ.findall(lines)]
                if found != list(range(following, following + len(found))):
                    raise OutOfOrder(f"entries from {following} on did not arrive in order")
                following += len(found)
                yield len(found)
                if following > until if isinstance(until, int) else until in lines:
                    return
            self._rest += self._receive()

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 20)
        if not data:
            raise RuntimeError("the server has closed the connection")
        return data
