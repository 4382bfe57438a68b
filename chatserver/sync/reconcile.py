"""Finds entries that were stored although the answer of the database was lost, and has them delivered.

The database may commit even some time after the answer was lost: a backend finishes the statement of a server that was
killed. For DOUBT_SECONDS after each lost answer, and after the start, the heads of all rooms in memory are compared
with the database once a second.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.delivery.registry import Registry
from chatserver.delivery.room import Room
from chatserver.presence.roster import Roster
from chatserver.store import Connection, invitations, members
from chatserver.store.db import epochs
from chatserver.store.db.epochs import Epoch
from chatserver.store.db.threads import Store
from chatserver.store.entries import heads
from chatserver.store.visibility import memberships
from chatserver.sync.rewind import Rewind
from chatserver.util.clock import Clock
from chatserver.values.errors import Unavailable
from chatserver.values.events import Person

POLL_SECONDS = 1.0
"""Interval between comparisons while a write is in doubt."""
COMPARE_SECONDS = 0.1
"""Minimum interval between comparisons, however often they are requested."""
RETRY_SECONDS = 0.25
"""How long to wait after a failed read: the first reads after an outage may still use lost connections."""
TOLD_SECONDS = 1.0
"""Minimum interval between notices to other nodes: during an outage each failed command is a reason for one."""
DOUBT_SECONDS = 75.0
"""How long a commit may still happen: a little longer than the store's `statement_timeout`."""
INVITED_SECONDS = 60.0
"""How much older than the doubt an invitation may be to be sent again: the clocks of several threads stamp them."""


def _heads(db: Connection, room_ids: list[int]) -> tuple[dict[int, int], Epoch | None]:
    return heads(db, room_ids), epochs.current(db)


class Reconciler:
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        registry: Registry,
        roster: Roster,
        now: Clock,
        rewind: Rewind,
    ) -> None:
        self._clock = clock
        self._store = store
        self._registry = registry
        self._roster = roster
        self._now = now
        self._rewind = rewind
        self._until = 0.0
        self._people: dict[int, tuple[Person, datetime]] = {}
        self._missed: set[int] = set()  # rooms
        self._due = False  # the heads are to be compared
        self._some: set[int] = set()  # those of these rooms are
        self._entered: dict[int, None] = {}  # accounts that have entered a room at another node
        self._told = float("-inf")  # when other nodes were notified last
        self._polled = float("-inf")
        self._compared = float("-inf")  # when the heads were compared last
        self._next: IDelayedCall | None = None
        self._looking = False
        self._answered = True
        self._stopped = False

    def suspect(self, who: Person | None = None) -> None:
        """A write may or may not be committed. If `who` sent it, their memberships and invitations are compared, too.
        Other nodes are requested to compare: they may have subscribers of rooms that have none here."""
        if who is not None:
            self._people.setdefault(who.id, (who, self._now()))
        self.expect()
        if self._clock.seconds() - self._told > TOLD_SECONDS:
            self._told = self._clock.seconds()
            self._registry.elsewhere.suspected()

    def expect(self) -> None:
        """Another process may have committed something, or be about to, that nobody announces."""
        self._until = self._clock.seconds() + DOUBT_SECONDS
        self._soon()

    def entered(self, account_id: int) -> None:
        """An account with sessions here has entered a room at another node: its memberships are compared, once,
        together with those of other such accounts."""
        self._entered[account_id] = None
        self._soon()

    def compare(self, room_ids: Collection[int] | None = None) -> None:
        """Entries of another node may not have arrived: compares the heads of these rooms, or of all, once, and at most
        ten times a second."""
        if room_ids is None:
            self._due = True
        else:
            self._some.update(room_ids)
        self._soon()

    def missed(self, room_id: int) -> None:
        """Entries of a room were removed before they were published here: its members are read again."""
        self._missed.add(room_id)
        self._soon()

    @property
    def _pressing(self) -> bool:
        """Whether a comparison was requested, besides the periodic ones."""
        return bool(self._due or self._some or self._entered)

    def _soon(self) -> None:
        if self._stopped or self._looking:
            return
        wait = max(self._polled + COMPARE_SECONDS - self._clock.seconds(), 0)
        if self._next is None:
            self._next = self._clock.callLater(wait, self._poll)
        elif self._pressing and self._next.getTime() > self._clock.seconds() + wait:
            self._next.reset(wait)

    def stop(self) -> None:
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _poll(self) -> None:
        self._next = None
        self._looking = self._answered = True
        self._polled = self._clock.seconds()
        ensureDeferred(self._look()).addErrback(self._failed).addCallback(self._again)

    def _failed(self, failure: Failure) -> None:
        self._answered = False
        if not failure.check(Unavailable):  # the store has logged that
            self.log.failure("What was stored could not be compared with what was delivered.", failure)

    def _again(self, _: object) -> None:
        self._looking = False
        if self._stopped:
            return
        if self._pressing:
            self._next = self._clock.callLater(COMPARE_SECONDS, self._poll)
        elif self._people or self._missed or self._clock.seconds() < self._until:
            wait = self._compared + POLL_SECONDS - self._clock.seconds() if self._answered else RETRY_SECONDS
            self._next = self._clock.callLater(max(wait, 0), self._poll)

    async def _look(self) -> None:
        now = self._clock.seconds()
        doubtful = now < self._until
        turn = (doubtful or bool(self._people)) and now - self._compared >= POLL_SECONDS
        if self._entered and not (turn or self._due or self._some or self._missed):
            await self._compare_entered()
            return
        self._compared = now
        due, self._due = self._due, False
        some, self._some = self._some, set()
        try:
            await self._compare_heads(None if due or doubtful or not some else some)
        except Unavailable:
            self._due = self._due or due
            self._some |= some
            raise
        await self._compare_entered()
        for room_id in list(self._missed):
            await self._compare_members(room_id)
            self._missed.discard(room_id)
        for account_id, (who, since) in list(self._people.items()):
            await self._compare_memberships(who)
            await self._tell_invited(who, since)
            # Those of whom nothing was found yet are looked at again while a commit may still come.
            if self._clock.seconds() >= self._until or not self._roster.sessions(account_id):
                self._people.pop(account_id, None)

    async def _compare_entered(self) -> None:
        entered, self._entered = self._entered, {}
        try:
            for account_id in list(entered):
                for session in self._roster.sessions(account_id)[:1]:
                    await self._compare_memberships(session.who.person)
                del entered[account_id]
        except Unavailable:
            self._entered = entered | self._entered
            raise

    async def _compare_heads(self, some: Collection[int] | None) -> None:
        known = self._registry.rooms.heads(some)  # taken before the read, so that a lower one there was lost
        if not known:
            return
        stored, epoch = await self._store.read(_heads, list(known))
        self._rewind.epoch_found(epoch)  # before anything is delivered that is of it
        for room_id, head in known.items():
            last = stored.get(room_id, 0)
            room = self._registry.rooms.find(room_id)
            if room is None:
                continue
            if last < head <= room.head:  # else it has begun anew meanwhile: that is known
                self._rewind.room_rewound(room_id, head, last)
                return
            if last > room.head:
                self._registry.order.doubt(room, told=self._clock.seconds() >= self._until)

    async def _compare_members(self, room_id: int) -> None:
        """Compares a room's members in the database with its subscribers here."""
        room = self._registry.rooms.find(room_id)
        if room is None:
            return
        inside = await self._store.read(members.accounts, room_id)
        people = {who.account_id: who.person for who in (one.who for one in room) if who.account_id not in inside}
        for account_id in inside:
            for session in self._roster.sessions(account_id):
                if session not in room:
                    people[account_id] = session.who.person
        for person in people.values():
            await self._compare_memberships(person, room)

    async def _compare_memberships(self, who: Person, left: Room | None = None) -> None:
        """Subscribes an account's sessions to the rooms that it has joined or opened, and unsubscribes them from `left`
        unless it is still a member."""
        with self._registry.logins.begin(who.id) as login:
            while True:
                login.stale = False
                found = await self._store.read(memberships, who)
                if self._registry.logins.is_current(login, found):
                    break
            self._registry.subscriptions.hear_all(who.id, found)
            if left is not None and all(one.facts.id != left.facts.id for one in found):
                for session in self._roster.sessions(who.id):
                    self._registry.subscriptions.unsubscribe(session, left.facts)

    async def _tell_invited(self, who: Person, since: datetime) -> None:
        given = await self._store.read(invitations.given, who, since - timedelta(seconds=INVITED_SECONDS))
        for account_id, invited in given:
            self._roster.tell(self._roster.sessions(account_id), invited)
