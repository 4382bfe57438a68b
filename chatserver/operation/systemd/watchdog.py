"""Feeds systemd's watchdog (WatchdogSec in the unit) while the server really moves, so that one that hangs is
restarted.

A third of the time that systemd waits is a *round*. In each round the reactor has to get here, every lane has to be
served, by each of its processors that has something to do, and a thread of each of the store's pools has to take a
call. A database that is away does not end a round: a restart would not help, and everybody is getting `unavailable`.
"""

import os
from collections.abc import MutableMapping
from typing import Any, Final, Protocol, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatserver.operation.companion import Quiet, Running
from chatserver.operation.systemd.notify import notify
from chatserver.pipeline.lanes import Lane, Processor
from chatserver.session.session import Session
from chatserver.store.db.threads import Store
from chatserver.wire.dialect import PLAIN
from chatserver.wire.dialects import DIALECTS

ROUNDS: Final = 3
"""Number of rounds within the time that systemd waits."""
LOOKS: Final = 50
"""Number of checks in a round whether everything has moved."""


class Sign(Protocol):
    """Something that has to move in each round."""

    what: str

    def ask(self) -> None:
        """A round begins."""

    def seen(self) -> bool:
        """Whether it has moved since then."""
        ...


class LaneMoves:
    """A session without commands waits in the lane like any other; the processor that takes it has nothing to do. A
    long lane may not get to it for long, but takes others meanwhile."""

    writable = True

    def __init__(self, what: str, lane: Lane, store: Store, clock: IReactorTime) -> None:
        self.what = what
        self._lane = lane
        self._store = store
        self._clock = clock
        self._moved = 0
        self._probe = Session("", "local", DIALECTS[0], PLAIN)
        self._probe.link = cast(Any, self)

    def ask(self) -> None:
        self._moved = self._lane.moved
        if not self._probe.waiting:
            self._probe.waiting = True
            self._probe.due_since = self._clock.seconds()
            self._lane.put(self._probe)

    def seen(self) -> bool:
        # While the database is away, a lane waits for it as long as commands of many sessions take to be refused.
        return not self._probe.waiting or self._lane.moved != self._moved or self._store.away

    def more(self) -> None:
        """A link's method: the probe was served."""


class ProcessorsMove:
    """Each of the processors that share a lane waits for sessions, or goes on to others: the lane moves on with those
    that are left if one hangs. What a processor does for a session ends after `pipeline.database_seconds`."""

    def __init__(self, what: str, lane: Lane, store: Store) -> None:
        self.what = what
        self._lane = lane
        self._store = store
        self._busy: list[tuple[Processor, int]] = []

    def ask(self) -> None:
        self._busy = [(one, one.takes) for one in self._lane.processors if not one.waits]

    def seen(self) -> bool:
        return self._store.away or all(one.waits or one.takes != takes for one, takes in self._busy)


class ThreadsMove:
    """A thread of each pool takes a call that does not need the database. Threads that wait for the database are
    replaced after `pipeline.database_seconds`."""

    what = "the store's threads"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._missing = 0

    def ask(self) -> None:
        if not self._missing:
            self._missing = self._store.knock(self._answered)

    def seen(self) -> bool:
        return not self._missing

    def _answered(self) -> None:
        self._missing -= 1


class Watchdog(Quiet):
    log = Logger()

    def __init__(
        self, running: Running, environ: MutableMapping[str, str] = os.environ, process: int | None = None
    ) -> None:
        self._clock: Any = running.reactor
        self._running = running
        self.seconds = _seconds(environ, os.getpid() if process is None else process)
        """How long systemd waits; 0 if it does not watch."""
        self._signs: list[Sign] = []
        self._began = 0.0
        self._late = False
        self._next: IDelayedCall | None = None

    def prepare(self) -> None:
        patience = self._running.settings.pipeline.database_seconds
        if self.seconds and patience > self.seconds / 2:
            self.log.warn(
                "While the database hangs, systemd's watchdog would restart the server: WatchdogSec is {seconds:g} s. "
                "Make it more than twice as long as pipeline.database_seconds, which is {patience:g}.",
                seconds=self.seconds, patience=patience,
            )  # fmt: skip

    def started(self) -> None:
        if self.seconds:
            running = self._running
            # Without a deadline nothing tells a database that hangs from threads that hang.
            if running.settings.pipeline.database_seconds:
                lanes = {f"write lane {number}": lane for number, lane in enumerate(running.lanes.writes)}
                lanes["the read lane"] = running.lanes.reads
                self._signs = [LaneMoves(what, lane, running.store, self._clock) for what, lane in lanes.items()]
                reads = running.lanes.reads
                self._signs.append(ProcessorsMove("a processor of the read lane", reads, running.store))
                self._signs.append(ThreadsMove(running.store))
            self._clock.callWhenRunning(self._begin)

    def stopping(self) -> None:
        self._signs = []  # they stop one after the other, each with a deadline of its own

    def stopped(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self) -> None:
        self._began, self._late = self._clock.seconds(), False
        for sign in self._signs:
            sign.ask()
        self._look()

    def _look(self) -> None:
        round_seconds = self.seconds / ROUNDS
        over = self._clock.seconds() - self._began
        still = [sign.what for sign in self._signs if not sign.seen()]
        if not still:
            notify("WATCHDOG=1")
            self._next = self._clock.callLater(max(round_seconds - over, 0), self._begin)
            return
        if over > round_seconds and not self._late:
            self._late = True
            self.log.error(
                "Nothing moves in {still}. If that lasts, systemd restarts the server.", still=" and ".join(still)
            )
        self._next = self._clock.callLater(round_seconds / LOOKS, self._look)


def _seconds(environ: MutableMapping[str, str], process: int) -> float:
    """From sd_watchdog_enabled(3). Removed, so that no child believes that it is watched."""
    microseconds, whom = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and whom in ("", str(process)) else 0.0
