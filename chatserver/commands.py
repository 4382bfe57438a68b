"""What clients ask for: one frozen Struct a command, the same for both dialects.

Names in them are canonical already (see `wire.hygiene`): a command that exists is well-formed.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

CURRENT = ""
"""Stands for a room's name where a person did not name one: the room they look at."""

Seq = Annotated[int, Meta(ge=0, le=2**53)]
Limit = Annotated[int, Meta(ge=1)]
Seconds = Annotated[int, Meta(ge=1, le=10**9)]
ClientId = Annotated[str, Meta(min_length=1, max_length=64)]
Tag = str | int


class Command(Struct, frozen=True, kw_only=True, gc=False, tag_field="cmd"):
    """Any command. `tag` is echoed in its answer."""

    tag: Tag | None = None


class Register(Command, frozen=True, tag="register"):
    """`code` is the invitation code, where registration asks for one."""

    name: str
    password: str
    code: str = ""


class Login(Command, frozen=True, tag="login"):
    """With name and password, or with a token alone; `resume`: for each room, the last seq that the client has."""

    name: str = ""
    password: str = ""
    token: str = ""
    resume: dict[str, Seq] | None = None


class Guest(Command, frozen=True, tag="guest"):
    pass


class Logout(Command, frozen=True, tag="logout"):
    pass


class Quit(Command, frozen=True, tag="quit"):
    pass


class Ping(Command, frozen=True, tag="ping"):
    pass


class Help(Command, frozen=True, tag="help"):
    about: str = ""


class Password(Command, frozen=True, tag="password"):
    """`others`: end one's other connections too."""

    old: str
    new: str
    others: bool = False


class Token(Command, frozen=True, tag="token"):
    """Makes a token of that label, or revokes the one of a label, or lists them: one of the three."""

    label: str | None = None
    revoke: str | None = None
    list: bool = False


class Forget(Command, frozen=True, tag="forget"):
    """Erases one's account, for ever; what one said stays, as by an erased user, or goes too."""

    password: str
    messages: Literal["keep", "erase"] = "keep"


class Export(Command, frozen=True, tag="export"):
    """One's own data, a page at a time: `after` is the `next` of the page before."""

    after: str = ""
    limit: Limit = 500


class Rooms(Command, frozen=True, tag="rooms"):
    after: str = ""
    limit: Limit = 100
    mine: bool = False


class Create(Command, frozen=True, tag="create"):
    room: str
    visibility: Literal["public", "private"] = "public"
    topic: str = ""


class Set(Command, frozen=True, tag="set"):
    """How a room is: whether who joins a private one may read its past, and who may invite."""

    room: str
    past: Literal["open", "closed"] | None = None
    invites: Literal["members", "moderators"] | None = None


class Delete(Command, frozen=True, tag="delete"):
    room: str


class Invite(Command, frozen=True, tag="invite"):
    room: str
    name: str


class Uninvite(Command, frozen=True, tag="uninvite"):
    room: str
    name: str


class Join(Command, frozen=True, tag="join"):
    room: str
    since: Seq | None = None


class Leave(Command, frozen=True, tag="leave"):
    room: str = CURRENT


class Say(Command, frozen=True, tag="say"):
    room: str
    text: str
    id: ClientId | None = None


class History(Command, frozen=True, tag="history"):
    """Entries before or after a seq, in rising order; without either, the latest ones."""

    room: str = CURRENT
    before: Seq | None = None
    after: Seq | None = None
    limit: Limit = 50


class Edit(Command, frozen=True, tag="edit"):
    room: str
    seq: Seq
    text: str


class Erase(Command, frozen=True, tag="erase"):
    room: str
    seq: Seq


class Search(Command, frozen=True, tag="search"):
    """All the words of `text`, in one room or in all that one may read, newest first.

    `before`: the `before` of the answer with the page before.
    """

    text: str
    room: str | None = None
    before: Seq | None = None
    limit: Limit = 50


class Members(Command, frozen=True, tag="members"):
    room: str = CURRENT


class Who(Command, frozen=True, tag="who"):
    name: str | None = None


class Read(Command, frozen=True, tag="read"):
    room: str
    seq: Seq


class Unread(Command, frozen=True, tag="unread"):
    pass


class Topic(Command, frozen=True, tag="topic"):
    room: str
    text: str


class Away(Command, frozen=True, tag="away"):
    """Without a text: one is back."""

    text: str = ""


class Role(Command, frozen=True, tag="role"):
    room: str
    name: str
    role: Literal["owner", "moderator", "member"]


class Kick(Command, frozen=True, tag="kick"):
    room: str
    name: str
    reason: str = ""


class Ban(Command, frozen=True, tag="ban"):
    """A person, or an address or network; in a room, or (None) on the whole server; for ever, or for `seconds`."""

    name: str | None = None
    address: str | None = None
    room: str | None = None
    seconds: Seconds | None = None
    reason: str = ""


class Unban(Command, frozen=True, tag="unban"):
    name: str | None = None
    address: str | None = None
    room: str | None = None


class Bans(Command, frozen=True, tag="bans"):
    room: str | None = None


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


class Look(Command, frozen=True, tag="look"):
    """Text dialect only: makes a room one is in already the current one."""

    room: str


COMMANDS: tuple[type[Command], ...] = (
    Register, Login, Guest, Logout, Quit, Ping, Help, Password, Token, Forget, Export, Rooms, Create, Set, Delete, Join,
    Leave, Invite, Uninvite, Say, Edit, Erase, History, Search, Members, Who, Away, Read, Unread, Topic, Role, Kick,
    Ban, Unban, Bans, Mute, Unmute, Block, Unblock,
)  # fmt: skip
"""What a program may send."""
