"""Polls the table `change` for changes that other processes make while the server runs: `chatctl` and other nodes.

Each change is handled once. Ids are assigned before the commit, so a lower id may become visible after a higher one.
The feed looks for a skipped id until no transaction is left that may have it.
"""

from typing import Final, Protocol

from msgspec import Struct
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.background.session_rows import SessionRows
from chatserver.delivery.registry import Registry
from chatserver.presence.roster import Roster
from chatserver.session.session import Session
from chatserver.store import change_rows, moderation
from chatserver.store.db.faults import Conflict
from chatserver.store.db.threads import Store
from chatserver.sync.change_handlers import ChangeHandlers
from chatserver.sync.reconcile import Reconciler
from chatserver.sync.rewind import Rewind
from chatserver.util.quiet_log import Outage
from chatserver.util.waiting import pause
from chatserver.values.errors import Unavailable

POLL_SECONDS = 0.5
"""Interval between polls: others see a post through SQL (`chat_v1.post`) within a second."""
HURRY_SECONDS = 0.1
"""Minimum interval between polls, however often other nodes announce changes."""
LOOK_BACK = 1_000
"""Maximum number of ids before the start that may belong to transactions still about to commit."""
MOST_MISSING: Final = 10_000
"""Maximum number of skipped ids to look for. Beyond it, the lowest ones are given up."""
DRAWN_SECONDS: Final = 0.2
"""How long after taking an id a transaction has certainly written its change, and so has a transaction number."""
MISSING_SECONDS: Final = 75.0
"""How long until that transaction has certainly ended (see `reconcile.DOUBT_SECONDS`)."""
PRUNE_SECONDS: Final = 600.0
"""Interval between deletions of old changes."""
PAUSE_SECONDS: Final = 0.05
"""How long a deletion pauses between two steps."""


class Missing(Struct):
    """A skipped id. `since`: when it was noticed, by the reactor's clock. `until`: the number of a transaction that
    began after the one that may have the id; 0 while that is unknown."""

    since: float
    until: int = 0


class Banning(Protocol):
    """The part that keeps banned networks out."""

    def set_bans(self, bans: list[moderation.NetworkBan]) -> None:
        """These networks are banned from now on, and no others."""


class ChangeFeed:
    """Reads the table `change` twice a second, and has each change followed (see `ChangeHandlers`)."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        registry: Registry,
        roster: Roster,
        reconciler: Reconciler,
        session_rows: SessionRows,
        rewind: Rewind,
    ) -> None:
        self._clock = clock
        self._store = store
        self._registry = registry
        self._banning: list[Banning] = []
        self._handlers = ChangeHandlers(store, registry, roster, reconciler, session_rows)
        self._last: int | None = None
        self._missing: dict[int, Missing] = {}  # in ascending order
        self._unapplied: dict[int, change_rows.Change] = {}
        self._next: IDelayedCall | None = None
        self._running = False
        self._hurried = False
        self._begun = float("-inf")  # when the last poll began
        self.read_at = float("-inf")
        """When the last poll began that read and applied all changes, by the reactor's clock."""
        self._pruned = clock.seconds()
        self._bans_due = False  # they could not be read
        self._outage = Outage(clock)
        rewind.follow(self)

    def follow_bans(self, part: Banning) -> None:
        """Hands a part the banned networks from now on, whenever they change."""
        self._banning.append(part)

    def start(self) -> None:
        self._running = True
        self.reload_bans()
        self._poll()

    def stop(self) -> None:
        """Makes the poll that is running the last one."""
        self._running = False
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def hurry(self) -> None:
        """Polls soon: another node has announced changes."""
        if self._next is None:
            self._hurried = True  # the poll that is under way may have been too early
        else:
            wait = max(self._begun + HURRY_SECONDS - self._clock.seconds(), 0)
            if self._next.getTime() > self._clock.seconds() + wait:
                self._next.reset(wait)

    def answered(self) -> None:
        """See `store.db.threads.Recovering`."""
        self.hurry()

    def lease_lost(self) -> None:
        """See `Follower`: changes are numbered, so that none is missed."""

    def database_rewound(self, *, told: bool) -> None:
        """See `Follower`. Changes are followed from the present one on."""
        self._last = None
        self._missing.clear()
        self._unapplied.clear()
        self.reload_bans()

    def left(self, session: Session) -> None:
        """A session has ended. Commands that it had sent may still be stored."""
        self._handlers.left(session)

    @property
    def applied(self) -> int:
        """The id up to which all changes are applied, and the last commands of the sessions they ended are stored."""
        first = [*self._unapplied, *(next(iter(self._missing), None),), self._handlers.unfinished()]
        known = [id for id in first if id is not None]
        return min(known) - 1 if known else self._last or 0

    def reload_bans(self) -> None:
        """Reads the banned networks. If that fails, each poll tries again."""
        ensureDeferred(self._reload_bans()).addErrback(self._failed)

    async def _reload_bans(self) -> None:
        self._bans_due = True
        bans = await self._store.read(moderation.banned_networks)
        self._bans_due = False
        for part in self._banning:
            part.set_bans(bans)

    def _poll(self) -> None:
        self._next = None
        self._begun = self._clock.seconds()
        ensureDeferred(self._look()).addErrback(self._failed).addCallback(self._again)

    def _again(self, _: object) -> None:
        if self._running:
            passed = self._clock.seconds() - self._begun
            hurried, self._hurried = self._hurried, False
            # After a poll that the database has held up, the next one is soon: others may wait for it.
            wait = max(HURRY_SECONDS - passed, 0) if hurried else max(POLL_SECONDS - passed, HURRY_SECONDS)
            self._next = self._clock.callLater(wait, self._poll)

    def _failed(self, failure: Failure) -> None:
        # The store has logged that it does not answer; anything else is likely to fail again in a second.
        if not failure.check(Unavailable) and self._outage.failed():
            self.log.failure("Could not apply a change from the database. Trying again until it works.", failure)

    async def _look(self) -> None:
        begun = self._begun
        if self._bans_due:
            await self._reload_bans()
        if self._last is None:
            last = await self._store.read(change_rows.newest)
            before = await self._store.read(change_rows.look, last - LOOK_BACK)
            self._last = last
            self._take(before, max(last - LOOK_BACK, 0))
            # A login knows those up to `last`.
            self._unapplied = {id: change for id, change in self._unapplied.items() if id > last}
        else:
            last = self._last
            look = await self._store.read(change_rows.look, last, list(self._missing))
            if self._last != last:  # it starts over
                return
            self._take(look, last)
        await self._apply()
        self.read_at = begun
        self._registry.elsewhere.changes_read()
        if self._registry.elsewhere.origin and self._clock.seconds() - self._pruned > PRUNE_SECONDS:
            self._pruned = self._clock.seconds()
            ensureDeferred(self._prune()).addErrback(self._failed)

    def _take(self, look: change_rows.Look, last: int) -> None:
        """Records new changes, and ids skipped after `last`, the highest id known before."""
        found = {change.id: change for change in look.changes}
        now = self._clock.seconds()
        for id in list(self._missing):
            missing = self._missing[id]
            if id in found or 0 < missing.until <= look.oldest or now - missing.since > MISSING_SECONDS:
                del self._missing[id]
            elif not missing.until and now - missing.since >= DRAWN_SECONDS:
                missing.until = look.next
        newest = max(found, default=last)
        if look.next and newest > last:
            for id in range(max(last + 1, newest - MOST_MISSING), newest):
                if id not in found:
                    self._missing[id] = Missing(now)
            while len(self._missing) > MOST_MISSING:
                del self._missing[next(iter(self._missing))]
        self._unapplied.update(found)
        self._last = max(newest, self._last or 0)

    async def _apply(self) -> None:
        for id, change in sorted(self._unapplied.items()):
            try:
                if change.origin is None or change.origin != self._registry.elsewhere.origin:
                    if change.kind == "bans":
                        await self._reload_bans()
                    await self._handlers.follow(change)
            except Unavailable:
                raise
            except Exception:
                self._failed(Failure())  # the next polls try again; the changes after it do not wait for it
            else:
                self._unapplied.pop(id, None)
        if self._outage.worked():
            self.log.info("Changes from the database are applied again.")

    async def _prune(self) -> None:
        """Deletes old changes: the nodes of a cluster are never all restarted at once."""
        try:
            while self._running and await self._store.write(change_rows.prune_some):
                await pause(self._clock, PAUSE_SECONDS)
        except Conflict:
            pass  # another node is deleting them
