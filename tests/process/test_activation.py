"""Socket activation: systemd opens the ports and keeps them open while the server restarts."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.process.load import QUICK
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, Raw
from tests.support.process import TWISTD, ChatServer, clean_environment
from tests.support.websocket import WebSocketClient

START = """
import os, socket, sys
for number, fd in enumerate(map(int, sys.argv[1].split(","))):
    os.dup2(fd, 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(number + 1), LISTEN_FDNAMES="chatserver.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Hands the descriptors in its first argument on, as systemd does, and runs the rest."""


class Manager:
    """Holds listening sockets, and starts servers that inherit them."""

    def __init__(self, folder: Path, sockets: list[socket.socket]) -> None:
        self.sockets = sockets
        self._folder = folder

    def server(self, listen: list[str], config: str = QUICK) -> ChatServer:
        """One that has not been started yet; it can be started any number of times."""
        start = self._folder / "start.py"
        start.write_text(START, encoding="utf-8")
        descriptors = [os.dup(sock.fileno()) for sock in self.sockets]
        python = self._folder / "python"
        numbers = ",".join(map(str, descriptors))
        python.write_text(f'#!/bin/sh\nexec {sys.executable} {start} {numbers} {sys.executable} "$@"\n')
        python.chmod(0o755)
        url = f"sqlite:///{self._folder / 'chat.db'}"
        return ChatServer(url, config=config, listen=listen, python=python, pass_fds=descriptors)


Listen = Callable[..., Manager]


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    with ExitStack() as stack:

        def open_all(*addresses: tuple[str, int] | str) -> Manager:
            sockets = []
            for address in addresses:
                family = (
                    socket.AF_UNIX
                    if isinstance(address, str)
                    else socket.AF_INET6
                    if ":" in address[0]
                    else socket.AF_INET
                )
                sock = stack.enter_context(socket.socket(family))
                sock.bind(address)
                sock.listen(4096)
                sockets.append(sock)
            return Manager(tmp_path, sockets)

        yield open_all


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def test_newcomers_wait(listen: Listen) -> None:
    """Clients that connect while no server runs, or between two, are greeted by the next one."""
    manager = listen(("127.0.0.1", 0))
    [sock] = manager.sockets
    address = ("127.0.0.1", port_of(sock))
    chat = manager.server([f"tcp:{port_of(sock)}:interface=127.0.0.1"])
    try:
        for _ in range(2):
            early = [Raw(address) for _ in range(20)]
            chat.start()
            for one in early:
                with one:
                    assert one.read_line().startswith(b"* Welcome")
            assert chat.addresses == [address]
            assert chat.stop() == 0
        with Raw(address) as late:
            chat.start()
            assert late.read_line().startswith(b"* Welcome")
        assert "systemd" not in chat.log
    finally:
        chat.close()


@pytest.mark.slow
def test_every_kind_of_endpoint(listen: Listen, tmp_path: Path) -> None:
    """Settings stay as they are: TLS, WebSocket and Unix endpoints take the socket with their port or path, and the
    file of a Unix socket, with its mode, outlives the server."""
    path = str(tmp_path / "inherited")
    manager = listen(("127.0.0.1", 0), ("127.0.0.1", 0), path, ("::1", 0))
    Path(path).chmod(0o600)
    secure, web, _, six = manager.sockets
    key, certificate = write_certificate(tmp_path)
    chat = manager.server(
        [
            f"ssl:{port_of(secure)}:privateKey={key}:certKey={certificate}",
            f"ws:tcp:{port_of(web)}:interface=127.0.0.1",
            f"unix:{path}",
            rf"tcp6:{port_of(six)}:interface=\:\:1",
        ]
    )
    try:
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as local, Raw(("::1", port_of(six))) as raw:
                local.settimeout(15)
                local.connect(path)
                chat.start()
                assert local.recv(9) == b"* Welcome"
                assert raw.read_line().startswith(b"* Welcome")
                with Raw(("127.0.0.1", port_of(secure)), tls=True) as over_tls:
                    assert over_tls.read_line().startswith(b"* Welcome")
                with WebSocketClient(("127.0.0.1", port_of(web))):
                    pass
                assert chat.stop() == 0
            assert (Path(path).stat().st_mode & 0o777) == 0o600
        assert "systemd" not in chat.log
    finally:
        chat.close()


def test_what_does_not_fit_is_named(listen: Listen) -> None:
    """A socket that no endpoint takes, an endpoint that is not among the sockets, and one whose socket is open to more
    than the endpoint says: the log has a line for each, with the remedy, and the server serves."""
    manager = listen(("127.0.0.1", 0), ("0.0.0.0", 0))
    unwanted, wide = manager.sockets
    chat = manager.server(["tcp:0:interface=127.0.0.1", f"tcp:{port_of(wide)}:interface=127.0.0.1"])
    try:
        chat.start()
        chat.wait_log(rf"socket 127\.0\.0\.1:{port_of(unwanted)} on, which no endpoint .* remove the ListenStream=")
        chat.wait_log(r"--listen tcp:0:interface=127\.0\.0\.1 is not among the sockets .* Add ListenStream=")
        chat.wait_log(rf"takes the socket 0\.0\.0\.0:{port_of(wide)} .* ListenStream=127\.0\.0\.1:{port_of(wide)} in")
        with Raw(("127.0.0.1", port_of(wide))) as client:
            assert client.read_line().startswith(b"* Welcome")
    finally:
        chat.close()


@pytest.mark.slow
def test_nobody_is_lost_between_two_servers(listen: Listen) -> None:
    """Clients that come again at once after each `closing` are never refused."""
    manager = listen(("127.0.0.1", 0))
    address = ("127.0.0.1", port_of(manager.sockets[0]))
    chat = manager.server([f"tcp:{address[1]}:interface=127.0.0.1"])
    try:
        chat.start()
        with JsonClient(address) as ana:
            ana.register("ana")
        for _ in range(3):
            client = JsonClient(address)
            with client:
                client.login("ana")
                chat.signal(signal.SIGTERM)
                client.wait_closing()
            with JsonClient(address) as again:  # the port has not been closed, or is not open yet
                assert chat.wait() == 0
                chat.start()
                again.login("ana")
    finally:
        chat.close()


def test_systemds_own_program(tmp_path: Path) -> None:
    """systemd-socket-activate starts the server for the first newcomer, who is greeted."""
    if shutil.which("systemd-socket-activate") is None:
        pytest.skip("systemd-socket-activate is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{address[1]}", sys.executable, str(TWISTD), "-n",
               "--pidfile=", "chatserver", "--listen", f"tcp:{address[1]}:interface=127.0.0.1"]  # fmt: skip
    environment = clean_environment()
    names = [f"-E{name}" for name in ("PATH", "PYTHONPATH", "HOME") if name in environment]
    process = subprocess.Popen(
        [command[0], *names, *command[1:]], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(500):
            try:
                client = Raw(address)
            except OSError:
                signal.sigtimedwait([], 0.02)
            else:
                break
        with client:
            assert client.read_line().startswith(b"* Welcome")
    finally:
        process.terminate()
        assert process.wait(15) == 0
