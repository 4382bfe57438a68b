"""The end of guests: once a guest's connection has ended, the guest leaves all rooms and its account is disabled."""

from collections.abc import Callable
from datetime import datetime

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.delivery.registry import Registry
from chatserver.session import Session
from chatserver.store.rooms import dismiss_guest
from chatserver.store.threads import Store
from chatserver.turns import until


class Guests:
    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store, registry: Registry, now: Callable[[], datetime]) -> None:
        self._clock = clock
        self._store = store
        self._registry = registry
        self._now = now

    def dismiss(self, guest: Session) -> None:
        """A guest's session has ended."""
        ensureDeferred(self._dismiss(guest)).addErrback(
            lambda failure: self.log.failure("A guest has not left its rooms.", failure)
        )

    async def _dismiss(self, guest: Session) -> None:
        await until(self._clock, lambda: not guest.waiting)  # what it sent last is stored first
        for facts, entries in await self._store.write(dismiss_guest, guest.person, self._now()):
            self._registry.announce(facts, entries)
