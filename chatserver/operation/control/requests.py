"""Requests and answers between `chatctl` and a running server on the control socket. Values only, without Twisted.

The server greets with one line of JSON, `Hello`. The client sends a request in one line, which has its word as `do`.
The server answers with any number of lines, each an `Item`, and then `Done` or `Failed`, and closes the connection.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct, field

VERSION: Final = 1
"""Version of this protocol."""
MOST_BYTES: Final = 65_536
"""Maximum size of a request, line end included."""


class Hello(Struct, frozen=True):
    control: int  # VERSION
    server: str  # the version of the server
    node: str
    database: str  # see `place.database_mark`
    pid: int


class Request(Struct, frozen=True, tag_field="do", tag=str.lower, kw_only=True, forbid_unknown_fields=True):
    """`by`: the name of the system's user who asks, as the client gives it."""

    by: str = ""


class Sessions(Request, frozen=True):
    """All connections, each as a `SessionLine`."""


class Kick(Request, frozen=True):
    """Ends the connection with this id, or all of the account with this name."""

    who: str
    reason: str = ""


class Announce(Request, frozen=True):
    """Sends a notice to everybody who is logged in."""

    text: str


class Stats(Request, frozen=True):
    """Counts and sizes of the server."""


class Reload(Request, frozen=True):
    """Takes over changed settings and renewed certificates."""


class Audit(Request, frozen=True):
    """Logs what `chatctl` has just changed in the database."""

    act: str
    what: dict[str, str] = field(default_factory=dict)


Asked = Sessions | Kick | Announce | Stats | Reload | Audit


class SessionLine(Struct, frozen=True):
    """One connection. `since` is in RFC 3339; `idle` in seconds; None: the kernel does not know, as for Unix sockets.

    `door` is what `server.listen` has in front of the endpoint, and the endpoint's kind: `tcp`, `ssl`, `ws:unix`.
    """

    id: str
    user: str  # "" before it has logged in
    address: str
    door: str
    dialect: str
    stage: str
    since: str
    commands: int  # since it logged in
    kind: str = ""  # the account's; "" before it has logged in
    idle: float | None = None
    received: int | None = None
    sent: int | None = None
    behind: dict[str, int] = field(
        default_factory=dict
    )  # by room, how many entries it lacks: the rooms where it lacks most


class Item(Struct, frozen=True):
    item: Any


class Done(Struct, frozen=True, tag_field="end", tag="done"):
    result: dict[str, Any]


class Failed(Struct, frozen=True, tag_field="end", tag="failed"):
    problem: str  # one line that says what to do


_decoder: Final = msgspec.json.Decoder(Asked)


def parse(line: bytes) -> Asked:
    """Raises msgspec.DecodeError."""
    try:
        asked: Asked = _decoder.decode(line)
    except UnicodeDecodeError:
        raise msgspec.DecodeError("it is not UTF-8") from None
    return asked
