"""One connected client: how far it has come, what it has asked, where it stands in each room. Knows no sockets."""

from collections import deque
from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING

from chatserver.commands import CURRENT, Command
from chatserver.errors import Refused
from chatserver.events import Person

if TYPE_CHECKING:
    from chatserver.registry import Room


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
        self.inbox: deque[Command | Rejected] = deque()
        self.waiting = False  # in a lane, or being served
        self.strikes: deque[float] = deque()  # seconds, of the last minute
        # rooms by what this client calls them, in lower case
        self.rooms: dict[str, Room] = {}
        self.current = CURRENT
        self.replays: set[Room] = set()  # to be told `live` once caught up
        self.pumping = False
        self.unechoed: set[tuple[int, int]] = set()  # (room, seq) of what was typed here, and is not shown again
        self.read: dict[int, int] = {}  # of a person: by room id, up to where they have seen everything
        self.day_shown: date | None = None  # the date last shown to a person
        # What the connection gives: send these bytes in order; False while it takes no more news.
        self.write: Callable[[bytes], None] = lambda data: None
        self.hold: Callable[[], None] = lambda: None
        self.release: Callable[[], None] = lambda: None
        self.admitted: Callable[[], None] = lambda: None  # it is logged in
        self.refuse: Callable[[Rejected], None] = lambda rejected: None
        self.drained: Callable[[], None] = lambda: None  # it is writable again
        self.more: Callable[[], None] = lambda: None  # the inbox has room again
        self.hang_up: Callable[[str, str], None] = lambda reason, text: None
        self.writable = True

    @property
    def person(self) -> Person:
        """Who it is, once logged in."""
        return Person(self.account_id, self.name, self.kind)

    def room_called(self, name: str) -> "Room | None":
        """The room this client means, if it hears it; "" is the current one."""
        return self.rooms.get(name) or self.rooms.get((name or self.current).lower())
