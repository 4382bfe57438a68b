"""Writes logins, their ends and the read marks of people to the database: in batches and a little later, since nobody
waits for them."""

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.store import sessions
from chatserver.store.db.threads import Store
from chatserver.util.quiet_log import Outage
from chatserver.values.errors import Unavailable
from chatserver.values.seen import Seen, merged

FLUSH_SECONDS = 0.25
"""How long rows wait for others."""
RETRY_SECONDS = 2.0
"""How long to wait after a failure."""
MAX_WAITING = 100_000
"""Maximum number of rows that wait while the database is away; further ones are dropped."""
MAX_ATTEMPTS = 5
"""Maximum number of attempts for a row that fails alone, beside rows that are written; then it is dropped."""
MAX_FAILED_WRITES = 64
"""Maximum number of failed writes in a search for the row that causes them; the search goes on with the next retry."""

MARKED_AT_ONCE = 500
"""Maximum number of accounts whose read marks are written in one transaction."""


class SessionRows:
    """Loses no row to an error: rows that could not be written are written later, in order for each session.

    If a write fails although the database answers, its rows are written in halves, so that one row that always fails
    keeps no other row from being written. Such a row is retried, and dropped after `MAX_ATTEMPTS`. A row is never
    dropped while no other row can be written: then the fault is not its own.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store) -> None:
        self._clock = clock
        self._store = store
        self._changes: list[sessions.Change] = []
        self._due = False
        self._writing = False
        self._outage = Outage(clock, quiet=0)
        self._attempts: dict[tuple[type, str], int] = {}
        self._marks: dict[int, dict[int, Seen]] = {}  # by account and room, those that wait to be written
        self._marking: dict[int, dict[int, Seen]] = {}  # those that are being written

    @property
    def written(self) -> bool:
        """Whether no row waits to be written."""
        return not self._changes and not self._marks and not self._writing

    def unrecorded(self) -> frozenset[str] | None:
        """The ids of the sessions whose rows wait to be written; None: some are being written just now."""
        return None if self._writing else frozenset(change.id for change in self._changes)

    def add(self, change: sessions.Change) -> None:
        if len(self._changes) >= MAX_WAITING:
            self.log.warn(
                "The database has been unreachable for too long: some logins and their ends are not recorded."
            )
            self._changes.clear()
        self._changes.append(change)
        self._later(FLUSH_SECONDS)

    def mark(self, account_id: int, seen: dict[int, Seen]) -> None:
        """A person has seen these entries, by room id."""
        if seen:
            if len(self._marks) >= MAX_WAITING:
                self._marks.clear()
            self._marks[account_id] = merged((self._marks.get(account_id, {}), seen))
            self._later(FLUSH_SECONDS)

    def unwritten(self, account_id: int) -> dict[int, Seen]:
        """Returns, by room id, the entries that an account has seen, as far as not stored yet."""
        return merged((self._marking.get(account_id, {}), self._marks.get(account_id, {})))

    def _later(self, seconds: float) -> None:
        if not self._due:
            self._due = True
            self._clock.callLater(seconds, self._start)

    def _start(self) -> None:
        self._due = False
        ensureDeferred(self.flush()).addErrback(
            lambda failure: self.log.failure("Sessions could not be recorded.", failure)
        )

    async def flush(self) -> None:
        """Writes all rows that wait. Those that cannot be written now are written later."""
        if self._writing:
            self._later(FLUSH_SECONDS)
            return
        self._writing = True
        try:
            while self._changes:
                taken, self._changes = self._changes, []
                unwritten = await self._write(taken)
                if unwritten:
                    self._changes = [*unwritten, *self._changes]
                    self._later(RETRY_SECONDS)
                    return
                if self._outage.worked():
                    self.log.info("Sessions are recorded again.")
            await self._write_marks()
        finally:
            self._writing = False

    async def _write_marks(self) -> None:
        """Marks that could not be written are merged with later ones, and tried again: each membership has one mark."""
        while self._marks:
            some = list(self._marks)[:MARKED_AT_ONCE]
            self._marking = {account_id: self._marks.pop(account_id) for account_id in some}
            try:
                await self._store.write(sessions.mark, self._marking)
            except Exception as error:
                if not isinstance(error, Unavailable) and self._outage.failed():
                    self.log.failure("Read marks could not be stored. Trying again until they are.")
                failed = self._marking.items()
                self._marks |= {account: merged((seen, self._marks.get(account, {}))) for account, seen in failed}
                self._later(RETRY_SECONDS)
                return
            finally:
                self._marking = {}

    async def _write(self, taken: list[sessions.Change]) -> list[sessions.Change]:
        """Returns the rows to retry, in order."""
        unwritten: list[sessions.Change] = []
        alone: list[sessions.Change] = []  # rows that failed without any other
        held: set[str] = set()  # sessions with a row that failed: their later rows wait for it
        written = False
        failed_writes = 0
        parts = [taken]  # the first one comes last
        while parts:
            part = parts.pop()
            unwritten += [change for change in part if change.id in held]
            part = [change for change in part if change.id not in held]
            if not part:
                continue
            if failed_writes >= MAX_FAILED_WRITES:
                unwritten += part
                continue
            try:
                await self._store.write(sessions.record, part)
            except Unavailable:
                unwritten += part
                failed_writes = MAX_FAILED_WRITES  # the others would have to wait for the database, too
            except Exception:
                failed_writes += 1
                if self._outage.failed():
                    self.log.failure("Sessions could not be recorded. Trying again until they are.")
                if len(part) == 1:
                    unwritten += part
                    alone += part
                    held.add(part[0].id)
                else:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
            else:
                written = True
        dropped = self._give_up(alone) if written else []
        unwritten = [change for change in unwritten if change not in dropped]
        waiting = {_key(change) for change in unwritten}
        self._attempts = {key: count for key, count in self._attempts.items() if key in waiting}
        return unwritten

    def _give_up(self, alone: list[sessions.Change]) -> list[sessions.Change]:
        """Counts an attempt for each of these rows, which failed while others were written. Returns those that have no
        attempts left."""
        dropped = []
        for change in alone:
            attempts = self._attempts[_key(change)] = self._attempts.get(_key(change), 0) + 1
            if attempts >= MAX_ATTEMPTS:
                dropped.append(change)
                self.log.error(
                    "The row of session {id} is not recorded: it failed {attempts} times while others were written "
                    "({change}).",
                    id=change.id,
                    attempts=attempts,
                    change=type(change).__name__,
                )
        return dropped


def _key(change: sessions.Change) -> tuple[type, str]:
    """A session has one row of each kind."""
    return type(change), change.id
