"""The order of each room's log: entries are published as seq, seq+1, seq+2, …, however they come."""

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import structs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver.delivery.fanout import MAX_EARLY_BATCHES, Fanout
from chatserver.delivery.gaps import Gaps
from chatserver.delivery.renamed import Names
from chatserver.delivery.room import Room, Rooms
from chatserver.delivery.subscriptions import Subscriptions
from chatserver.presence.roster import Roster
from chatserver.session.other_nodes import NOWHERE
from chatserver.session.session import HeardRoom
from chatserver.util.histogram import Histogram
from chatserver.values.events import (
    ENTERING,
    GAP,
    LEAVING,
    MUTED,
    RENAMED,
    UNMUTED,
    Entry,
    EntryKind,
    RoomFacts,
)

MAX_FILLED: Final = 1000
"""Maximum number of entries of a room that are remembered as read from the store before they were announced."""

MUTING: Final = frozenset[EntryKind]({MUTED, UNMUTED})


class Rewinding(Protocol):
    """A part that acts when the database was set back."""

    def room_rewound(self, room_id: int, head: int, last: int) -> None:
        """The database has lost entries that were delivered: the log of a room went up to `head`, and goes to `last`
        now."""


class Order:
    """Entries come from this process (`announce`), from other nodes (`arrived`) and from the store (`fill`): more than
    once, and in any order."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        roster: Roster,
        rooms: Rooms,
        names: Names,
        gaps: Gaps,
        subscriptions: Subscriptions,
        rewinding: Rewinding,
    ) -> None:
        self._clock = clock
        self._roster = roster
        self._nodes = roster.nodes
        self._rooms = rooms
        self._names = names
        self._gaps = gaps
        self._subscriptions = subscriptions
        self._rewinding = rewinding
        self._fanout = Fanout(clock, subscriptions, self)
        self._doubted: set[int] = set()  # rooms of which other nodes may not know what is found in the store
        self.committed = 0
        """Number of entries that this process has committed."""
        self.from_bus = 0
        """Number of entries for subscribers here that the bus brought."""
        self.from_store = 0
        """Number of entries for them that were read from the store, since nobody brought them in time."""

    @property
    def delivered(self) -> int:
        """Number of entries written to live subscribers, counted for each of them."""
        return self._fanout.delivered

    @property
    def delivery_seconds(self) -> Histogram:
        """For each batch, the time from its commit until it was written to all live subscribers."""
        return self._fanout.seconds

    @property
    def sending(self) -> bool:
        """Whether something that was published is still being written."""
        return self._fanout.busy

    @property
    def lagging(self) -> bool:
        """Whether messages are published faster than they can be written: then the next ones should wait."""
        return self._fanout.lagging

    # Where entries come from

    def announce(self, facts: RoomFacts, entries: Sequence[Entry]) -> bool:
        """The one door for entries that this process has committed: in ascending order, without a gap.

        Never raises, since the entries are stored. Returns False if they could not be delivered: then the room is read
        again, if it has subscribers here."""
        self.committed += len(entries)
        try:
            self._announce(facts, entries)
        except Exception:
            self.log.failure("Entries of room {room} could not be announced.", room=facts.id)
            room = self._rooms.find(facts.id)
            if room is not None:
                self.doubt(room)
            return False
        return True

    def _announce(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        room = self._rooms.find(facts.id)
        if room is not None and entries[0].seq <= room.head and self._is_rewound(room, entries):
            self._rewinding.room_rewound(room.facts.id, room.head, entries[0].seq - 1)
            return
        nodes = self._nodes.now
        if nodes is not NOWHERE:
            nodes.announced(facts, entries)
        self._publish(facts, entries)

    def _is_rewound(self, room: Room, entries: Sequence[Entry]) -> bool:
        """Whether one of these new entries has a number that was published already: the database has forgotten what it
        stored. Entries that were read from the store before they were announced do not count."""
        known = [entry.seq for entry in entries if room.base < entry.seq <= room.head]
        rewound = any(seq not in room.filled for seq in known)
        room.filled.difference_update(known)
        return rewound

    def arrived(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        """Another node has committed these entries: in ascending order, without a gap. They may have come before, and
        others before them may be missing."""
        room = self._rooms.find(facts.id)
        if room is not None and room.unsent and len(room.early) > MAX_EARLY_BATCHES:
            self._gaps.doubt(room)  # they come faster than they can be written: they are read once they can be
            return
        known = max(entries[0].seq - 1, 0 if room is None else room.head)
        self._publish(facts, entries)
        room = self._rooms.find(facts.id)
        if room is not None and room.subscribers:
            self.from_bus += max(entries[-1].seq - known, 0)

    def reaches(self, room_id: int, seq: int) -> None:
        """The log of a room goes at least up to `seq`, as another node says."""
        room = self._rooms.find(room_id)
        if room is None:
            self._rooms.reach(room_id, seq)
        elif seq > room.head:
            if room.subscribers:
                self._gaps.doubt(room)
            else:
                room.rest_at(seq)

    def doubt(self, heard: HeardRoom, *, told: bool = False) -> None:
        """Entries of a room may have been stored and not announced: reads and publishes what the store has. Notifies
        other nodes that there is something to read, unless they have been `told`."""
        if not told:
            self._doubted.add(heard.facts.id)
        room = self._rooms.find(heard.facts.id)
        if room is not None:
            self._gaps.doubt(room)

    def fill(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        """See `gaps.Publishing`. Some of the entries may be announced later."""
        room = self._rooms.find(facts.id)
        if facts.id in self._doubted:
            self._doubted.discard(facts.id)
            self._nodes.now.found(facts.id, entries[-1].seq)
        if room is not None and entries[0].kind == GAP:
            self._skip(room, entries[0])
            entries = entries[1:]
        if entries:
            if room is not None:
                brought = min(room.early, default=entries[-1].seq + 1)  # they wait for what is before them
                self.from_store += max(min(entries[-1].seq, brought - 1) - room.head, 0)
            self._publish(facts, entries)
        room = self._rooms.find(facts.id)
        if room is not None:
            room.filled.update(entry.seq for entry in entries)
            if len(room.filled) > MAX_FILLED:
                room.filled = {seq for seq in room.filled if seq > room.head - MAX_FILLED}
                room.base = max(room.base, room.head - MAX_FILLED)

    def _skip(self, room: Room, gap: Entry) -> None:
        """Moves the head over entries that were removed before they were published here, and notifies the
        subscribers."""
        if gap.seq > room.head:
            room.base = max(room.base, gap.seq)
            self._deliver(room, [structs.replace(gap, of=room.head + 1)], self._clock.seconds())
            self._deliver_early(room)
            self._rooms.missed(room.facts.id)

    def forget(self) -> None:
        """Forgets all rooms, once all sessions are removed."""
        self._rooms.forget()
        self._doubted.clear()

    # Publishing

    def _publish(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        """Delivers stored entries. Batches may come in any order."""
        since = self._clock.seconds()
        room = self._rooms.find(facts.id)
        if room is None or not room.subscribers:
            room = self._subscriptions.room(facts, entries[0].seq - 1)
            if not room.subscribers:  # nobody waits for the entries before these
                self._subscriptions.rest_at(room, entries[0].seq - 1)
        if room.unsent or entries[0].seq > room.head + 1:
            room.wait(since, entries)
            if not room.unsent:
                self._gaps.expect(room)
            return
        self._deliver(room, entries, since)
        self._deliver_early(room)

    def _deliver_early(self, room: Room) -> None:
        while room.early and not room.unsent:
            first = min(room.early)
            if first > room.head + 1:
                self._gaps.expect(room)
                return
            since, entries = room.early.pop(first)
            while more := room.early.pop(entries[-1].seq + 1, None):
                since, entries = min(since, more[0]), [*entries, *more[1]]
            self._deliver(room, entries, since)

    def _deliver(self, room: Room, entries: Sequence[Entry], since: float) -> None:
        if entries[0].seq <= room.head:
            if not room.subscribers and self._subscriptions.may_concern(entries):
                self._rooms.missed(room.facts.id)
            entries = [entry for entry in entries if entry.seq > room.head]
            if not entries:
                return
        if self._names.recent:
            entries = self._names.corrected(entries)
        start = 0
        for index, entry in enumerate(entries):
            if entry.kind in ENTERING:
                self._subscriptions.entered(room, entry)
            elif entry.kind in LEAVING:
                # An account that leaves is sent the entry that says so, and no further one.
                self._send(room, entries[start : index + 1], since, whole=True)
                self._subscriptions.departed(room, entry)
                start = index + 1
            elif entry.kind in MUTING:
                self._subscriptions.muted(room, entry)
            elif entry.kind == RENAMED:
                self._names.read(entry)
                if room.facts.pair is not None:  # the entry itself still has the former label of the room
                    self._send(room, entries[start : index + 1], since, whole=True)
                    self._names.relabel(room, entry)
                    start = index + 1
                entries = [*entries[: index + 1], *self._names.corrected(entries[index + 1 :])]
        if start < len(entries):
            self._send(room, entries[start:] if start else entries, since)

    def _send(self, room: Room, entries: Sequence[Entry], since: float, *, whole: bool = False) -> None:
        if self._fanout.send(room, entries, since, whole=whole):
            self._move_those_ahead(room)

    def sent(self, room: Room) -> None:
        """See `fanout.Sending`."""
        self._move_those_ahead(room)
        self._deliver_early(room)

    def _move_those_ahead(self, room: Room) -> None:
        ahead, room.ahead = room.ahead, set()
        for session in ahead:
            room.move(session, room.behind[session])
            self._subscriptions.catch_up(session)
