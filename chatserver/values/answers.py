"""Answers to commands: their fields besides `ok` and `tag`. Values only, the same for every dialect.

`room` is a room's label, and `room_id` its id; 0: a direct room before its first message, which has none.
"""

from datetime import datetime
from typing import Final, Literal

from msgspec import Struct, field

from chatserver.values.errors import ErrorWord, Sentence, Why
from chatserver.values.events import About, Entry, Invited, Notify, RoomFacts


class Gap(Struct, frozen=True):
    """The entries of a room from `begin` to before `first` were removed. `first` is the first one left, or the number
    of the next entry if none is left."""

    begin: int = field(name="from")
    first: int


def gap_between(begin: int, first: int) -> Gap | None:
    """The gap for a reader who is sent everything from `begin` on; None if nothing is missing."""
    return Gap(begin, first) if begin < first else None


class Unread(Struct, frozen=True, gc=False):
    """What an account has not read of a room. `entries`: those of others, of all kinds. `messages`: those of them that
    can be read, and the number of the `first`; 0: there is none. `mentions`: messages that name the account, or answer
    it.

    `partial`: not all was looked at: there may be more `messages`, and fewer `entries`.
    """

    entries: int = 0
    messages: int = 0
    mentions: int = 0
    first: int = 0
    partial: bool = False


class Beside(Struct, frozen=True):
    """The other account of a direct room, as far as its viewer may know."""

    name: str
    display: str = ""
    online: bool = False
    away: str = ""


class RoomStatus(Struct, frozen=True):
    """The account's own membership of a room. `gap`: the removed entries behind `read`. `unread`: None if it was not
    requested, as `about`, and `beside` for direct rooms."""

    room: str
    seq: int
    read: int
    role: str | None = None
    gap: Gap | None = None
    unread: Unread | None = None
    about: About | None = None
    beside: Beside | None = None
    notify: Notify | None = None
    room_id: int = 0


class RoomLine(Struct, frozen=True):
    """A room in a list of rooms; `role` is that of the account that asks, if it is a member."""

    room: str
    topic: str
    members: int
    seq: int
    role: str | None = None
    room_id: int = 0


class MemberLine(Struct, frozen=True, omit_defaults=True):
    name: str
    role: str
    online: bool
    bot: bool = False
    display: str = ""


class UserLine(Struct, frozen=True):
    name: str
    online: bool
    last_seen: datetime | None = None
    away: str = ""
    bot: bool = False
    display: str = ""
    blocked: bool = False


NAMES_SHOWN: Final = 6
"""Maximum number of people's names that a person is shown with a room."""


class ServerFacts(Struct, frozen=True, kw_only=True):
    """The server, as a client has to know it to draw its forms. `tls`: the connection is encrypted. `tls_required`:
    passwords and tokens are taken over TLS only. `limits`: by name, in characters, lines, bytes or items. `features`:
    words for what clients may use. `motd`: for those who are logged in."""

    name: str
    version: str
    registration: Literal["open", "closed", "code"]
    guests: bool
    tls: bool
    tls_required: bool
    contact: str = ""
    motd: str = ""
    limits: dict[str, int]
    features: tuple[str, ...]


class Done(Struct, frozen=True):
    """Done, and there is nothing to report. `note` is a line for people only."""

    note: Sentence | None = None


class Greeting(Struct, frozen=True):
    """What a login is told besides its rooms if it asked for the state."""

    display: str
    preferences: "Preferences"
    server: ServerFacts


class Welcome(Struct, frozen=True):
    """Logged in. For people also their current room, some of its people online, and its last entries.

    `more`: number of further rooms, which come after `rooms` by name. `epoch`: that of the logs; "": unknown. `common`:
    by label, the last number that still holds, for each room that the client resumes behind a later one. `secret`: that
    of the session, if it is kept; never in a `repr`. `absent`:
    the rooms that it resumes and is not in, be there such a room or not.
    """

    name: str
    rooms: list[RoomStatus]
    current: str = ""
    others: list[str] = []
    recent: "Log | None" = None
    invitations: list[Invited] = []
    more: int = 0
    epoch: str = ""
    common: dict[str, int] = {}
    greeting: Greeting | None = None
    absent: list[str] = []
    secret: str = ""

    def __repr__(self) -> str:
        return f"Welcome({self.name!r})"


class RoomList(Struct, frozen=True):
    rooms: list[RoomLine]
    more: bool = False


class Created(Struct, frozen=True):
    room: str
    seq: int
    room_id: int = 0


class Joined(Struct, frozen=True):
    """`members` is their number, `pace` is in seconds. `common`: the last number that still holds, if the client knows
    later ones. For people also names, and the last of the `unread` entries."""

    room: str
    seq: int
    members: int
    names: list[str] = []
    unread: int = 0
    topic: str = ""
    recent: "Log | None" = None
    pace: int = 0
    common: int | None = None
    room_id: int = 0


class Left(Struct, frozen=True):
    room: str
    room_id: int = 0


class Said(Struct, frozen=True):
    """The message is stored. `dup`: it was stored before, and this is the first answer again."""

    room: str
    seq: int
    at: datetime
    dup: bool = False
    room_id: int = 0


class Log(Struct, frozen=True):
    """Entries of a room in ascending order. `more`: there are others in the requested direction: before these, or
    (`onward`) after them. `gap`: those before them were removed. `ends`: if the reader ignores the authors of all of
    them, the first and the last number left out. `new`: the number of the first unread one; 0 if there is none, or it
    was not requested. `as_of`: the last entry whose effect on messages is in all of these."""

    facts: RoomFacts
    entries: list[Entry]
    more: bool
    gap: Gap | None = None
    onward: bool = False
    ends: tuple[int, int] | None = None
    new: int = 0
    as_of: int = 0


class Thread(Struct, frozen=True):
    """The messages that answer message `seq` of a room, oldest first. `more`: there are others, behind `last`. `gap`:
    the message, and perhaps some that answer it, were removed. `begins`: this is the first page; for people it begins
    with the message itself. `as_of`: see `Log`."""

    facts: RoomFacts
    seq: int
    entries: list[Entry]
    more: bool
    last: int
    gap: Gap | None = None
    begins: bool = True
    as_of: int = 0


class MemberList(Struct, frozen=True):
    """By name. `more`: number of others after these; `whole`: these are all."""

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
    room_id: int = 0


class UnreadList(Struct, frozen=True):
    rooms: list[RoomStatus]
    more: bool = False


class TopicSet(Struct, frozen=True):
    room: str
    seq: int
    room_id: int = 0


class TopicShown(Struct, frozen=True):
    """`topic` "": the room has none."""

    room: str
    topic: str
    room_id: int = 0


class Renamed(Struct, frozen=True):
    """The names of the account now; `display` "": it has no display name."""

    name: str
    display: str = ""


class Preferences(Struct, frozen=True):
    """The preferences of an account; None: not set, so that the server's default counts. `now`: when it asked.
    `notify`: in the `room` that it asked about, if any."""

    timezone: str | None = None
    clock: Literal["12", "24"] | None = None
    bell: Literal["on", "off", "mentions"] | None = None
    numbers: Literal["on", "off"] | None = None
    now: datetime | None = None
    room: str | None = None
    notify: Notify | None = None
    room_id: int = 0


class Ignoring(Struct, frozen=True):
    """The accounts that the asker ignores, by name."""

    names: list[str]


class Looked(Struct, frozen=True):
    """For people only: this room is the current one now. `recent`: the last of the `unread` entries."""

    room: str
    unread: int = 0
    recent: Log | None = None


class Missed(Struct, frozen=True):
    """For people only: unread entries of a room, from the first on. `recent`.more: there is more to show."""

    room: str
    unread: int
    recent: Log


class Whereabouts(Struct, frozen=True):
    """For people only: the current room, "" if there is none, and the others that the account is in."""

    room: str
    others: list[str]


class HelpText(Struct, frozen=True):
    about: str = ""


class Changed(Struct, frozen=True):
    """A change in a room, as entry `seq` of its log (None: it is no entry). `note` is for people."""

    room: str
    seq: int | None = None
    note: Sentence | None = None
    room_id: int = 0


class Configured(Changed, frozen=True, kw_only=True):
    """The settings of a room as they are now."""

    visibility: Literal["public", "private"]
    past: Literal["open", "closed"]
    invites: Literal["members", "moderators"]
    pace: int


class Found(Struct, frozen=True):
    """Entries that a search found, newest first, each with its room. `before` asks for the next page, if any. `gap`:
    others in the one room `where` it searched were removed. `removed`: by label of a room, the entry before which
    others may have been removed. `command`: the request, also for the next page."""

    entries: list[tuple[RoomFacts, Entry]]
    more: bool
    before: int | None = None
    where: str = ""
    gap: Gap | None = None
    command: Literal["search", "mentions", "pins"] = "search"
    removed: dict[str, int] = {}


class ReactionLine(Struct, frozen=True):
    """A reaction to a message, given `count` times. `more`: not all of the names behind the first one are here."""

    reaction: str
    count: int
    names: list[str]
    more: bool = False


class ReactionList(Struct, frozen=True):
    """Who reacted to the message `seq`. The order is that in which reactions were first given."""

    room: str
    seq: int
    reactions: list[ReactionLine]
    room_id: int = 0


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
    room_id: int = 0


class TokenList(Struct, frozen=True):
    tokens: list[TokenLine]


class SessionLine(Struct, frozen=True):
    """A kept session. `name`: of its device; `address`: where it was used last; `current`: it is that of the asker."""

    id: int
    name: str
    address: str
    created: datetime
    last_used: datetime
    current: bool = False


class SessionList(Struct, frozen=True):
    sessions: list[SessionLine]


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
    asks for the next page. `removed`: as in `Found`."""

    account: dict[str, str] | None
    entries: list[tuple[RoomFacts, Entry]]
    next: str | None
    removed: dict[str, int] = {}


class Refusal(Struct, frozen=True):
    """The command was refused. `retry`: after this many seconds the same command may succeed, if that is known."""

    why: Why
    sentence: Sentence
    retry: int | None = None

    @property
    def error(self) -> ErrorWord:
        return self.why.word


Answer = (
    Done | Welcome | RoomList | Created | Joined | Left | Said | Log | MemberList | UserList | Marked | UnreadList
    | Missed | TopicSet | TopicShown | Changed | Configured | Found | Thread | TokenMade | TokenList | SessionList
    | BanList | Exported | Looked | Whereabouts | HelpText | ServerFacts | Renamed | Preferences | Ignoring
    | ReactionList | Refusal
)  # fmt: skip
