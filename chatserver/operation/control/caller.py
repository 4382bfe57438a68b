"""One connection of the control socket: one request, one answer.

Clients here cannot delay the chat: a request is short, callers have little time, and a long answer is written in
slices, each of which waits until the client has taken the one before.
"""

from typing import Any, Final, Protocol

import msgspec
from twisted.internet import protocol
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatserver import __version__
from chatserver.operation.control import requests
from chatserver.operation.control.place import is_trusted, uid_of
from chatserver.operation.control.requests import Asked, Done, Failed, Hello, Item

REQUEST_SECONDS: Final = 5.0
"""How long a client may take from connecting to the end of its request."""
ANSWER_SECONDS: Final = 60.0
"""How long a client that reads nothing may stay connected."""

FAULT: Final = "Something went wrong in the server; its log has the details."

_encode: Final = msgspec.json.Encoder().encode


class CannotDo(Exception):
    """The command cannot be done; the text is one line that says what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Gone(Exception):
    """Nobody waits for the answer any more."""


class Out(Protocol):
    def item(self, value: object) -> None:
        """Sends one item of a list. Raises Gone."""

    async def turn(self) -> None:
        """Lets the reactor do other things, and waits until the client takes more. Raises Gone."""


class Receiver(Protocol):
    """Where callers are received: see `control.Control`."""

    @property
    def clock(self) -> Any: ...

    def enter(self, caller: "Caller") -> Hello | None:
        """The greeting, unless there are too many."""

    def leave(self, caller: "Caller") -> None: ...

    def turn(self) -> "Deferred[None]":
        """Fires in a later turn of the reactor, for one caller in each: many at the same time take no more of it than
        one."""
        ...

    async def answer(self, asked: Asked, uid: int, out: Out) -> dict[str, Any]:
        """Does what was asked. Raises CannotDo and Gone."""
        ...


def _line(value: object) -> bytes:
    return _encode(value) + b"\n"


class ControlSocket(protocol.Factory):
    """The log has its name when it opens and closes, with its path."""

    noisy = False

    def __init__(self, control: Receiver) -> None:
        self._control = control

    def buildProtocol(self, addr: IAddress | None) -> "Caller":
        return Caller(self._control)


@implementer(IPushProducer)
class Caller(protocol.Protocol):
    """Asks for one thing, and is an `Out` for the answer."""

    log = Logger()

    def __init__(self, control: Receiver) -> None:
        self._control = control
        self._received = b""
        self._uid = -1
        self._end: IDelayedCall | None = None
        self._over = False  # nothing more is written
        self._room: Deferred[None] | None = None
        """While the client takes nothing: fires once it does, or is gone."""
        self._full = False

    # Twisted's hooks

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self._uid = uid_of(transport.getHandle())
        if not is_trusted(self._uid):
            self._over = True
            transport.abortConnection()
            return
        hello = self._control.enter(self)
        if hello is None:
            self.fail("Too many others are asking the server at this moment. Try again.")
            return
        transport.registerProducer(self, True)
        transport.write(_line(hello))
        self._ends_in(REQUEST_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        self._received += data
        line, end, _ = self._received.partition(b"\n")
        if len(line) >= requests.MOST_BYTES:
            self.fail("The request is too long.")
        elif end:
            self._received = b""
            transport: Any = self.transport
            transport.pauseProducing()
            self._ends_in(ANSWER_SECONDS)
            self._ask(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        self._control.leave(self)
        if self._end is not None and self._end.active():
            self._end.cancel()
        self._wake()

    # The request

    def _ask(self, line: bytes) -> None:
        try:
            asked = requests.parse(line)
        except msgspec.DecodeError as error:
            self.fail(f"The server does not understand the request ({error}). Use a chatctl of version {__version__}.")
            return
        ensureDeferred(self._answer(asked)).addErrback(self._failed)

    async def _answer(self, asked: Asked) -> None:
        try:
            await self.turn()
            result = await self._control.answer(asked, self._uid, self)
        except CannotDo as problem:
            self.fail(problem.text)
        except Gone:
            pass
        else:
            self._finish(Done(result))

    def _failed(self, failure: Failure) -> None:
        self.log.failure("A request of chatctl failed.", failure)
        self.fail(FAULT)

    def fail(self, problem: str) -> None:
        self._finish(Failed(problem))

    def _finish(self, last: Done | Failed) -> None:
        if not self._over:
            self._over = True
            transport: Any = self.transport
            transport.write(_line(last))
            transport.unregisterProducer()
            transport.loseConnection()
            self._ends_in(REQUEST_SECONDS)

    def _ends_in(self, seconds: float) -> None:
        if self._end is not None and self._end.active():
            self._end.cancel()
        transport: Any = self.transport
        self._end = self._control.clock.callLater(seconds, transport.abortConnection)

    # `Out`

    def item(self, value: object) -> None:
        if self._over:
            raise Gone
        transport: Any = self.transport
        transport.write(_line(Item(value)))

    async def turn(self) -> None:
        await self._control.turn()
        if self._full and not self._over:
            self._room = Deferred()
            await self._room
        if self._over:
            raise Gone
        self._ends_in(ANSWER_SECONDS)

    # Called by the transport

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        self._wake()

    def stopProducing(self) -> None:
        self._over = True
        self._wake()

    def _wake(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)
