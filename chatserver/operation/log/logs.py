"""The server's log: which events are written."""

import signal
from collections.abc import Mapping
from threading import RLock
from types import FrameType
from typing import Any, Final

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel
from zope.interface import implementer

from chatserver.operation.companion import Quiet
from chatserver.operation.log import destinations
from chatserver.operation.log.destinations import Destination
from chatserver.operation.log.formats import FORMATS, level_of, without_time
from chatserver.settings.tables import Log
from chatserver.util.exits import MISCONFIGURED, CannotStart, ending
from chatserver.util.times import unix_now

_RANKS: Final = {"debug": 0, "info": 1, "warn": 2, "error": 3, "critical": 4}
SECURITY: Final = "chatserver.audit"
"""The namespace whose events are written whatever the level is, except those that are routine."""


@implementer(ILogObserver)
class Logs(Quiet):
    """The observer that twistd logs to. Does nothing until it is attached, nor where --logger names another one.

    Usable from any thread; raises nothing. Lines that cannot be written are counted, and the next one that can be is
    preceded by their number.
    """

    log = Logger()

    def __init__(self, settings: Log, reactor: Any) -> None:
        self._line = FORMATS[settings.format]
        self._least = _RANKS[settings.level]
        self._reactor = reactor
        self._destination: Destination | None = None
        self._lock = RLock()
        self._due = False  # the file is to be reopened
        self._lost = 0
        self._reason = ""

    def set_level(self, level: str) -> None:
        """The least important level that is logged from now on: debug, info, warn or error."""
        self._least = _RANKS[level]

    def attach(self, application: Any, options: Mapping[str, Any]) -> None:
        """Becomes the log of an application that twistd is about to start with these options. From now on SIGUSR1
        reopens the file. Raises SystemExit if it cannot be opened."""
        try:
            destination = destinations.chosen(options)
        except OSError as error:
            text = f"The log {options.get('logfile') or 'twistd.log'} cannot be opened ({error.strerror})."
            raise ending(CannotStart(f"{text} Correct --logfile.", MISCONFIGURED)) from None
        signal.signal(signal.SIGUSR1, self._asked)
        if destination is not None:
            if destination.timed and self._line is FORMATS["text"]:
                self._line = without_time
            self._destination = destination
            application.setComponent(ILogObserver, self)

    def stopped(self) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a handler of ours would not be there up to the very end

    def __call__(self, event: LogEvent) -> None:
        try:
            level = level_of(event)
            security = event.get("log_namespace") == SECURITY and not event.get("log_routine")
            if security or self._least <= _RANKS[level]:
                self._write(level, event)
        except Exception as error:
            self._count(type(error).__name__)

    def _write(self, level: str, event: LogEvent) -> None:
        text = self._line(event)
        with self._lock:
            if self._destination is None:
                return
            if self._due:
                self._reopen(self._destination)
            try:
                if self._lost:
                    self._destination.write("error", self._line(self._losses()))
                    self._lost = 0
                self._destination.write(level, text)
            except OSError as error:
                self._count(error.strerror or type(error).__name__)

    def _count(self, reason: str) -> None:
        self._lost += 1
        self._reason = reason

    def _losses(self) -> LogEvent:
        return {
            "log_time": unix_now(),
            "log_level": LogLevel.error,
            "log_namespace": __name__,
            "log_format": "{lines} lines of the log could not be written before this one ({reason}).",
            "lines": self._lost,
            "reason": self._reason,
        }

    # Reopening

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        """The signal may come in the middle of a line: it is heeded by the next line or by the reactor, whichever comes
        first."""
        if not self._due:  # signals may come faster than they can be heeded
            self._due = True
            self._reactor.callFromThread(self.reopen)

    def reopen(self) -> None:
        """Goes on in a new file, if a signal asked for that, and the log is a file."""
        with self._lock:
            if self._due and self._destination is not None:
                self._reopen(self._destination)

    def _reopen(self, destination: Destination) -> None:
        self._due = False
        try:
            destination.reopen()
        except OSError as error:
            # Not now: this may be in the middle of another event.
            self._reactor.callFromThread(
                self.log.error,
                "The log cannot be reopened ({reason}), and goes on in the old file. Let the server's user create it: "
                "see docs/operating.md.",
                reason=error.strerror,
            )
