"""Commands: one frozen Struct for each, the same for every dialect.

Names in them are in canonical form (see `wire.hygiene`): a command that exists is well-formed.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

CURRENT = ""
"""In place of a room's name: the person's current room."""

SLOWEST_PACE = 3600

Pace = Annotated[int, Meta(ge=0, le=SLOWEST_PACE)]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
Limit = Annotated[int, Meta(ge=1)]
Seconds = Annotated[int, Meta(ge=1, le=10**9)]
ClientId = Annotated[str, Meta(min_length=1, max_length=64)]
SessionId = Annotated[int, Meta(ge=1, le=2**53)]
Tag = str | int
Has = Literal["link", "reply"]


class Command(Struct, frozen=True, kw_only=True, gc=False, tag_field="cmd"):
    """Any command. `tag` is echoed in its answer."""

    tag: Tag | None = None

    @property
    def cmd(self) -> str:
        """The name of the command, which its answer has."""
        return str(self.__struct_config__.tag)

    def __repr__(self) -> str:
        """Without fields: some are secrets, and a `repr` may end up in a log."""
        return f"{type(self).__name__}(tag={self.tag!r})"


class Register(Command, frozen=True, tag="register"):
    """`code` is the invitation code, if registration takes one. `keep`: as for `login`."""

    name: str
    password: str
    code: str = ""
    state: bool = False
    quotes: bool = False
    typing: bool = False
    keep: str | None = None


class Stretch(Struct, frozen=True, gc=False):
    """What a client wants of the entries behind `seq`: the last `most`."""

    seq: Seq
    most: Annotated[int, Meta(ge=0, le=2**53)] = 2**53


class Login(Command, frozen=True, tag="login"):
    """With name and password, with a token or the secret of a kept session alone, with the secret that a browser has
    as a cookie, or with a name and the certificate that the client has shown.

    `keep`: what the device is called whose session is kept from now on. `resume`: for each room, the last seq that
    the client has, or that and how many entries it wants at most. `epoch`: the one that these are of. `quiet`: the
    session is sent answers only, and its account does not come online by it. `state`: the answer has all that a
    client shows first; `quotes`: with entries it is sent what they quote; `typing`: it is told who is typing; so
    for `register` and `guest`.
    """

    name: str = ""
    password: str = ""
    token: str = ""
    secret: str = ""
    cookie: bool = False
    keep: str | None = None
    resume: dict[str, Seq | Stretch] | None = None
    epoch: str | None = None
    quiet: bool = False
    state: bool = False
    quotes: bool = False
    typing: bool = False


class Guest(Command, frozen=True, tag="guest"):
    state: bool = False
    quotes: bool = False
    typing: bool = False


class Logout(Command, frozen=True, tag="logout"):
    pass


class Quit(Command, frozen=True, tag="quit"):
    pass


class Ping(Command, frozen=True, tag="ping"):
    pass


class Help(Command, frozen=True, tag="help"):
    about: str = ""


class Server(Command, frozen=True, tag="server"):
    """Asks for the facts of the server, before login too."""


class Password(Command, frozen=True, tag="password"):
    """`others`: also ends all other connections of the account, revokes its tokens, and removes its certificates."""

    old: str
    new: str
    others: bool = False


class Token(Command, frozen=True, tag="token"):
    """Creates a token with that label, revokes the one with that label, or lists all.

    To create one takes the password; an empty one asks a person for it. The token lasts for `seconds` or until it is
    revoked; `read_only`: it can change nothing; `room`: it is for this room only.
    """

    label: str | None = None
    revoke: str | None = None
    list: bool = False
    password: str = ""
    seconds: Seconds | None = None
    read_only: bool = False
    room: str | None = None


class Sessions(Command, frozen=True, tag="sessions"):
    """Lists the kept sessions of the account, or ends one by its id, or all but that of this connection."""

    end: SessionId | Literal["others"] | None = None


class Forget(Command, frozen=True, tag="forget"):
    """Erases the account for good. Its messages stay, as those of an erased account, or are erased too."""

    password: str
    messages: Literal["keep", "erase"] = "keep"


class Export(Command, frozen=True, tag="export"):
    """The account's own data, a page at a time. `after` is the `next` of the page before."""

    after: str = ""
    limit: Limit = 500


class Rooms(Command, frozen=True, tag="rooms"):
    """`prefix`: only rooms whose names begin with it."""

    after: str = ""
    limit: Limit = 100
    mine: bool = False
    prefix: str = ""


class Create(Command, frozen=True, tag="create"):
    room: str
    visibility: Literal["public", "private"] = "public"
    topic: str = ""


class Set(Command, frozen=True, tag="set"):
    """Settings of a room: whether new members of a private one may read its past, who may invite, and the seconds
    between two messages of a member (0: none)."""

    room: str
    past: Literal["open", "closed"] | None = None
    invites: Literal["members", "moderators"] | None = None
    pace: Pace | None = None


class Delete(Command, frozen=True, tag="delete"):
    room: str


class Invite(Command, frozen=True, tag="invite"):
    room: str
    name: str


class Uninvite(Command, frozen=True, tag="uninvite"):
    room: str
    name: str


class Join(Command, frozen=True, tag="join"):
    """`epoch`: the one that `since` is of."""

    room: str
    since: Seq | None = None
    epoch: str | None = None


class Leave(Command, frozen=True, tag="leave"):
    room: str = CURRENT


class Say(Command, frozen=True, tag="say"):
    room: str
    text: str
    id: ClientId | None = None


class Reply(Command, frozen=True, tag="reply"):
    """A message that answers the message `seq`. Everything else is as for `say`."""

    room: str
    seq: Seq
    text: str
    id: ClientId | None = None


class React(Command, frozen=True, tag="react"):
    """Adds a reaction to a message, or takes it back."""

    room: str
    seq: Seq
    reaction: str
    remove: bool = False


class Reactions(Command, frozen=True, tag="reactions"):
    """Asks who reacted to a message: for each reaction the first `limit` names, or those of one reaction behind
    `after`."""

    room: str
    seq: Seq
    reaction: str | None = None
    after: str = ""
    limit: Limit = 50


class Pin(Command, frozen=True, tag="pin"):
    room: str
    seq: Seq


class Unpin(Command, frozen=True, tag="unpin"):
    room: str
    seq: Seq


class Pins(Command, frozen=True, tag="pins"):
    """The pinned messages of a room, newest first. `before` is that in the answer of the previous page."""

    room: str = CURRENT
    before: Seq | None = None
    limit: Limit = 50
    quotes: bool = False


class Replies(Command, frozen=True, tag="replies"):
    """The messages that answer the message `seq`, oldest first. `after`: the number of the last one of the previous
    page. People are shown the message itself, too."""

    seq: Seq
    room: str = CURRENT
    after: Seq = 0
    limit: Limit = 50
    quotes: bool = False


class History(Command, frozen=True, tag="history"):
    """Entries before or after a seq, or since a time, in ascending order; without any of these, the latest.

    `since`: an RFC 3339 time, or what `time_words.py` understands besides: `yesterday`, `2h`, `2026-03-02`.
    """

    room: str = CURRENT
    before: Seq | None = None
    after: Seq | None = None
    since: str | None = None
    limit: Limit = 50
    quotes: bool = False


class Edit(Command, frozen=True, tag="edit"):
    """`seq` None, from people only: the last message of the account in the room."""

    room: str
    seq: Seq | None
    text: str


class Erase(Command, frozen=True, tag="erase"):
    """`seq` None: as for `edit`."""

    room: str
    seq: Seq | None


class Search(Command, frozen=True, tag="search"):
    """Messages with all the words and "phrases" of `text`, in one room or in all that the account may read.

    `prefix`: the last word may be the beginning of one. `author`, `has`: by whom they are, and what they have. `since`,
    `until`: as for `history`. `before` is that in the answer of the previous page.
    """

    text: str = ""
    room: str | None = None
    author: str | None = field(default=None, name="from")
    since: str | None = None
    until: str | None = None
    has: Has | tuple[Has, ...] = ()
    prefix: bool = True
    order: Literal["newest", "best"] = "newest"
    before: Seq | None = None
    limit: Limit = 50
    quotes: bool = False


class Mentions(Command, frozen=True, tag="mentions"):
    """Messages of others that mention the account, in all its rooms, newest first. `before` as for `search`."""

    before: Seq | None = None
    limit: Limit = 50
    quotes: bool = False


class Members(Command, frozen=True, tag="members"):
    """`prefix`: only members whose names begin with it."""

    room: str = CURRENT
    after: str = ""
    limit: Limit = 500
    prefix: str = ""


class Who(Command, frozen=True, tag="who"):
    """`prefix`: only people whose names begin with it; not looked at with a `name`."""

    name: str | None = None
    prefix: str = ""


class Read(Command, frozen=True, tag="read"):
    """`back`: the read mark is moved to `seq` even if it is further on."""

    room: str
    seq: Seq
    back: bool = False


class ReadAll(Command, frozen=True, tag="read-all"):
    """Marks all rooms of the account as read."""


class Unread(Command, frozen=True, tag="unread"):
    """`state`: with all that the answer to a login has of a room if it is asked for its `state`."""

    after: str = ""
    limit: Limit = 500
    state: bool = False


class Topic(Command, frozen=True, tag="topic"):
    """Sets the topic of a room ("": removes it); without a text, asks for it."""

    room: str = CURRENT
    text: str | None = None


class Away(Command, frozen=True, tag="away"):
    """Without a text: the account is back."""

    text: str = ""


class Typing(Command, frozen=True, tag="typing"):
    """The account's person is typing in a room. Only programs know that."""

    room: str


class Role(Command, frozen=True, tag="role"):
    room: str
    name: str
    role: Literal["owner", "moderator", "member"]


class Kick(Command, frozen=True, tag="kick"):
    room: str
    name: str
    reason: str = ""


class Ban(Command, frozen=True, tag="ban"):
    """Bans an account, or an address or network, from a room or (None) the server, for `seconds` or permanently.

    `yes`: also if the network has operators or too many addresses in it.
    """

    name: str | None = None
    address: str | None = None
    room: str | None = None
    seconds: Seconds | None = None
    reason: str = ""
    yes: bool = False


class Unban(Command, frozen=True, tag="unban"):
    name: str | None = None
    address: str | None = None
    room: str | None = None


class Bans(Command, frozen=True, tag="bans"):
    """Newest first. `before` is that in the answer of the previous page."""

    room: str | None = None
    before: Seq | None = None
    limit: Limit = 100


class Mute(Command, frozen=True, tag="mute"):
    room: str
    name: str
    seconds: Seconds | None = None


class Unmute(Command, frozen=True, tag="unmute"):
    room: str
    name: str


class Block(Command, frozen=True, tag="block"):
    name: str


class Unblock(Command, frozen=True, tag="unblock"):
    name: str


class Ignore(Command, frozen=True, tag="ignore"):
    """Hides an account's entries from the asker; without a name, lists the accounts that they ignore."""

    name: str | None = None


class Unignore(Command, frozen=True, tag="unignore"):
    name: str


class Rename(Command, frozen=True, tag="rename"):
    """Changes the name of the account, its display name, or both. `display` "": none. In a kept session it takes the
    password."""

    name: str | None = None
    display: str | None = None
    password: str | None = None


class Prefer(Command, frozen=True, tag="prefer"):
    """Sets preferences of the account ("default": as if never set); without any, asks for them. `notify`: what it wants
    to be notified of in `room`."""

    timezone: str | None = None
    clock: Literal["12", "24", "default"] | None = None
    bell: Literal["on", "off", "mentions", "default"] | None = None
    numbers: Literal["on", "off", "default"] | None = None
    room: str | None = None
    notify: Literal["all", "mentions", "nothing", "default"] | None = None


class TypedName(Command, frozen=True, tag="typed-name"):
    """A name, typed at the prompt by somebody who is not logged in. Never on the wire as such."""

    name: str


class TypedAnswer(Command, frozen=True, tag="typed-answer"):
    """Whether the name that somebody has typed at the prompt is to be registered. Never on the wire as such."""

    yes: bool


class TypedPassword(Command, frozen=True, tag="typed-password"):
    """The line typed at the prompt for a password; "" asks to pick another name. Never on the wire as such."""

    password: str


class Look(Command, frozen=True, tag="look"):
    """Makes one of the person's rooms the current one; without a room, names that. Programs have no current room, and
    cannot send it."""

    room: str = CURRENT


class Missed(Command, frozen=True, tag="missed"):
    """Shows a person the unread entries of a room, oldest first. Programs use `history` with `after`."""

    room: str = CURRENT


class Amend(Command, frozen=True, tag="amend"):
    """Replaces words in the last message of a person in a room: where they occur first, or everywhere. Programs use
    `edit`."""

    old: str
    new: str
    every: bool = False
    room: str = CURRENT


class Fit(Command, frozen=True, tag="fit"):
    """Sets the width of a person's terminal, for this connection; 0: not known. Telnet clients send it by themselves,
    and programs need none."""

    columns: int


class ToLast(Command, frozen=True, tag="to-last"):
    """What a person typed about a message without its number: an answer (`reply`), a reaction (`react`), or one to be
    taken back (`unreact`). It is the last message of somebody else that their terminal has shown in the room, or the
    last one of the person whose name the words begin with. `View` replaces it with the command that has the number."""

    what: Literal["reply", "react", "unreact"]
    room: str
    words: str


class Respond(Command, frozen=True, tag="respond"):
    """What a person typed to whoever wrote to them privately last. `View` replaces it with a `say`."""

    text: str


class Paste(Command, frozen=True, tag="paste"):
    """Begins a message of several lines: a person types them, and then a line with a dot."""


class Retry(Command, frozen=True, tag="retry"):
    """Sends again a person's messages that the server could not store. Programs keep theirs themselves."""


FOR_PROGRAMS: tuple[type[Command], ...] = (Typing,)
"""Commands that only programs may send."""


FOR_PEOPLE: tuple[type[Command], ...] = (Look, Missed, Amend, Fit, Paste, Retry)
"""Commands that only people may send."""


COMMANDS: tuple[type[Command], ...] = (
    Register, Login, Guest, Logout, Quit, Ping, Help, Server, Password, Token, Sessions, Forget, Export, Rooms, Create,
    Set, Delete, Join, Leave, Invite, Uninvite, Say, Reply, Edit, Erase, React, Pin, Unpin, Pins, Replies, History,
    Search, Mentions, Members, Who, Away, Read, ReadAll, Unread, Topic, Role, Kick, Ban, Unban, Bans, Mute, Unmute,
    Block, Unblock, Ignore, Unignore, Rename, Prefer, Reactions, *FOR_PROGRAMS,
)  # fmt: skip
"""Commands that a program may send."""

PAGE_LIMIT = 500
"""Maximum number of lines on a page, with any `limit`."""

ENTRIES: Final[frozenset[type[Command]]] = frozenset(
    {
        Create, Set, Delete, Join, Leave, Edit, Amend, Erase, React, Pin, Unpin, Topic, Role, Kick, Ban, Unban, Mute,
        Unmute, Rename,
    }
)  # fmt: skip
"""Commands, other than messages, that all members of a room are told of, each in a transaction of its own."""
ENTRY_COST: Final = 4
"""Number of commands as which one of `ENTRIES` counts. It takes about as much longer than a message."""
