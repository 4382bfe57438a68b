"""The rooms in the server's memory: the subscribers of each, and their positions."""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import Final, Protocol

from chatserver.session.other_nodes import OtherNodes
from chatserver.session.session import Session
from chatserver.values.events import Entry, RoomFacts

MAX_IDLE_ROOMS = 10_000
"""Maximum number of rooms without subscribers that are remembered: logins under way still need their heads."""
MOST_EARLIER: Final = 4
"""Maximum number of earlier labels of a direct room that are kept for sessions that are behind."""

Early = tuple[float, Sequence[Entry]]
"""A batch of entries that waits for those before it, and since when it does."""


class Room:
    """A room with subscribed sessions. `head` is the seq of the last entry published.

    `live`: subscribers that have been sent everything up to the head; only these are written to when an entry is
    published. `behind`: the other subscribers, each with its position; they read on from the store. `ahead`: those of
    them that have read more from the store than is published yet. `unsent`: live subscribers to which the newest
    entries are still being written, and whose position is still `unsent_from`. `until`: subscribers whose account has
    left the room, but that have not been sent everything up to then, with the last seq that they get; `returning`:
    those of them whose account is back, with the seq behind which they subscribe again. `earlier`: the former labels of
    a direct room, each with the last seq to which it applies.
    """

    __slots__ = ("ahead", "base", "behind", "doubted", "earlier", "early", "facts", "filled", "filling", "head",
                 "live", "returning", "unsent", "unsent_from", "until")  # fmt: skip

    def __init__(self, facts: RoomFacts, head: int) -> None:
        self.facts = facts
        self.head = head
        self.base = head  # entries up to here were not published by this process
        self.filled: set[int] = set()  # entries behind `base` that were read from the store before they were announced
        self.live: dict[Session, None] = {}
        self.behind: dict[Session, int] = {}
        self.ahead: set[Session] = set()
        self.unsent: dict[Session, None] = {}
        self.unsent_from = head
        self.until: dict[Session, int] = {}
        self.returning: dict[Session, int] = {}
        self.early: dict[int, Early] = {}  # by first seq: batches that wait for those before them
        self.filling = False  # entries that did not come are being fetched from the store
        self.doubted = False  # since the last read, entries may have been stored that nobody announced
        self.earlier: tuple[tuple[RoomFacts, int], ...] = ()

    def __contains__(self, session: Session) -> bool:
        return session in self.live or session in self.behind

    def __iter__(self) -> Iterator[Session]:
        return chain(self.live, self.behind)

    @property
    def subscribers(self) -> int:
        return len(self.live) + len(self.behind)

    def position(self, session: Session) -> int | None:
        """The seq of the last entry written to a session; None if it does not subscribe to this room."""
        if session in self.unsent:
            return self.unsent_from
        return self.head if session in self.live else self.behind.get(session)

    def relabel(self, facts: RoomFacts, seq: int) -> None:
        """A direct room has other labels behind this seq."""
        self.earlier = (*self.earlier, (self.facts, seq))[-MOST_EARLIER:]
        self.facts = facts

    def facts_behind(self, position: int) -> tuple[RoomFacts, int | None]:
        """The facts of the room behind this seq, and the last seq to which they apply; None: they still do."""
        return next(((facts, last) for facts, last in self.earlier if position < last), (self.facts, None))

    def is_behind(self, session: Session) -> bool:
        """Whether entries are published that the session has not been sent."""
        return self.behind.get(session, self.head) < self.head

    def move(self, session: Session, position: int) -> None:
        """The session has been sent everything up to this seq."""
        self.ahead.discard(session)
        self.unsent.pop(session, None)
        if position == self.head:
            self.behind.pop(session, None)
            self.live[session] = None
        else:
            self.live.pop(session, None)
            self.behind[session] = position
            if position > self.head:
                self.ahead.add(session)

    def rest_at(self, seq: int) -> None:
        """The room has no subscribers, and its log goes at least up to here. Later subscribers have read so far, so
        that nobody waits for the entries before."""
        if seq > self.head:
            self.head = seq
        self.base = self.head
        self.early.clear()
        self.filled.clear()

    def wait(self, since: float, entries: Sequence[Entry]) -> None:
        """Keeps entries until those before them have come. Different nodes may send the same ones, in batches that
        begin alike and end earlier or later."""
        first = entries[0].seq
        known = self.early.get(first)
        if known is None or known[1][-1].seq < entries[-1].seq:
            self.early[first] = since, entries

    def remove(self, session: Session) -> None:
        self.live.pop(session, None)
        self.behind.pop(session, None)
        self.ahead.discard(session)
        self.unsent.pop(session, None)
        self.until.pop(session, None)
        self.returning.pop(session, None)


class Missing(Protocol):
    """A part that reads missed entries again."""

    def missed(self, room_id: int) -> None:
        """Entries of a room were removed before they were published here. They may have said who entered or left."""


class Rooms:
    """Rooms that have subscribers here, and some that had lately."""

    def __init__(self, nodes: OtherNodes) -> None:
        self._nodes = nodes
        self._missing: Missing | None = None
        self._rooms: dict[int, Room] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # rooms without subscribers, oldest first
        self._reached: OrderedDict[int, int] = OrderedDict()  # heads of rooms that are not in memory

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def __len__(self) -> int:
        return len(self._rooms)

    def find(self, room_id: int) -> Room | None:
        return self._rooms.get(room_id)

    def heads(self, room_ids: Collection[int] | None = None) -> dict[int, int]:
        """By room id, the head of each room that has subscribers; of these rooms, or of all."""
        rooms = self._rooms.values() if room_ids is None else filter(None, map(self._rooms.get, room_ids))
        return {room.facts.id: room.head for room in rooms if room.subscribers}

    def add(self, facts: RoomFacts, head: int) -> Room:
        """A room without subscribers, which was not in memory."""
        room = self._rooms[facts.id] = Room(facts, max(head, self._reached.pop(facts.id, 0)))
        self._idle[facts.id] = None
        while len(self._idle) > MAX_IDLE_ROOMS:
            del self._rooms[self._idle.popitem(last=False)[0]]
        return room

    def use(self, room: Room) -> None:
        """A room is about to have one more subscriber."""
        if not room.subscribers:
            self._nodes.now.heard(room.facts.id, here=True)
        self._idle.pop(room.facts.id, None)

    def release(self, room: Room) -> None:
        """A room has one subscriber less."""
        if not room.subscribers:
            self._idle[room.facts.id] = None
            self._nodes.now.heard(room.facts.id, here=False)

    def reach(self, room_id: int, seq: int) -> None:
        """The log of a room that is not in memory goes at least up to `seq`: a login may have read it before that."""
        self._reached[room_id] = max(seq, self._reached.pop(room_id, 0))
        if len(self._reached) > MAX_IDLE_ROOMS:
            self._reached.popitem(last=False)

    def passed_over(self, room_id: int) -> int:
        """The last entry of a room that is known to exist, and was not published here."""
        room = self._rooms.get(room_id)
        return self._reached.get(room_id, 0) if room is None else room.base

    def forget(self) -> None:
        """Forgets all rooms, once all sessions are removed."""
        self._rooms.clear()
        self._idle.clear()
        self._reached.clear()

    def follow(self, missing: Missing) -> None:
        """Notifies this part of missed entries from now on."""
        self._missing = missing

    def missed(self, room_id: int) -> None:
        """See `Missing`."""
        if self._missing is not None:
            self._missing.missed(room_id)
