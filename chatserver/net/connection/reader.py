"""From a door's lines to commands in a session's inbox: as many as the turn, the pace and the inbox allow."""

from collections.abc import Awaitable
from typing import Any, Final, Protocol, cast

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from chatserver.net.connection.deadline import Deadline
from chatserver.net.connection.parts import Parts
from chatserver.net.door import Doorway
from chatserver.net.limits.intake import Intake
from chatserver.session.link import Link
from chatserver.session.session import Session
from chatserver.values.commands import ENTRIES, ENTRY_COST, Command
from chatserver.values.errors import Note, Refused, Rejected, Sentence, Why
from chatserver.values.stages import NOT_LOGGED_IN, Event, Stage, misplaced
from chatserver.wire.framing.line_editing import typed_line
from chatserver.wire.framing.lines import TooLong, Undecodable, foreign
from chatserver.wire.hygiene.text import clean_line

TYPED_BYTES: Final = 20_480
"""Maximum size of a line that is typed, where `limits.max_line_bytes` allows more for the escapes of JSON: 4,096
characters of four bytes, and the rest of a command. Keys are taken out one by one, which takes time."""


class Owner(Link, Protocol):
    """The connection whose lines a reader takes."""

    session: Session

    def advance(self, size: int = 0, *, anew: bool = False) -> None:
        """Has the reader take lines, and acts on the result."""

    def end(self, reason: str) -> None:
        """Ends the connection without a further word."""

    def failed(self, failure: Failure) -> None:
        """Ends the connection because of a fault of the server."""


class Reader:
    """Takes lines while there is room for them, and has itself called again when it is its turn."""

    __slots__ = ("_advised", "_clock", "_connection", "_deadline", "_door", "_parts", "_session", "_turn", "_used",
                 "commands", "intake")  # fmt: skip

    def __init__(self, connection: Owner, parts: Parts, door: Doorway, intake: Intake, deadline: Deadline) -> None:
        self._session = connection.session
        self.intake = intake
        self.commands = 0
        """Number of commands given since logging in."""
        self._connection = connection
        self._parts = parts
        self._clock = parts.clock
        self._door = door
        self._deadline = deadline
        self._advised = False
        self._used = 0  # bytes of the lines before logging in
        self._turn: IDelayedCall | None = None

    def take_lines(self, size: int = 0, *, anew: bool = False) -> None:
        """Takes lines until none is left, the inbox is full, or it is the others' turn. `size`, `anew`: see
        `Intake.turn`."""
        session, window = self._session, self._parts.limits.window
        if session.who.limits is not self.intake.own:
            self.intake.follow(session.who.limits)
        with self.intake.turn(self._clock.seconds(), size, anew=anew) as intake:
            if intake.wait:
                self.turn_soon(intake.wait)
            elif session.is_read and len(session.inbox) < window:
                try:
                    for line in self._door.lines(intake):
                        self._take(line)
                        if not session.is_read or len(session.inbox) >= window:
                            break
                    else:
                        if session.is_read and (intake.left <= 0 or intake.bytes <= 0):
                            self.turn_soon()
                except Undecodable as problem:
                    self._reject(Rejected(Refused(Why.UNDECODABLE, text=problem.text), fatal=True))
        if session.is_read and session.stage is not Stage.IN:
            max_bytes = self._parts.limits.handshake_bytes
            if max_bytes and self._used + self._door.pending > max_bytes:
                self._connection.hang_up("handshake", Sentence(Note.SENT_TOO_MUCH))

    def _take(self, line: bytes | TooLong) -> None:
        """Makes a command of a line, which has no end any more. Raises Undecodable."""
        session = self._session
        if session.view is not None and isinstance(line, bytes) and len(line) >= TYPED_BYTES:
            line = TooLong(TYPED_BYTES)
        if isinstance(line, TooLong):
            if session.stage is Stage.NEW:
                session.move(Event.RECOGNIZED)
            if session.stage in NOT_LOGGED_IN:
                self._deadline.renew()
            self._used += line.most
            tag, cmd = session.dialect.label(line.start, line.end)
            self._reject(Rejected(Refused(Why.LINE_TOO_LONG, most=line.most), tag, cmd))
            return
        if session.stage is Stage.NEW:
            if not self.recognize(line, whole=True):
                return
            session.move(Event.RECOGNIZED)
            self._deadline.renew()
        elif session.view is not None and session.stage in NOT_LOGGED_IN:
            self._deadline.renew()
        if session.view is None:
            text = clean_line(line)
        else:
            try:
                text, has_keys = typed_line(line)
            except Refused as refused:
                self._used += len(line) + 1
                self._reject(Rejected(refused))
                return
            if has_keys:
                self._advise()
        parsed = session.parse(text)
        if session.stage is not Stage.IN:
            self._used += len(line) + 1
            self._await(self._parts.handshake.receive(session, parsed))
        elif isinstance(parsed, Command):
            self.commands += 1
            if type(parsed) in ENTRIES:
                self.intake.left -= ENTRY_COST - 1
            session.inbox.append(misplaced(Stage.IN, parsed) or parsed)
        elif parsed is not None:
            session.inbox.append(parsed)

    def _advise(self) -> None:
        """The person uses keys that their client does not handle: tells them once what helps."""
        if self._door.editor and not self._advised:
            self._advised = True
            self._session.notice(Sentence(Note.EDITOR, command=self._door.editor))

    def recognize(self, first: bytes, *, whole: bool = False) -> bool:
        """Chooses the dialect by the first bytes of the first line. Ends a connection that speaks another protocol, and
        returns whether it goes on."""
        if self._door.dialect is not None or not first:
            return True
        dialect = next(dialect for dialect in self._parts.dialects if dialect.recognizes(first))
        if dialect is not self._session.dialect:
            self._session.speak(dialect, self._door.framing)
        if not dialect.for_people:
            return True
        name = foreign(first)
        # HTTP begins like a person's name: only the whole line decides
        if name is None or (name == "HTTP" and not whole):
            return True
        self._parts.admission.offend(self._session.address, "foreign")
        self._session.answer_refusal(Rejected(Refused(Why.FOREIGN)))
        self._connection.end("foreign")
        return False

    def _await(self, work: Awaitable[None] | None) -> None:
        if work is not None:

            def done(_: object) -> None:
                if self._session.view is not None and self._session.is_read and self._session.stage is not Stage.IN:
                    self._deadline.renew()  # the next question is asked
                self.turn_soon()

            ensureDeferred(cast(Any, work)).addErrback(self._connection.failed).addCallback(done)

    def _reject(self, rejected: Rejected) -> None:
        """Refuses a line behind the answers to those before it."""
        if self._session.stage is Stage.IN:
            self._session.inbox.append(rejected)
        else:
            self._connection.refuse(rejected)

    # Turns

    def turn_soon(self, seconds: float = 0) -> None:
        """Has lines taken later, so that one client's burst does not keep the others waiting."""
        if self._turn is None and self._session.stage is not Stage.ENDING:
            self._turn = self._clock.callLater(seconds, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self._session.stage is not Stage.ENDING:
            self._connection.advance(anew=True)

    def stop(self) -> None:
        """Cancels the next turn."""
        if self._turn is not None and self._turn.active():
            self._turn.cancel()
        self._turn = None

    @property
    def waits(self) -> bool:
        """Whether a further turn is due, now or later."""
        return self._turn is not None

    @property
    def is_due(self) -> bool:
        """Whether lines can be taken now. They do not wait for their pace."""
        return self._turn is not None and self._turn.getTime() <= self._clock.seconds()
