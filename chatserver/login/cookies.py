"""Kept sessions that a browser has as a cookie, which no script can read: how they begin and end.

A page logs in with a password over its WebSocket, is given a secret, and trades it at once for the cookie: the secret
that the script saw is replaced, and soon worthless.
"""

from chatserver.login.authentication import WRONG_SECRET, Authenticator
from chatserver.login.parts import LoginParts
from chatserver.store import kept_sessions
from chatserver.store.kept_sessions import Use


class Cookies:
    """What the HTTP requests about sessions do. Raises Refused where the database does not answer."""

    def __init__(self, parts: LoginParts, authenticator: Authenticator) -> None:
        self._store = parts.store
        self._now = parts.now
        self._authenticator = authenticator

    async def trade(self, address: str, secret: str) -> str:
        """Returns the secret that replaces this one. A wrong one costs as much as a failed login. Raises Refused."""
        await self._authenticator.kept(address, secret)
        uses = [Use(secret, address)]
        (given,) = await self._store.write(kept_sessions.use, uses)
        if given is None:
            raise WRONG_SECRET
        return str(given)

    async def end(self, secret: str) -> None:
        """Ends the session of this secret, if it is one, and its connections at every node. Raises Refused."""
        await self._store.write(kept_sessions.end_shown, secret, self._now())
