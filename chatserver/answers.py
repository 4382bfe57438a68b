"""Answers to commands: their fields besides `ok` and `tag`. Values only, the same for every dialect."""

from datetime import datetime

from msgspec import Struct, field

from chatserver.errors import ErrorWord
from chatserver.events import Entry, Invited, RoomFacts


class Gap(Struct, frozen=True):
    """The entries of a room from `begin` to before `first` were removed. `first` is the first one left, or the number
    of the next entry if none is left."""

    begin: int = field(name="from")
    first: int


def gap_between(begin: int, first: int) -> Gap | None:
    """What is missing for a reader who is to be given everything from `begin` on; None if nothing is."""
    return Gap(begin, first) if begin < first else None


class RoomStatus(Struct, frozen=True):
    """The account's own membership of a room. `gap`: what was removed of the entries behind `read`."""

    room: str
    seq: int
    read: int
    role: str | None = None
    gap: Gap | None = None

    @property
    def unread(self) -> int:
        """How many entries there are behind `read`."""
        return self.seq - (self.gap.first - 1 if self.gap else self.read)


class RoomLine(Struct, frozen=True):
    """A room in a list of rooms; `role` is that of the account that asks, if it is a member."""

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
    """Done, and there is nothing to report. `note` is a line for people only."""

    note: str = ""


class Welcome(Struct, frozen=True):
    """Logged in. For people also their current room, some of those who are online there, and its last entries.

    `more`: in so many further rooms that are not among `rooms`, all of them behind these by name.
    """

    name: str
    rooms: list[RoomStatus]
    current: str = ""
    others: list[str] = []
    recent: "Log | None" = None
    invitations: list[Invited] = []
    more: int = 0


class RoomList(Struct, frozen=True):
    rooms: list[RoomLine]
    more: bool = False


class Created(Struct, frozen=True):
    room: str
    seq: int


class Joined(Struct, frozen=True):
    """`members` is their number, `pace` is in seconds. For people also names, and the last of the `unread` entries."""

    room: str
    seq: int
    members: int
    names: list[str] = []
    unread: int = 0
    topic: str = ""
    recent: "Log | None" = None
    pace: int = 0


class Left(Struct, frozen=True):
    room: str


class Said(Struct, frozen=True):
    """The message is stored. `dup`: it was stored before, and this is the first answer again."""

    room: str
    seq: int
    at: datetime
    dup: bool = False


class Log(Struct, frozen=True):
    """Entries of a room in rising order. `more`: there are others in the direction that was asked for. `gap`: those
    before them were removed."""

    facts: RoomFacts
    entries: list[Entry]
    more: bool
    gap: Gap | None = None


class MemberList(Struct, frozen=True):
    """By name. `more`: how many others come after these; `whole`: these are all."""

    room: str
    members: list[MemberLine]
    more: int = 0
    whole: bool = True


class UserList(Struct, frozen=True):
    users: list[UserLine]
    more: bool = False


class Marked(Struct, frozen=True):
    room: str
    seq: int


class UnreadList(Struct, frozen=True):
    rooms: list[RoomStatus]
    more: bool = False


class TopicSet(Struct, frozen=True):
    room: str
    seq: int


class TopicShown(Struct, frozen=True):
    """`topic` "": the room has none."""

    room: str
    topic: str


class Renamed(Struct, frozen=True):
    """What the account is called now; `display` "": it has no display name."""

    name: str
    display: str = ""


class Preferences(Struct, frozen=True):
    """What the account has set; None: nothing, so that the server's default counts. `zone` and `now`: the time zone
    that counts now, and the time in it."""

    timezone: str | None = None
    clock: str | None = None
    bell: str | None = None
    zone: str = ""
    now: datetime | None = None


class Ignoring(Struct, frozen=True):
    """The accounts that the asker ignores, by name."""

    names: list[str]


class Looked(Struct, frozen=True):
    """For people only: this room is the current one now. `recent`: the last of the `unread` entries."""

    room: str
    unread: int = 0
    recent: Log | None = None


class HelpText(Struct, frozen=True):
    about: str = ""


class Changed(Struct, frozen=True):
    """Something was done in a room, and is entry `seq` of its log (None: it is no entry). `note` is for people."""

    room: str
    seq: int | None = None
    note: str = ""


class Found(Struct, frozen=True):
    """Entries that a search found, newest first, each with its room. `before` asks for the next page, if any. `gap`:
    the one room `where` it looked has no others, since they were removed."""

    entries: list[tuple[RoomFacts, Entry]]
    more: bool
    before: int | None = None
    where: str = ""
    gap: Gap | None = None


class TokenMade(Struct, frozen=True):
    """`token` is shown only here, and never in a `repr`."""

    label: str
    token: str
    expires: datetime | None = None

    def __repr__(self) -> str:
        return f"TokenMade({self.label!r})"


class TokenLine(Struct, frozen=True):
    """A token that is valid. `expires` None: when it is revoked. `room`: the only one that it is for."""

    label: str
    created: datetime
    last_used: datetime | None = None
    expires: datetime | None = None
    read_only: bool = False
    room: str | None = None


class TokenList(Struct, frozen=True):
    tokens: list[TokenLine]


class BanLine(Struct, frozen=True):
    """A ban of an account, or of an address or network. `until` None: for ever."""

    name: str | None
    address: str | None
    until: datetime | None
    by: str
    reason: str


class BanList(Struct, frozen=True):
    """Newest first, from a room or (None) from the server. `before` asks for the next page, if any."""

    bans: list[BanLine]
    room: str | None = None
    before: int | None = None


class Exported(Struct, frozen=True):
    """A page of the account's own data: the account itself on the first page, then entries with their rooms. `next`
    asks for the next page."""

    account: dict[str, str] | None
    entries: list[tuple[RoomFacts, Entry]]
    next: str | None


class Refusal(Struct, frozen=True):
    """The command was refused. `retry`: after so many seconds the same command may succeed, if that is known."""

    error: ErrorWord
    text: str
    retry: int | None = None


Answer = (
    Done | Welcome | RoomList | Created | Joined | Left | Said | Log | MemberList | UserList | Marked | UnreadList
    | TopicSet | TopicShown | Changed | Found | TokenMade | TokenList | BanList | Exported | Looked | HelpText | Renamed
    | Preferences | Ignoring | Refusal
)  # fmt: skip
