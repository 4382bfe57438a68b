"""Compares WebSocket libraries as the door would use them: the time to receive a message, the memory of a connection.

    .venv/bin/pip install wsproto autobahn      # for the comparison only
    .venv/bin/python -m bench.framing

No sockets: each library is fed the bytes of a client. Libraries that are not installed are left out. There is no
compression. This is what docs/design/dialects-and-doors.md quotes.
"""

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from websockets.client import ClientProtocol
from websockets.uri import parse_uri

MESSAGES = 20_000
CONNECTIONS = 500
LINE = b'{"cmd":"say","room":"books","text":"hello, everybody","id":"k7Q2","tag":3}'

Receive = Callable[[bytes], int]
"""Takes bytes, and returns how many messages they completed."""


def request_and_message() -> tuple[bytes, bytes]:
    """The bytes of a client: its upgrade request, and one masked text message."""
    client = ClientProtocol(parse_uri("ws://localhost/"))
    client.send_request(client.connect())
    [request] = client.data_to_send()
    mask = b"\x01\x02\x03\x04"
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(LINE))
    return request, bytes([0x81, 0x80 | len(LINE)]) + mask + masked


def ours() -> Receive:
    from chatserver.wire.framing.websocket import WebSocket

    door = WebSocket(8192)

    def receive(data: bytes) -> int:
        door.feed(data)
        count = 0
        while door.next() is not None:
            count += 1
        door.replies()
        return count

    return receive


def server_protocol() -> Receive:
    from websockets.frames import Frame, Opcode
    from websockets.http11 import Request
    from websockets.server import ServerProtocol

    protocol = ServerProtocol()

    def receive(data: bytes) -> int:
        protocol.receive_data(data)
        count = 0
        for event in protocol.events_received():
            if isinstance(event, Request):
                protocol.send_response(protocol.accept(event))
            elif isinstance(event, Frame):
                count += event.opcode is Opcode.TEXT
        protocol.data_to_send()
        return count

    return receive


def wsproto() -> Receive:
    from wsproto import ConnectionType, WSConnection
    from wsproto.events import AcceptConnection, Request, TextMessage

    connection = WSConnection(ConnectionType.SERVER)

    def receive(data: bytes) -> int:
        connection.receive_data(data)
        count = 0
        for event in connection.events():
            if isinstance(event, Request):
                connection.send(AcceptConnection())
            else:
                count += isinstance(event, TextMessage)
        return count

    return receive


def autobahn() -> Receive:
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
    from twisted.internet.testing import MemoryReactorClock, StringTransport

    counts = [0]

    class Counting(WebSocketServerProtocol):  # type: ignore[misc]
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            counts[0] += 1

    reactor: Any = MemoryReactorClock()
    factory = WebSocketServerFactory(reactor=reactor)
    factory.protocol = Counting
    factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
    protocol = factory.buildProtocol(None)
    protocol.makeConnection(StringTransport())

    def receive(data: bytes) -> int:
        before = counts[0]
        protocol.dataReceived(data)
        return counts[0] - before

    return receive


LIBRARIES: dict[str, tuple[str, Callable[[], Receive]]] = {
    "the door": ("websockets", ours),
    "websockets, ServerProtocol": ("websockets", server_protocol),
    "wsproto": ("wsproto", wsproto),
    "autobahn": ("autobahn", autobahn),
}


def microseconds(new: Callable[[], Receive], request: bytes, message: bytes) -> float:
    receive = new()
    receive(request)
    began = time.perf_counter()
    count = sum(receive(message) for _ in range(MESSAGES))
    seconds = time.perf_counter() - began
    assert count == MESSAGES
    return seconds / MESSAGES * 1e6


def idle_bytes(new: Callable[[], Receive], request: bytes) -> float:
    kept = []
    new()(request)  # what a library loads once
    gc.collect()
    tracemalloc.start()
    for _ in range(CONNECTIONS):
        receive = new()
        receive(request)
        kept.append(receive)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(kept)


def main() -> None:
    request, message = request_and_message()
    print(
        f"Python {sys.version.split()[0]}; a message of {len(LINE)} bytes; memory with the wrapper of this benchmark\n"
    )
    print(f"{'library':<44}  {'µs/message':>10}  {'bytes/connection':>16}")
    for name, (package, new) in LIBRARIES.items():
        try:
            new()
        except ImportError:
            print(f"{name:<44}  not installed")
            continue
        label = f"{name} ({package} {version(package)})"
        print(f"{label:<44}  {microseconds(new, request, message):>10.1f}  {idle_bytes(new, request):>16.0f}")


if __name__ == "__main__":
    main()
