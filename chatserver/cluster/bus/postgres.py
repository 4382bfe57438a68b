"""The bus that is the database itself: frames are PostgreSQL's notifications.

One connection receives them, and the reactor reads it. Another one sends them, from a thread of its own, which opens
both, and tries again while the database does not answer.
"""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Thread
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatserver.cluster import frames
from chatserver.cluster.bus.bus import Parcel, Receiver
from chatserver.store import Engine
from chatserver.store.nodes.lease import Holder
from chatserver.store.nodes.listen_notify import Backend, Line, Lost, Refused
from chatserver.util.quiet_log import Outage
from chatserver.util.waiting import until

MOST_WAITING: Final = 1_000
"""Maximum number of frames that wait, 8 MB; beyond that the oldest ones are dropped."""
MOST_TOGETHER: Final = 200
"""Maximum number of frames in one statement."""
FIRST_RETRY_SECONDS: Final = 0.1
LAST_RETRY_SECONDS: Final = 1.0
"""How long to wait before connecting again: at first, and at most."""
OPEN_SECONDS: Final = 15.0
"""How long to wait for an answer on a new connection. After that none will come: a pooler hangs, for example."""
STOP_SECONDS: Final = 0.5
"""How long to wait for the thread to end."""


class PostgresBus:
    """While connected, has the advisory lock of the node whose lease `holder` holds. `secret`: see
    `store/nodes/secret.py`."""

    log = Logger()
    by_room = False
    advice = 'bus.url = "postgres" needs a direct connection to PostgreSQL, not a transaction pooler such as PgBouncer.'

    def __init__(self, reactor: Any, engine: Engine, holder: Holder, secret: str) -> None:
        self._reactor = reactor
        self._engine = engine
        self._holder = holder
        self._secret = secret
        self.connected = False
        self.reconnects = 0
        self.dropped = 0
        self._receiver: Receiver | None = None
        self._thread: Thread | None = None
        self._reader: Reader | None = None
        self._opened_before = False
        self._lost = False  # and that was logged
        self._patience: IDelayedCall | None = None  # while the thread opens a line
        self._refusals = Outage(reactor)
        # What follows is shared with the thread, under this lock.
        self._changed = Condition()
        self._waiting: deque[bytes] = deque()
        self._line: Line | None = None
        self._stopping = False

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._thread = Thread(target=self._run, name="bus", daemon=True)
        self._thread.start()

    def publish(self, parcels: Sequence[Parcel]) -> None:
        with self._changed:
            if self._stopping:
                return
            self._waiting.extend(parcel.data for parcel in parcels)
            while len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self.dropped += 1
            self._changed.notify()

    def hear(self, channel: str) -> None:
        pass  # every node hears everything

    def unhear(self, channel: str) -> None:
        pass

    def reconnect(self) -> None:
        line = self._line
        if line is not None:
            self._end(line)

    async def stop(self) -> None:
        thread = self._thread
        if thread is None:
            return
        with self._changed:
            self._stopping = True
            self._changed.notify()
        await until(self._reactor, lambda: not thread.is_alive(), STOP_SECONDS)
        self.reconnect()  # what is left of it: the database has not answered by now
        await until(self._reactor, lambda: not thread.is_alive(), STOP_SECONDS)
        self._forget()

    # In the reactor

    def _opening(self, line: Line) -> None:
        self._be_patient()
        if self._line is line and not self._stopping:
            self._patience = self._reactor.callLater(OPEN_SECONDS, self._hangs, line)

    def _hangs(self, line: Line) -> None:
        """Has the thread fail, which waits for an answer. It may be about to wait on the next of the connections."""
        self._patience = None
        line.cut()
        self._opening(line)

    def _be_patient(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _opened(self, line: Line) -> None:
        self._be_patient()
        if self._receiver is None or self._stopping or self._line is not line:
            line.close()
            return
        self.connected = True
        if self._opened_before:
            self.reconnects += 1
        self._opened_before = True
        if self._lost:
            self._lost = False
            self.log.info("The bus is connected again.")
        self._reader = Reader(self._reactor, line, self._receiver, self)
        self._receiver.joined([frames.ALL])

    def broken(self, line: Line, problem: str) -> None:
        """One of the connections is gone, and nobody has noticed before."""
        if self._line is not line:
            return
        self._end(line)
        if not (self._lost or self._stopping):
            self._lost = True
            self.log.warn("The bus has no connection to the database. Trying again. {problem}", problem=problem)

    def _end(self, line: Line) -> None:
        """Has the thread open both connections anew."""
        if self._reader is not None and self._reader.line is line:
            self._forget()
        with self._changed:
            if self._line is line:
                self._line = None
            self._changed.notify()
        line.cut()  # the thread may be waiting for an answer

    def _refused(self, count: int, problem: str) -> None:
        self.dropped += count
        if self._refusals.failed():
            self.log.warn("The database does not send what the nodes tell each other. {problem}", problem=problem)

    def _forget(self) -> None:
        self.connected = False
        if self._reader is not None:
            self._reader.stop()
            self._reader = None
        self._be_patient()

    # In the thread

    def _run(self) -> None:
        former: Backend | None = None
        wait = FIRST_RETRY_SECONDS
        while True:
            line = Line(self._engine, self._secret)
            with self._changed:
                if self._stopping:
                    return
                self._line = line
            self._tell(self._opening, line)
            try:
                line.open(self._holder.me.node, former)
            except Lost as problem:
                line.close()
                self._tell(self.broken, line, str(problem))
            else:
                former, wait = line.backend or former, FIRST_RETRY_SECONDS
                self._tell(self._opened, line)
                self._send_all(line)
            line.close_sender()
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, wait)
            wait = min(wait * 2, LAST_RETRY_SECONDS)

    def _send_all(self, line: Line) -> None:
        """Sends what is published until the connection is gone, or the bus stops and there is nothing left to send."""
        while some := self._next(line):
            try:
                line.send(some)
            except Refused as problem:
                self._tell(self._refused, len(some), str(problem))
            except Lost as problem:
                with self._changed:  # it has perhaps been sent; who gets it twice takes it once
                    self._waiting.extendleft(reversed(some))
                self._tell(self.broken, line, str(problem))
                return

    def _next(self, line: Line) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping or self._line is not line)
            if self._line is not line:
                return []
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]

    def _tell(self, do: Callable[..., None], *arguments: Any) -> None:
        self._reactor.callFromThread(do, *arguments)


@implementer(IReadDescriptor)
class Reader:
    """Reads a line of `bus` in the reactor."""

    log = Logger()

    def __init__(self, reactor: Any, line: Line, receiver: Receiver, bus: PostgresBus) -> None:
        self.line = line
        self._reactor = reactor
        self._receiver = receiver
        self._bus = bus
        self._again: IDelayedCall | None = None
        reactor.addReader(self)
        self._again = reactor.callLater(0, self.doRead)  # the driver may have read some of it already

    def stop(self) -> None:
        """Closes the connection, too."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._reactor.removeReader(self)
        self.line.close()

    def fileno(self) -> int:
        return self.line.fileno()

    def logPrefix(self) -> str:
        return "bus"

    def connectionLost(self, reason: Failure) -> None:
        self._bus.broken(self.line, reason.getErrorMessage())

    def doRead(self) -> None:
        if self._again is not None and not self._again.active():
            self._again = None
        try:
            found, more = self.line.read()
        except Lost as problem:
            self._bus.broken(self.line, str(problem))
            return
        for data in found:
            try:
                self._receiver.received(data)
            except Exception:
                self.log.failure("A frame was not taken.")
        if more and self._again is None:
            self._again = self._reactor.callLater(0, self.doRead)
