"""The input of a handler (`Ask`, or `Online` if it needs no store) and its result (`Outcome`)."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.settings.tables import DEFAULT_LIMITS, DEFAULT_SETTINGS, Limits, Settings
from chatserver.store.visibility import RoomAccess
from chatserver.util.time_words import PROGRAM_ZONE
from chatserver.values.answer_size import Portion
from chatserver.values.answers import Answer, Changed, Preferences
from chatserver.values.commands import PAGE_LIMIT
from chatserver.values.errors import GOODBYE, Sentence
from chatserver.values.events import Entry, News, Notify, Person, RoomFacts
from chatserver.values.seen import Seen

PEOPLE_LIMIT = 200
"""Maximum number of lines on a page of names or rooms for people: more is too much to scroll."""


class Ask(Struct, frozen=True):
    """The asker, the time, and facts that are not stored.

    `online`: the accounts that the asker may know to be online. `away`: texts of people who are away. `seen`: by room
    id, seen entries of the account that may not be stored as such. `limits`: those of the server's settings. `only`:
    for a session whose token is for one room, the id of that room, else 0. `zone`: the IANA name of the time zone
    in which the asker names times, "" for the server's own. `for_people`: a person at a terminal asks. `quotes`:
    entries are to have what they quote. `reserved`: names that nobody may take, besides built-in ones. `language`: the
    one whose stems a search knows.
    """

    who: Person
    at: datetime
    online: frozenset[int] = frozenset()
    away: dict[int, str] = {}
    seen: dict[int, Seen] = {}
    limits: Limits = DEFAULT_LIMITS
    only: int = 0
    zone: str = PROGRAM_ZONE
    for_people: bool = False
    quotes: bool = False
    reserved: Sequence[str] = ()
    language: str = ""

    @property
    def portion(self) -> Portion:
        """Returns the empty portion of an answer."""
        return Portion(self.limits.answer_bytes)

    def page(self, limit: int) -> int:
        """Returns the number of lines of a page where `limit` is requested."""
        return min(limit, PEOPLE_LIMIT if self.for_people else PAGE_LIMIT)


class Online(Struct, frozen=True):
    """The state that needs no store, and the settings."""

    roster: Roster
    presence: Presence
    now: Callable[[], datetime]
    settings: Settings = DEFAULT_SETTINGS


class Announcement(Struct, frozen=True):
    """New entries of a room, in ascending order without gaps, for all its subscribers."""

    facts: RoomFacts
    entries: list[Entry]


class Replay(Struct, frozen=True):
    """Subscribes the session to a room, after `since`. `head` is the room's last seq before the new entries."""

    facts: RoomFacts
    since: int
    head: int


class Hears(Struct, frozen=True):
    """The asker is a member of the room: subscribes their session after `position`, unless it is subscribed already.

    `head` is the room's last seq in the store before the command's own entries. `position` is at or below it: entries
    that the answer's `seq` covers are not sent again, later ones are.
    """

    facts: RoomFacts
    position: int
    head: int


def hears(access: RoomAccess) -> Hears | None:
    """Returns the subscription, from the entry with which the asker joined on: whoever is not subscribed here joined a
    moment ago, at another node or without an answer. None if they are not in the room, or it is a direct room that does
    not exist yet."""
    if access.role is None or not access.facts.id:
        return None
    return Hears(access.facts, max(access.joined, 1) - 1, access.seq)


class TurnTo(Struct, frozen=True):
    """Makes this room the person's current one: their messages go there from now on."""

    facts: RoomFacts


class Tell(Struct, frozen=True):
    """News for all connections of an account, except the one that asked."""

    account_id: int
    news: News


class HangUp(Struct, frozen=True):
    """Ends all connections of an account (`token_id`: only those that logged in with that token); `spare`: except the
    one that asked."""

    account_id: int
    reason: str
    sentence: Sentence
    token_id: int = 0
    spare: bool = False


class Apart(Struct, frozen=True):
    """Two accounts no longer see each other's presence, or see it again."""

    pair: tuple[int, int]
    apart: bool


class Preferred(Struct, frozen=True):
    """The preferences of an account have changed, for all its sessions."""

    account_id: int
    preferences: Preferences


class NotifySet(Struct, frozen=True):
    """An account has set what it wants to be notified of in a room, for all its sessions; None: the default."""

    account_id: int
    room_id: int
    notify: Notify | None


class MovedBack(Struct, frozen=True):
    """An account has moved its read mark in a room back: what its screens have shown behind that is unread again."""

    account_id: int
    room_id: int
    seen: Seen


class Silenced(Struct, frozen=True):
    """An account is still muted in a room that it has joined again."""

    account_id: int
    room_id: int
    until: datetime


class BansChanged(Struct, frozen=True):
    """The addresses that are banned from the server have changed."""


class End(Struct, frozen=True):
    """The connection that asked ends. Without a reason, nothing is sent after the answer."""

    reason: str = ""
    sentence: Sentence = GOODBYE


class Named(Struct, frozen=True):
    """The name or display name of an account has changed at `at`, for all its sessions. `rest`: further announcements,
    if it is in very many rooms."""

    account_id: int
    former: str
    name: str
    display: str
    at: datetime
    rest: list[Announcement] = []


class Ignored(Struct, frozen=True):
    """An account has begun or ceased to ignore another one."""

    account_id: int
    other: int
    ignored: bool


Effect = Tell | HangUp | Apart | Named | Ignored | Preferred | NotifySet | MovedBack | Silenced | BansChanged | End

Echo = Literal["never", "elsewhere", "always"]
"""Whether the sender of a command is shown its entries: `never`, since the answer says the same; `elsewhere`: if
another room is their current one; `always`."""


class Outcome(Struct, frozen=True):
    """An answer, and all consequences of a committed command, in the order of the fields.

    `hears`: set wherever the answer implies membership, since the session may not be subscribed: the answer to the
    command that made the account a member may have been lost. `announced`: new entries, by room. `left`: a room whose
    subscription ends, missed entries included. `closed`: a room that is gone, and takes no messages.
    """

    answer: Answer
    replay: Replay | None = None
    hears: Hears | None = None
    announced: list[Announcement] = []
    echo: Echo = "never"
    left: RoomFacts | None = None
    turn_to: TurnTo | None = None
    closed: RoomFacts | None = None
    effects: list[Effect] = []


def changed(ask: Ask, access: RoomAccess, new: list[Entry], note: Sentence) -> Outcome:
    """The outcome of an act in a room that made these entries, and is answered with the number of the first; without
    any, nothing has changed."""
    answer = Changed(access.facts.label(ask.who.id), new[0].seq if new else None, note, access.facts.id)
    return Outcome(answer, hears=hears(access), announced=[Announcement(access.facts, new)] if new else [])
