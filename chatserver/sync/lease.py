"""Keeps this process's lease (see `store.nodes.lease`): sends a heartbeat each second, and notices when the lease is
lost.

There are three ways to lose it:

- *Another process has it*, or another node has taken it away, which the next heartbeat finds. The other one took
  this process for dead.
- *This process was stopped* (SIGSTOP, a suspended machine) for longer than a lease lasts. It finds that out by itself,
  before it serves anything (`check`), because all its data may be stale.
- *The database was set back* to before the last heartbeat, or to before this process started.

A database that does not answer is not one of them, however long it is away. This process keeps running and retrying,
and nobody can serve as this node without changing the boot in the row: once a heartbeat is answered and finds our boot,
the process goes on with what it knows. (In a cluster, the others take a node that alone does not reach the database for
dead after a while.) Nor does a step of a wall clock matter: the database's clock only decides whether a process that
requests the lease may take it.
"""

import time
from collections.abc import Callable

from msgspec.structs import replace
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatserver.store.db.faults import Conflict
from chatserver.store.db.threads import Store
from chatserver.store.nodes.lease import (
    BEAT_SECONDS,
    KEPT,
    LAPSE_SECONDS,
    Beat,
    Claim,
    Held,
    Process,
    heartbeat,
    names,
    release,
    this_process,
)
from chatserver.sync.rewind import Rewind
from chatserver.util.clock import Clock as WallClock
from chatserver.util.times import awake_seconds
from chatserver.util.waiting import pause, until
from chatserver.values.errors import Unavailable

ASK_SECONDS = 0.25
"""Interval between requests for a lease that another process has."""
RELEASE_SECONDS = 1.0
"""How long stopping waits until the lease is released."""


class Lease:
    """Takes and keeps the lease. Notifies `rewind` when it is lost, and when it shows that the database was set back. A
    lost lease is acquired anew.

    `seconds` is a monotonic clock that runs while the process does not. `now` is set by the database's time where
    there are other nodes.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        me: Process,
        rewind: Rewind,
        seconds: Callable[[], float] = awake_seconds,
        now: WallClock | None = None,
    ) -> None:
        self._clock = clock
        self._store = store
        self._me = me
        self._rewind = rewind
        self._seconds = seconds
        self._now = now
        self.lost: Deferred[Held] = Deferred()
        """Fires with the holder when another process has the lease: this one has to stop."""
        self._beat = 0
        self._held = False
        self._ran = 0.0
        self._proven = 0.0  # when the last heartbeat was sent that was answered, by `seconds`
        self.back_since = float("-inf")
        """When the first heartbeat was answered after this process was cut off, by the reactor's clock. A lost lease
        does not count: no connection has survived it, and those that came later know what the database has."""
        self._asking = False
        self._answered: float | None = None  # when the last heartbeat was answered, by the reactor's clock
        self._next: IDelayedCall | None = None
        self._stopped = False
        rewind.follow(self)

    @property
    def me(self) -> Process:
        """This process, with its present boot."""
        return self._me

    @property
    def held(self) -> bool:
        """Whether this process has the lease, as far as it knows; `check` finds out more."""
        return self._held

    @property
    def unanswered_seconds(self) -> float:
        """Seconds since the database last answered a heartbeat; a little more than BEAT_SECONDS if all is well."""
        return 0.0 if self._answered is None else self._clock.seconds() - self._answered

    @property
    def cut_off(self) -> bool:
        """Whether another process may have taken the lease away without this one knowing: no heartbeat was answered for
        as long as a lease lasts, or this process has just lost it. Calls `check`."""
        return not self.check() or self._seconds() - self._proven > LAPSE_SECONDS

    async def acquire(self) -> Held | None:
        """Acquires the lease at start. Takes up to LAPSE_SECONDS where the last holder crashed on another host.

        Returns the holder if there is one. Raises Unavailable.
        """
        claim = Claim(self._me, self._seconds)
        while not self._settled(found := await self._store.write(claim), claim):
            await pause(self._clock, ASK_SECONDS)
        return found if isinstance(found, Held) else None

    def acquire_blocking(self, run: Callable[[Claim], int | Held]) -> Held | None:
        """As `acquire`, before the reactor runs. `run` calls its argument in a transaction, in this thread.

        A node without a name takes the first one of its host that no living process has.
        """
        given = self._me.node
        held: Held | None = None
        for name in [given] if given else names(self._me.host):
            self._me = this_process(name, bus=self._me.bus)  # twistd may have forked since this object was made
            claim = Claim(self._me, self._seconds)
            while not self._settled(found := run(claim), claim):
                if not given and isinstance(found, Held) and found.here and all(found.with_bus):
                    break
                time.sleep(ASK_SECONDS)
            held = found if isinstance(found, Held) else None
            if held is None or not all(held.with_bus):  # else another name helps
                break
        return held

    def _settled(self, found: int | Held, claim: Claim) -> bool:
        if isinstance(found, Held):
            return found.alive
        self._beat, self._held = found, True
        self._rewind.epoch_found(claim.epoch)
        return True

    def database_rewound(self, *, told: bool) -> None:
        """See `Follower`. The next heartbeat shows only what happens after that."""
        self._beat = 0

    def lease_lost(self) -> None:
        """See `Follower`. The lease is acquired anew by the next tick."""

    def start(self) -> None:
        """Begins to send heartbeats."""
        self._ran = self._proven = self._seconds()
        self._answered = self._clock.seconds()
        self._next = self._clock.callLater(BEAT_SECONDS, self._tick)

    def check(self) -> bool:
        """Whether this process may serve. Call this before it reads a command, and before it begins to do one.

        The first call after a stop of the process finds it out, and loses the lease: timers and sockets that are ready
        come in any order then. It costs one look at a clock.
        """
        if self._held and not self._stopped and self._seconds() - self._ran > LAPSE_SECONDS:
            self.log.error(
                "This process did not run for {seconds:.1f} s, and its lease has lapsed. All connections are closed.",
                seconds=self._seconds() - self._ran,
            )
            self._ran = self._seconds()
            self._lose(self._rewind.lease_lost)
        return self._held

    async def stop(self) -> None:
        """Gives up the lease, so that the next start need not wait. Without an answer in time it will lapse."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if not self._held:
            return
        self._held = False
        done: list[object] = []
        releasing = ensureDeferred(self._store.write(release, self._me))
        releasing.addErrback(lambda failure: failure.trap(Unavailable, Conflict)).addBoth(done.append)
        await until(self._clock, lambda: bool(done), RELEASE_SECONDS)

    def answered(self) -> None:
        """See `store.db.threads.Recovering`: does not wait for the next tick."""
        self._tick_now()

    def _tick(self) -> None:
        self._next = self._clock.callLater(BEAT_SECONDS, self._tick)
        self.check()
        self._ran = self._seconds()
        if not self._asking:
            self._asking = True
            work = self._send_heartbeat() if self._held else self._acquire_anew()
            ensureDeferred(work).addErrback(
                lambda failure: self.log.failure("A heartbeat failed.", failure)
            ).addCallback(self._asked)

    def _asked(self, _: object) -> None:
        self._asking = False

    async def _send_heartbeat(self) -> None:
        me, asked = self._me, self._seconds()
        try:
            beat: Beat = await self._store.write(heartbeat, me)
        except (Unavailable, Conflict):  # the store has logged that
            return
        away, self._answered = self.unanswered_seconds, self._clock.seconds()
        if self._now is not None and beat.now is not None:
            self._now.follow(beat.now, asked, self._seconds())
        if self._stopped or not self._held or me is not self._me:
            return
        self._rewind.epoch_found(beat.epoch)
        known, self._beat = self._beat, beat.beat
        removed = beat.beat == 0 and away > KEPT.total_seconds() / 2  # by others, who have long buried this process
        if beat.beat <= known and not removed:
            self.log.error(
                "The database was set back: heartbeat {known} was committed, and it has {found} now. All connections "
                "are closed.",
                known=known, found=beat.beat,
            )  # fmt: skip
            if beat.ours:
                self._rewind.database_rewound()
            else:
                self._lose(self._rewind.database_rewound)
        elif not beat.ours:
            self.log.error("Others took this process for dead, and its lease is gone. All connections are closed.")
            self._lose(self._rewind.lease_lost)
        else:
            if self.cut_off:
                self.back_since = self._clock.seconds()
            self._proven = asked
            if self.cut_off:  # the answer took so long that it proves nothing
                self._clock.callLater(0, self._tick_now)

    def _lose(self, tell: Callable[[], None]) -> None:
        self._held = False
        self._me = replace(self._me, boot=this_process(self._me.node).boot)
        try:
            tell()
        finally:
            self._clock.callLater(0, self._tick_now)

    def _tick_now(self) -> None:
        if self._next is not None:
            self._next.reset(0)

    async def _acquire_anew(self) -> None:
        try:
            held = await self.acquire()
        except (Unavailable, Conflict):
            return
        if self._stopped:
            return
        if held is not None:
            self._stopped = True
            self.lost.callback(held)
        else:
            self._proven, self._answered = self._seconds(), self._clock.seconds()
            self.log.info("This process has the lease again, and serves.")
