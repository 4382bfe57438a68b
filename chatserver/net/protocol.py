"""One connection: bytes to lines, deadlines, back-pressure, half-close, the end."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from chatserver import encode
from chatserver.commands import Command
from chatserver.errors import BLAMELESS, ErrorWord, Refused
from chatserver.events import Closing, Pinged
from chatserver.handshake import admit
from chatserver.net.outbox import Outbox
from chatserver.session import Dialect, Rejected, Session, Stage
from chatserver.wire import jsonl, text
from chatserver.wire.foreign import foreign
from chatserver.wire.hygiene import clean_line
from chatserver.wire.lines import Lines, TooLong, Undecodable

if TYPE_CHECKING:
    from chatserver.net.factory import ChatFactory

LINGER_SECONDS = 2.0
STRIKE_SECONDS = 60.0


@implementer(IHalfCloseableProtocol)
class ChatProtocol(LineReceiver):
    """Bytes in, commands to the session's inbox, bytes out. LineReceiver's own splitting is quadratic in a burst of
    short lines, so `Lines` does that."""

    factory: "ChatFactory"

    def __init__(self, session: Session) -> None:
        self.session = session
        self._lost = False
        self._eof = False
        self._ended = False  # the last word is said; what still comes in is thrown away
        self._first = True  # nothing is known of the client yet
        self._paused = False
        self._used = 0  # bytes of the lines before logging in
        self._turn: IDelayedCall | None = None
        self._deadline: IDelayedCall | None = None
        self._quiet: IDelayedCall | None = None
        self._heard = 0.0  # when the last bytes came
        self._tokens = 0.0
        self._refilled = 0.0

    # Twisted's hooks

    def connectionMade(self) -> None:
        factory, session = self.factory, self.session
        for option in ("setTcpNoDelay", "setTcpKeepAlive"):
            if hasattr(self.transport, option):  # a Unix socket has neither
                getattr(self.transport, option)(True)
        self._clock = factory.clock
        self._lines = Lines(factory.limits.max_line_bytes)
        self._outbox = Outbox(session, self.transport, self._clock, factory.limits.stalled_seconds)
        self._tokens = float(factory.limits.command_burst)
        session.write = self._outbox.write
        session.hold = self._outbox.hold
        session.release = self._outbox.release
        session.refuse = self._refuse
        session.hang_up = self.hang_up
        session.more = self._more
        session.drained = self._drained
        session.admitted = self._admitted
        seconds = factory.limits.handshake_seconds
        if seconds:
            self._deadline = self._clock.callLater(
                seconds, self.hang_up, "handshake", "You did not log in in time. Connect again, and log in at once."
            )
        session.write(factory.handshake.greeting())

    def dataReceived(self, data: bytes) -> None:
        if self._ended:
            return
        self._heard = self._clock.seconds()
        self._lines.feed(data)
        replies = self._lines.replies()
        if replies:
            self.session.write(replies)
        if self._first and not self._recognise(self._lines.start()):
            return
        self.advance()

    def readConnectionLost(self) -> None:
        self._eof = True
        if self._ended:
            cast(Any, self.transport).loseConnection()
        else:
            self.advance()

    def writeConnectionLost(self) -> None:
        """All is given to the kernel, after `_end`: the rest is up to the peer, for a moment."""
        self._cancel()
        self._deadline = self._clock.callLater(LINGER_SECONDS, cast(Any, self.transport).loseConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = self._eof = True
        self._ended = self._ended or self.session.stage is not Stage.IN
        self._outbox.stopProducing()
        self._cancel()
        self.factory.lost(self)
        if self._ended:
            self.session.stage = Stage.ENDING
            self.session.detach()
        else:
            self.session.writable = True  # what arrived is still done; nobody waits for answers
            self.advance()

    # From bytes to commands

    def advance(self) -> None:
        """Takes lines for as long as the inbox has room, and hands the session on."""
        session, limits = self.session, self.factory.limits
        while not self._ended and session.stage is not Stage.BUSY and len(session.inbox) < limits.window:
            if limits.commands_per_second and session.stage is Stage.IN and not self._may_command():
                break
            try:
                line = self._lines.next()
                if line is None and self._eof and not self._lost:  # a line that was cut off is none
                    line = self._lines.finish()
                if line is None:
                    break
                self._tokens -= 1
                self.lineReceived(line)
            except Undecodable as problem:
                self._reject(Refused(ErrorWord.UNDECODABLE, problem.text), fatal=True)
                break
        if session.stage in (Stage.GREETING, Stage.PASSWORD):
            most = limits.handshake_bytes
            if most and self._used + self._lines.pending > most:
                self.hang_up("handshake", "Too much was sent before logging in. Connect again, and log in first.")
        if session.inbox:
            self.factory.processors.schedule(session)
        self._steer()

    def lineReceived(self, line: bytes | type[TooLong] | TooLong) -> None:
        """One line without its end. Raises Undecodable."""
        session = self.session
        if not isinstance(line, bytes):
            most = self.factory.limits.max_line_bytes
            self._first = False
            self._used += most
            self._reject(Refused(ErrorWord.LINE_TOO_LONG, f"A line has {most} bytes at most; yours was not read."))
            return
        if self._first:
            self._first = False
            if not self._recognise(line, whole=True):
                return
        words = clean_line(line)
        if session.stage is not Stage.IN:
            self._used += len(line) + 1
            self._await(self.factory.handshake.line(session, words))
            return
        command: Command | None = None
        try:
            command = jsonl.parse(words) if session.dialect is Dialect.JSON else text.parse(words)
            if command is not None:
                admit(Stage.IN, command)
                session.inbox.append(command)
        except jsonl.Rejected as rejected:
            session.inbox.append(Rejected(rejected.refusal, rejected.tag))
        except Refused as refused:
            session.inbox.append(Rejected(refused, command.tag if command else None))

    def _reject(self, refused: Refused, *, fatal: bool = False) -> None:
        """Refuses a line, behind the answers to those before it."""
        rejected = Rejected(refused, fatal=fatal)
        if self.session.stage is Stage.IN:
            self.session.inbox.append(rejected)
        else:
            self._refuse(rejected)

    def _refuse(self, rejected: Rejected) -> None:
        """Answers with an error. Too many of them, or a fatal one, end the connection."""
        session, refused = self.session, rejected.refused
        session.write(encode.refusal(session, rejected.tag, refused))
        if rejected.fatal:
            self.factory.admission.offence(session.address)
            self._end(refused.error.value)
        elif refused.error not in BLAMELESS and self.factory.limits.strikes:
            now = self._clock.seconds()
            session.strikes.append(now)
            while now - session.strikes[0] > STRIKE_SECONDS:
                del session.strikes[0]
            if len(session.strikes) >= self.factory.limits.strikes:
                self.hang_up("strikes", "Too many of your commands were refused. Connect again when that is mended.")

    def _recognise(self, first: bytes, *, whole: bool = False) -> bool:
        """Tells the dialect by the first bytes of the first line; ends what speaks another protocol."""
        if first[:1] == b"{":
            self.session.dialect = Dialect.JSON
        else:
            name = foreign(first)
            # HTTP begins like a person's name: the whole line tells.
            if name is not None and (whole or name != "HTTP"):
                self.factory.admission.offence(self.session.address)
                words = "This is a chat server, which your client does not speak. Try a plain one: nc, or telnet."
                self.session.write(encode.refusal(self.session, None, Refused(ErrorWord.UNDECODABLE, words)))
                self._end("foreign")
                return False
        return True

    def _await(self, work: Awaitable[None] | None) -> None:
        if work is not None:

            def done(_: object) -> None:
                self._turn_soon()

            ensureDeferred(cast(Any, work)).addErrback(self.factory.failed).addCallback(done)

    def _may_command(self) -> bool:
        """Whether another command may be taken now; else this comes back when it may."""
        limits = self.factory.limits
        now = self._clock.seconds()
        most = max(float(limits.command_burst), 1.0)
        self._tokens = min(most, self._tokens + (now - self._refilled) * limits.commands_per_second)
        self._refilled = now
        if self._tokens < 1:
            self._turn_soon((1 - self._tokens) / limits.commands_per_second)
            return False
        return True

    # Back-pressure

    def _more(self) -> None:
        """The inbox has room again."""
        if self._paused or self._eof or self._lines.pending:
            self._turn_soon()

    def _turn_soon(self, seconds: float = 0) -> None:
        """Goes on later, so that one client's burst does not keep the others waiting."""
        if self._turn is None and not self._ended:
            self._turn = self._clock.callLater(seconds, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if not self._ended:
            self.advance()

    def _drained(self) -> None:
        self.advance()
        self.factory.registry.catch_up(self.session)

    def _steer(self) -> None:
        """Reads on or not, as there is room; after the client's end, closes once everything is done."""
        session = self.session
        busy = session.stage is Stage.BUSY or len(session.inbox) >= self.factory.limits.window
        idle = not (session.inbox or session.waiting or session.replays or busy)
        if self._ended:
            return
        if self._eof:
            if idle and not self._lines.pending and self._turn is None:
                self._end("eof")
        elif (busy or not session.writable or self._turn is not None or self.factory.closing) is not self._paused:
            self._paused = not self._paused
            transport = cast(Any, self.transport)
            transport.pauseProducing() if self._paused else transport.resumeProducing()

    @property
    def busy(self) -> bool:
        """Whether something that has arrived is still to be done."""
        session = self.session
        if self._ended or (not session.writable and not session.waiting):
            return False
        return bool(session.inbox) or session.waiting or session.stage is Stage.BUSY or self._turn is not None

    # Deadlines

    def _admitted(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.factory.admission.logged_in(self.session.address)
        seconds = self.factory.limits.ping_seconds
        if seconds and self.session.dialect is Dialect.JSON:
            self._quiet = self._clock.callLater(seconds, self._ask, seconds)

    def _ask(self, seconds: float) -> None:
        """Asks a program that has been quiet whether it is there."""
        left = self._heard + seconds - self._clock.seconds()
        if left > 0 or self._paused:  # while it is not read, its silence says nothing
            self._quiet = self._clock.callLater(max(left, 1.0), self._ask, seconds)
            return
        if self.session.writable:
            self.session.write(encode.news(self.session, Pinged()))
        self._quiet = self._clock.callLater(self.factory.limits.pong_seconds, self._give_up, self._heard)

    def _give_up(self, heard: float) -> None:
        if self._heard > heard or self._paused:
            seconds = self.factory.limits.ping_seconds
            self._quiet = self._clock.callLater(
                max(self._heard + seconds - self._clock.seconds(), 1.0), self._ask, seconds
            )
        else:
            self.hang_up("timeout", "Nothing was heard from you for too long. Connect again.")

    # The end

    def hang_up(self, reason: str, text: str, retry: int | None = None) -> None:
        """Says why, where there is a reason, and ends the connection; what was written before still goes out."""
        if not self._ended:
            if reason == "failed-logins":
                self.factory.admission.offence(self.session.address)
            if reason:
                self.session.write(encode.news(self.session, Closing(reason, text, retry)))
            self._end(reason or "quit")

    def abort(self) -> None:
        """Cuts the connection."""
        cast(Any, self.transport).abortConnection()

    def _end(self, reason: str) -> None:
        """Flushes and closes.

        The peer may still be sending: closing at once would make the kernel answer with a reset, which destroys the
        last words on their way (RFC 1122, 4.2.2.13). So what comes is read, and thrown away, for a moment.
        """
        self._ended = True
        self.session.stage = Stage.ENDING
        self.session.inbox.clear()
        if self._lost:
            self.session.detach()
            return
        self._cancel()
        self._outbox.close()
        self.factory.ended(self, reason)
        transport = cast(Any, self.transport)
        if self._paused:
            self._paused = False
            transport.resumeProducing()
        self._deadline = self._clock.callLater(self._patience(), self.abort)
        # TLS has no half of a connection to close: it says that this is the end, and waits until the peer does too.
        if self._eof or not self._outbox.direct:
            transport.loseConnection()
        else:
            transport.loseWriteConnection()

    def _patience(self) -> float:
        """Seconds for the peer to take the last words. A slow one may take its time for answers, but not while the
        server wants to stop; who has not logged in has few to take, and over TLS perhaps never will."""
        if self.factory.closing:
            return self.factory.flush_seconds
        return max(self.factory.limits.stalled_seconds if self.session.account_id else 0, LINGER_SECONDS)

    def _cancel(self) -> None:
        for call in (self._deadline, self._quiet, self._turn if self._ended else None):
            if call is not None and call.active():
                call.cancel()
