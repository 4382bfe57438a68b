"""From a door's bytes to a session's inbox: lines, as many as the turn, the pace and the inbox allow."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from chatserver.net.connection.deadline import Deadline
from chatserver.net.connection.intake import Intake
from chatserver.net.connection.outbox import Outbox
from chatserver.net.doorway import Doorway
from chatserver.values.answers import Refusal
from chatserver.values.commands import Command
from chatserver.values.endings import FENCED
from chatserver.values.errors import ErrorWord, Refused, Rejected
from chatserver.values.stages import NOT_LOGGED_IN, Event, PeerState, Stage, misplaced
from chatserver.wire.framing.foreign import foreign
from chatserver.wire.framing.line_editing import typed_line
from chatserver.wire.framing.lines import TooLong, Undecodable
from chatserver.wire.hygiene.text import clean_line

if TYPE_CHECKING:
    from chatserver.net.connection.connection import Connection
    from chatserver.net.connection.connections import Connections

EDITING: Final = "To edit what you type, connect with: "


class Reader:
    """Takes lines of a connection for as long as there is room for them, and pauses reading otherwise."""

    __slots__ = ("_advised", "_clock", "_connection", "_deadline", "_door", "_outbox", "_session", "_shared", "_turn",
                 "_used", "intake")  # fmt: skip

    def __init__(
        self,
        connection: "Connection",
        shared: "Connections",
        door: Doorway,
        outbox: Outbox,
        intake: Intake,
        deadline: Deadline,
    ) -> None:
        self._session = connection.session
        self.intake = intake
        self._connection = connection
        self._shared = shared
        self._clock = shared.clock
        self._door = door
        self._outbox = outbox
        self._deadline = deadline
        self._advised = False
        self._used = 0  # bytes of the lines before logging in
        self._turn: IDelayedCall | None = None

    # Called by the door

    def received(self, size: int) -> None:
        """So many bytes have come; the door has them."""
        if not self._shared.may_serve():
            self._connection.hang_up(*FENCED, retry=1)
        lingering = self._connection.lingering
        if lingering is not None:
            lingering.received(size)
            return
        if self.intake.limited:
            self.intake.came(size)
        if self._connection.liveness is not None:
            self._connection.liveness.heard = self._clock.seconds()
        self.advance()

    def line_received(self, line: bytes | TooLong) -> None:
        """One line without its end. Raises Undecodable."""
        session = self._session
        if isinstance(line, TooLong):
            if session.stage is Stage.NEW:
                session.move(Event.RECOGNIZED)
            if session.stage in NOT_LOGGED_IN:
                self._deadline.renew()
            self._used += line.most
            text = f"A line can have at most {line.most} bytes; yours was dropped."
            self._reject(Rejected(Refused(ErrorWord.LINE_TOO_LONG, text)))
            return
        if session.stage is Stage.NEW:
            if not self._recognize(line, whole=True):
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
            self._await(self._shared.handshake.receive(session, parsed))
        elif isinstance(parsed, Command):
            self._connection.commands += 1
            session.inbox.append(misplaced(Stage.IN, parsed) or parsed)
        elif parsed is not None:
            session.inbox.append(parsed)

    def _advise(self) -> None:
        """Their person presses keys that do not do what they do elsewhere: says once what helps."""
        if self._door.editor and not self._advised:
            self._advised = True
            self._session.notice(EDITING + self._door.editor)

    # From lines to the inbox

    def advance(self) -> None:
        """Takes lines for as long as the inbox has room, and puts the session on the queue."""
        try:
            self._advance()
        except Exception:
            self._connection.failed(Failure())

    def _advance(self) -> None:
        session, intake = self._session, self.intake
        if session.who.limits is not intake.own:
            intake.follow(session.who.limits)
        if not intake.limited:
            self._take_lines(intake)
        elif seconds := intake.begin(self._clock.seconds()):
            self.turn_soon(seconds)
        else:
            self._take_lines(intake)
            intake.end()
        if session.is_read and session.stage is not Stage.IN:
            max_bytes = self._shared.limits.handshake_bytes
            if max_bytes and self._used + self._door.pending > max_bytes:
                self._connection.hang_up("handshake", "You sent too much before logging in.")
        self._connection.staged()
        if session.inbox:
            self._shared.processors.schedule(session)
        self._steer()

    def _take_lines(self, intake: Intake) -> None:
        """Takes lines until there are no more, the inbox is full, or it is the others' turn."""
        session, door, window = self._session, self._door, self._shared.limits.window
        while session.is_read and len(session.inbox) < window:
            if intake.left <= 0:
                self.turn_soon()
                break
            try:
                # A line that a lost connection cut off is none.
                if door.deliver(last=self._connection.peer is PeerState.HALF_CLOSED):
                    if intake.limited:
                        intake.took(1)
                    continue
            except Undecodable as problem:
                self._reject(Rejected(Refused(ErrorWord.UNDECODABLE, problem.text), fatal=True))
                break
            if not door.backlog:
                break
            size = door.split(intake.piece)
            if intake.limited:
                intake.split(size)
                intake.took(door.controls())
            if session.stage is Stage.NEW:
                self._recognize(door.start())

    def _recognize(self, first: bytes, *, whole: bool = False) -> bool:
        """Tells the dialect by the first bytes of the first line; ends what speaks another protocol."""
        if self._door.dialect is not None or not first:
            return True
        dialect = next(dialect for dialect in self._shared.dialects if dialect.recognizes(first))
        if dialect is not self._session.dialect:
            self._session.speak(dialect, self._door.framing)
        if not dialect.for_people:
            return True
        name = foreign(first)
        # HTTP begins like a person's name: the whole line tells.
        if name is None or (name == "HTTP" and not whole):
            return True
        self._shared.refusals.offend(self._session.address, "foreign")
        words = "This is a chat server, but your client speaks another protocol. Use nc or telnet."
        self._session.answer(None, Refusal(ErrorWord.UNDECODABLE, words))
        self._connection.end("foreign")
        return False

    def _await(self, work: Awaitable[None] | None) -> None:
        if work is not None:

            def done(_: object) -> None:
                if self._session.view is not None and self._session.is_read and self._session.stage is not Stage.IN:
                    self._deadline.renew()  # there is a new question
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
        """Goes on later, so that one client's burst does not keep the others waiting."""
        if self._turn is None and self._session.stage is not Stage.ENDING:
            self._turn = self._clock.callLater(seconds, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self._session.stage is not Stage.ENDING:
            self.intake.new_turn()
            self.advance()

    def stop(self) -> None:
        """No turn comes any more."""
        if self._turn is not None and self._turn.active():
            self._turn.cancel()

    @property
    def is_due(self) -> bool:
        """Whether lines that are there are to be taken now; what waits for its pace is not."""
        return self._turn is not None and self._turn.getTime() <= self._clock.seconds()

    def _steer(self) -> None:
        """Reads on or pauses, as there is room; after the peer's end, closes once everything is done."""
        session = self._session
        if session.stage is Stage.ENDING:
            return
        full = session.stage is Stage.BUSY or len(session.inbox) >= self._shared.limits.window
        ending = self._shared.closing or self._connection in self._shared.moving
        if self._connection.peer is not PeerState.OPEN:
            idle = not (session.inbox or session.waiting or session.replays or full)
            if idle and self._turn is None:  # while there are further lines, a turn is due
                if self._connection.peer is PeerState.HALF_CLOSED:
                    session.confirm()
                self._connection.end("eof")
        else:
            self._outbox.read(not (full or not self._connection.writable or self._turn is not None or ending))
