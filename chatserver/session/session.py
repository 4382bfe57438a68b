"""One client: its identity, stage, inbox and subscriptions. Knows no sockets."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Final, Protocol

from msgspec import Struct, structs

from chatserver.session.link import NO_LINK, NO_PEER, Link, Peer
from chatserver.session.view import View
from chatserver.util.times import now
from chatserver.values.answers import Answer, Log, Preferences, Refusal, Said
from chatserver.values.commands import CURRENT, Command, Tag
from chatserver.values.errors import Note, Refused, Rejected, Sentence
from chatserver.values.events import (
    AS_SET,
    PERSON,
    AccountKind,
    AccountLimits,
    Entry,
    News,
    Notified,
    Notify,
    Person,
    RoomFacts,
    Turned,
)
from chatserver.values.ignoring import is_hidden, without
from chatserver.values.stages import SECRET, Event, Stage, next_stage
from chatserver.values.token_scope import Scope
from chatserver.wire.dialect import NONE, PLAIN, Asked, Dialect, Form, Framing
from chatserver.wire.dialects import DIALECTS
from chatserver.wire.screen import SCREEN, Screen, assumed, preferred

_FORMS: dict[tuple[Dialect, Framing, date | None, Screen, bool], Form] = {}
MOST_FORMS = 1024
"""Maximum number of forms: clients choose the width of their screens, and could make up as many as they like."""


def form_of(
    dialect: Dialect, framing: Framing, day: date | None, screen: Screen = SCREEN, *, quotes: bool = False
) -> Form:
    """Returns one object for all sessions of a form, so that forms can be compared by identity."""
    form = _FORMS.get((dialect, framing, day, screen, quotes))
    if form is None:
        if len(_FORMS) >= MOST_FORMS:  # equal forms may then be several objects, which costs some time only
            _FORMS.clear()
        form = _FORMS[dialect, framing, day, screen, quotes] = Form(dialect, framing, day, screen=screen, quotes=quotes)
    return form


class Identity(Struct, frozen=True):
    """The account that is logged in on a session, its credentials and its rights. A rename and new limits replace it.

    `named_at`: since when the account has these two names; None: from the beginning. `token_id` and `certificate_id`:
    the token or certificate that it logged in with, or 0. `proof`: of the password that it logged in with, see
    `store.change_rows.proof_of`. `scope`: of that token; None: everything. `kept`: `token_id` is that of
    a kept session.
    """

    account_id: int = 0
    name: str = ""
    display: str = ""
    named_at: datetime | None = None
    kind: AccountKind = PERSON
    limits: AccountLimits = AS_SET
    token_id: int = 0
    certificate_id: int = 0
    proof: int = 0
    scope: Scope | None = None
    kept: bool = False

    @property
    def person(self) -> Person:
        """The account as others know it."""
        return Person(self.account_id, self.name, self.kind, self.display)


NOBODY: Final = Identity()
"""The identity of a session before its login."""


class HeardRoom(Protocol):
    """A room (`delivery/room.py`), as its subscribers and the roster know it."""

    facts: RoomFacts
    head: int
    """The number of the last entry published."""

    @property
    def subscribers(self) -> int:
        """Number of sessions that subscribe to it."""
        ...

    def position(self, session: "Session") -> int | None:
        """The number of the last entry written to a session; None if it does not subscribe to this room."""
        ...

    def is_behind(self, session: "Session") -> bool:
        """Whether entries are published that have not been sent to this session."""
        ...

    def __iter__(self) -> "Iterator[Session]": ...

    def __contains__(self, session: "Session") -> bool: ...


class Session:
    """Belongs to the reactor; no thread sees it."""

    __slots__ = (
        "address",
        "asked_for_state",
        "asked_for_typing",
        "due_since",
        "failed_logins",
        "form",
        "id",
        "ignored",
        "inbox",
        "link",
        "peer",
        "pumping",
        "quiet",
        "rejoining",
        "replays",
        "rooms",
        "stage",
        "strikes",
        "typed_name",
        "view",
        "waiting",
        "who",
    )

    def __init__(self, id: str, address: str, dialect: Dialect = DIALECTS[-1], framing: Framing = PLAIN) -> None:
        self.id = id
        self.address = address
        self.link: Link = NO_LINK
        self.peer: Peer = NO_PEER
        self.stage = Stage.NEW
        self.view: View | None
        self.form: Form
        self.speak(dialect, framing)
        self.who = NOBODY
        self.typed_name = ""  # at the name prompt
        self.failed_logins = 0
        # A list, though taken from in front: it is short, and an empty deque takes ten times the memory.
        self.inbox: list[Command | Rejected] = []
        self.waiting = False  # in a lane, or being served
        self.due_since = 0.0  # when its next command could have been served, by the reactor's clock; 0: there is none
        self.strikes: list[float] = []  # seconds, of the last minute
        self.rooms: dict[str, HeardRoom] = {}  # by label in lower case
        self.replays: frozenset[HeardRoom] = NONE  # rooms for which it is sent `live` once it has caught up
        self.rejoining = ""  # in lower case, the room of its `join` with `since` that is under way
        self.pumping = False  # being sent what it has missed
        self.asked_for_state = False  # whether its client wants to know of changes of what its greeting had
        self.asked_for_typing = False  # whether its client wants to know who is typing
        self.quiet = False  # it is sent nothing but answers, and nobody is notified of it
        self.ignored: frozenset[int] = NONE  # accounts of which it is sent no quotes; people, nothing at all

    def speak(self, dialect: Dialect, framing: Framing) -> None:
        """Sets the language of the client, before anything else is known of it."""
        self.view = View() if dialect.for_people else None
        self.form = form_of(dialect, framing, dialect.day(now()))

    @property
    def screen(self) -> Screen:
        return self.form.screen

    def show_on(self, screen: Screen) -> None:
        """Sets the person's terminal, and how they want things shown."""
        form = self.form
        if screen != form.screen:
            self.form = form_of(form.dialect, form.framing, form.dialect.day(now(), screen), screen)

    @property
    def is_quoted_to(self) -> bool:
        """Whether it is sent what replies quote, as all people are."""
        return self.form.quotes or self.view is not None

    def quote(self) -> None:
        """Sends a program what replies quote from now on."""
        if self.view is None:
            self.form = form_of(self.form.dialect, self.form.framing, None, quotes=True)
            self.ignore(self.ignored)

    def notify(self, room_id: int, notify: Notify | None) -> None:
        """Sets what its person wants to be notified of in a room; None: the default. Programs decide for themselves."""
        if self.view is not None:
            if notify is None:
                self.view.notify.pop(room_id, None)
            else:
                self.view.notify[room_id] = notify

    def ignore(self, accounts: frozenset[int]) -> None:
        """Sets the accounts that its account ignores."""
        self.ignored = accounts
        if self.view is not None:
            self.view.ignored = accounts
        elif self.form.quotes:
            # With an object of its own it is not taken for one of those that are sent the same bytes.
            form = form_of(self.form.dialect, self.form.framing, None, quotes=True)
            self.form = structs.replace(form) if accounts else form

    def prefer(self, preferences: Preferences) -> None:
        """Applies the preferences of the person's account. Programs ignore them: they lay out everything themselves."""
        if self.view is not None:
            self.show_on(preferred(self.screen, preferences))

    @property
    def dialect(self) -> Dialect:
        return self.form.dialect

    @property
    def is_read(self) -> bool:
        """Whether lines of this client are read at its stage."""
        return self.stage is not Stage.BUSY and self.stage is not Stage.ENDING

    @property
    def awaits_secret(self) -> bool:
        """Whether the next line is a password, which the terminal should not show."""
        view = self.view
        return view is not None and (self.stage in SECRET or (self.stage is Stage.IN and view.asks_password))

    def move(self, event: Event) -> None:
        """Raises IllegalTransition."""
        self.stage = next_stage(self.stage, event)
        self.link.staged()

    @property
    def current(self) -> str:
        """The label of the room that its person looks at; "" where there is none, and for programs."""
        return self.view.current if self.view is not None else CURRENT

    def room_called(self, label: str) -> HeardRoom | None:
        """Returns the room with this label, if the client subscribes to it; "" is the current one."""
        return self.rooms.get(label) or self.rooms.get((label or self.current).lower())

    # Input

    def parse(self, line: str) -> Command | Rejected | None:
        """Parses a line that has passed `clean_line`. Returns None for a line without a command. Raises Undecodable."""
        view = self.view
        if view is None:
            parsed = self.form.dialect.parse(line, self.stage)
        else:
            parsed = view.parse(self.form.dialect, line, self.stage, self.who.name, self.who.kind, self.rooms)
        scope = self.who.scope
        if scope is None or self.stage is not Stage.IN or not isinstance(parsed, Command):
            return parsed
        try:
            return scope.confined(parsed, self.only, self._room_id)
        except Refused as refused:
            if view is not None:
                view.cancel()
            return Rejected(refused, parsed.tag, parsed.cmd)

    # The scope of its token

    def hears(self, room_id: int) -> bool:
        """Whether its token allows it to subscribe to this room."""
        scope = self.who.scope
        return scope is None or scope.hears(room_id)

    def is_told(self, item: News) -> bool:
        scope = self.who.scope
        if isinstance(item, Notified) and not self.asked_for_state:
            return False
        return not self.quiet and (scope is None or scope.is_told(item))

    def ignores(self, account_id: int) -> bool:
        return self.view is not None and account_id in self.view.ignored

    @property
    def only(self) -> str:
        """The label of the one room that its token is for, if it subscribes to it; else ""."""
        scope = self.who.scope
        if scope is None or not scope.room_id:
            return ""
        ours = (room for room in self.rooms.values() if room.facts.id == scope.room_id)
        return next((room.facts.label(self.who.account_id) for room in ours), "")

    def _room_id(self, label: str) -> int:
        room = self.room_called(label)
        return 0 if room is None else room.facts.id

    # The current room

    def turn_to(self, label: str, *, said: bool = False) -> None:
        """Makes a room the person's current one, "" for none. They are told unless an answer has `said` it, or it was
        current already."""
        view = self.view
        if view is not None:
            before, view.current, view.is_adrift = view.current, label, False
            if label != before and not said:
                self.tell(Turned(label))

    def settle(self, *, asked: bool = False) -> None:
        """Turns to another room, if there is one, when the person is no longer in their current room. `asked`: they
        left it themselves."""
        view = self.view
        if view is None or not view.is_adrift or self.stage is not Stage.IN:
            return
        view.is_adrift = False
        if self.room_called(CURRENT) is None:
            # Rather to a room than to one person, who is not to hear by mistake what was meant for many.
            rooms = sorted(self.rooms.values(), key=lambda room: room.facts.pair is not None)
            self.turn_to(rooms[0].facts.label(self.who.account_id) if rooms else CURRENT, said=self.quiet and not asked)

    @property
    def laid_out_for(self) -> Screen:
        """The terminal for which answers and news are laid out. It has no width for scripts, and for clients that have
        sent nothing yet: the server's own words then stay on one line, where a program finds them."""
        screen = self.form.screen
        if screen.columns or self.view is None or self.quiet or self.stage is Stage.NEW or self.peer.has_sent_all():
            return screen
        return assumed(screen)

    # Output

    def write(self, lines: bytes) -> None:
        """Sends whole lines after all that was sent before."""
        if lines:
            self.link.write(self.form.framing.lines(lines))

    def answer(self, tag: Tag | None, answer: Answer, cmd: str) -> None:
        """Answers a command, which has this name."""
        form, view = self.form, self.view
        seen = answer if not self.ignored else without(answer, self.ignored, all=view is not None)
        screen = form.screen if view is None else self.laid_out_for
        lines = form.dialect.answer(Asked(tag, self.who.account_id, self.who.name, screen, self.quiet, cmd), seen)
        if lines:
            self.link.write(form.framing.lines(lines))
        if view is not None and not self.quiet:
            self._has_answered(view, answer)

    def _has_answered(self, view: View, answer: Answer) -> None:
        """Notes entries that the answer showed, and a message that was stored without an answer on screen."""
        view.said = answer if isinstance(answer, Said) else None
        log = getattr(answer, "recent", answer)
        if isinstance(log, Log) and log.entries:
            view.marks.show(log.facts.id, log.entries, self.link.written)
            there = [entry for entry in log.entries if not is_hidden(entry, view.ignored)]
            view.last.show(log.facts, there, self.who.account_id, past=True)
            self.link.showed()
            room = self.rooms.get(log.facts.label(self.who.account_id).lower())
            if room is not None and log.entries[-1].seq > room.head:  # stored, but not published here yet
                view.suppress(log.facts.id, [entry for entry in log.entries if entry.seq > room.head])

    def confirm(self) -> None:
        """The client has closed its side. If its last command was a message, tells the person that it was stored."""
        if self.view is not None and self.view.said is not None:
            form, said, self.view.said = self.form, self.view.said, None
            self.write(
                form.dialect.answer(Asked(None, self.who.account_id, self.who.name, form.screen, quiet=True), said)
            )

    def answer_refusal(self, rejected: Rejected) -> None:
        """Answers with an error without counting it; `Link.refuse` counts."""
        refused = rejected.refused
        self.answer(rejected.tag, Refusal(refused.why, refused.sentence, refused.retry), rejected.cmd)

    def tell(self, item: News) -> None:
        self.write(self.dialect.news(item, self.laid_out_for))

    def notice(self, text: str | Sentence) -> None:
        """Tells its person something; a text is the operators'."""
        words = self.dialect.text(text) if isinstance(text, Sentence) else text
        self.write(self.dialect.notice(words, self.laid_out_for))

    # Entries that its person has seen

    def has_shown(self, facts: RoomFacts, entries: Sequence[Entry], ends: Sequence[int] = ()) -> None:
        """Notes that these consecutive entries were sent. `ends`: see `Rendered`."""
        if self.view is not None:
            last = self.view.shown(facts, entries, self.who.account_id, self.link.written, ends)
            self.link.showed()
            if facts.pair is not None and self.view.is_news_private(facts.id, facts.label(self.who.account_id)):
                self.notice(Sentence(Note.PRIVATE_LINE, name=self.view.last.private_name))
            if last is not None:
                form = self.form
                day = form.dialect.day(last.at, form.screen)
                if day != form.day:
                    self.form = form_of(form.dialect, form.framing, day, form.screen)
