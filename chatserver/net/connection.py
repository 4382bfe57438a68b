"""The life of one connection, whatever its framing: stages, deadlines, strikes, back-pressure, half-close, the end."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from chatserver import audit
from chatserver.answers import Refusal
from chatserver.commands import Command
from chatserver.errors import BLAMELESS, ErrorWord, Refused, Rejected
from chatserver.events import Closing, Pinged
from chatserver.handshake import misplaced
from chatserver.net.certificates import fingerprint, secured
from chatserver.net.doorway import Doorway
from chatserver.net.exposure import exposed, is_loopback
from chatserver.net.intake import Intake
from chatserver.net.liveness import Liveness
from chatserver.net.outbox import Outbox
from chatserver.net.pace import NO_RATES
from chatserver.net.visits import way
from chatserver.session import NO_LINK, Session, takes_nothing
from chatserver.stages import NOT_LOGGED_IN, Event, Peer, Stage
from chatserver.wire.foreign import foreign
from chatserver.wire.hygiene import clean_line
from chatserver.wire.lines import TooLong, Undecodable

if TYPE_CHECKING:
    from chatserver.net.connections import Connections

LINGER_SECONDS = 2.0
"""Time for the peer to take the last words, where nothing else says how long it may take."""

CHECKING_SECONDS = 1.0
"""How often a connection whose time to log in is over is looked at while its login is being checked."""

DISCARDED_BYTES = 16 << 20
"""What a client may send after its connection has ended: more than the buffers of both kernels hold. Whoever sends more
does not mean to read the last words."""

STRIKE_SECONDS = 60.0
FENCED = ("fenced", "The server was interrupted and starts anew. Connect again.")
"""Reason and text for the connections of a server whose lease has lapsed."""


class Connection:
    """A session's link. What is written to it is framed already."""

    __slots__ = ("_broken", "_clock", "_deadline", "_discarded", "_door", "_exempt", "_intake", "_liveness",
                 "_outbox", "_shared", "_turn", "_used", "began", "commands", "encrypted", "logged", "peer", "send",
                 "session", "way", "writable")  # fmt: skip

    def __init__(self, session: Session, shared: "Connections", door: Doorway) -> None:
        self.session = session
        self.peer = Peer.OPEN
        self.encrypted: bool | None = None  # whether the client speaks TLS with the proxy that it came through, if any
        self.began = 0.0  # by the reactor's clock
        self.way = ""  # see `visits.way`
        self.logged = False  # the log has its beginning
        self.commands = 0  # given since it logged in
        self.writable = False
        self.send: Callable[[bytes], int] = takes_nothing
        self._broken = False  # it is ending because of a fault
        self._discarded = 0
        self._shared = shared
        self._clock = shared.clock
        self._door = door
        self._outbox: Outbox
        self._intake: Intake
        self._exempt = False  # no rate and no quota counts its address
        self._liveness: Liveness | None = None
        self._used = 0  # bytes of the lines before logging in
        self._turn: IDelayedCall | None = None
        self._deadline: IDelayedCall | None = None

    # Called by the door

    def made(self) -> None:
        """There is a transport."""
        self._shared.admission.counts.accepted += 1
        limits, transport = self._shared.limits, self._door.transport
        for option in ("setTcpNoDelay", "setTcpKeepAlive"):
            if hasattr(transport, option):  # a Unix socket has neither
                getattr(transport, option)(True)
        self._outbox = Outbox(self, transport, self._clock, limits)
        self._exempt = self._shared.admission.exempt(self.session.address)
        rates = NO_RATES if self._exempt else self._shared.allowances.rates
        self.began = self._clock.seconds()
        self._intake = Intake(limits, rates, self.began)
        self.way = way(self._door)
        self.logged = self._shared.visits.began(self)
        self.session.link = self
        if limits.handshake_seconds:
            self._deadline = self._clock.callLater(limits.handshake_seconds, self._too_late)

    def _too_late(self) -> None:
        """Ends a connection that has not logged in in time; a login that is being checked may end first."""
        if self.session.stage is Stage.BUSY:
            self._deadline = self._clock.callLater(CHECKING_SECONDS, self._too_late)
        else:
            self.hang_up("handshake", "You did not log in in time. Connect again and log in right away.")

    def opened(self) -> None:
        """Lines can be sent: the server speaks first, where the dialect is known to have words for it."""
        if self._door.dialect is not None:
            self.session.move(Event.RECOGNIZED)
        else:
            self._shared.handshake.greet(self.session)

    def received(self, size: int) -> None:
        """So many bytes have come; the door has them."""
        if not self._shared.may_serve():
            self.hang_up(*FENCED, retry=1)
        if self.session.stage is Stage.ENDING:
            self._door.backlog = b""
            self._discarded += size
            if self._discarded > DISCARDED_BYTES:
                self.abort()
            return
        if self._intake.limited:
            self._intake.came(size)
        if self._liveness is not None:
            self._liveness.heard = self._clock.seconds()
        self.advance()

    def peer_ended(self) -> None:
        """The framing says that the peer has ended its side: what it sent is done and answered, then the connection
        ends. To be called while lines are taken."""
        if self.peer is Peer.OPEN:
            self.peer = Peer.HALF_CLOSED

    def half_closed(self) -> None:
        """The peer has ended its side."""
        self.peer_ended()
        if self.session.stage is Stage.ENDING:
            self._door.transport.loseConnection()
        else:
            self.advance()

    def flushed(self) -> None:
        """After the end everything is in the kernel: the rest is up to the peer, for a moment."""
        self._cancel()
        self._deadline = self._clock.callLater(LINGER_SECONDS, self._door.transport.loseConnection)

    def lost(self) -> None:
        """There is no transport any more."""
        self.peer = Peer.LOST
        session = self.session
        if session.stage is not Stage.ENDING:
            self._log_end("lost")
        if session.stage in NOT_LOGGED_IN:
            session.move(Event.ENDED)
        self._outbox.stopProducing()
        self._cancel()
        self._shared.lost(self)
        self._shared.admission.counts.gone(self)
        if session.stage is Stage.ENDING:
            self._let_go()
        else:
            self.writable = True  # what has arrived is still done; nobody waits for the answers
            self.advance()

    def line_received(self, line: bytes | TooLong) -> None:
        """One line without its end. Raises Undecodable."""
        session = self.session
        if isinstance(line, TooLong):
            if session.stage is Stage.NEW:
                session.move(Event.RECOGNIZED)
            self._used += line.most
            text = f"A line can have at most {line.most} bytes; yours was dropped."
            self._reject(Rejected(Refused(ErrorWord.LINE_TOO_LONG, text)))
            return
        if session.stage is Stage.NEW:
            if not self._recognize(line, whole=True):
                return
            session.move(Event.RECOGNIZED)
        text = clean_line(line)
        parsed = session.parse(text)
        if session.stage is not Stage.IN:
            self._used += len(line) + 1
            self._await(self._shared.handshake.receive(session, parsed))
        elif isinstance(parsed, Command):
            self.commands += 1
            session.inbox.append(misplaced(Stage.IN, parsed) or parsed)
        elif parsed is not None:
            session.inbox.append(parsed)

    # From lines to the inbox

    def advance(self) -> None:
        """Takes lines for as long as the inbox has room, and puts the session on the queue."""
        try:
            self._advance()
        except Exception:
            self._failed(Failure())

    def _advance(self) -> None:
        session, intake = self.session, self._intake
        if session.limits is not intake.own:
            intake.follow(session.limits)
        if not intake.limited:
            self._take_lines(intake)
        elif seconds := intake.begin(self._clock.seconds()):
            self._turn_soon(seconds)
        else:
            self._take_lines(intake)
            intake.end()
        if session.is_read and session.stage is not Stage.IN:
            max_bytes = self._shared.limits.handshake_bytes
            if max_bytes and self._used + self._door.pending > max_bytes:
                self.hang_up("handshake", "You sent too much before logging in. Connect again and log in first.")
        if session.inbox:
            self._shared.processors.schedule(session)
        self._steer()

    def _take_lines(self, intake: Intake) -> None:
        """Takes lines until there are no more, the inbox is full, or it is the others' turn."""
        session, door, window = self.session, self._door, self._shared.limits.window
        while session.is_read and len(session.inbox) < window:
            if intake.left <= 0:
                self._turn_soon()
                break
            try:
                # A line that a lost connection cut off is none.
                if door.deliver(last=self.peer is Peer.HALF_CLOSED):
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
        if dialect is not self.session.dialect:
            self.session.speak(dialect, self._door.framing)
        if not dialect.for_people:
            return True
        name = foreign(first)
        # HTTP begins like a person's name: the whole line tells.
        if name is None or (name == "HTTP" and not whole):
            return True
        self._offend("foreign")
        words = "This is a chat server, but your client speaks another protocol. Use nc or telnet."
        self.session.answer(None, Refusal(ErrorWord.UNDECODABLE, words))
        self.end("foreign")
        return False

    def _await(self, work: Awaitable[None] | None) -> None:
        if work is not None:

            def done(_: object) -> None:
                self._turn_soon()

            ensureDeferred(cast(Any, work)).addErrback(self._failed).addCallback(done)

    def _failed(self, failure: Failure) -> None:
        """A fault of the server: nobody knows what the client lacks, so it has to start anew.

        The connection ends in the next turn of the reactor: now, its room may be writing to all who hear it.
        """
        self._shared.failed(failure)
        self.writable = False
        if not self._broken:
            self._broken = True
            self._clock.callLater(0, self._give_up)

    def _give_up(self) -> None:
        try:
            self.hang_up("fault", "Something went wrong in the server; its log has the details. Connect again.")
        except Exception:
            self._shared.failed(Failure())
            self.abort()

    # Refusals

    def _reject(self, rejected: Rejected) -> None:
        """Refuses a line behind the answers to those before it."""
        if self.session.stage is Stage.IN:
            self.session.inbox.append(rejected)
        else:
            self.refuse(rejected)

    def _offend(self, what: str) -> None:
        """Counts something against the address that no chat client does."""
        self._shared.admission.offence(self.session.address)
        audit.offence(self.session.address, what)

    def refuse(self, rejected: Rejected) -> None:
        """Answers with an error. Too many of them, or a fatal one, end the connection."""
        session, error = self.session, rejected.refused.error
        session.answer_refusal(rejected)
        counts = self._shared.admission.counts
        counts.refusals[error.value] += 1
        if session.stage in NOT_LOGGED_IN:
            counts.logins[error.value] += 1
        if rejected.fatal:
            self._offend(error.value)
            self.end(error.value)
        elif error not in BLAMELESS and self._shared.limits.strikes:
            now = self._clock.seconds()
            session.strikes.append(now)
            while now - session.strikes[0] > STRIKE_SECONDS:
                del session.strikes[0]
            if len(session.strikes) >= self._shared.limits.strikes:
                self.hang_up("strikes", "Too many of your commands were refused. Correct them, then connect again.")

    # Flow control

    # A link never raises: a fault of one connection ends that one, and whoever writes to many goes on.

    def write(self, data: bytes) -> None:
        try:
            self._outbox.write(data)
        except Exception:
            self._failed(Failure())

    def hold(self) -> bool:
        try:
            return self._outbox.hold()
        except Exception:
            self._failed(Failure())
            return False

    def release(self) -> None:
        try:
            self._outbox.release()
        except Exception:
            self._failed(Failure())

    def more(self) -> None:
        if self.session.stage is not Stage.ENDING and (
            not self._outbox.reading or self.peer is not Peer.OPEN or self._door.pending
        ):
            self._turn_soon()

    def drained(self) -> None:
        self.advance()
        self._shared.registry.catch_up(self.session)

    def stalled(self) -> None:
        self.hang_up("stalled", "You read nothing for too long. Connect again to continue.")
        self.abort()

    def _turn_soon(self, seconds: float = 0) -> None:
        """Goes on later, so that one client's burst does not keep the others waiting."""
        if self._turn is None and self.session.stage is not Stage.ENDING:
            self._turn = self._clock.callLater(seconds, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self.session.stage is not Stage.ENDING:
            self._intake.new_turn()
            self.advance()

    def _steer(self) -> None:
        """Reads on or pauses, as there is room; after the peer's end, closes once everything is done."""
        session = self.session
        if session.stage is Stage.ENDING:
            return
        full = session.stage is Stage.BUSY or len(session.inbox) >= self._shared.limits.window
        if self.peer is not Peer.OPEN:
            idle = not (session.inbox or session.waiting or session.replays or full)
            if idle and self._turn is None:  # while there are further lines, a turn is due
                self.end("eof")
        else:
            self._outbox.read(not (full or not self.writable or self._turn is not None or self._shared.closing))

    @property
    def busy(self) -> bool:
        """Whether something that has arrived is still to be done. What waits for its pace counts as not read yet."""
        session = self.session
        due = self._turn is not None and self._turn.getTime() <= self._clock.seconds()
        if session.stage is Stage.ENDING or (not self.writable and not session.waiting):
            return False
        return bool(session.inbox) or session.waiting or session.stage is Stage.BUSY or due

    # What is known of the way to the client

    @property
    def door(self) -> Doorway:
        return self._door

    def exposed(self) -> bool:
        if self.encrypted or secured(self._door.transport):
            return False
        if self.encrypted is None:
            return exposed(self._door.transport)
        return not is_loopback(self.session.address)

    def certificate(self) -> str:
        return fingerprint(self._door.transport)

    # Logged in

    def admitted(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._shared.admission.logged_in(self.session.address, self)
        self._shared.admission.counts.logins["ok"] += 1
        if not self._exempt:
            account = self._shared.allowances.join(self.session.account_id, self)
            self._intake.share(account, self.session.limits)
            self._outbox.share(account.unsent)
        self._watch()

    def _watch(self) -> None:
        """Pings the client when it is silent, or no longer, as the limits are now."""
        limits = self._shared.limits
        if not (limits.ping_seconds and self.session.dialect.pinged):
            if self._liveness is not None:
                self._liveness.stop()
                self._liveness = None
        elif self._liveness is not None:
            self._liveness.change(limits.ping_seconds, limits.pong_seconds)
        else:
            self._liveness = Liveness(
                self._clock, limits.ping_seconds, limits.pong_seconds, self._ping, self._silent, self._is_read
            )

    def follow(self) -> None:
        """The limits have changed. What an exempt address, the time to log in and the longest line are was settled when
        the connection came."""
        try:
            if not self._exempt:
                self._intake.reload(self._shared.allowances.rates)
            self._outbox.reload()
            if self.session.account_id and self.session.stage is not Stage.ENDING:
                self._watch()
        except Exception:
            self._failed(Failure())

    def _ping(self) -> None:
        if self.writable:
            self.session.tell(Pinged())

    def _silent(self) -> None:
        self.hang_up("timeout", "You sent nothing for too long. Connect again.")

    def _is_read(self) -> bool:
        """A client whose link is full cannot be asked: `stalled_seconds` is the limit for it."""
        return self._outbox.reading and self.writable

    # The end

    def hang_up(self, reason: str, text: str, retry: int | None = None) -> None:
        """Says why, if there is a reason, and ends the connection; what was written before still goes out."""
        if self.session.stage is Stage.ENDING:
            return
        if reason == "failed-logins":
            self._offend(reason)
        if self._shared.parting is not None:
            self._shared.parting.cork(self._door.transport)
        if not self._door.opened:
            self.write(self._door.refusal(text))
        elif reason:
            self.session.tell(Closing(reason, text, retry))
        self.end(reason or "quit")

    def abort(self) -> None:
        """Cuts the connection."""
        self._door.transport.abortConnection()

    def end(self, reason: str) -> None:
        """Flushes and closes, without a further word.

        The peer may still be sending: closing at once would make the kernel answer with a reset, which destroys the
        last words on their way (RFC 1122, 4.2.2.13). So what comes is read, and thrown away, for a moment.
        """
        if self.session.stage is Stage.ENDING:
            return
        self.session.move(Event.ENDED)
        self.session.inbox.clear()
        self._door.backlog = b""
        if self.peer is Peer.LOST:
            self._let_go()
            return
        self._log_end(reason)
        if self._intake.account is not None:
            self._intake.account.ended(self)
        self._cancel()
        self.write(self._door.farewell(reason))
        self._outbox.close()
        self._shared.ended(self, reason)
        if self._outbox.direct and self._shared.part(self, self._door.transport):
            return
        self._outbox.read(True)
        self._deadline = self._clock.callLater(self._patience(), self.abort)
        # TLS has no half of a connection to close: it says that this is the end, and waits until the peer does so too.
        if self.peer is Peer.HALF_CLOSED or not self._outbox.direct:
            self._door.transport.loseConnection()
        else:
            self._door.transport.loseWriteConnection()

    def _log_end(self, reason: str) -> None:
        self._shared.admission.counts.ended(self, self._door.transport, reason)
        if self._shared.parting is None or self._shared.parting.may_log():
            self._shared.visits.ended(self, reason)

    def _patience(self) -> float:
        """Seconds for the peer to take the last words. A slow one may take its time for answers, but not while the
        server wants to stop; a client that has not logged in has few to take, and over TLS perhaps never will."""
        if self._shared.closing:
            return self._shared.shutdown.flush_seconds
        return max(self._shared.limits.stalled_seconds if self.session.account_id else 0, LINGER_SECONDS)

    def _cancel(self) -> None:
        """Stops the clocks; a turn that is due still comes, unless this is the end."""
        if self._liveness is not None:
            self._liveness.stop()
            self._liveness = None
        for call in (self._deadline, self._turn if self.session.stage is Stage.ENDING else None):
            if call is not None and call.active():
                call.cancel()
        self._deadline = None  # one that has run still refers to what it called

    def _let_go(self) -> None:
        """Nothing refers to each other in a circle any more, so that the memory is free at once: the garbage collector
        would find it only now and then, and stop everything to look for it."""
        if self._intake.account is not None:
            self._shared.allowances.gone(self._intake.account, self)
        self.session.link = NO_LINK
        self._door.forget()
