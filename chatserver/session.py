"""One connected client: how far it has come, what it has asked, where it stands in each room. Knows no sockets."""

from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from chatserver.commands import CURRENT, Command
from chatserver.errors import Refused
from chatserver.events import Person

if TYPE_CHECKING:
    from chatserver.room import Room


FULL_BYTES = 16384
"""Once more than this waits for a client, it is given no more news until it has taken all."""


class Dialect(Enum):
    TEXT = "text"
    JSON = "json"


class Stage(Enum):
    """GREETING: nothing said yet, or a name expected. PASSWORD: a name was typed. BUSY: a login is in work.
    IN: logged in. ENDING: no command is taken any more."""

    GREETING = "greeting"
    PASSWORD = "password"
    BUSY = "busy"
    IN = "in"
    ENDING = "ending"


class Rejected:
    """Stands in the inbox for a refused line, so that its answer keeps its place. `fatal` ends the connection."""

    __slots__ = ("fatal", "refused", "tag")

    def __init__(self, refused: Refused, tag: str | int | None = None, *, fatal: bool = False) -> None:
        self.refused = refused
        self.tag = tag
        self.fatal = fatal


NONE: Final[frozenset[Any]] = frozenset()
"""An empty set that all share: each of one's own would take 216 bytes."""


def takes_nothing(data: bytes) -> int:
    """In place of a socket's `send`."""
    return 0


def _nothing(*_: object) -> None:
    pass


class Session:
    """The reactor's alone; no thread sees it."""

    __slots__ = (
        "account_id",
        "address",
        "admitted",
        "current",
        "day_shown",
        "dialect",
        "drained",
        "failed_logins",
        "hang_up",
        "hold",
        "id",
        "inbox",
        "kind",
        "more",
        "name",
        "pumping",
        "read",
        "refuse",
        "release",
        "replays",
        "rooms",
        "send",
        "stage",
        "strikes",
        "token_id",
        "typed_name",
        "unechoed",
        "waiting",
        "writable",
        "write",
    )

    def __init__(self, id: str, address: str) -> None:
        self.id = id
        self.address = address
        self.dialect = Dialect.TEXT
        self.stage = Stage.GREETING
        self.account_id = 0
        self.name = ""
        self.kind = "person"
        self.token_id = 0  # what it logged in with, where not with a password
        self.typed_name = ""  # at the name prompt
        self.failed_logins = 0
        # Lists, though taken from in front: they are short, and an empty deque takes ten times an empty list's memory.
        self.inbox: list[Command | Rejected] = []
        self.waiting = False  # in a lane, or being served
        self.strikes: list[float] = []  # seconds, of the last minute
        # rooms by what this client calls them, in lower case
        self.rooms: dict[str, Room] = {}
        self.current = CURRENT
        self.replays: frozenset[Room] = NONE  # to be told `live` once caught up
        self.pumping = False
        # (room, seq) of what was typed here, and is not shown again
        self.unechoed: frozenset[tuple[int, int]] = NONE
        self.read: dict[int, int] = {}  # see `has_read`
        self.day_shown: date | None = None  # the date last shown to a person
        # What the connection gives: send these bytes in order; False while it takes no more news.
        self.write: Callable[[bytes], None]
        # The socket's own, which gives the number of bytes it takes; `takes_nothing` while something is to go before.
        self.send: Callable[[bytes], int]
        self.writable = True
        self.hold: Callable[[], None]
        self.release: Callable[[], None]
        self.admitted: Callable[[], None]  # it is logged in
        self.refuse: Callable[[Rejected], None]
        self.drained: Callable[[], None]  # it is writable again
        self.more: Callable[[], None]  # the inbox has room again
        self.hang_up: Callable[[str, str], None]
        self.detach()

    def detach(self) -> None:
        """There is no connection (any more). What refers to each other in a circle is let go, so that its memory is
        free at once: the garbage collector would find it only now and then, and stop everything to look for it."""
        self.send = takes_nothing
        self.write = self.hold = self.release = self.admitted = self.refuse = _nothing
        self.drained = self.more = self.hang_up = _nothing

    def has_read(self, room_id: int, seq: int) -> None:
        """A person has seen everything in a room up to there. What a program has seen, it tells."""
        if self.dialect is Dialect.TEXT:
            self.read[room_id] = seq

    @property
    def person(self) -> Person:
        """Who it is, once logged in."""
        return Person(self.account_id, self.name, self.kind)

    def room_called(self, name: str) -> "Room | None":
        """The room this client means, if it hears it; "" is the current one."""
        return self.rooms.get(name) or self.rooms.get((name or self.current).lower())
