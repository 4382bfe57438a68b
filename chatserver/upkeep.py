"""Work on the database that nobody waits for, and that would else fall to somebody's message."""

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from chatserver.errors import Unavailable
from chatserver.store import search
from chatserver.store.threads import Store

STORED = 8192
"""So many messages later there is something to do: well before the database would do it within a message's commit."""


class Upkeep:
    log = Logger()

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stored = 0
        self._tidying = False

    def stored(self, messages: int) -> None:
        """To be told how many messages have been stored."""
        self._stored += messages
        if self._stored >= STORED and not self._tidying:
            self._stored = 0
            self._tidying = True
            ensureDeferred(self._tidy())

    async def _tidy(self) -> None:
        try:
            await self._store.read(search.tidy)
        except Unavailable:
            pass  # that is in the log already
        except Exception:
            self.log.failure("The index of words was not tidied.")
        self._tidying = False
