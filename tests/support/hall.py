"""The server without sockets, threads and time: real connections, handshake, processors and store on a clock that the
test moves, over transports that take as much as the test says."""

import json
import os
import socket
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from sqlalchemy import Engine, event
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from chatserver.background.read_marks import ReadMarks
from chatserver.background.session_rows import SessionRows
from chatserver.delivery.pages import Pages, Stretch
from chatserver.delivery.registry import Registry
from chatserver.handlers.outcome import Online
from chatserver.login.guests import Guests
from chatserver.login.handshake import Handshake
from chatserver.login.parts import LoginParts
from chatserver.net.connection.connection import Connection
from chatserver.net.connection.connections import Connections
from chatserver.net.connection.log import ConnectionLog
from chatserver.net.connection.parting import Parting
from chatserver.net.connection.parts import Parts
from chatserver.net.counts import ConnectionCounts
from chatserver.net.doors.base import Door
from chatserver.net.doors.factory import NO_PROXIES, ChatFactory
from chatserver.net.doors.line import LineDoor
from chatserver.net.doors.websocket import WebSocketDoor
from chatserver.net.limits.account_share import Allowances
from chatserver.net.limits.admission import Admission
from chatserver.net.limits.crowd import Rank
from chatserver.pipeline.lanes import Lanes
from chatserver.pipeline.parts import PipelineParts
from chatserver.pipeline.processor import Processors
from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.session.other_nodes import OtherNodes
from chatserver.session.session import Session
from chatserver.settings.tables import NO_LIMITS, Limits, Settings
from chatserver.store import people, rooms
from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.transactions import transact
from chatserver.sync.epochs import Epochs
from chatserver.sync.reconcile import Reconciler
from chatserver.sync.rewind import Rewind
from chatserver.util.waiting import turns
from chatserver.values.errors import Unavailable
from chatserver.wire.addresses import Networks
from chatserver.wire.dialect import Dialect
from chatserver.wire.dialects import DIALECTS
from tests.support.client import NOT_ENTRIES, Message
from tests.support.migrated import migrated

START = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
PASSWORD = "s3cret-words"
QUIET = Limits(handshake_seconds=0, typing_seconds=0, ping_seconds=0, stalled_seconds=0, **NO_LIMITS)
"""No clock runs, and nobody is slowed or refused, unless a test asks for it."""


class InlineStore:
    """Runs every function at once, in a transaction of its own, on a real database. While it is held, none begins."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._gate: Deferred[None] | None = None
        self.errors: Counter[str] = Counter()
        self.away = False
        self.appends = 0
        self.lost_answers = 0
        """Number of the next writes that are committed, and fail all the same."""
        self.refusals = 0
        """Number of the next writes that fail, with nothing committed."""
        self.late_answer: Deferred[None] | None = None
        """The next write is committed at once, and is answered once this fires."""

    @property
    def held(self) -> bool:
        return self._gate is not None

    def hold(self) -> None:
        self._gate = Deferred()

    def release(self) -> None:
        gate, self._gate = self._gate, None
        assert gate is not None
        gate.callback(None)

    def load(self) -> dict[str, tuple[int, int, int]]:
        return {"writers": (1, int(self._gate is not None), 0), "readers": (1, 0, 0)}

    async def read(self, work: Any, *args: Any, **kwargs: Any) -> Any:
        if self._gate is not None:
            # A Deferred is awaited by one coroutine only: each waits for one of its own.
            mine: Deferred[None] = Deferred()
            self._gate.addCallback(lambda _: mine.callback(None))
            await mine
        return transact(self._engine, lambda db: work(db, *args, **kwargs))

    async def read_at_once(self, work: Any, *args: Any, **kwargs: Any) -> Any:
        return await self.read(work, *args, **kwargs)

    async def write(self, work: Any, *args: Any, **kwargs: Any) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable()
        result = await self.read(work, *args, **kwargs)
        if self.late_answer is not None:
            late, self.late_answer = self.late_answer, None
            await late
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unavailable()
        return result

    async def append(self, work: Any, *args: Any) -> Any:
        self.appends += 1
        return await self.write(work, *args)


class PlainHasher:
    """Passwords as they are."""

    async def hash(self, password: str) -> str:
        return password

    async def verify(self, hash: str | None, password: str) -> bool:
        return hash == password


OWN_ADDRESS = "203.0.113.1"


@cache
def _dev_null() -> int:
    return os.open(os.devnull, os.O_RDONLY)


class Socket:
    """The socket of a wire, as an outbox sees it. A Unix one: there is nothing to set."""

    family = socket.AF_UNIX

    def __init__(self, wire: "Wire") -> None:
        self._wire = wire

    def send(self, data: bytes) -> int:
        return self._wire.send_now(data)

    def recv(self, size: int, flags: int) -> bytes:
        """Looks at what comes next: bytes, the end, or nothing yet."""
        if self._wire.unread:
            return self._wire.unread[0][:size]
        if not self._wire.ends:
            raise BlockingIOError
        return b""

    def fileno(self) -> int:
        """The descriptor of a file that is no socket: the kernel has no queue for it."""
        return -1 if self._wire.lost and self._wire.closed else _dev_null()


class Wire(tcp.Connection):
    """A TCP transport without a socket. `room`: how many bytes the kernel takes at once; None: as many as come.
    `address`: where its client is, if that is not this host."""

    TLS = False

    def __init__(self, clock: Clock, protocol: Any, room: int | None = None, address: Any = None) -> None:
        self.room = room
        self.address = address
        self.taken = b""
        """Bytes that have reached the kernel."""
        self.queue = b""
        """Bytes that wait in the transport."""
        self.sends = self.writes = 0
        self.aborted = self.lost = self.closed = self.write_closed = False
        self.unread: list[bytes] = []
        self.ends = False
        """The kernel knows already that the client has closed its side."""
        self._clock = clock
        self._protocol = protocol
        self._producer: Any = None
        self._producing = False  # a streaming producer goes on
        self._reading = True
        self._peer_ended = self._losing = self._losing_write = False

    # The server's side, as `tcp.Connection` has it

    @property
    def dataBuffer(self) -> bytes:  # type: ignore[override]
        return self.queue

    @property
    def protocol(self) -> Any:
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def getHandle(self) -> Any:
        return Socket(self)

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def getHost(self) -> Any:
        return self.address and SimpleNamespace(host=OWN_ADDRESS)

    def getPeer(self) -> Any:
        return self.address

    def send_now(self, data: bytes) -> int:
        self.sends += 1
        if self.lost:
            raise BrokenPipeError
        if self.room == 0:
            raise BlockingIOError
        piece = data if self.room is None else data[: self.room]
        if self.room is not None:
            self.room -= len(piece)
        self.taken += piece
        return len(piece)

    def write(self, data: bytes) -> None:
        self.writes += 1
        if not self.lost:
            self.queue += data
            if self._producing and self.room == 0:
                self._producing = False
                self._producer.pauseProducing()
            if self.room is None:
                self._clock.callLater(0, self._flush)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer
        self._producing = streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer = None
        self._producing = False

    def pauseProducing(self) -> None:
        self._reading = False

    def resumeProducing(self) -> None:
        self._reading = True
        self._clock.callLater(0, self._read)

    def loseConnection(self, *_: Any) -> None:
        self._losing = True
        self._clock.callLater(0, self._flush)

    def loseWriteConnection(self) -> None:
        self._losing_write = True
        self._clock.callLater(0, self._flush)

    def abortConnection(self) -> None:
        self.aborted = True
        self._clock.callLater(0, self.cut)

    # The client's side

    @property
    def reading(self) -> bool:
        return self._reading

    def come(self, data: bytes) -> None:
        """Bytes of the client arrive."""
        self.unread.append(data)
        self._read()

    def half_close(self) -> None:
        self._peer_ended = True
        self._read()

    def cut(self) -> None:
        """The connection is reset."""
        if self.lost:
            return
        self.lost = True
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self.queue, self.closed = b"", True
        protocol, self._protocol = self._protocol, None
        protocol.connectionLost()

    def take(self, size: int | None = None) -> None:
        """The client reads so much of what waits, or everything from now on; once nothing waits, the producer is
        asked."""
        if size is None:
            self.room, size = None, len(self.queue)
        self.taken += self.queue[:size]
        self.queue = self.queue[size:]
        if not self.queue:
            self._emptied()

    def _flush(self) -> None:
        if not self.lost and (self.room is None or not self.queue):
            self.take(len(self.queue))

    def _emptied(self) -> None:
        if self._producer is not None:
            if not self._producing:
                self._producer.resumeProducing()
        elif self._losing:
            self.cut()
        elif self._losing_write and not self.write_closed:
            self.write_closed = True
            self._protocol.writeConnectionLost()

    def _read(self) -> None:
        while self._reading and self.unread and not self.lost:
            self._protocol.dataReceived(self.unread.pop(0))
        if self._reading and self._peer_ended and not self.lost:
            self._peer_ended = False
            self._protocol.readConnectionLost()


class Client:
    """Somebody at a plain line door. `seen` is what has reached the client, without its framing."""

    def __init__(self, hall: "Hall", door: Any, room: int | None = None, address: Any = None) -> None:
        self.hall = hall
        self.door = door
        self.wire = Wire(hall.clock, door, room, address)
        self.connection: Connection = door.connection if isinstance(door, Door) else None  # type: ignore[assignment]
        door.makeConnection(self.wire)
        hall.settle()

    @property
    def session(self) -> Session:
        return self.connection.session

    @property
    def seen(self) -> bytes:
        return self.wire.taken

    @property
    def lines(self) -> list[str]:
        """The lines that it was sent, with those joined that go on in the next row of a terminal."""
        whole = self.seen.decode().replace("\r\n   | ", " ")
        return [line.removesuffix("\r") for line in whole.split("\n")[:-1]]

    @property
    def rows(self) -> list[str]:
        """These lines, as a terminal shows them."""
        return [line.removesuffix("\r") for line in self.seen.decode().split("\n")[:-1]]

    def frame(self, data: bytes) -> bytes:
        """Lines in the framing of the door."""
        return data

    def send(self, data: bytes) -> Self:
        """Sends lines, and lets the server do all that it can do at once."""
        self.wire.come(self.frame(data))
        self.hall.settle()
        return self

    def type(self, *lines: str) -> Self:
        return self.send("".join(f"{line}\r\n" for line in lines).encode())

    def half_close(self) -> None:
        self.wire.half_close()
        self.hall.settle()

    def cut(self) -> None:
        self.wire.cut()
        self.hall.settle()

    def read(self, size: int | None = None) -> None:
        """Takes so much of what waits, or everything from now on."""
        self.wire.take(size)
        self.hall.settle()

    # JSON Lines

    def post(self, word: str, **fields: Any) -> Self:
        return self.send(json.dumps({"cmd": word, **fields}).encode() + b"\n")

    def come_in(self, name: str) -> Self:
        """Registers as a program."""
        self.post("register", name=name, password=PASSWORD)
        assert self.answers[-1]["ok"], self.lines
        return self

    def say(self, text: str, room: str = "general", **fields: Any) -> Self:
        return self.post("say", room=room, text=text, **fields)

    @property
    def messages(self) -> list[Message]:
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    @property
    def answers(self) -> list[Message]:
        return [message for message in self.messages if "event" not in message]

    @property
    def events(self) -> list[Message]:
        return [message for message in self.messages if "event" in message]

    @property
    def closing(self) -> list[str]:
        """The reasons of the events `closing`."""
        return [event["reason"] for event in self.events if event["event"] == "closing"]

    def heard(self, room: str = "general") -> list[int]:
        """The numbers of a room's entries, as they came."""
        return [e["seq"] for e in self.events if e.get("room") == room and e["event"] not in NOT_ENTRIES]

    @property
    def said(self) -> list[str]:
        """The texts of the messages heard."""
        return [event["text"] for event in self.events if event["event"] == "message"]


class WebSocketClient(Client):
    """A program at a WebSocket door, by the client's half of `websockets`. It sends what one call of `send` is given
    as one message."""

    def __init__(self, hall: "Hall", door: Any, room: int | None = None, address: Any = None) -> None:
        super().__init__(hall, door, room, address)
        self.protocol = ClientProtocol(parse_uri("ws://chat.example/"), max_size=None)
        self.frames: list[Frame] = []
        self._read = 0

    def upgrade(self) -> Self:
        """Sends the request, and checks that it is accepted."""
        self.protocol.send_request(self.protocol.connect())
        self.raw(b"".join(self.protocol.data_to_send()))
        assert self.wire.taken.startswith(b"HTTP/1.1 101 "), self.wire.taken
        self.parse()
        return self

    def raw(self, data: bytes) -> Self:
        """Sends bytes as they are."""
        self.wire.come(data)
        self.hall.settle()
        return self

    def frame(self, data: bytes) -> bytes:
        self.protocol.send_text(data)
        return b"".join(self.protocol.data_to_send())

    @property
    def seen(self) -> bytes:
        self.parse()
        return b"".join(bytes(frame.data) for frame in self.frames if frame.opcode is Opcode.TEXT)

    @property
    def close_code(self) -> int | None:
        self.parse()
        return None if self.protocol.close_rcvd is None else self.protocol.close_rcvd.code

    def parse(self) -> None:
        """Reads what has come; every frame must be one that a client accepts."""
        data, self._read = self.wire.taken[self._read :], len(self.wire.taken)
        if data:
            self.protocol.receive_data(data)
            self.frames += [event for event in self.protocol.events_received() if isinstance(event, Frame)]
            assert self.protocol.parser_exc is None, self.protocol.parser_exc


class Stranger:
    """A newcomer that is only counted."""

    rank = Rank.SILENT

    def make_way(self) -> bool:
        return False

    def abort(self) -> None:
        pass


def net_parts(*, clock: Clock, limits: Limits, left: Callable[..., None], **others: Any) -> Parts:
    """The parts of connections. The lease is never lost; `left` is called for each session that ends."""
    counts, lease, departures = ConnectionCounts(), SimpleNamespace(check=lambda: True), SimpleNamespace(left=left)
    own: dict[str, Any] = {"lease": lease, "departures": departures}
    return Parts(
        clock=clock, limits=limits, admission=Admission(clock, limits, counts), allowances=Allowances(clock, limits),
        counts=counts, log=ConnectionLog(clock), parting=Parting(clock), **own, **others,
    )  # fmt: skip


def pipeline_parts(**others: Any) -> PipelineParts:
    """The parts of processors. The lease is never lost; nothing is done after messages are stored, or for new bans."""
    own: dict[str, Any] = {
        "lease": SimpleNamespace(check=lambda: True),
        "bans": SimpleNamespace(reload_bans=lambda: None),
    }  # fmt: skip
    return PipelineParts(**own | others)


class CountingPages(Pages):
    """Notes for each read of what was not announced, of how many rooms it is."""

    def __init__(self, clock: Clock, store: Any, nodes: OtherNodes, holes: list[int]) -> None:
        super().__init__(clock, store, nodes)
        self._holes = holes

    async def _read_gaps(self, positions: list[tuple[int, int]]) -> list[Stretch]:
        self._holes.append(len(positions))
        return await super()._read_gaps(positions)


class Hall:
    """A server with one room, `general`."""

    def __init__(
        self,
        folder: Path,
        limits: Limits = QUIET,
        settings: Settings | None = None,
        dialects: tuple[Dialect, ...] = DIALECTS,
        engine: Engine | None = None,
        readers: int = 1,
        clock: Clock | None = None,
    ) -> None:
        path = folder / f"hall-{len(list(folder.iterdir()))}.db"
        path.write_bytes(migrated())
        self.engine = engine or open_engine(parse_url(f"sqlite:///{path}"))
        if engine is None:
            event.listen(self.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        transact(self.engine, lambda db: rooms.ensure(db, ["general"], START))
        self.settings = settings or Settings(limits=limits)
        self.clock = clock or Clock()
        self.limits = self.settings.limits
        self.left: list[tuple[str, str]] = []
        """Accounts that left, and why."""
        self._ids = 0
        self.inline = InlineStore(self.engine)
        store: Any = self.inline
        hasher: Any = PlainHasher()
        now: Any = self.now
        self.roster = Roster()
        self.holes: list[int] = []
        """For each read of what was not announced, of how many rooms."""
        self.rewind = Rewind()
        pages = CountingPages(self.clock, store, self.roster.nodes, self.holes)
        self.registry = Registry(self.clock, pages, self.roster, self.rewind)
        self.reconciler = Reconciler(self.clock, store, self.registry, self.roster, now, self.rewind)
        self.registry.rooms.follow(self.reconciler)
        self.epochs = Epochs(self.clock, store, self.registry, self.roster, self.rewind)
        self.presence = presence = Presence(self.clock, self.roster, self.limits, self._mutes)
        self.session_rows = session_rows = SessionRows(self.clock, store)
        self.marks = ReadMarks(self.clock, self.roster, session_rows)
        self.guests = Guests(self.clock, store, self.registry, now, self.reconciler)
        handshake = Handshake(
            LoginParts(
                settings=self.settings, clock=self.clock, now=now, store=store, hasher=hasher, registry=self.registry,
                roster=self.roster, presence=presence, session_rows=session_rows, marks=self.marks, guests=self.guests,
                epochs=self.epochs, reconciler=self.reconciler,
            )
        )  # fmt: skip
        self.processors = Processors(
            pipeline_parts(
                settings=self.settings, turn=turns(self.clock), store=store, registry=self.registry,
                online=Online(self.roster, presence, self.now, self.settings), reconciler=self.reconciler,
                marks=self.marks,
            ),
            Lanes(1, self.clock, self.limits),
            handshake.sensitive.handlers,
        )  # fmt: skip
        self.processors.start(readers)
        parts = net_parts(
            clock=self.clock, limits=self.limits, shutdown=self.settings.shutdown, handshake=handshake,
            processors=self.processors, registry=self.registry, marks=self.marks, left=self._left, dialects=dialects,
        )  # fmt: skip
        ids: Any = SimpleNamespace(new=self._new_id)
        self.connections = Connections(parts, ids)
        self.epochs.follow(self.connections)

    def close(self) -> None:
        self.engine.dispose()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.clock.seconds())

    async def _mutes(self, account_ids: Collection[int]) -> Mapping[int, frozenset[int]]:
        muted_in: Mapping[int, frozenset[int]] = await self.inline.read(people.mutes, account_ids)
        return muted_in

    def _left(self, session: Session, reason: str, *, announced: bool) -> None:
        self.left.append((session.who.name, reason))
        self.presence.going(session)
        self.registry.subscriptions.remove(session)
        self.roster.remove(session)
        self.marks.ended(session)

    def settle(self) -> None:
        """Lets everything happen that needs no time."""
        for _ in range(10_000):
            due = [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]
            if not due:
                return
            self.clock.advance(0)
        raise AssertionError("The server never comes to rest.")

    def passes(self, seconds: float) -> None:
        """Time passes, in steps of a tenth of a second."""
        self.settle()
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.settle()

    # Those who come

    def factory(self, door: type[Door] = LineDoor, proxies: Networks = NO_PROXIES) -> ChatFactory:
        return ChatFactory(self.connections, door, self.settings, proxies)

    def _new_id(self) -> str:
        self._ids += 1
        return f"s{self._ids}"

    def client(self, door: type[Door] = LineDoor, room: int | None = None, address: Any = None) -> Client:
        """Somebody connects to a line door, or to that other one."""
        return Client(self, self.factory(door).buildProtocol(address), room, address)

    def browser(self, room: int | None = None, address: Any = None) -> WebSocketClient:
        """A program connects to a WebSocket door, and has sent nothing yet."""
        door = self.factory(WebSocketDoor).buildProtocol(address)
        return WebSocketClient(self, door, room, address)

    def program(self, name: str) -> Client:
        """A program that is logged in."""
        return self.client().come_in(name)
