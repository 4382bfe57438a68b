"""Clients at other addresses of this host, and behind proxies."""

import socket
import ssl
from contextlib import ExitStack
from typing import TypeVar

from tests.support.client import TIMEOUT, Raw

Client = TypeVar("Client", bound=Raw)


def connected_from(
    kind: type[Client], address: tuple[str, int], source: str = "127.0.0.1", *, first: bytes = b"", tls: bool = False
) -> Client:
    """A client that connects from this loopback address, and sends `first` before anything else, TLS included."""
    with socket.create_server(("127.0.0.1", 0)) as nowhere:
        client = kind(nowhere.getsockname())  # which makes it a client in all but its connection
    client.socket.close()
    client.socket = socket.create_connection(address, TIMEOUT, (source, 0))
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if first:
        client.socket.sendall(first)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client.socket = context.wrap_socket(client.socket, suppress_ragged_eofs=False)
    return client


def silent_crowd(stack: ExitStack, address: tuple[str, int], sources: list[str], each: int) -> list[socket.socket]:
    """This number of connections from each of these addresses, which send nothing."""
    return [
        stack.enter_context(socket.create_connection(address, TIMEOUT, (source, 0)))
        for _ in range(each)
        for source in sources
    ]
