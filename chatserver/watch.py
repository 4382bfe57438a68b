"""Takes note of what others change in the database while the server runs: `chatctl`, another node."""

from collections.abc import Callable
from datetime import datetime

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.errors import Unavailable
from chatserver.handlers.order import banned_text
from chatserver.registry import Registry
from chatserver.store import changes, moderation
from chatserver.store.threads import Store

POLL_SECONDS = 1.0
LOOK_BACK = 100


class Watch:
    """Reads the `change` table once a second. `banned` is handed the networks that are banned, when they change."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        registry: Registry,
        now: Callable[[], datetime],
        banned: Callable[[list[moderation.NetworkBan]], None],
    ) -> None:
        self._clock = clock
        self._store = store
        self._registry = registry
        self._now = now
        self._banned = banned
        self._last: int | None = None
        self._seen: set[int] = set()
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        self.reload_bans()
        self._poll()

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def reload_bans(self) -> None:
        """Reads anew which addresses are banned."""
        ensureDeferred(self._reload_bans()).addErrback(self._failed)

    async def _reload_bans(self) -> None:
        self._banned(await self._store.read(moderation.banned_networks, self._now()))

    def _poll(self) -> None:
        self._next = None
        ensureDeferred(self._look()).addErrback(self._failed).addCallback(self._again)

    def _again(self, _: object) -> None:
        self._next = self._clock.callLater(POLL_SECONDS, self._poll)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable):  # that is in the log already
            self.log.failure("A change was not taken note of.", failure)

    async def _look(self) -> None:
        if self._last is None:
            self._last = await self._store.read(changes.newest)
            self._seen = {id for id, _, _ in await self._store.read(changes.since, self._last - LOOK_BACK)}
            return
        # A little further back: what has the lower number may be committed later.
        found = await self._store.read(changes.since, self._last - LOOK_BACK)
        for id, kind, subject in found:
            if id not in self._seen:
                await self._note(kind, subject)
                self._seen.add(id)
        self._last = max([self._last, *(id for id, _, _ in found)])
        self._seen = {id for id in self._seen if id > self._last - LOOK_BACK}

    async def _note(self, kind: str, subject: int) -> None:
        self._registry.doubt_arrivals()
        if kind == "room":
            room = self._registry.room(subject)
            if room is not None:
                self._registry.doubt(room)
        elif kind == "bans":
            await self._reload_bans()
        elif kind == "token":
            for account in list(self._registry.accounts):
                for session in self._registry.sessions(account):
                    if session.token_id == subject:
                        session.hang_up("token-revoked", "The token you came with is revoked.")
        elif kind == "account" and self._registry.sessions(subject):
            (standing,) = await self._store.read(changes.accounts, [(subject, 0)], self._now())
            for session in self._registry.sessions(subject):
                session.kind = standing.kind
                if standing.ban is not None:
                    session.hang_up("banned", banned_text(standing.ban))
                elif standing.gone:
                    session.hang_up("disabled", "Your account has been closed by the server's operators.")
