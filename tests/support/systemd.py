"""A stand-in for systemd: the socket that a service tells how it is."""

import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self


class Systemd:
    """Collects what a service says on the socket `environment` names. `watchdog_seconds`: what WatchdogSec would be."""

    def __init__(self, folder: Path, watchdog_seconds: float = 0, abstract: bool = False) -> None:
        name = f"\0{folder.name}-{time.monotonic_ns()}" if abstract else str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name)
        self.environment = {"NOTIFY_SOCKET": name.replace("\0", "@")}
        if watchdog_seconds:
            self.environment["WATCHDOG_USEC"] = str(round(watchdog_seconds * 1e6))
        self.watchdog_seconds = watchdog_seconds
        self.messages: list[str] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def hears(self, part: str, timeout: float = 15.0) -> str:
        """Waits for a message with this in it, from now on or not taken note of before; forgets all up to it."""
        with self._news:
            if not self._news.wait_for(lambda: any(part in message for message in self.messages), timeout):
                raise AssertionError(f"Nobody said {part!r} within {timeout:g} s: {self.messages}")
            found = next(number for number, message in enumerate(self.messages) if part in message)
            message = self.messages[found]
            del self.messages[: found + 1]
            return message

    def is_fed(self, times: int) -> None:
        """The watchdog is fed so often, each time before systemd would lose its patience."""
        with self._news:
            self.messages.clear()
        for _ in range(times):
            self.hears("WATCHDOG=1", self.watchdog_seconds)

    def starves(self) -> None:
        """From now on the watchdog is not fed in time; once more it may be, for what was seen before."""
        with self._news:
            self.messages.clear()
            self._news.wait_for(lambda: "WATCHDOG=1" in self.messages, self.watchdog_seconds)
            self.messages.clear()
            assert not self._news.wait_for(lambda: "WATCHDOG=1" in self.messages, self.watchdog_seconds * 1.5)

    def _read(self) -> None:
        while True:
            try:
                data = self._socket.recv(8192)
            except OSError:
                return
            if not data:
                return
            with self._news:
                self.messages.append(data.decode())
                self._news.notify_all()
