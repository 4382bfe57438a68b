"""What the server sends unasked: entries of a room's log, and other news. Values only, the same for every dialect."""

from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

EntryKind = Literal[
    "message", "joined", "left", "topic", "created", "deleted", "set", "kicked", "banned", "unbanned", "muted",
    "unmuted", "role", "edited", "erased",
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

GAP: Final = "gap"
"""Stands for entries that were removed: see `Entry`. The database has none of this kind."""

RoomKind = Literal["public", "private", "direct"]
PUBLIC: Final = "public"
PRIVATE: Final = "private"
DIRECT: Final = "direct"

AccountKind = Literal["person", "operator", "guest"]
PERSON: Final = "person"
OPERATOR: Final = "operator"  # of the whole server
GUEST: Final = "guest"

Role = Literal["owner", "moderator", "member"]
OWNER: Final = "owner"
MODERATOR: Final = "moderator"
MEMBER: Final = "member"


class RoomFacts(Struct, frozen=True):
    """What never changes about a room. `pair`: the ids and names of the two people of a direct room, by id."""

    id: int
    name: str
    kind: RoomKind = PUBLIC
    pair: tuple[tuple[int, str], tuple[int, str]] | None = None

    def label(self, viewer_id: int) -> str:
        """What this account calls the room: its name, or `@` and the name of the other person."""
        if self.pair is None:
            return self.name
        first, second = self.pair
        return "@" + (second[1] if first[0] == viewer_id else first[1])


class Entry(Struct, frozen=True, gc=False):
    """One entry of a room's log. `author_id` 0 is the server itself; `at` is in UTC, in whole milliseconds.

    `text` is the message (as last edited), the topic, the role given, the reason of a kick or ban, the end of a mute
    (RFC 3339; "": no end), or the settings that were changed (see `roomsettings`). `target` is the account that it was
    done to, `of` the seq of the message that was edited or erased, `state` what has happened to a message since.

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

    @property
    def begin(self) -> int:
        """The first number that it stands for."""
        return self.of if self.kind == GAP else self.seq


class Person(Struct, frozen=True):
    """An account as others know it."""

    id: int
    name: str
    kind: AccountKind = PERSON


class Membership(Struct, frozen=True):
    """An account's membership of a room now. `seq` is the room's last entry, `read` the read mark, `joined` the entry
    with which it joined. `allowed` is the first entry that the account may read, `floor` the first of those that were
    not removed."""

    facts: RoomFacts
    seq: int
    read: int
    role: Role
    floor: int = 1
    joined: int = 0
    allowed: int = 1


# News that is no entry


class Presence(Struct, frozen=True):
    name: str
    online: bool
    away: str = ""


class Invited(Struct, frozen=True):
    """The account may join this private room; `by` is the name of the account that invites it."""

    room: str
    by: str


class ReadMark(Struct, frozen=True):
    """The account's read mark was moved by another of its connections."""

    room: str
    seq: int


class Live(Struct, frozen=True):
    """A replay is complete: what follows in this room is new. `seq` is the last entry replayed."""

    room: str
    seq: int


class Pinged(Struct, frozen=True):
    """Asks a silent program whether it is still there."""


class Closing(Struct, frozen=True):
    """The connection ends now, for this reason. `retry`: seconds after which to connect again."""

    reason: str
    text: str
    retry: int | None = None


News = Presence | Invited | ReadMark | Live | Pinged | Closing
