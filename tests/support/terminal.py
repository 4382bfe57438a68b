"""Programs under a pseudo-terminal, typed at as a person does."""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

from tests.support.process import clean_environment

IUTF8 = 0o40000
"""The terminal's Backspace removes a character, not a byte. Terminal emulators set it; `termios` has no name for it."""


class Terminal:
    """A program and its screen. `seen`: all that the screen was sent, line ends as they come."""

    def __init__(self, argv: Sequence[str], *, columns: int = 80, timeout: float = 10.0) -> None:
        self.seen = ""
        self.timeout = timeout
        self._read = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        environment = {**clean_environment(), "TERM": "xterm", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
        self._fd, inside = pty.openpty()
        attributes = termios.tcgetattr(inside)
        attributes[0] |= IUTF8
        termios.tcsetattr(inside, termios.TCSANOW, attributes)
        self.resize(columns)
        self._process = subprocess.Popen(
            argv, stdin=inside, stdout=inside, stderr=inside, env=environment, start_new_session=True,
            preexec_fn=partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(inside)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        self._process.kill()
        self._process.wait(10.0)

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode(errors="surrogateescape"))

    def resize(self, columns: int) -> None:
        """The window gets another width, and the program is told."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def expect(self, text: str | re.Pattern[str]) -> re.Match[str]:
        """Waits until the screen shows this, behind all that was expected before."""
        expression = re.compile(re.escape(text)) if isinstance(text, str) else text
        deadline = time.monotonic() + self.timeout
        while (found := expression.search(self.seen, self._read)) is None:
            assert self._more(deadline - time.monotonic()), f"no {expression.pattern!r} in {self.seen[self._read :]!r}"
        self._read = found.end()
        return found

    def ended(self) -> None:
        """Waits until the program has ended."""
        deadline = time.monotonic() + self.timeout
        while self._more(deadline - time.monotonic()):
            pass
        assert time.monotonic() < deadline, f"it goes on: {self.seen[self._read :]!r}"

    def _more(self, seconds: float) -> bool:
        """Reads on. False: nothing came in time, or the program has closed its terminal."""
        if not select.select([self._fd], [], [], max(seconds, 0))[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: nobody has the terminal open
            data = b""
        self.seen += self._decoder.decode(data)
        return bool(data)
