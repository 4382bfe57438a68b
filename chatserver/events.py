"""What the server tells: entries of a room's log, other news, and answers. Values only, the same for both dialects."""

from datetime import datetime

from msgspec import Struct

from chatserver.commands import Tag
from chatserver.errors import ErrorWord

MESSAGE = "message"
JOINED = "joined"
LEFT = "left"
TOPIC = "topic"
CREATED = "created"
DELETED = "deleted"
SET = "set"
KICKED = "kicked"
BANNED = "banned"
UNBANNED = "unbanned"
MUTED = "muted"
UNMUTED = "unmuted"
ROLE = "role"
EDITED = "edited"
ERASED = "erased"

DIRECT = "direct"
PUBLIC = "public"
PRIVATE = "private"


class RoomFacts(Struct, frozen=True):
    """A room, as far as it never changes. `pair` is the two people of a direct room, ids and names, by id."""

    id: int
    name: str
    kind: str = PUBLIC
    pair: tuple[tuple[int, str], tuple[int, str]] | None = None

    def label(self, viewer_id: int) -> str:
        """What this account calls the room: its name, or `@` and the other's name."""
        if self.pair is None:
            return self.name
        first, second = self.pair
        return "@" + (second[1] if first[0] == viewer_id else first[1])


class Entry(Struct, frozen=True, gc=False):
    """One entry of a room's log. `author_id` 0 is the server itself; `at` is UTC, whole milliseconds.

    `text` is the message (edited: as it is now), the topic, the role given, the reason of a kick or ban, until when
    somebody is muted (RFC 3339; empty: without end), or what a room was set to. `target` is whom it was done to, `of`
    the seq of the entry that was changed. `state` of a message: edited, erased, or nothing.
    """

    seq: int
    kind: str
    author_id: int
    author: str
    at: datetime
    text: str = ""
    client_id: str | None = None
    target_id: int = 0
    target: str = ""
    of: int = 0
    state: str = ""


class Person(Struct, frozen=True):
    """An account, as others know it. `kind` is person, operator (of the server) or guest."""

    id: int
    name: str
    kind: str = "person"


class Standing(Struct, frozen=True):
    """Somebody's place in a room they are in. `floor` is the first entry that they may read, `joined` that with which
    they came."""

    facts: RoomFacts
    seq: int
    read: int
    role: str
    floor: int = 1
    joined: int = 0


# News that is no entry


class Presence(Struct, frozen=True):
    name: str
    online: bool
    away: str = ""


class Invited(Struct, frozen=True):
    """One may join this private room; `by` is who asks one in."""

    room: str
    by: str


class ReadMark(Struct, frozen=True):
    """One's own read mark moved, on another of one's connections."""

    room: str
    seq: int


class Live(Struct, frozen=True):
    """A replay is done: what follows in this room is news as it happens. `seq` is the last one replayed."""

    room: str
    seq: int


class Pinged(Struct, frozen=True):
    """Asks a program whether it is still there."""


class Closing(Struct, frozen=True):
    """The connection ends now, for this reason. `retry`: seconds after which to come back."""

    reason: str
    text: str
    retry: int | None = None


News = Presence | Invited | ReadMark | Live | Pinged | Closing


# Answers: what is beside `ok` and `tag`


class RoomStatus(Struct, frozen=True):
    """One's own standing in a room. `unread` is seq minus read."""

    room: str
    seq: int
    read: int
    role: str | None = None


class RoomLine(Struct, frozen=True):
    """A room in the list of rooms; `role` is one's own, if any."""

    room: str
    topic: str
    members: int
    seq: int
    role: str | None = None


class MemberLine(Struct, frozen=True):
    name: str
    role: str
    online: bool


class UserLine(Struct, frozen=True):
    name: str
    online: bool
    last_seen: datetime | None = None
    away: str = ""


class Done(Struct, frozen=True):
    """Done, and there is nothing to say about it. `note` is a line for people only."""

    note: str = ""


class Welcome(Struct, frozen=True):
    """Logged in. `registered`: the account is new. For people: their current room, who is there, its last entries."""

    name: str
    rooms: list[RoomStatus]
    registered: bool = False
    current: str = ""
    others: list[str] = []
    recent: "Log | None" = None
    invitations: list[Invited] = []


class RoomList(Struct, frozen=True):
    rooms: list[RoomLine]
    more: bool = False


class Created(Struct, frozen=True):
    room: str
    seq: int


class Joined(Struct, frozen=True):
    """In the room. `members` is their number. For people: some of the others, and the `unread` entries' last ones."""

    room: str
    seq: int
    members: int
    names: list[str] = []
    unread: int = 0
    topic: str = ""
    recent: "Log | None" = None


class Left(Struct, frozen=True):
    room: str


class Said(Struct, frozen=True):
    """Stored. `dup`: it was stored before, and this is the first answer again."""

    room: str
    seq: int
    at: datetime
    dup: bool = False


class Log(Struct, frozen=True):
    """Entries of a room in rising order; `more`: there are further ones in the direction asked for."""

    facts: RoomFacts
    entries: list[Entry]
    more: bool


class MemberList(Struct, frozen=True):
    room: str
    members: list[MemberLine]


class UserList(Struct, frozen=True):
    users: list[UserLine]


class Marked(Struct, frozen=True):
    room: str
    seq: int


class UnreadList(Struct, frozen=True):
    rooms: list[RoomStatus]


class TopicSet(Struct, frozen=True):
    room: str
    seq: int


class Looked(Struct, frozen=True):
    """Text dialect only: this room is the current one now. `recent`: the last ones of the `unread` entries."""

    room: str
    unread: int = 0
    recent: Log | None = None


class HelpText(Struct, frozen=True):
    about: str = ""


class Changed(Struct, frozen=True):
    """Something was done in a room, and stands in its log at `seq` (None: it is no entry). `note` is for people."""

    room: str
    seq: int | None = None
    note: str = ""


class Found(Struct, frozen=True):
    """Entries that a search found, newest first, each with its room. `before` continues it, where there are more."""

    entries: list[tuple[RoomFacts, Entry]]
    more: bool
    before: int | None = None


class TokenMade(Struct, frozen=True):
    """`token` is shown this once, and never in a `repr`."""

    label: str
    token: str

    def __repr__(self) -> str:
        return f"TokenMade({self.label!r})"


class TokenLine(Struct, frozen=True):
    label: str
    created: datetime
    last_used: datetime | None = None


class TokenList(Struct, frozen=True):
    tokens: list[TokenLine]


class BanLine(Struct, frozen=True):
    """Who is banned: a name, or an address or network. `until` None: for ever."""

    name: str | None
    address: str | None
    until: datetime | None
    by: str
    reason: str


class BanList(Struct, frozen=True):
    bans: list[BanLine]


class Exported(Struct, frozen=True):
    """A page of one's own data: the account on the first one, then entries with their rooms. `next` asks for more."""

    account: dict[str, str] | None
    entries: list[tuple[RoomFacts, Entry]]
    next: str | None


class Refusal(Struct, frozen=True):
    """The command was not done."""

    error: ErrorWord
    text: str


Answer = (
    Done | Welcome | RoomList | Created | Joined | Left | Said | Log | MemberList | UserList | Marked | UnreadList
    | TopicSet | Changed | Found | TokenMade | TokenList | BanList | Exported | Looked | HelpText | Refusal
)  # fmt: skip


class Reply(Struct, frozen=True):
    """An answer and the tag of the command it answers."""

    tag: Tag | None
    answer: Answer
