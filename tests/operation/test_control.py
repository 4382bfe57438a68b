"""The control socket at the seam: its limits, and what a caller can do to the server."""

import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from chatserver.operation.control.caller import ANSWER_SECONDS, FAULT, REQUEST_SECONDS, Caller
from chatserver.operation.control.control import MOST_CALLERS, Control
from chatserver.operation.control.reload import Reload, Reloaded
from chatserver.operation.control.requests import MOST_BYTES
from chatserver.operation.control.sessions import SLICE
from tests.operation.parts import running
from tests.support.hall import Hall
from tests.support.memory import logged_failures

BUFFER = 65_536
"""Number of bytes that the transport takes before it is full, as in Twisted."""


class Handle:
    def __init__(self, uid: int) -> None:
        self._uid = uid

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("3i", 1, self._uid, 1)


class Transport:
    """A Unix transport without a socket. Nothing leaves it until the client takes it."""

    def __init__(self, uid: int) -> None:
        self.written = self.waiting = b""
        self.ended = self.aborted = self.paused = False
        self.producer: Any = None
        self._uid = uid

    def getHandle(self) -> Handle:
        return Handle(self._uid)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.written += data
        self.waiting += data
        if self.producer is not None and len(self.waiting) > BUFFER:
            self.producer.pauseProducing()

    def pauseProducing(self) -> None:
        self.paused = True

    def loseConnection(self) -> None:
        self.ended = True

    def abortConnection(self) -> None:
        self.aborted = True


class Asking:
    """A client of the control socket."""

    def __init__(self, hall: Hall, control: Control, uid: int | None = None) -> None:
        self._hall = hall
        self.transport = Transport(os.geteuid() if uid is None else uid)
        self.caller = Caller(control)
        self.caller.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.caller.dataReceived(data)
        self._hall.settle()

    def ask(self, word: str, **fields: Any) -> dict[str, Any]:
        """The last line of the answer."""
        self.send(json.dumps({"do": word, **fields}).encode() + b"\n")
        return self.lines[-1]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.transport.written.splitlines()]

    def takes_all(self) -> None:
        self.transport.waiting = b""
        self.transport.producer.resumeProducing()
        self._hall.settle()


async def nothing() -> Reloaded:
    return Reloaded([], [])


class FakeReload(Reload):
    """Does what it is given in place of a reload."""

    def __init__(self, hall: Hall, reload: Callable[[], Awaitable[Reloaded]]) -> None:
        super().__init__(running(hall))
        self._given = reload

    async def reload(self) -> Reloaded:
        return await self._given()


@pytest.fixture
def control(hall: Hall) -> Control:
    return control_with(hall, nothing)


def control_with(hall: Hall, reload: Callable[[], Awaitable[Reloaded]]) -> Control:
    return Control(running(hall), FakeReload(hall, reload))


def test_sessions(hall: Hall, control: Control) -> None:
    """The answer is a line for each connection, then the end."""
    hall.program("ana")
    asking = Asking(hall, control)
    assert asking.ask("sessions") == {"end": "done", "result": {"sessions": 1}}
    assert [line["item"]["user"] for line in asking.lines if "item" in line] == ["ana"]
    assert asking.transport.ended


def test_back_pressure(hall: Hall, control: Control) -> None:
    """However many connections there are, no more of them are described than the client takes."""
    for _ in range(2000):
        hall.client()
    asking = Asking(hall, control)
    asking.ask("sessions")
    assert len(asking.transport.waiting) < BUFFER * 1.5
    for _ in range(20):
        if not asking.transport.ended:
            asking.takes_all()
    assert asking.lines[-1] == {"end": "done", "result": {"sessions": 2000}}


def test_many_at_once(hall: Hall, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many who ask at the same time take no more of a turn of the reactor than one."""
    for _ in range(2 * SLICE):
        hall.client()
    callers = [Asking(hall, control) for _ in range(5)]
    listed: list[int] = []
    call_later = hall.clock.callLater

    def watched(delay: float, call: Callable[..., object], *args: object) -> IDelayedCall:
        def run() -> None:
            before = sum(len(asking.lines) for asking in callers)
            call(*args)
            listed.append(sum(len(asking.lines) for asking in callers) - before)

        return call_later(delay, run)

    monkeypatch.setattr(hall.clock, "callLater", watched)
    for asking in callers:
        asking.caller.dataReceived(b'{"do":"sessions"}\n')
    hall.settle()
    assert all(asking.transport.ended for asking in callers)
    assert max(listed) == SLICE


def test_readers_of_nothing(hall: Hall, control: Control) -> None:
    """A client that does not take its answer is cut off; one that goes away ends the work for it."""
    for _ in range(1000):
        hall.client()
    stuck, gone = Asking(hall, control), Asking(hall, control)
    for asking in (stuck, gone):
        asking.ask("sessions")
    written = len(gone.transport.written)
    gone.caller.connectionLost()
    hall.passes(ANSWER_SECONDS + 0.1)
    assert stuck.transport.aborted
    assert len(gone.transport.written) == written


def test_silence(hall: Hall, control: Control) -> None:
    """A client that asks for nothing is cut off soon."""
    asking = Asking(hall, control)
    asking.caller.dataReceived(b'{"do":')
    hall.passes(REQUEST_SECONDS + 0.1)
    assert asking.transport.aborted


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"hello\n",
        b'{"do":"launch"}\n',
        b'{"do":"kick"}\n',
        b'{"do":"stats","more":1}\n',
        b"\xff\xfe\n",
        b"[]\n",
        b'{"do":"kick","who":"\xff"}\n',
    ],
)
def test_garbage(hall: Hall, control: Control, garbage: bytes) -> None:
    """A line that is no request is refused, and the connection ends."""
    asking = Asking(hall, control)
    asking.send(garbage)
    assert asking.lines[-1]["end"] == "failed"
    assert asking.transport.ended


def test_too_much(hall: Hall, control: Control) -> None:
    """A request has a limit, and nothing is read after one: no client fills the memory."""
    endless = Asking(hall, control)
    for _ in range(MOST_BYTES // 4096):
        endless.send(b"x" * 4096)
    assert endless.lines[-1] == {"end": "failed", "problem": "The request is too long."}
    endless.send(b"x" * 4096)
    asking = Asking(hall, control)
    asking.ask("sessions")
    assert asking.transport.paused


def test_too_many(hall: Hall, control: Control) -> None:
    """Only so many are served at the same time; the next one is told so, and finds a place once another is gone."""
    callers = [Asking(hall, control) for _ in range(MOST_CALLERS)]
    late = Asking(hall, control)
    assert late.lines[-1]["end"] == "failed"
    assert late.transport.ended
    callers[0].caller.connectionLost()
    assert Asking(hall, control).lines[-1]["control"] == 1


def test_others(hall: Hall, control: Control) -> None:
    """Nobody but the server's own user and root gets an answer."""
    assert Asking(hall, control, uid=0).lines
    stranger = Asking(hall, control, uid=os.geteuid() + 1)
    assert (stranger.transport.written, stranger.transport.aborted) == (b"", True)


def test_reloading(hall: Hall, audited: list[str]) -> None:
    """The answer to a reload is what it did, or why it did nothing."""
    results = [Reloaded(["limits.window"], ["server.node"]), Reloaded([], [], "Correct that key.")]

    async def reload() -> Reloaded:
        return results.pop(0)

    control = control_with(hall, reload)
    done = Asking(hall, control).ask("reload", by="ana")
    assert done == {"end": "done", "result": {"changed": ["limits.window"], "kept": ["server.node"]}}
    assert Asking(hall, control).ask("reload") == {"end": "failed", "problem": "Correct that key."}
    assert audited[0] == f"act address=local act=reload by=ana uid={os.geteuid()}"


def test_a_fault(hall: Hall) -> None:
    """A fault is logged, and the client told so."""

    async def reload() -> Reloaded:
        raise ZeroDivisionError

    with logged_failures() as failures:
        assert Asking(hall, control_with(hall, reload)).ask("reload") == {"end": "failed", "problem": FAULT}
    assert [type(failure) for failure in failures] == [ZeroDivisionError]


def test_stopping(hall: Hall) -> None:
    """Callers that wait for an answer get a message when the server stops."""
    waiting: Deferred[Reloaded] = Deferred()

    async def reload() -> Reloaded:
        return await waiting

    control = control_with(hall, reload)
    asking = Asking(hall, control)
    asking.send(b'{"do":"reload"}\n')
    control.stopping()
    assert asking.lines[-1] == {"end": "failed", "problem": "The server is stopping."}
    waiting.callback(Reloaded([], []))
    assert asking.lines[-1]["end"] == "failed"


def test_what_chatctl_changed(hall: Hall, control: Control, audited: list[str]) -> None:
    """Changes of `chatctl` in the database are logged with its user: the fields that are known, and not at any
    length."""
    what = {"target": "bob", "room": "x" * 1000, "reason": "secret", "address": "192.0.2.1", "by": "eve", "uid": "7"}
    assert Asking(hall, control).ask("audit", by="ana", act="ban-add", what=what)["end"] == "done"
    [line] = audited
    assert line == f"act address=local act=ban-add by=ana uid={os.geteuid()} target=bob room={'x' * 200}"
