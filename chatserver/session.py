"""One client: its stage, its inbox, and its position in each room. Knows no sockets."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

from chatserver.accountlimits import AS_SET, AccountLimits
from chatserver.answers import Answer, Refusal
from chatserver.commands import CURRENT, Command, Tag
from chatserver.errors import Refused, Rejected
from chatserver.events import PERSON, AccountKind, Entry, News, Person
from chatserver.scope import Scope
from chatserver.stages import Event, Stage, next_stage
from chatserver.times import now
from chatserver.view import View
from chatserver.wire.dialect import NONE, PLAIN, SCREEN, Asked, Dialect, Form, Framing, Screen
from chatserver.wire.dialects import DIALECTS

if TYPE_CHECKING:
    from chatserver.delivery.room import Room

FULL_BYTES = 16384
"""Once more than this waits for a client, it is sent no more news until it has taken everything."""


class Link(Protocol):
    """What a session may do with its connection (`net/connection.py`). Bytes handed to it are framed already."""

    writable: bool
    """False while the client takes no more news."""
    send: Callable[[bytes], int]
    """Sends at once what the socket takes, and returns how many bytes that was: the socket's own `send`, which may
    raise OSError, or `takes_nothing` while older bytes wait."""

    def write(self, data: bytes) -> None:
        """Sends these bytes after all before them."""

    def hold(self) -> bool:
        """Collects what is written until `release`. Returns False if it is collected already. See `collected`."""
        ...

    def release(self) -> None:
        """Sends what was collected, in one piece."""

    def refuse(self, rejected: Rejected) -> None:
        """Answers with an error, and counts it."""

    def more(self) -> None:
        """The inbox has room again."""

    def admitted(self) -> None:
        """The session is logged in."""

    def exposed(self) -> bool:
        """Whether somebody on the way could read what the client sends."""
        ...

    def certificate(self) -> str:
        """The SHA-256, in hex, of the certificate that the client has shown and has the key of; "" if there is none."""
        ...

    def hang_up(self, reason: str, text: str, retry: int | None = None) -> None:
        """Tells the client why, and ends the connection. Without a reason it ends without a word."""


def takes_nothing(data: bytes) -> int:
    """Stands in for a socket's `send`."""
    return 0


class NoLink:
    """There is no connection, or none any more."""

    writable = False
    send: Callable[[bytes], int] = staticmethod(takes_nothing)

    def write(self, data: bytes) -> None:
        pass

    def hold(self) -> bool:
        return False

    def release(self) -> None:
        pass

    def refuse(self, rejected: Rejected) -> None:
        pass

    def more(self) -> None:
        pass

    def admitted(self) -> None:
        pass

    def exposed(self) -> bool:
        return False

    def certificate(self) -> str:
        return ""

    def hang_up(self, reason: str, text: str, retry: int | None = None) -> None:
        pass


NO_LINK: Final = NoLink()


class collected:
    """Scope: what is written to these sessions within it goes out in one piece for each, at its end.

    It ends however the block is left, and an inner scope leaves to the outer one what that collects.
    """

    __slots__ = ("_held", "_sessions")

    def __init__(self, sessions: Iterable["Session"]) -> None:
        self._sessions = sessions

    def __enter__(self) -> None:
        self._held = [session.link for session in self._sessions if session.link.hold()]

    def __exit__(self, _: type | None, __: BaseException | None, ___: TracebackType | None) -> None:
        try:
            while self._held:
                self._held.pop().release()
        finally:
            if self._held:  # something is wrong with one link: the others are not left held
                self.__exit__(None, None, None)


_FORMS: dict[tuple[Dialect, Framing, date | None, Screen], Form] = {}
MOST_FORMS = 1024
"""Clients say how wide their screens are, and could make up as many forms as they like."""


def form_of(dialect: Dialect, framing: Framing, day: date | None, screen: Screen = SCREEN) -> Form:
    """One object for all sessions of a form, so that forms can be compared by identity."""
    form = _FORMS.get((dialect, framing, day, screen))
    if form is None:
        if len(_FORMS) >= MOST_FORMS:  # equal forms may then be several objects, which costs some time only
            _FORMS.clear()
        form = _FORMS[dialect, framing, day, screen] = Form(dialect, framing, day, screen=screen)
    return form


class Session:
    """Belongs to the reactor; no thread sees it."""

    __slots__ = (
        "account_id",
        "address",
        "certificate_id",
        "display",
        "due_since",
        "failed_logins",
        "form",
        "id",
        "inbox",
        "kind",
        "limits",
        "link",
        "name",
        "pumping",
        "quiet",
        "replays",
        "rooms",
        "scope",
        "stage",
        "strikes",
        "token_id",
        "typed_name",
        "view",
        "waiting",
    )

    def __init__(self, id: str, address: str, dialect: Dialect = DIALECTS[-1], framing: Framing = PLAIN) -> None:
        self.id = id
        self.address = address
        self.link: Link = NO_LINK
        self.stage = Stage.NEW
        self.view: View | None
        self.form: Form
        self.speak(dialect, framing)
        self.account_id = 0
        self.name = ""
        self.display = ""
        self.kind: AccountKind = PERSON
        self.limits: AccountLimits = AS_SET
        self.token_id = 0  # the token it logged in with, or 0
        self.certificate_id = 0  # likewise
        self.scope: Scope | None = None  # what that token is good for
        self.typed_name = ""  # at the name prompt
        self.failed_logins = 0
        # A list, though taken from in front: it is short, and an empty deque takes ten times the memory.
        self.inbox: list[Command | Rejected] = []
        self.waiting = False  # in a lane, or being served
        self.due_since = 0.0  # when its next command could have been served, by the reactor's clock; 0: there is none
        self.strikes: list[float] = []  # seconds, of the last minute
        self.rooms: dict[str, Room] = {}  # by label in lower case
        self.replays: frozenset[Room] = NONE  # rooms of which it is told `live` once it has caught up
        self.pumping = False  # being sent what it has missed
        self.quiet = False  # it hears nothing but answers, and nobody is told that it is here

    def speak(self, dialect: Dialect, framing: Framing) -> None:
        """Sets the language of the client, before anything else is known of it."""
        self.view = View() if dialect.for_people else None
        self.form = form_of(dialect, framing, dialect.day(now()))

    @property
    def screen(self) -> Screen:
        return self.form.screen

    def show_on(self, screen: Screen) -> None:
        """What its person's terminal is like, and how they want things shown, from now on."""
        form = self.form
        if screen != form.screen:
            self.form = form_of(form.dialect, form.framing, form.dialect.day(now(), screen), screen)

    @property
    def dialect(self) -> Dialect:
        return self.form.dialect

    @property
    def is_read(self) -> bool:
        """Whether lines of this client are taken at its stage."""
        return self.stage is not Stage.BUSY and self.stage is not Stage.ENDING

    def move(self, event: Event) -> None:
        """Raises IllegalTransition."""
        self.stage = next_stage(self.stage, event)

    @property
    def person(self) -> Person:
        """Who it is, once logged in."""
        return Person(self.account_id, self.name, self.kind, self.display)

    @property
    def current(self) -> str:
        """The label of the room that its person looks at; "" where there is none, and for programs."""
        return self.view.current if self.view is not None else CURRENT

    def room_called(self, label: str) -> "Room | None":
        """The room that this client means, if it hears it; "" is the current one."""
        return self.rooms.get(label) or self.rooms.get((label or self.current).lower())

    # What it sends

    def parse(self, line: str) -> Command | Rejected | None:
        """The command on a line that has passed `clean_line`, as far as this client may give it; None for a line that
        asks for nothing. Raises Undecodable."""
        view = self.view
        if view is None:
            parsed = self.form.dialect.parse(line, self.stage)
        else:
            parsed = view.parse(self.form.dialect, line, self.stage, self.name, self.kind)
        if self.scope is None or self.stage is not Stage.IN or not isinstance(parsed, Command):
            return parsed
        try:
            return self.scope.confined(parsed, self.only, self._room_id)
        except Refused as refused:
            if view is not None:
                view.cancel()
            return Rejected(refused, parsed.tag)

    # What its token is good for

    def hears(self, room_id: int) -> bool:
        """Whether this room is there for it."""
        return self.scope is None or self.scope.hears(room_id)

    def is_told(self, item: News) -> bool:
        return self.scope is None or self.scope.is_told(item, self._room_id)

    @property
    def only(self) -> str:
        """If its token is for one room, the label of that room, if it hears it; else ""."""
        if self.scope is None or not self.scope.room_id:
            return ""
        ours = (room for room in self.rooms.values() if room.facts.id == self.scope.room_id)
        return next((room.facts.label(self.account_id) for room in ours), "")

    def _room_id(self, label: str) -> int:
        room = self.room_called(label)
        return 0 if room is None else room.facts.id

    # What it is sent

    def write(self, lines: bytes) -> None:
        """Sends whole lines after all that was sent before."""
        if lines:
            self.link.write(self.form.framing.lines(lines))

    def answer(self, tag: Tag | None, answer: Answer) -> None:
        form = self.form
        lines = form.dialect.answer(Asked(tag, self.account_id, self.name, form.screen), answer)
        if lines:
            self.link.write(form.framing.lines(lines))

    def answer_refusal(self, rejected: Rejected) -> None:
        """Answers with an error, which counts for nothing; see `Link.refuse` for the one that does."""
        refused = rejected.refused
        self.answer(rejected.tag, Refusal(refused.error, refused.text, refused.retry))

    def tell(self, item: News) -> None:
        self.write(self.dialect.news(item, self.screen))

    def notice(self, text: str) -> None:
        self.write(self.dialect.notice(text, self.screen))

    # What its person has seen

    def has_read(self, room_id: int, seq: int) -> None:
        """A person has seen everything in a room up to there. Of what it has seen a program tells the server itself."""
        if self.view is not None:
            self.view.read[room_id] = seq

    def has_shown(self, room_id: int, entries: Sequence[Entry]) -> None:
        """These consecutive entries were sent to it."""
        if self.view is not None:
            last = self.view.shown(room_id, entries)
            if last is not None:
                form = self.form
                day = form.dialect.day(last.at, form.screen)
                if day != form.day:
                    self.form = form_of(form.dialect, form.framing, day, form.screen)
