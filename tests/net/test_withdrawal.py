"""What closing a port does in the kernel."""

import socket

import pytest

from chatserver.net.listening.ports import listen_again
from chatserver.net.listening.withdrawal import _drop_newcomers


def knocks(address: tuple[str, int]) -> bool:
    """Whether the kernel takes a connection at once; a client that is not heard tries again after a second."""
    with socket.socket() as client:
        client.settimeout(0.2)
        try:
            client.connect(address)
        except TimeoutError:
            return False
        return True


def test_nobody_new_is_taken_until_somebody_listens_again() -> None:
    """Those who begin to connect are not heard, and not refused either; whoever was in the queue stays there. A server
    that takes the socket over, after one that was killed in between, is heard again."""
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
