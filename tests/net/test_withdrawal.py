"""Closing a port, as the kernel sees it."""

import socket

import pytest

from chatserver.net.listening.ports import listen_again
from chatserver.net.listening.withdrawal import _drop_newcomers


def knocks(address: tuple[str, int]) -> bool:
    """Whether the kernel takes a connection at once; a client without an answer tries again after a second."""
    with socket.socket() as client:
        client.settimeout(0.2)
        try:
            client.connect(address)
        except TimeoutError:
            return False
        return True


def test_nobody_new_is_taken_until_somebody_listens_again() -> None:
    """Clients that begin to connect get no answer, and no refusal either; those in the queue stay there. A server that
    takes the socket over, after one that was killed in between, gets new connections again."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        address = chosen.getsockname()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)  # as systemd does
        sock.bind(address)
        sock.listen(8)
        with socket.create_connection(address, 5):
            if not _drop_newcomers(sock):
                pytest.skip("this kernel has no socket filters")
            assert not knocks(address)
            sock.accept()[0].close()
        listen_again(sock)
        assert knocks(address)
        sock.shutdown(socket.SHUT_RD)
        listen_again(sock)
        assert knocks(address)
