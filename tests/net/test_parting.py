"""The short end of connections when the server stops."""

import socket
from collections.abc import Iterator

import pytest
from twisted.internet import tcp
from twisted.internet.task import Clock

from chatserver.net.connection.parting import LINES, LINGER_SECONDS, Parting
from tests.support.process import wait_until


class Transport:
    """A transport of Twisted's, as far as it is needed."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.watched = {"reading", "writing"}

    def stopReading(self) -> None:
        self.watched.discard("reading")

    def stopWriting(self) -> None:
        self.watched.discard("writing")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection: the server's and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        served, _ = listener.accept()
        served.setblocking(False)
        with served:
            yield served, client


def test_the_last_words(ends: tuple[socket.socket, socket.socket]) -> None:
    """A client that goes on sending receives everything that was written before, then the end, and no reset; the
    connection is closed when the client closes."""
    served, client = ends
    parting = Parting(Clock())
    client.sendall(b"x" * 100_000)
    served.send(b"* Goodbye.\r\n")
    transport = Transport(served)
    parting.take(transport)
    assert not transport.watched
    assert not parting.all_gone()
    client.sendall(b"y" * 100_000)
    wait_until(lambda: parting.all_gone() or not pending(served), what="everything is read")
    assert not parting.all_gone()
    assert client.recv(100) == b"* Goodbye.\r\n"
    assert client.recv(100) == b""
    client.close()
    wait_until(parting.all_gone, what="the connection is closed")
    assert served.fileno() == -1


class Plain(tcp.Server):
    """The part of a transport that corking needs."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def stopReading(self) -> None: ...

    def stopWriting(self) -> None: ...


def test_one_packet(ends: tuple[socket.socket, socket.socket]) -> None:
    """The last words wait for the end, and come with it. A Unix socket, which cannot do that, does no harm."""
    served, client = ends
    client.setblocking(False)
    parting, transport = Parting(Clock()), Plain(served)
    parting.cork(transport)
    served.send(b"* Goodbye.\r\n")
    with pytest.raises(BlockingIOError):
        client.recv(100)
    parting.take(transport)
    client.settimeout(10)
    assert client.recv(100) == b"* Goodbye.\r\n"
    assert client.recv(100) == b""
    one, other = socket.socketpair()
    with one, other:
        parting.cork(Plain(one))


def pending(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_a_client_that_was_faster(ends: tuple[socket.socket, socket.socket]) -> None:
    """A connection that is reset already ends as well."""
    served, client = ends
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    client.close()
    parting = Parting(Clock())
    parting.take(Transport(served))
    wait_until(parting.all_gone, what="the connection is closed")


def test_a_client_that_does_not_close(ends: tuple[socket.socket, socket.socket]) -> None:
    """A peer is waited for until it has received everything, and no longer."""
    served, client = ends
    clock = Clock()
    parting = Parting(clock)
    served.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
    while True:
        try:
            served.send(b"x" * 10_000)
        except BlockingIOError:
            break
    parting.take(Transport(served))
    clock.advance(LINGER_SECONDS)
    assert not parting.all_gone()  # it has much to read
    client.settimeout(10)
    while client.recv(1 << 20):
        pass
    wait_until(parting.all_gone, what="the connection is closed")


def test_nobody_was_connected() -> None:
    assert Parting(Clock()).all_gone()


def test_the_log_is_not_flooded() -> None:
    """A limited number of ends have a line each; the others are counted."""
    parting = Parting(Clock())
    parting.begin()
    assert [parting.may_log() for _ in range(LINES + 3)] == [True] * LINES + [False] * 3
    assert parting.unlogged == 3
