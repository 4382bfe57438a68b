"""Where lines of the log go: a file, standard output, or syslog."""

import errno
import os
import stat
import sys
import syslog
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

PRIORITIES: Final = {
    "debug": syslog.LOG_DEBUG,
    "info": syslog.LOG_INFO,
    "warn": syslog.LOG_WARNING,
    "error": syslog.LOG_ERR,
    "critical": syslog.LOG_CRIT,
}
"""sd-daemon(3) has the same numbers."""
FILE_MODE: Final = 0o640
"""Permissions of the log: the owner and the group may read its addresses and names."""


class Destination(Protocol):
    timed: bool
    """Whether its reader adds a time to each line."""

    def write(self, level: str, text: str) -> None:
        """Writes one event, which may be several lines. Raises OSError."""

    def reopen(self) -> None:
        """Goes on in the file that has the name now. Raises OSError, and then goes on in the old one."""


class _Written:
    """A descriptor to which whole events are written, so that no line is torn by another process that writes there."""

    timed = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._torn = False  # the last line has no end: the disk was full

    def _put(self, data: bytes) -> None:
        if self._torn:
            data = b"\n" + data
        while data:
            written = os.write(self._descriptor, data)
            self._torn = written < len(data)
            data = data[written:]

    def reopen(self) -> None:
        pass


class LogFile(_Written):
    """A file that never rotates by itself: another program moves it, and has it reopened."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self.path = str(Path(path).absolute())
        super().__init__(self._open())

    def _open(self) -> int:
        """Raises OSError, also for a file that somebody else has put there to read what is logged."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        descriptor = os.open(self.path, flags, FILE_MODE)
        found, user = os.fstat(descriptor), os.geteuid()
        if stat.S_ISREG(found.st_mode) and ((user and found.st_uid not in (0, user)) or found.st_nlink > 1):
            os.close(descriptor)
            raise PermissionError(errno.EPERM, "it belongs to another user, or has another name too")
        return descriptor

    def write(self, level: str, text: str) -> None:
        self._put(_encoded(text))

    def reopen(self) -> None:
        opened = self._open()
        os.close(self._descriptor)
        self._descriptor, self._torn = opened, False


class StandardOutput(_Written):
    """Under systemd each line has its priority in front, which journald takes off: see sd-daemon(3)."""

    def __init__(self, descriptor: int, environment: Mapping[str, str] = os.environ) -> None:
        super().__init__(descriptor)
        self._priorities = is_journal(descriptor, environment)

    def write(self, level: str, text: str) -> None:
        if self._priorities:
            prefix = f"<{PRIORITIES[level]}>"
            text = prefix + text.replace("\n", f"\n{prefix}")
        self._put(_encoded(text))


class Syslog:
    """The system's log, as twistd opens it for --syslog."""

    timed = True

    def __init__(self, prefix: str) -> None:
        syslog.openlog(prefix, 0, syslog.LOG_USER)

    def write(self, level: str, text: str) -> None:
        for line in text.split("\n"):
            syslog.syslog(PRIORITIES[level], line)

    def reopen(self) -> None:
        pass


def chosen(options: Mapping[str, Any]) -> Destination | None:
    """Where the log goes by the options of twistd. None: twistd has an observer of its own (--logger), or refuses to
    start like this. Raises OSError."""
    file = options.get("logfile") or ""
    if options.get("logger") or (file == "-" and not options.get("nodaemon")):
        return None
    if options.get("syslog"):
        return Syslog(options.get("prefix") or "")
    if file == "-" or (not file and options.get("nodaemon")):
        sys.stdout.flush()
        return StandardOutput(sys.stdout.fileno())
    return LogFile(file or "twistd.log")


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Whether journald reads what is written there: JOURNAL_STREAM has its device and inode."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace") + b"\n"
