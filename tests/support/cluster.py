"""Nodes without sockets, threads and time: halls that share a database, a clock and a bus which loses what the test
says."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Engine, delete, event, insert, update
from twisted.internet.task import Clock

from chatserver.cluster.bus.bus import Parcel, Receiver
from chatserver.cluster.node import Local, Node
from chatserver.session.session import Session
from chatserver.settings.tables import named
from chatserver.store.db.database_clock import NOW
from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.schema import NodeRow
from chatserver.store.db.transactions import transact
from chatserver.store.nodes.lease import Process
from chatserver.sync.change_feed import ChangeFeed
from chatserver.sync.lease import Lease
from tests.support.hall import Hall
from tests.support.migrated import migrated

Fate = Callable[[str, str, bytes], Sequence[float]]
"""(sender, receiver, frame) -> after how many seconds it arrives, once for each; nothing: it is lost."""


def at_once(sender: str, receiver: str, data: bytes) -> Sequence[float]:
    return [0.0]


def never(sender: str, receiver: str, data: bytes) -> Sequence[float]:
    return []


class Air:
    """State that the buses of all nodes share."""

    def __init__(self, clock: Any, *, by_room: bool = False) -> None:
        self.clock = clock
        self.by_room = by_room
        self.fate: Fate = at_once
        self.buses: list[MemoryBus] = []
        self.starts: dict[str, int] = {}
        """By name, how often a node was started: each time it is another process."""
        self.sent: list[tuple[str, Parcel]] = []

    def carry(self, sender: str, parcel: Parcel) -> None:
        self.sent.append((sender, parcel))
        for bus in self.buses:
            if bus.hears(parcel.channel):
                after = at_once if bus.name == sender else self.fate
                for seconds in after(sender, bus.name, parcel.data):
                    self.clock.callLater(seconds, bus.receive, parcel.data)


class OneNode:
    """Holds the lease of a node."""

    def __init__(self, name: str) -> None:
        self.me = Process(name, f"boot-{name}", "here", "", 0, 0)


class MemoryBus:
    """The bus of one node. `dead`: it is connected, and carries nothing."""

    def __init__(self, air: Air, name: str) -> None:
        self.by_room = air.by_room
        self.name = name
        self.connected = False
        self.dead = False
        self.reconnects = 0
        self.dropped = 0
        self.advice = ""
        self._air = air
        self._channels: set[str] = {""}
        self._receiver: Any = None

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._air.buses.append(self)
        self.connected = True
        receiver.joined([""])

    def hears(self, channel: str) -> bool:
        return self.connected and not self.dead and channel in self._channels

    def receive(self, data: bytes) -> None:
        if self.connected:
            self._receiver.received(data)

    def publish(self, parcels: Sequence[Parcel]) -> None:
        if self.connected and not self.dead:
            for parcel in parcels:
                self._air.carry(self.name, parcel)

    def hear(self, channel: str) -> None:
        if channel not in self._channels:
            self._channels.add(channel)
            self._air.clock.callLater(0, self._receiver.joined, [channel])

    def unhear(self, channel: str) -> None:
        self._channels.discard(channel)

    def reconnect(self) -> None:
        self.reconnects += 1
        self.dead = False
        self._air.clock.callLater(0, self._receiver.joined, sorted(self._channels))

    def cut(self) -> None:
        """The node is killed, or cut off."""
        self.connected = False
        self._air.buses.remove(self)

    async def stop(self) -> None:
        self.cut()


class NodeHall(Hall):
    """A hall that is a node of a cluster."""

    def __init__(self, folder: Path, name: str, air: Air, engine: Engine, **options: Any) -> None:
        super().__init__(folder, engine=engine, clock=air.clock, **options)
        self.name = name
        named(self.settings, name)
        starts = air.starts[name] = air.starts.get(name, 0) + 1
        me = Process(name, f"boot-{name}" if starts == 1 else f"boot-{name}-{starts}", "here", "", 0, 0)
        self.bus = MemoryBus(air, name)
        store: Any = self.inline
        self.lease = Lease(self.clock, store, me, self.rewind, self.clock.seconds)
        self.change_feed = ChangeFeed(
            self.clock, store, self.registry, self.roster, self.reconciler, self.session_rows, self.rewind
        )
        self.change_feed.follow_bans(self.connections)
        local = Local(
            registry=self.registry, roster=self.roster, presence=self.presence, marks=self.marks,
            reconciler=self.reconciler, change_feed=self.change_feed, rewind=self.rewind,
        )  # fmt: skip
        self.cluster = Node(self.clock, self.bus, store, self.lease, local, self.connections, self.guests)
        self.rewind.follow(self.cluster)
        self.alive = True
        transact(engine, lambda db: _join(db, self.me))
        self.lease._held, self.lease._beat = True, 1
        self.change_feed.start()
        self.lease.start()
        self.cluster.start()

    @property
    def me(self) -> Process:
        return self.lease.me

    def become(self, boot: str) -> None:
        """The lease is another process's, which is this one from now on."""
        self.lease._me = replace(self.me, boot=boot)
        transact(self.engine, lambda db: db.execute(update(NodeRow).where(NodeRow.name == self.name).values(boot=boot)))

    def _new_id(self) -> str:
        return f"{self.me.boot}-{super()._new_id()}"

    def _left(self, session: Session, reason: str, *, announced: bool) -> None:
        super()._left(session, reason, announced=announced)
        self.change_feed.left(session)

    def kill(self) -> None:
        """The process is gone, with everything that it has not told anybody. Its clients are cut off."""
        self.alive = False
        if not self.inline.held:
            self.inline.hold()  # for good: it does nothing more in the database
        self.bus.cut()
        self.cluster.peers.stop()
        self.change_feed.stop()
        self.reconciler.stop()


def nodes(
    folder: Path, *names: str, engine: Engine | None = None, by_room: bool = False, **options: Any
) -> tuple[Air, list[NodeHall]]:
    """A cluster whose nodes know each other."""
    engine = engine or shared_file(folder)
    air = Air(Clock(), by_room=by_room)
    halls = [NodeHall(folder, name, air, engine, **options) for name in names]
    halls[0].passes(1)
    return air, halls


_COMPILED: dict[Any, Any] = {}  # statements are the same for all files


def shared_file(folder: Path, content: bytes = b"") -> Engine:
    """A database that several nodes use, which no real server would do with SQLite. `content`: else it is empty."""
    path = folder / "shared.db"
    path.write_bytes(content or migrated())
    engine = open_engine(parse_url(f"sqlite:///{path}"))
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    return engine.execution_options(compiled_cache=_COMPILED)


def _join(db: Any, me: Process) -> None:
    """Gives a process the lease of its node: also a second one on a SQLite file, which no real server gets."""
    values = {"host": me.host, "machine": me.machine, "pid": me.pid, "started": me.started, "acquired_at": NOW}
    db.execute(delete(NodeRow).where(NodeRow.name == me.node))
    db.execute(insert(NodeRow).values(name=me.node, boot=me.boot, beat=1, heartbeat_at=NOW, **values))
