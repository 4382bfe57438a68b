"""The life of one connection, whatever its framing: its beginning, back-pressure, faults, half-close, the end."""

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.net.connection.deadline import Deadline
from chatserver.net.connection.lingering import LINGER_SECONDS, Lingering, patience
from chatserver.net.connection.liveness import Liveness
from chatserver.net.connection.log import way_of
from chatserver.net.connection.outbox import Outbox
from chatserver.net.connection.parts import Parts
from chatserver.net.connection.reader import Reader
from chatserver.net.door import Doorway
from chatserver.net.limits.account_share import Allowance
from chatserver.net.limits.admission import CROWDED, CROWDED_SECONDS
from chatserver.net.limits.crowd import Rank
from chatserver.net.limits.intake import NO_RATES, Intake
from chatserver.net.way import exposed, fingerprint, has_ended, is_loopback, secured, socket_beneath, waiting
from chatserver.session.link import NO_LINK, NO_PEER, takes_nothing
from chatserver.session.retry import MESSAGES
from chatserver.session.session import Session
from chatserver.values.errors import BLAMELESS, FAULTY, FENCED, GOODBYE, Note, Rejected, Sentence, Why
from chatserver.values.events import Closing, Pinged, Rewound
from chatserver.values.stages import NOT_LOGGED_IN, Event, PeerState, Stage
from chatserver.wire.dialects import closing_for_any
from chatserver.wire.sentences import for_people, for_programs

STRIKE_SECONDS: Final = 60.0
"""How long a refused command counts towards `limits.strikes`."""
SLOWED_SECONDS: Final = 2.0
"""How long a person who is refused too often waits after each refusal."""
RANKS: Final = {
    Stage.NEW: Rank.SILENT,
    Stage.GREETING: Rank.STARTED,
    Stage.PASSWORD: Rank.STARTED,
    Stage.CONFIRM: Rank.STARTED,
    Stage.NEW_PASSWORD: Rank.STARTED,
    Stage.AGAIN: Rank.STARTED,
    Stage.BUSY: Rank.CHECKED,
    Stage.IN: Rank.CHECKED,  # for the moment until `admission` is notified
    Stage.ENDING: Rank.SILENT,
}


class Connection:
    """The link between a session and its socket. Data that is written to it is framed already.

    `others` are all open connections: this one leaves them at its end. `encrypted`: whether the client speaks TLS with
    the proxy that it came through, if any.
    """

    __slots__ = ("_account", "_broken", "_clock", "_cookie", "_deadline", "_door", "_encrypted", "_exempt", "_liveness",
                 "_others", "_outbox", "_parts", "_retired", "began", "lingering", "logged", "peer", "reader", "send",
                 "session", "unserved", "way", "writable")  # fmt: skip
    log = Logger()

    def __init__(
        self,
        session: Session,
        parts: Parts,
        door: Doorway,
        others: "set[Connection]",
        encrypted: bool | None = None,
    ) -> None:
        self._cookie = ""
        self.session = session
        self.peer = PeerState.OPEN
        self.began = 0.0  # in seconds of the reactor's clock
        self.way = ""  # see `log.way_of`
        self.logged = False  # the log has a line for its beginning
        self.writable = False
        self.send: Callable[[bytes], int] = takes_nothing
        self.unserved = False
        """Its person has a notice that the database does not answer."""
        self._parts = parts
        self._clock = parts.clock
        self._door = door
        self._others = others
        self._encrypted = encrypted
        self._broken = False  # it is ending because of a fault
        self._exempt = False  # no rate and no quota counts its address
        self._retired = False
        self._account: Allowance | None = None
        self._outbox: Outbox
        self.reader: Reader
        self.lingering: Lingering | None = None  # once the server has sent everything
        self._liveness: Liveness | None = None
        self._deadline = Deadline(parts.clock, parts.limits, session, door)

    # Called by the door

    def made(self) -> None:
        """The transport is there."""
        self._parts.counts.accepted += 1
        limits, transport = self._parts.limits, self._door.transport
        for option in ("setTcpNoDelay", "setTcpKeepAlive"):
            if hasattr(transport, option):  # a Unix socket has neither
                getattr(transport, option)(True)
        self._outbox = Outbox(self, transport, self._clock, limits)
        self._exempt = self._parts.admission.exempt(self.session.address)
        rates = NO_RATES if self._exempt else self._parts.allowances.rates
        self.began = self._clock.seconds()
        self.reader = Reader(self, self._parts, self._door, Intake(limits, rates, self.began), self._deadline)
        self.way = way_of(self._door)
        self.logged = self._parts.log.began(self.session, self.way)
        self.session.link = self.session.peer = self
        self._deadline.renew()

    def opened(self) -> None:
        """Lines can be sent now. The server speaks first, where the dialect is known to have words for it."""
        if self._door.dialect is not None:
            self.session.move(Event.RECOGNIZED)
        else:
            self._parts.handshake.greet(self.session)

    def page_refused(self, why: str) -> None:
        """A web page may not connect; `why`: for the log."""
        self._parts.log.page_refused(self.session.address, why)

    def received(self, data: bytes) -> None:
        """Called with bytes that have come, which the door has taken."""
        if not self._parts.lease.check():
            self.hang_up(*FENCED, retry=1)
        if self.lingering is not None:
            self.lingering.received(data)
            return
        if self._liveness is not None:
            self._liveness.heard = self._clock.seconds()
        self.advance(len(data))

    def begins(self, first: bytes) -> None:
        """Called with the first bytes of the first line."""
        self.reader.recognize(first)

    def peer_ended(self) -> None:
        """The framing says that the peer has ended its side. The server serves what it sent, then the connection ends.
        Call this while lines are taken."""
        if self.peer is PeerState.OPEN:
            self.peer = PeerState.HALF_CLOSED

    def half_closed(self) -> None:
        """The peer has ended its side."""
        self.peer_ended()
        if self.session.stage is Stage.ENDING:
            self._outbox.taken()  # while there is a socket that can tell
            self._door.transport.loseConnection()
        else:
            self.advance()

    def flushed(self) -> None:
        """Everything written before the end is in the kernel now. The peer has a moment left."""
        self._outbox.taken()
        if self.lingering is not None:
            self.lingering.wait(LINGER_SECONDS, self._door.transport.loseConnection)

    def lost(self) -> None:
        """The transport is gone."""
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
        self._leave()
        if session.stage is Stage.ENDING:
            self._let_go()
        else:
            self.writable = True  # nobody waits for the answers
            self.advance()

    def _leave(self) -> None:
        session, parts = self.session, self._parts
        self._others.discard(self)
        parts.admission.closed(session.address, self, pending=not session.who.account_id)
        self._ended("lost")
        parts.marks.ended(session)  # entries that arrived meanwhile
        parts.counts.gone(self)

    # Its work

    def advance(self, size: int = 0, *, anew: bool = False) -> None:
        """Takes lines for as long as the inbox has room, and puts the session on the queue. `size`, `anew`: see
        `Intake.turn`."""
        try:
            self.reader.take_lines(size, anew=anew)
            if self.peer is PeerState.LOST:
                self._drop_commands()
            self.staged()
            if self.session.inbox:
                self._parts.processors.schedule(self.session)
            self._steer()
        except Exception:
            self.failed(Failure())

    def _steer(self) -> None:
        """Reads on or pauses, as there is room. After the peer's end, closes once everything is done."""
        session = self.session
        if session.stage is Stage.ENDING:
            return
        full = session.stage is Stage.BUSY or len(session.inbox) >= self._parts.limits.window
        waits = self.reader.waits
        if self.peer is not PeerState.OPEN:
            idle = not (session.inbox or session.waiting or session.replays or full)
            if idle and not waits:  # while there are further lines, a turn is due
                if self.peer is PeerState.HALF_CLOSED:
                    session.confirm()
                self.end("eof")
        else:
            ending = self._retired or self._parts.parting.closing
            self._outbox.read(not (full or not self.writable or waits or ending))

    def _drop_commands(self) -> None:
        """Drops what came on a lost connection and is not served yet. Only messages are still stored, as far as they do
        not wait for their pace: they were all that a script meant to send, and share transactions."""
        inbox, reader = self.session.inbox, self.reader
        said = next((place for place, one in enumerate(inbox) if not isinstance(one, MESSAGES)), len(inbox))
        if said < len(inbox) or (reader.waits and not reader.is_due):
            del inbox[said:]
            self._door.discard()
            reader.stop()

    def retire(self) -> None:
        """Stops reading, before the connection is sent to another server."""
        self._retired = True
        self.advance()

    @property
    def commands(self) -> int:
        """Number of commands given since the login."""
        return self.reader.commands

    def failed(self, failure: Failure) -> None:
        """Ends the connection after a fault of the server: the client has to start anew, since nobody knows what it
        lacks.

        The connection ends in the next turn of the reactor: now, its room may be writing to all its subscribers.
        """
        self.log.failure("A connection failed.", failure)
        self.writable = False
        if not self._broken:
            self._broken = True
            self._clock.callLater(0, self._give_up)

    def _give_up(self) -> None:
        try:
            self.hang_up(*FAULTY)
        except Exception:
            self.log.failure("A connection failed.", Failure())
            self.abort()

    def refuse(self, rejected: Rejected) -> None:
        """Answers with an error. Too many of them, or a fatal one, end the connection."""
        session, refused, error = self.session, rejected.refused, rejected.refused.error
        session.answer_refusal(rejected)
        counts, strikes = self._parts.counts, self._parts.limits.strikes
        counts.refusals[error.value] += 1
        if session.stage in NOT_LOGGED_IN:
            counts.logins[error.value] += 1
        if refused.why is Why.UNAVAILABLE and session.dialect.for_people:
            self.unserved = True
        if rejected.fatal:
            self._parts.admission.offend(session.address, error.value)
            if session.dialect.for_people:
                session.notice(Sentence(Note.COME_BACK))
            self.end(error.value)
        elif error not in BLAMELESS and strikes:
            now = self._clock.seconds()
            session.strikes.append(now)
            while now - session.strikes[0] > STRIKE_SECONDS:
                del session.strikes[0]
            if len(session.strikes) < strikes:
                return
            if session.view is None or session.stage in NOT_LOGGED_IN:
                self.hang_up("strikes", Sentence(Note.TOO_MANY_STRIKES))
            else:
                self.reader.intake.rest(now + SLOWED_SECONDS)

    def answered(self) -> None:
        """The database answers again: tells a person who has the notice that it does not, once."""
        session, told = self.session, self.unserved
        self.unserved = False
        if not told or session.view is None or session.stage is Stage.ENDING or session.quiet:
            return
        count = len(session.view.kept)
        back = Sentence(Note.DATABASE_BACK)
        session.notice(back.then(Sentence(Note.RETRY_SENDS, count=count)) if count else back)
        self._parts.handshake.prompts.ask(session)

    # Flow control

    # A link never raises: a fault ends its own connection, and a writer to many connections goes on.

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

    @property
    def idle(self) -> bool:
        return self._outbox.idle

    def taken(self) -> int:
        return self._outbox.taken()

    def showed(self) -> None:
        self._parts.marks.showed(self.session)

    def more(self) -> None:
        self.staged()
        if self.session.stage is not Stage.ENDING and (
            not self._outbox.reading or self.peer is not PeerState.OPEN or self._door.pending
        ):
            self.reader.turn_soon()

    def staged(self) -> None:
        """Hides what is typed while it is a secret, where the client can. While a secret is being checked, the state
        stays as it is: if it is wrong, the next one may be typed already."""
        session = self.session
        if session.view is not None and session.stage not in (Stage.BUSY, Stage.ENDING):
            self._door.conceal(session.awaits_secret)

    def drained(self) -> None:
        self.advance()
        self._parts.registry.subscriptions.catch_up(self.session)

    def stalled(self) -> None:
        self.hang_up("stalled", Sentence(Note.READ_NOTHING))
        self.abort()

    @property
    def busy(self) -> bool:
        """Whether commands that have arrived are still to be served. Input that waits for its pace counts as not read
        yet."""
        session = self.session
        if session.stage is Stage.ENDING or (not self.writable and not session.waiting):
            return False
        return bool(session.inbox) or session.waiting or session.stage is Stage.BUSY or self.reader.is_due

    # The way to the client, for the session

    @property
    def door(self) -> Doorway:
        return self._door

    def encrypted(self) -> bool:
        return bool(self._encrypted) or secured(self._door.transport)

    def exposed(self) -> bool:
        if self.encrypted():
            return False
        if self._encrypted is None:
            return exposed(self._door.transport)
        return not is_loopback(self.session.address)

    def certificate(self) -> str:
        return fingerprint(self._door.transport)

    @property
    def takes_cookies(self) -> bool:
        return self._door.serves_pages

    def brought(self, cookie: str) -> None:
        """The request of the client's browser had this cookie."""
        self._cookie = cookie

    def cookie(self) -> str:
        return self._cookie

    def drop_cookie(self) -> None:
        self._cookie = ""

    def has_sent_all(self) -> bool:
        return self.peer is not PeerState.OPEN or has_ended(socket_beneath(self._door.transport))

    # Logged in

    def admitted(self) -> None:
        self._deadline.stop()
        self.drop_cookie()
        self._parts.admission.logged_in(self.session.address, self)
        self._parts.counts.logins["ok"] += 1
        if not self._exempt:
            self._account = account = self._parts.allowances.join(self.session.who.account_id, self)
            self.reader.intake.share(account, self.session.who.limits)
            self._outbox.share(account.unsent)
        self._watch()

    def _watch(self) -> None:
        """Starts pinging a silent client, or stops, as the limits are now."""
        limits = self._parts.limits
        if not (limits.ping_seconds and self.session.dialect.pinged):
            if self._liveness is not None:
                self._liveness.stop()
                self._liveness = None
        elif self._liveness is not None:
            self._liveness.change(limits.ping_seconds, limits.pong_seconds)
        else:
            self._liveness = Liveness(self._clock, self, limits.ping_seconds, limits.pong_seconds)

    def follow(self) -> None:
        """Applies changed limits. An exempt address, the time to log in and the longest line were settled when the
        connection began."""
        try:
            if not self._exempt:
                self.reader.intake.reload(self._parts.allowances.rates)
            self._outbox.reload()
            if self.session.who.account_id and self.session.stage is not Stage.ENDING:
                self._watch()
        except Exception:
            self.failed(Failure())

    def ping(self) -> None:
        if self.writable:
            self.session.tell(Pinged())

    def silent(self) -> None:
        self.hang_up("timeout", Sentence(Note.SENT_NOTHING))

    @property
    def is_read(self) -> bool:
        """A client whose link is full cannot be pinged: `stalled_seconds` is the limit for it."""
        return self._outbox.reading and self.writable

    # The end

    def hang_up(
        self, reason: str, sentence: Sentence = GOODBYE, retry: int | None = None, rewound: Rewound | None = None
    ) -> None:
        """See `Link`. Everything written before still goes out."""
        if self.session.stage is Stage.ENDING:
            return
        if reason == "failed-logins":
            self._parts.admission.offend(self.session.address, reason)
        if self._parts.parting.begun:
            self._parts.parting.cork(self._door.transport)
        if not self._door.opened:
            self.write(self._door.refusal(for_programs(reason, sentence)))
        elif not self.session.dialect.for_people:
            if reason:
                self.session.tell(Closing(reason, for_programs(reason, sentence), retry, rewound))
        elif reason or not self.has_sent_all():
            why = reason or "logout"
            kept = 0 if self.session.view is None else len(self.session.view.kept)
            words = for_people(why, self.session.dialect.text(sentence), self._parts.handshake.contact, kept)
            if retry is not None and self.session.stage is Stage.NEW:  # it may be a program
                self.write(closing_for_any(why, sentence, retry))
            self.session.tell(Closing(why, words, retry))
        self.end(reason or "quit")

    def abort(self) -> None:
        """Cuts the connection."""
        self._door.transport.abortConnection()

    def end(self, reason: str) -> None:
        """Flushes and closes, without a further word.

        The peer may still be sending. Closing at once would make the kernel answer with a reset, which destroys the
        last words on their way (RFC 1122, 4.2.2.13). So the server reads and discards for a moment.
        """
        if self.session.stage is Stage.ENDING:
            return
        self.session.move(Event.ENDED)
        self.session.inbox.clear()
        self._door.discard()
        if self.peer is PeerState.LOST:
            self._let_go()
            return
        self.lingering = lingering = Lingering(self._clock, self._door, for_people=self.session.dialect.for_people)
        self._log_end(reason)
        if self._account is not None:
            self._account.ended(self)
        self._cancel()
        self.write(self._door.farewell(reason))
        self._outbox.close()
        self._ended(reason)
        if self._parted():
            return
        self._outbox.read(True)
        lingering.wait(patience(self._parts, logged_in=bool(self.session.who.account_id)), self.abort)
        # TLS cannot close half a connection: it announces the end, and waits until the peer does so too.
        if self.peer is PeerState.HALF_CLOSED or not self._outbox.direct:
            self._door.transport.loseConnection()
        else:
            self._door.transport.loseWriteConnection()

    def make_way(self) -> bool:
        if self.session.stage is Stage.ENDING:
            self.abort()
            return False
        self.hang_up(*CROWDED, retry=CROWDED_SECONDS)
        return True

    @property
    def rank(self) -> Rank:
        return RANKS[self.session.stage]

    def _ended(self, reason: str) -> None:
        """The server has nothing more to send, or the connection is lost. You can call this twice."""
        session = self.session
        if session.who.account_id and session.id:
            self._parts.departures.left(session, reason, announced=not self._parts.parting.begun)
            session.id = ""

    def _parted(self) -> bool:
        """Ends a connection that has sent everything the short way, if the server is about to stop."""
        parting, transport = self._parts.parting, self._door.transport
        if not parting.begun or not self._outbox.direct or self.peer is not PeerState.OPEN or waiting(transport):
            return False
        parting.take(transport)
        self._others.discard(self)
        return True

    def _log_end(self, reason: str) -> None:
        self._parts.counts.ended(self, self._door.transport, reason)
        if self._parts.parting.may_log() and (self.logged or self.session.who.account_id):
            self._parts.log.ended(
                self.session, reason, self._door, way=self.way, commands=self.commands, began=self.began
            )

    def _cancel(self) -> None:
        """Stops the timers. A turn that is due still comes, unless this is the end."""
        if self._liveness is not None:
            self._liveness.stop()
            self._liveness = None
        self._deadline.stop()
        if self.lingering is not None:
            self.lingering.stop()
        if self.session.stage is Stage.ENDING:
            self.reader.stop()

    def _let_go(self) -> None:
        """Breaks all circles of references, so that the memory is free at once: the garbage collector would find them
        only now and then, and stop everything to look for them."""
        if self._account is not None:
            self._parts.allowances.gone(self._account, self)
        self.session.link, self.session.peer = NO_LINK, NO_PEER
        self._door.forget()
        del self.reader
