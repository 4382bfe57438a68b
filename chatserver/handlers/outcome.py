"""What a handler is given, and what it gives."""

from datetime import datetime

from msgspec import Struct

from chatserver.events import Answer, Entry, News, Person, RoomFacts


class Ask(Struct, frozen=True):
    """Who asks, when, and what the database does not know.

    `online`: the ids of those that the asker may know to be there, and `away` what those say who are away. `human`: the
    asker is at the text dialect; `shown`: then, by room id, the seq up to which they have seen it.
    """

    who: Person
    at: datetime
    online: frozenset[int] = frozenset()
    away: dict[int, str] = {}
    human: bool = False
    shown: dict[int, int] = {}


class Replay(Struct, frozen=True):
    """The session is to hear the room from behind `since` on; `head` is its last seq before the new entries."""

    since: int
    head: int


class Tell(Struct, frozen=True):
    """News for all connections of an account, but the asking one."""

    account_id: int
    news: News


class HangUp(Struct, frozen=True):
    """All connections of an account end (`token_id`: those that came with that token), but for the asking one
    where `spare` says so."""

    account_id: int
    reason: str
    text: str
    token_id: int = 0
    spare: bool = False


class Apart(Struct, frozen=True):
    """Two accounts see each other's presence no more, or again."""

    pair: tuple[int, int]
    apart: bool


class BansChanged(Struct, frozen=True):
    """Other addresses are banned from the server now."""


Effect = Tell | HangUp | Apart | BansChanged


class Outcome(Struct, frozen=True):
    """An answer, and what follows from it once the transaction has committed.

    `facts` and `entries`: what to publish in which room; `more`: in further ones. `seen`: up to this seq a person
    who turns to the room has seen it.
    """

    answer: Answer
    facts: RoomFacts | None = None
    entries: list[Entry] = []
    replay: Replay | None = None
    effects: list[Effect] = []
    more: list[tuple[RoomFacts, list[Entry]]] = []
    seen: int = 0
