"""Kept sessions at a login: gives them their secrets, and notes that those of open connections are in use."""

from typing import Final

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.login.authentication import MAX_LOGINS, WRONG, WRONG_SECRET, Login, Proved
from chatserver.login.parts import LoginParts
from chatserver.session.session import Session
from chatserver.store import kept_sessions
from chatserver.store.kept_sessions import Use
from chatserver.util.waiting import Batcher, turns
from chatserver.values import commands as c
from chatserver.values.errors import Unavailable

TOUCH_SECONDS: Final = 6 * 3600.0
"""Interval between notes of which kept sessions have a connection: it stays in use for as long as that is open."""

TOUCHED_AT_ONCE: Final = 500


class Keeping:
    """Costs nothing while no kept session is connected."""

    log = Logger()

    def __init__(self, parts: LoginParts) -> None:
        self._clock = parts.clock
        self._now = parts.now
        self._store = parts.store
        self._roster = parts.roster
        self._uses = Batcher(self._use, MAX_LOGINS, turns(parts.clock))
        self._next: IDelayedCall | None = None

    async def _use(self, uses: list[Use]) -> list[str | None]:
        return await self._store.write(kept_sessions.use, uses)

    def concerns(self, command: Login, proved: Proved) -> bool:
        """Whether the session of this login is to be kept, or is kept."""
        return bool(proved.secret) or (not isinstance(command, c.Guest) and command.keep is not None)

    async def secret(self, session: Session, command: Login, proved: Proved) -> tuple[int, str]:
        """The id of the session and its new secret. Call this once nothing else keeps the client from logging in: a
        secret that was replaced is not good for long. Raises Refused if the session has ended, or the password was
        changed, meanwhile."""
        name = None if isinstance(command, c.Guest) else command.keep
        if proved.secret:
            given = await self._uses.ask(Use(proved.secret, session.address, name, not proved.by_cookie))
            if given is None:
                raise WRONG_SECRET
            return proved.token_id, given
        made = await self._store.write(
            kept_sessions.create, proved.person.id, name or "", session.address, self._now(), proved.proof
        )
        if made is None:
            raise WRONG
        return made

    def came(self) -> None:
        """Call this when a kept session has logged in."""
        if self._next is None:
            self._next = self._clock.callLater(TOUCH_SECONDS, self._due)

    def _due(self) -> None:
        self._next = None
        ensureDeferred(self._touch()).addErrback(self._failed)

    async def _touch(self) -> None:
        ids = sorted({session.who.token_id for session in self._roster.all_sessions() if session.who.kept})
        if ids:
            self.came()
        for start in range(0, len(ids), TOUCHED_AT_ONCE):
            await self._store.write(kept_sessions.touch, ids[start : start + TOUCHED_AT_ONCE])

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable):  # which the store has logged
            self.log.failure("Could not note which sessions are in use. Trying again later.", failure)
