"""Guests: their number, and their end. Once its connection has ended, a guest leaves all rooms and its account is
disabled."""

from datetime import datetime

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.delivery.registry import Registry
from chatserver.login.address_quotas import place_of
from chatserver.session.session import Session
from chatserver.settings.tables import Limits
from chatserver.store.db.threads import Store
from chatserver.store.rooms import dismiss_guest, lost_guests
from chatserver.sync.reconcile import Reconciler
from chatserver.util.clock import Clock
from chatserver.util.waiting import pause, until
from chatserver.values.errors import Refused, Unavailable, Why
from chatserver.values.events import GUEST, Person
from chatserver.values.stages import Stage
from chatserver.wire.addresses import Listed, share, sources

RETRY_SECONDS = 1.0
"""Interval between two attempts, so that guests leave soon after the database is back."""
LOST_SECONDS = 80.0
"""How long to wait before a search for a guest whose creation was not answered: by then a late commit has come (see
`reconcile.DOUBT_SECONDS`), and the sessions of the guests who were created at the same time are recorded."""

PLACE_SECONDS = 60
"""How long a guest refused for lack of a place should wait."""
PLACES_SWEPT = 1_000
"""Minimum number of addresses and networks between two sweeps, which look at all of them."""


class Guests:
    """Dismisses guests one after another, with retries.

    The next start dismisses guests left when the process ends.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        registry: Registry,
        now: Clock,
        reconciler: Reconciler,
    ) -> None:
        self._clock = clock
        self._store = store
        self._registry = registry
        self._now = now
        self._reconciler = reconciler
        self._leaving: dict[int, Person] = {}  # in the order in which they are dismissed
        self._faulty: set[int] = set()  # those whose dismissal failed with a bug, which is logged once for each
        self._busy = False
        self._stopped = False

    @property
    def idle(self) -> bool:
        """Whether no guest waits to be dismissed, as far as a stopped server tries."""
        return not self._busy

    def stop(self) -> None:
        """Stops retrying. Later guests are tried once."""
        self._stopped = True

    def dismiss(self, guest: Session) -> None:
        """A guest's session has ended."""
        ensureDeferred(self._dismiss_later(guest)).addErrback(
            lambda failure: self.log.failure("A guest has not left its rooms.", failure)
        )

    async def _dismiss_later(self, guest: Session) -> None:
        await until(self._clock, lambda: not guest.waiting)  # what it sent last is stored first
        self.not_admitted(guest.who.person)

    def not_admitted(self, guest: Person) -> None:
        """A guest's account was created, but is not in use."""
        self._leaving[guest.id] = guest
        if not self._busy:
            self._busy = True
            ensureDeferred(self._run()).addErrback(
                lambda failure: self.log.failure("Guests are not dismissed any more.", failure)
            )

    def lost(self, at: datetime) -> None:
        """A guest may have been created at this time: the store did not answer."""
        self._clock.callLater(LOST_SECONDS, self._look_for, at)

    def _look_for(self, at: datetime) -> None:
        ensureDeferred(self._find_lost(at)).addErrback(
            lambda failure: self.log.failure("A guest who was not admitted was not found.", failure)
        )

    async def _find_lost(self, at: datetime) -> None:
        while not self._stopped:
            try:
                found = await self._store.read(lost_guests, at)
            except Unavailable:
                await pause(self._clock, RETRY_SECONDS)
                continue
            for guest in found:
                self.not_admitted(guest)
            return

    async def _run(self) -> None:
        while self._leaving:
            guest = next(iter(self._leaving.values()))
            dismissed = await self._dismiss(guest)
            del self._leaving[guest.id]
            if not dismissed and not self._stopped:
                self._leaving[guest.id] = guest  # behind the others: what is wrong with one does not keep them here
                await pause(self._clock, RETRY_SECONDS)
        self._busy = False

    async def _dismiss(self, guest: Person) -> bool:
        """Returns whether the store has dismissed the guest."""
        try:
            left = await self._store.write(dismiss_guest, guest, self._now())
        except Unavailable:  # the store has logged that
            self._reconciler.suspect(guest)
            return False
        except Exception:
            if guest.id not in self._faulty:
                self._faulty.add(guest.id)
                self.log.failure("The guest {name} has not left its rooms. This is tried again.", name=guest.name)
            return False
        self._faulty.discard(guest.id)
        for facts, entries in left:
            if not self._registry.order.announce(facts, entries):
                self._reconciler.suspect(guest)
        return True


class GuestPlaces:
    """Limits the guests of one address, and of one network, who are connected, or about to be."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._exempt = Listed(lambda: limits.exempt)
        self.elsewhere: dict[str, int] = {}
        """Number of guests at other nodes, by address and network as of `sources`."""
        self._taken: dict[str, list[Session]] = {}
        self._swept = 0  # addresses and networks that were left by the last sweep

    def take(self, session: Session) -> None:
        """Gives a place to a session that is logging in, until it ends or fails. Raises Refused(slow-down)."""
        most, times = self._limits.guests_per_address, self._limits.network_times
        if not most or session.address in self._exempt:
            return
        keys = sources(session.address)
        for key in keys:
            here = self._taken[key] = _still_there(self._taken.get(key, []), session)
            if 0 < share(key, most, times) <= len(here) + self.elsewhere.get(key, 0):
                raise Refused(Why.TOO_MANY_GUESTS, retry=PLACE_SECONDS, place=place_of(key))
        for key in keys:
            self._taken[key].append(session)
        if len(self._taken) > 2 * self._swept + PLACES_SWEPT:
            self._taken = {key: kept for key, all in self._taken.items() if (kept := _still_there(all))}
            self._swept = len(self._taken)

    def many(self, least: int) -> dict[str, int]:
        """Addresses and networks with at least `least` guests here."""
        found = ((key, len(_still_there(sessions))) for key, sessions in self._taken.items() if len(sessions) >= least)
        return {key: count for key, count in found if count >= least}


def _still_there(sessions: list[Session], other_than: Session | None = None) -> list[Session]:
    return [
        one
        for one in sessions
        if one is not other_than and (one.stage is Stage.BUSY or (one.stage is Stage.IN and one.who.kind == GUEST))
    ]
