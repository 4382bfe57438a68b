"""Ends sessions when their token expires."""

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.presence.roster import Roster
from chatserver.store import tokens
from chatserver.store.db.threads import Store
from chatserver.values.errors import Note, Sentence, Unavailable

LOOK_SECONDS = 60.0
"""Maximum interval between queries of the database's clock, which decides: clocks are set, and machines sleep."""
LEAST_SECONDS = 1.0
RETRY_SECONDS = 5.0

EXPIRED = ("token-expired", Sentence(Note.TOKEN_EXPIRED))


class Expiry:
    """Ends sessions by their tokens. Costs nothing while no token that expires is in use."""

    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store, roster: Roster) -> None:
        self._clock = clock
        self._store = store
        self._roster = roster
        self._token_ids: set[int] = set()  # in use, and with an end
        self._next: IDelayedCall | None = None

    def add(self, token_id: int, seconds: float) -> None:
        """Call this when somebody has logged in with a token that lasts for this many seconds."""
        self._token_ids.add(token_id)
        self._look_in(seconds)

    def _look_in(self, seconds: float) -> None:
        seconds = min(max(seconds, LEAST_SECONDS), LOOK_SECONDS)
        if self._next is not None:
            if self._next.getTime() <= self._clock.seconds() + seconds:
                return
            self._next.cancel()
        self._next = self._clock.callLater(seconds, self._due)

    def _due(self) -> None:
        self._next = None
        ensureDeferred(self._look()).addErrback(self._failed)

    async def _look(self) -> None:
        self._token_ids &= {session.who.token_id for session in self._roster.all_sessions()}
        if not self._token_ids:
            return
        scopes = await self._store.read(tokens.scopes, frozenset(self._token_ids))
        left = {id: scope.seconds for id, scope in scopes.items() if scope.seconds is not None}
        over = {id for id, seconds in left.items() if seconds <= 0}
        for session in self._roster.all_sessions():
            if session.who.token_id in over:
                session.link.hang_up(*EXPIRED)
        self._token_ids -= over
        if self._token_ids:
            self._look_in(min(left.get(id, LOOK_SECONDS) for id in self._token_ids))

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable):  # which the store has logged
            self.log.failure("Could not look up which tokens have expired. Trying again.", failure)
        self._look_in(RETRY_SECONDS)
