"""What clients ask for: one frozen Struct a command, the same for both dialects.

Names in them are canonical already (see `wire.hygiene`): a command that exists is well-formed.
"""

from typing import Annotated

from msgspec import Meta, Struct

CURRENT = ""
"""Stands for a room's name where a person did not name one: the room they look at."""

Seq = Annotated[int, Meta(ge=0, le=2**53)]
ClientId = Annotated[str, Meta(min_length=1, max_length=64)]
Tag = str | int


class Command(Struct, frozen=True, kw_only=True, gc=False, tag_field="cmd"):
    """Any command. `tag` is echoed in its answer."""

    tag: Tag | None = None


class Register(Command, frozen=True, tag="register"):
    name: str
    password: str


class Login(Command, frozen=True, tag="login"):
    """With a password; `resume` gives, for each room, the last seq that the client has."""

    name: str
    password: str
    resume: dict[str, Seq] | None = None


class Logout(Command, frozen=True, tag="logout"):
    pass


class Quit(Command, frozen=True, tag="quit"):
    pass


class Ping(Command, frozen=True, tag="ping"):
    pass


class Help(Command, frozen=True, tag="help"):
    about: str = ""


class Password(Command, frozen=True, tag="password"):
    old: str
    new: str


class Rooms(Command, frozen=True, tag="rooms"):
    after: str = ""
    limit: Annotated[int, Meta(ge=1)] = 100
    mine: bool = False


class Create(Command, frozen=True, tag="create"):
    room: str
    visibility: str = "public"
    topic: str = ""


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
    limit: Annotated[int, Meta(ge=1)] = 50


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


class Look(Command, frozen=True, tag="look"):
    """Text dialect only: makes a room one is in already the current one."""

    room: str


COMMANDS: tuple[type[Command], ...] = (
    Register, Login, Logout, Quit, Ping, Help, Password, Rooms, Create, Join, Leave, Say, History, Members, Who,
    Read, Unread, Topic,
)  # fmt: skip
"""What a program may send."""
