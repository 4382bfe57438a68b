"""One room as the server's memory has it: who hears it, and how far they have come."""

from collections.abc import Iterator, Sequence
from itertools import chain

from chatserver.events import Entry, RoomFacts
from chatserver.session import Session


class Room:
    """A room that somebody hears. `head` is the last seq published.

    `live` are those who have been written everything up to there: what is published next is written to them, and
    nobody else costs anything. `behind` are the others, with the seq last written to each: they read on from the store.
    `ahead` are those of them whom the store has given more than is published. `unsent`: those of the live ones to whom
    the newest is just being written, and who are still at `unsent_from`. `leaving`: of those who are out of the room,
    but have not been sent everything up to that yet, the last seq they get; `returning`: of those of them who have come
    back meanwhile, the seq behind which they hear it again.
    """

    __slots__ = ("ahead", "behind", "doubted", "early", "facts", "filling", "head", "leaving", "live",
                 "returning", "unsent", "unsent_from")  # fmt: skip

    def __init__(self, facts: RoomFacts, head: int) -> None:
        self.facts = facts
        self.head = head
        self.live: dict[Session, None] = {}
        self.behind: dict[Session, int] = {}
        self.ahead: set[Session] = set()
        self.unsent: dict[Session, None] = {}
        self.unsent_from = head
        self.leaving: dict[Session, int] = {}
        self.returning: dict[Session, int] = {}
        self.early: dict[int, Sequence[Entry]] = {}  # by first seq: they wait for those before them
        self.filling = False
        self.doubted = False  # since the last reading

    def __contains__(self, session: Session) -> bool:
        return session in self.live or session in self.behind

    def __iter__(self) -> Iterator[Session]:
        return chain(self.live, self.behind)

    @property
    def hearers(self) -> int:
        return len(self.live) + len(self.behind)

    def position(self, session: Session) -> int | None:
        """The seq last written to it; None where it does not hear this room."""
        if session in self.unsent:
            return self.unsent_from
        return self.head if session in self.live else self.behind.get(session)

    def is_late(self, session: Session) -> bool:
        """Whether there is something for it to read on."""
        return self.behind.get(session, self.head) < self.head

    def place(self, session: Session, position: int) -> None:
        """This session has been written everything up to there."""
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

    def remove(self, session: Session) -> None:
        self.live.pop(session, None)
        self.behind.pop(session, None)
        self.ahead.discard(session)
        self.unsent.pop(session, None)
        self.leaving.pop(session, None)
        self.returning.pop(session, None)
