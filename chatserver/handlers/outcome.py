"""What a handler is given, and what it gives."""

from datetime import datetime

from msgspec import Struct

from chatserver.events import Answer, Entry, Person, ReadMark, RoomFacts


class Ask(Struct, frozen=True):
    """Who asks, when, and what the database does not know. `person`: it is a human, at the text dialect;
    `shown`: then, by room id, the seq up to which they have seen it."""

    who: Person
    at: datetime
    online: frozenset[int] = frozenset()
    person: bool = False
    shown: dict[int, int] = {}


class Replay(Struct, frozen=True):
    """The session is to hear the room from behind `since` on; `head` is its last seq before the new entries."""

    since: int
    head: int


class Outcome(Struct, frozen=True):
    """An answer, and what follows from it once the transaction has committed.

    `facts` and `entries`: what to publish in which room. `mark`: news for one's own other connections.
    """

    answer: Answer
    facts: RoomFacts | None = None
    entries: list[Entry] = []
    replay: Replay | None = None
    mark: ReadMark | None = None
