"""Entries of a room's log, and other news that the server sends unasked. Values only, the same for every dialect."""

from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct, structs

from chatserver.values.seen import Run, Seen

EntryKind = Literal[
    "message", "joined", "left", "topic", "created", "deleted", "set", "kicked", "banned", "unbanned", "muted",
    "unmuted", "role", "edited", "erased", "reacted", "unreacted", "pinned", "unpinned", "renamed",
]  # fmt: skip
MESSAGE: Final = "message"
JOINED: Final = "joined"
LEFT: Final = "left"
TOPIC: Final = "topic"
CREATED: Final = "created"
DELETED: Final = "deleted"
SET: Final = "set"
KICKED: Final = "kicked"
BANNED: Final = "banned"
UNBANNED: Final = "unbanned"
MUTED: Final = "muted"
UNMUTED: Final = "unmuted"
ROLE: Final = "role"
EDITED: Final = "edited"
ERASED: Final = "erased"
REACTED: Final = "reacted"
UNREACTED: Final = "unreacted"
PINNED: Final = "pinned"
UNPINNED: Final = "unpinned"
RENAMED: Final = "renamed"

ENTERING: Final[frozenset[EntryKind]] = frozenset({JOINED, CREATED})
LEAVING: Final[frozenset[EntryKind]] = frozenset({LEFT, KICKED, BANNED, DELETED})
"""Kinds of entries by which an account enters or leaves a room: subscriptions follow them."""

REACTING: Final[frozenset[EntryKind]] = frozenset({REACTED, UNREACTED})

QUOTING: Final[frozenset[EntryKind]] = frozenset({MESSAGE, REACTED, PINNED})
"""Kinds of entries that people are shown with a quote of the message that they answer, or are about."""

PACED: Final[frozenset[EntryKind]] = frozenset({MESSAGE, EDITED, TOPIC, REACTED, UNREACTED, PINNED, UNPINNED})
"""Kinds of entries for which a room's pace holds: all that a member can have shown to everybody there again and again.
Erasing takes something away, once for each message; joins and changed names have limits of their own."""

OWN_ID: Final = "\x01"
"""Begins the ids that the server itself gives to typed messages. No client can send one, and none is shown."""

FOREVER: Final = datetime.max.replace(microsecond=0, tzinfo=UTC)
"""The stored end of a mute that has none: null means not muted."""

GAP: Final = "gap"
"""Stands for entries that were removed: see `Entry`. The database has none of this kind."""

RoomKind = Literal["public", "private", "direct"]
PUBLIC: Final = "public"
PRIVATE: Final = "private"
DIRECT: Final = "direct"

AccountKind = Literal["person", "operator", "guest", "bot"]
PERSON: Final = "person"
OPERATOR: Final = "operator"  # of the whole server
GUEST: Final = "guest"
BOT: Final = "bot"  # a program, which a person owns

Role = Literal["owner", "moderator", "member"]
OWNER: Final = "owner"
MODERATOR: Final = "moderator"
MEMBER: Final = "member"


Notify = Literal["all", "mentions", "nothing"]
"""Which messages of a room an account wants to be notified of."""


class RoomFacts(Struct, frozen=True):
    """The facts about a room that never change. `pair`: the ids and names of the two people of a direct room, by id."""

    id: int
    name: str
    kind: RoomKind = PUBLIC
    pair: tuple[tuple[int, str], tuple[int, str]] | None = None

    def label(self, viewer_id: int) -> str:
        """Returns the label for this account: the room's name, or `@` and the other person's."""
        if self.pair is None:
            return self.name
        first, second = self.pair
        return "@" + (second[1] if first[0] == viewer_id else first[1])


class Quote(Struct, frozen=True, gc=False):
    """The message that an entry answers or is about: its author, and the beginning of its text, "" once erased.

    `hidden`: a recipient of the entry may not read that message. Nothing is known of it then but the account that is
    answered, `author_id`, so that it is marked for that.
    """

    author: str
    display: str
    text: str
    author_id: int = 0
    hidden: bool = False


class Entry(Struct, frozen=True, gc=False):
    """One entry of a room's log. `author_id` 0 is the server itself; `at` is in UTC, in whole milliseconds.

    `text` is the message (as last edited), the topic, the role given, the reason of a kick or ban, the end of a mute
    (RFC 3339; "": no end), the settings that were changed (see `recorded.py`), the reaction, or the new name of an
    account (see `names.Renaming`). `target` is the account that it was done to, `state` what has happened to a message
    since. `of` is the seq of the message that was edited, erased, pinned or reacted to; of a message itself, that of
    the one that it answers.

    `author` and `display` are the account's name and display name of that time ("": it had none), `bot`: it is a bot.
    `reactions`: to a message, the number of each; of an entry about a reaction, the number of that one, as of this
    entry or later; none if the message was removed. `quote`: see `Quote`; only in what is read from the store for those
    who are shown quotes, or has just been sent. In what is read from the store, `replies` is the number of messages
    that answer this one, `as_of` the last entry whose effect is in this one (0: not known), and `mine` has those of its
    reactions that the reader gives.

    On the way to a client that has everything before it, a `gap` stands for the removed entries from `of` to `seq`.
    """

    seq: int
    kind: EntryKind | Literal["gap"]
    author_id: int
    author: str
    at: datetime
    text: str = ""
    client_id: str | None = None
    target_id: int = 0
    target: str = ""
    of: int = 0
    state: Literal["", "edited", "erased"] = ""
    display: str = ""
    bot: bool = False
    reactions: tuple[tuple[str, int], ...] = ()
    quote: Quote | None = None
    replies: int = 0
    as_of: int = 0
    mine: tuple[str, ...] = ()

    @property
    def given_id(self) -> str | None:
        """The id that its author has given it, if any."""
        return None if self.client_id is None or self.client_id[:1] == OWN_ID else self.client_id

    @property
    def begin(self) -> int:
        """The first number that it stands for."""
        return self.of if self.kind == GAP else self.seq


class Person(Struct, frozen=True):
    """An account as others know it. `display`: its display name, "" if it has none."""

    id: int
    name: str
    kind: AccountKind = PERSON
    display: str = ""


class About(Struct, frozen=True, gc=False):
    """What a list of one's rooms shows of a room besides its entries. `last`: the time of the newest message that may
    be read, as far as it is one of the newest entries. `display`: that of the other account of a direct room."""

    topic: str = ""
    members: int = 0
    last: datetime | None = None
    display: str = ""


class Membership(Struct, frozen=True):
    """An account's membership of a room now. `seq` is the room's last entry, `read` the read mark, `runs` what was seen
    behind it and `era` that of both (see `Seen`), `joined` the entry with which it joined. `allowed` is the first entry
    that the account may read, `floor` the first of those that were not removed. `about`: None if it was not requested,
    or the account is in very many rooms."""

    facts: RoomFacts
    seq: int
    read: int
    role: Role
    floor: int = 1
    joined: int = 0
    allowed: int = 1
    runs: tuple[Run, ...] = ()
    about: About | None = None
    muted_until: datetime | None = None
    notify: Notify | None = None
    era: int = 0

    @property
    def seen(self) -> Seen:
        return Seen(self.read, self.runs, self.era)

    def with_seen(self, seen: Seen | None) -> "Membership":
        """This membership, with these entries seen, too."""
        if seen is None:
            return self
        seen = self.seen.union(seen).up_to(self.seq)
        return structs.replace(self, read=seen.mark, runs=seen.runs)


# News that is no entry. `room_id`: 0 if it comes from a node of an earlier version


class Presence(Struct, frozen=True):
    name: str
    online: bool
    away: str = ""
    display: str = ""


class Invited(Struct, frozen=True):
    """The account may join this private room; `by` is the name of the account that invites it."""

    room: str
    by: str
    room_id: int = 0


class ReadMark(Struct, frozen=True):
    """Another connection of the account has moved its read mark; `back`: to this place, wherever it was."""

    room: str
    seq: int
    room_id: int = 0
    back: bool = False


class Notified(Struct, frozen=True):
    """For programs that have asked for the state: another connection of the account has set what it wants to be
    notified of in this room; None: the default."""

    room: str
    notify: Notify | None
    room_id: int = 0


class Typing(Struct, frozen=True):
    """For programs that have asked for it: somebody is typing in this room."""

    room: str
    name: str
    room_id: int = 0


class Live(Struct, frozen=True):
    """A replay is complete: what follows in this room is new. `seq` is the last entry replayed."""

    room: str
    seq: int
    room_id: int = 0


class Skipped(Struct, frozen=True):
    """The entries of a room from `begin` to before `first` are left out of a replay, since the client wanted fewer."""

    room: str
    begin: int
    first: int
    room_id: int = 0


class Turned(Struct, frozen=True):
    """For people only: what they type goes to this room from now on; "": they are in none."""

    room: str


class Pinged(Struct, frozen=True):
    """Asks a silent program whether it is still there."""


class EpochBegan(Struct, frozen=True):
    """For programs only: the log is of this epoch from here on, and everything that the client knows of it still
    holds."""

    epoch: str


class Rewound(Struct, frozen=True):
    """The log is of another epoch, and lacks entries that the client was sent. `common`: by label, for each room where
    this is so, the last number that still holds."""

    epoch: str
    common: dict[str, int]


class Closing(Struct, frozen=True):
    """The connection ends now, for this reason. `retry`: seconds after which to connect again."""

    reason: str
    text: str
    retry: int | None = None
    rewound: Rewound | None = None


News = Presence | Invited | ReadMark | Notified | Typing | Live | Skipped | Turned | Pinged | EpochBegan | Closing


class AccountLimits(Struct, frozen=True):
    """None: what the settings say. 0: no limit. The rates are those of all its connections together, and hold for each
    of them too."""

    commands_per_second: float | None = None
    bytes_per_second: float | None = None
    connections: int | None = None


AS_SET: Final = AccountLimits()
"""No limits of its own, as for nearly all accounts."""
