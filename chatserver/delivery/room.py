"""One room in the server's memory: its subscribers, and the position of each."""

from collections.abc import Iterator, Sequence
from itertools import chain

from chatserver.session.session import Session
from chatserver.values.events import Entry, RoomFacts

MOST_EARLIER = 4
"""Maximum number of earlier names, for slow readers, who receive each renaming only once they get there."""

Early = tuple[float, Sequence[Entry]]
"""Entries that have to wait, and since when they do."""


class Room:
    """A room that has subscribers: sessions that hear it. `head` is the seq of the last entry published.

    `live`: subscribers that have been sent everything up to the head. The next entry is written to them, and nobody
    else costs anything. `behind`: the others, each with its position; they read on from the store. `ahead`: those of
    them that read more from the store than is published yet. `unsent`: those of the live ones to which the newest
    entries are still being written, and whose position is still `unsent_from`. `leaving`: subscribers that are out of
    the room but have not been sent everything up to that yet, with the last seq that they get; `returning`: those of
    them that have come back meanwhile, with the seq behind which they hear the room again. `earlier`: what a direct
    room was called before, each with the last seq to which that applies.
    """

    __slots__ = ("ahead", "base", "behind", "doubted", "earlier", "early", "facts", "filled", "filling", "head",
                 "leaving", "live", "returning", "unsent", "unsent_from")  # fmt: skip

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
        self.leaving: dict[Session, int] = {}
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
        """The seq of the last entry written to it; None where it does not hear this room."""
        if session in self.unsent:
            return self.unsent_from
        return self.head if session in self.live else self.behind.get(session)

    def relabel(self, facts: RoomFacts, seq: int) -> None:
        """A direct room is called differently behind this seq."""
        self.earlier = (*self.earlier, (self.facts, seq))[-MOST_EARLIER:]
        self.facts = facts

    def facts_behind(self, position: int) -> tuple[RoomFacts, int | None]:
        """What the room was called behind this seq, and the last seq to which that applies; None: it still does."""
        return next(((facts, last) for facts, last in self.earlier if position < last), (self.facts, None))

    def is_behind(self, session: Session) -> bool:
        """Whether there is something published that it has not been sent."""
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
        """Nobody hears the room, and its log goes at least up to here: who comes to hear it has read so far, and nobody
        waits for what was before."""
        if seq > self.head:
            self.head = seq
        self.base = self.head
        self.early.clear()
        self.filled.clear()

    def wait(self, since: float, entries: Sequence[Entry]) -> None:
        """Entries have to wait for those before them. An entry may come twice, from different nodes: in batches that
        begin alike, but end earlier or later."""
        first = entries[0].seq
        known = self.early.get(first)
        if known is None or known[1][-1].seq < entries[-1].seq:
            self.early[first] = since, entries

    def remove(self, session: Session) -> None:
        self.live.pop(session, None)
        self.behind.pop(session, None)
        self.ahead.discard(session)
        self.unsent.pop(session, None)
        self.leaving.pop(session, None)
        self.returning.pop(session, None)
