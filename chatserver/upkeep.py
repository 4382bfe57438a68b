"""Maintenance of the database in the background. Without it, some messages would have to wait for that work."""

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from chatserver.errors import Unavailable
from chatserver.store import search
from chatserver.store.threads import Store

TIDY_MESSAGES = 8192
"""After so many messages the index of words is tidied: well before the database does it within a message's commit."""


class Upkeep:
    log = Logger()

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stored = 0
        self._tidying = False

    def stored(self, messages: int) -> None:
        """Counts messages that have been stored."""
        self._stored += messages
        if self._stored >= TIDY_MESSAGES and not self._tidying:
            self._stored = 0
            self._tidying = True
            ensureDeferred(self._tidy())

    async def _tidy(self) -> None:
        try:
            await self._store.read(search.tidy)
        except Unavailable:
            pass  # the store has logged that
        except Exception:
            self.log.failure("The index of words could not be tidied.")
        finally:
            self._tidying = False
