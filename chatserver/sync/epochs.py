"""Knows the present epoch of the logs (`store/db/epochs.py`), and acts when it changes while clients are connected.

The epoch is found with each heartbeat, with each comparison of heads (`reconcile.py`) and, on PostgreSQL, with each new
connection of the store, before anything is written there. If it is another one, the heads in memory are compared with
those that it began with:

- Nothing was lost that was delivered here, as after a failover to a synchronous standby: programs receive the new name.
- Something was lost, or a part has noticed it by itself (`rewind.py`): unless the epoch has begun already, it begins
  now, and all connections end. Programs are told how far what they know still holds.

Logins wait meanwhile: what they answer would be of either epoch.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from msgspec import Struct
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.delivery.registry import Registry
from chatserver.presence.roster import Roster
from chatserver.store.db import epochs
from chatserver.store.db.epochs import Epoch
from chatserver.store.db.faults import Conflict
from chatserver.store.db.threads import Store
from chatserver.sync.rewind import Rewind
from chatserver.util.waiting import pause, until
from chatserver.values.errors import Unavailable
from chatserver.values.events import EpochBegan

RETRY_SECONDS: Final = 0.25
"""How long to wait after a failed attempt to begin an epoch."""
PATIENCE_SECONDS: Final = 3.0
"""How long connections stay open, and logins wait, until the epoch has begun. Programs learn the rest when they
resume."""


class Branch(Struct, frozen=True):
    """Where the present log branches off from what was delivered. `token`: of the present epoch. `common`: by room id,
    the last number of both; rooms of which everything still holds may be missing."""

    token: str
    common: Mapping[int, int]


class Ending(Protocol):
    """The part that ends all connections."""

    def rewound(self, branch: Branch | None) -> None:
        """The logs lack what was delivered. None: how far is not known yet."""

    def lease_lost(self) -> None:
        """See `rewind.Follower`."""


class Epochs:
    """Follows `rewind`, and passes on what it says to those who follow this part, once more is known."""

    log = Logger()

    def __init__(self, clock: IReactorTime, store: Store, registry: Registry, roster: Roster, rewind: Rewind) -> None:
        self._clock = clock
        self._store = store
        self._registry = registry
        self._roster = roster
        self._rewind = rewind
        self._followers: list[Ending] = []
        self._comparing = False
        self.present: Epoch | None = None
        """The epoch of what was delivered; None before the lease is acquired."""
        self.beginning = False
        """The logs are known to lack something, and the epoch without it has not begun yet."""
        rewind.follow(self)
        rewind.watch(self)

    def follow(self, part: Ending) -> None:
        """Has a part called from now on."""
        self._followers.append(part)

    @property
    def token(self) -> str:
        """That of the present epoch; "": unknown."""
        return "" if self.present is None else self.present.token

    async def settled(self) -> None:
        """Waits until the epoch is known. Raises Unavailable if that takes too long."""
        await until(self._clock, lambda: not self.beginning, PATIENCE_SECONDS)
        if self.beginning:
            raise Unavailable()

    def epoch_found(self, epoch: Epoch) -> None:
        """See `rewind.Watching`. Called before what was written in this epoch is delivered here."""
        if self.beginning or self._comparing or (self.present is not None and epoch.name == self.present.name):
            return
        heads = self._registry.rooms.heads()
        if self.present is None or not heads:  # nothing was delivered
            self._continue(epoch)
            return
        self._comparing = True
        ensureDeferred(self._compare(self.present, epoch, heads)).addErrback(
            lambda failure: self.log.failure("The epochs could not be compared.", failure)
        )

    async def _compare(self, former: Epoch, epoch: Epoch, heads: dict[int, int]) -> None:
        try:
            common = await self._store.read(epochs.common, former.token, list(heads))
        except (Unavailable, Conflict):
            return  # the next heartbeat finds it again
        finally:
            self._comparing = False
        if self.beginning or self.present is not former:
            return
        lost = {room_id: last for room_id, last in common.items() if last < heads[room_id]}
        if lost:
            room_id, last = next(iter(lost.items()))
            self._rewind.room_rewound(room_id, heads[room_id], last)
        else:
            self._continue(epoch)

    def _continue(self, epoch: Epoch) -> None:
        """What was delivered is a part of this epoch's log."""
        known, self.present = self.present, epoch
        if known is not None:
            self._roster.tell(self._roster.all_sessions(), EpochBegan(epoch.token))

    def database_rewound(self, *, told: bool) -> None:
        """See `rewind.Follower`."""
        if not self.beginning:
            self.beginning = True
            ensureDeferred(self._begin(list(self._registry.rooms.heads()))).addErrback(
                lambda failure: self.log.failure("An epoch could not be begun.", failure)
            )

    async def _begin(self, room_ids: list[int]) -> None:
        former, patient = self.present, self._clock.seconds() + PATIENCE_SECONDS
        ended = False
        while True:
            lost = dict(self._rewind.lost)
            try:
                name = None if former is None else former.name
                epoch = await self._store.write(epochs.begin_unless_begun, name, lost)
                common = await self._store.read(epochs.common, former.token, room_ids) if former is not None else {}
                if lost == self._rewind.lost:  # else more rooms have shown it meanwhile
                    break
            except (Unavailable, Conflict):
                if not ended and self._clock.seconds() >= patient:
                    ended = True
                    self._end(None)
                await pause(self._clock, RETRY_SECONDS)
        self._rewind.lost.clear()
        self.present, self.beginning = epoch, False
        self._rewind.epoch_found(epoch)
        if not ended:
            self._end(Branch(epoch.token, common))

    def _end(self, branch: Branch | None) -> None:
        for part in self._followers:
            part.rewound(branch)

    def lease_lost(self) -> None:
        """See `rewind.Follower`."""
        for part in self._followers:
            part.lease_lost()
