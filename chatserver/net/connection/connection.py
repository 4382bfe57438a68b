"""The life of one connection, whatever its framing: its beginning, back-pressure, faults, half-close, the end."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from chatserver.net.acknowledged import has_ended, socket_beneath
from chatserver.net.certificates import fingerprint, secured
from chatserver.net.connection.deadline import Deadline
from chatserver.net.connection.intake import Intake
from chatserver.net.connection.lingering import LINGER_SECONDS, Lingering, patience
from chatserver.net.connection.liveness import Liveness
from chatserver.net.connection.outbox import Outbox
from chatserver.net.connection.reader import Reader
from chatserver.net.connection.visits import way
from chatserver.net.doorway import Doorway
from chatserver.net.exposure import exposed, is_loopback
from chatserver.net.limits.token_bucket import NO_RATES
from chatserver.session.link import NO_LINK, NO_PEER, takes_nothing
from chatserver.session.session import Session
from chatserver.values import endings
from chatserver.values.errors import FAULTY, Rejected
from chatserver.values.events import Closing, Pinged
from chatserver.values.stages import NOT_LOGGED_IN, Event, PeerState, Stage

if TYPE_CHECKING:
    from chatserver.net.connection.connections import Connections


class Connection:
    """A session's link. What is written to it is framed already."""

    __slots__ = ("_broken", "_clock", "_deadline", "_door", "_exempt", "_outbox", "_shared", "began", "commands",
                 "encrypted", "lingering", "liveness", "logged", "peer", "reader", "send", "session", "way",
                 "writable")  # fmt: skip

    def __init__(self, session: Session, shared: "Connections", door: Doorway) -> None:
        self.session = session
        self.peer = PeerState.OPEN
        self.encrypted: bool | None = None  # whether the client speaks TLS with the proxy that it came through, if any
        self.began = 0.0  # by the reactor's clock
        self.way = ""  # see `visits.way`
        self.logged = False  # the log has its beginning
        self.commands = 0  # given since it logged in
        self.writable = False
        self.send: Callable[[bytes], int] = takes_nothing
        self._broken = False  # it is ending because of a fault
        self._shared = shared
        self._clock = shared.clock
        self._door = door
        self._outbox: Outbox
        self.reader: Reader
        self.lingering: Lingering | None = None  # it has said everything
        self._exempt = False  # no rate and no quota counts its address
        self.liveness: Liveness | None = None
        self._deadline = Deadline(shared.clock, shared.limits, session, door)

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
        intake = Intake(limits, rates, self.began)
        self.reader = Reader(self, self._shared, self._door, self._outbox, intake, self._deadline)
        self.way = way(self._door)
        self.logged = self._shared.visits.began(self)
        self.session.link = self.session.peer = self
        self._deadline.renew()

    def opened(self) -> None:
        """Lines can be sent: the server speaks first, where the dialect is known to have words for it."""
        if self._door.dialect is not None:
            self.session.move(Event.RECOGNIZED)
        else:
            self._shared.handshake.greet(self.session)

    def peer_ended(self) -> None:
        """The framing says that the peer has ended its side: what it sent is done and answered, then the connection
        ends. To be called while lines are taken."""
        if self.peer is PeerState.OPEN:
            self.peer = PeerState.HALF_CLOSED

    def half_closed(self) -> None:
        """The peer has ended its side."""
        self.peer_ended()
        if self.session.stage is Stage.ENDING:
            self._outbox.taken()  # as long as there is a socket that tells
            self._door.transport.loseConnection()
        else:
            self.advance()

    def flushed(self) -> None:
        """After the end everything is in the kernel: the rest is up to the peer, for a moment."""
        self._outbox.taken()
        if self.lingering is not None:
            self.lingering.wait(LINGER_SECONDS, self._door.transport.loseConnection)

    def lost(self) -> None:
        """There is no transport any more."""
        self.peer = PeerState.LOST
        session = self.session
        if session.stage is not Stage.ENDING:
            self._log_end("lost")
        if session.stage in NOT_LOGGED_IN:
            session.move(Event.ENDED)
        self._outbox.stopProducing()
        if session.stage is Stage.ENDING:
            self._outbox.is_over()
        self._cancel()
        self._shared.lost(self)
        self._shared.admission.counts.gone(self)
        if session.stage is Stage.ENDING:
            self._let_go()
        else:
            self.writable = True  # what has arrived is still done; nobody waits for the answers
            self.advance()

    def advance(self) -> None:
        self.reader.advance()

    def failed(self, failure: Failure) -> None:
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
            self.hang_up(*FAULTY)
        except Exception:
            self._shared.failed(Failure())
            self.abort()

    def refuse(self, rejected: Rejected) -> None:
        self._shared.refusals.refuse(self, rejected)

    # Flow control

    # A link never raises: a fault of one connection ends that one, and whoever writes to many goes on.

    def write(self, data: bytes) -> None:
        try:
            self._outbox.write(data)
        except Exception:
            self.failed(Failure())

    def hold(self) -> bool:
        try:
            return self._outbox.hold()
        except Exception:
            self.failed(Failure())
            return False

    def release(self) -> None:
        try:
            self._outbox.release()
        except Exception:
            self.failed(Failure())

    @property
    def written(self) -> int:
        return self._outbox.written

    def taken(self) -> int:
        return self._outbox.taken()

    def showed(self) -> None:
        self._shared.marks.showed(self.session)

    def more(self) -> None:
        self.staged()
        if self.session.stage is not Stage.ENDING and (
            not self._outbox.reading or self.peer is not PeerState.OPEN or self._door.pending
        ):
            self.reader.turn_soon()

    def staged(self) -> None:
        """Where the client can, it shows nothing of what is typed while that is a secret. While one is being checked,
        that stays as it is: if it is wrong, the next one may be typed already."""
        session = self.session
        if session.view is not None and session.stage not in (Stage.BUSY, Stage.ENDING):
            self._door.conceal(session.awaits_secret)

    def drained(self) -> None:
        self.advance()
        self._shared.registry.catch_up(self.session)

    def stalled(self) -> None:
        self.hang_up("stalled", "You read nothing for too long.")
        self.abort()

    @property
    def busy(self) -> bool:
        """Whether something that has arrived is still to be done. What waits for its pace counts as not read yet."""
        session = self.session
        if session.stage is Stage.ENDING or (not self.writable and not session.waiting):
            return False
        return bool(session.inbox) or session.waiting or session.stage is Stage.BUSY or self.reader.is_due

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

    def has_sent_all(self) -> bool:
        return self.peer is not PeerState.OPEN or has_ended(socket_beneath(self._door.transport))

    # Logged in

    def admitted(self) -> None:
        self._deadline.stop()
        self._shared.admission.logged_in(self.session.address, self)
        self._shared.admission.counts.logins["ok"] += 1
        if not self._exempt:
            account = self._shared.allowances.join(self.session.who.account_id, self)
            self.reader.intake.share(account, self.session.who.limits)
            self._outbox.share(account.unsent)
        self._watch()

    def _watch(self) -> None:
        """Pings the client when it is silent, or no longer, as the limits are now."""
        limits = self._shared.limits
        if not (limits.ping_seconds and self.session.dialect.pinged):
            if self.liveness is not None:
                self.liveness.stop()
                self.liveness = None
        elif self.liveness is not None:
            self.liveness.change(limits.ping_seconds, limits.pong_seconds)
        else:
            self.liveness = Liveness(
                self._clock, limits.ping_seconds, limits.pong_seconds, self._ping, self._silent, self._is_read
            )

    def follow(self) -> None:
        """The limits have changed. What an exempt address, the time to log in and the longest line are was settled when
        the connection came."""
        try:
            if not self._exempt:
                self.reader.intake.reload(self._shared.allowances.rates)
            self._outbox.reload()
            if self.session.who.account_id and self.session.stage is not Stage.ENDING:
                self._watch()
        except Exception:
            self.failed(Failure())

    def _ping(self) -> None:
        if self.writable:
            self.session.tell(Pinged())

    def _silent(self) -> None:
        self.hang_up("timeout", "You sent nothing for too long.")

    def _is_read(self) -> bool:
        """A client whose link is full cannot be asked: `stalled_seconds` is the limit for it."""
        return self._outbox.reading and self.writable

    # The end

    def hang_up(self, reason: str, text: str, retry: int | None = None) -> None:
        """Says why, if there is a reason, and ends the connection; what was written before still goes out."""
        if self.session.stage is Stage.ENDING:
            return
        if reason == "failed-logins":
            self._shared.refusals.offend(self.session.address, reason)
        if self._shared.parting is not None:
            self._shared.parting.cork(self._door.transport)
        if not self._door.opened:
            self.write(self._door.refusal(endings.for_programs(reason, text)))
        elif not self.session.dialect.for_people:
            if reason:
                self.session.tell(Closing(reason, endings.for_programs(reason, text), retry))
        elif reason or not self.has_sent_all():
            why, what = (reason, text) if reason else ("logout", endings.GOODBYE)
            kept = 0 if self.session.view is None else len(self.session.view.kept)
            words = endings.for_people(why, what, self._shared.handshake.contact, kept)
            self.session.tell(Closing(why, words, retry))
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
        if self.peer is PeerState.LOST:
            self._let_go()
            return
        self.lingering = lingering = Lingering(self._clock, self._door, for_people=self.session.dialect.for_people)
        self._log_end(reason)
        if self.reader.intake.account is not None:
            self.reader.intake.account.ended(self)
        self._cancel()
        self.write(self._door.farewell(reason))
        self._outbox.close()
        self._shared.ended(self, reason)
        if self._outbox.direct and self._shared.part(self, self._door.transport):
            return
        self._outbox.read(True)
        lingering.wait(patience(self._shared, logged_in=bool(self.session.who.account_id)), self.abort)
        # TLS has no half of a connection to close: it says that this is the end, and waits until the peer does so too.
        if self.peer is PeerState.HALF_CLOSED or not self._outbox.direct:
            self._door.transport.loseConnection()
        else:
            self._door.transport.loseWriteConnection()

    def _log_end(self, reason: str) -> None:
        self._shared.admission.counts.ended(self, self._door.transport, reason)
        if self._shared.parting is None or self._shared.parting.may_log():
            self._shared.visits.ended(self, reason)

    def _cancel(self) -> None:
        """Stops the clocks; a turn that is due still comes, unless this is the end."""
        if self.liveness is not None:
            self.liveness.stop()
            self.liveness = None
        self._deadline.stop()
        if self.lingering is not None:
            self.lingering.stop()
        if self.session.stage is Stage.ENDING:
            self.reader.stop()

    def _let_go(self) -> None:
        """Nothing refers to each other in a circle any more, so that the memory is free at once: the garbage collector
        would find it only now and then, and stop everything to look for it."""
        if self.reader.intake.account is not None:
            self._shared.allowances.gone(self.reader.intake.account, self)
        self.session.link, self.session.peer = NO_LINK, NO_PEER
        self._door.forget()
        del self.reader
