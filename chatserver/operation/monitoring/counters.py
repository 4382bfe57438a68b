"""The numbers of a running server in one place, for /metrics and `chatctl stats`.

The parts keep plain numbers and add to them where something happens. Nothing is computed until somebody asks.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import islice
from math import nan
from typing import Final, TypeVar

from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall

from chatserver.delivery.room import Room
from chatserver.net.connection.connection import Connection
from chatserver.net.doors.table import DOORS
from chatserver.net.listening.tls import shown
from chatserver.operation.companion import Quiet, Running
from chatserver.util.histogram import Distribution
from chatserver.util.waiting import pause
from chatserver.values.commands import Command

T = TypeVar("T")

SLICE: Final = 250
"""Maximum number of connections that are looked at in one turn of the reactor: less than a millisecond."""
PROBE_SECONDS: Final = 0.25
"""Interval between measurements of the reactor's lag: short enough to see what a person would feel, and cheap."""
LINE: Final = "line"
"""The door of an endpoint without a prefix."""
LOGIN: Final = "login"
"""The kind that counts all commands before the login: logins, registrations, guests."""


class Load(Struct, frozen=True):
    """Load of a pool of threads."""

    threads: int  # at most
    busy: int
    waiting: int  # calls that wait for a thread


class Behind(Struct, frozen=True):
    """Readers that have not been sent everything; one is counted once for each room."""

    readers: int
    entries: int  # that they lack, in all
    most: int  # that one of them lacks


class BusNumbers(Struct, frozen=True, kw_only=True):
    """Counts of the bus over which nodes exchange their commits."""

    # At the moment
    nodes: int  # others that are alive
    connected: bool
    lag: float  # how long the last frame took that came back, in seconds; NaN: none has
    # Since the start
    reconnects: int
    frames: dict[str, int]  # by fate, see FATES
    gaps: int  # how often frames of another node were missing
    bytes_sent: int
    bytes_received: int
    entries: dict[str, int]  # for subscribers, by the way that they came: "bus", or from the "store" when it was late


FATES: Final = ("sent", "dropped", "received", "doubled", "unreadable")
"""Fates of frames. Dropped ones could not be sent, though they count as sent."""


class Snapshot(Struct, frozen=True, kw_only=True):
    """Counts since the process started, and sizes at the moment. Words as keys are from fixed sets."""

    # At the moment
    connections: dict[tuple[str, str, str], int]  # by stage, dialect and door
    accounts: int  # that are online
    rooms: int  # that have subscribers
    subscriptions: int  # of sessions to rooms
    behind: Behind
    unindexed: int  # entries that the index of words lacks
    queued: dict[str, int]  # sessions that wait to be served, by lane: "write", "read"
    pools: dict[str, Load]  # "writers", "readers"
    hashes_waiting: int  # logins that wait for a thread that hashes passwords
    certificates: dict[str, float]  # by endpoint, when its certificate expires, in seconds since 1970
    # Since the start
    started: float  # seconds since 1970
    accepted: int  # connections that got as far as a door
    turned_away: dict[str, int]  # connections that did not, by reason
    endings: dict[str, int]  # connections that ended, by reason
    commands: dict[tuple[str, str], int]  # by kind and outcome: "ok", "fault" or an error word
    refusals: dict[str, int]  # answers with an error, by error word
    stored: int  # messages
    delivered: int  # entries written to live subscribers, counted for each of them
    caught_up: int  # entries read from the store for subscribers that were behind, likewise
    store_errors: dict[str, int]  # "unavailable", "too-slow", "conflict", "fault"
    bytes_received: int
    bytes_sent: int
    takes: Distribution  # messages stored in one transaction
    waits: dict[str, Distribution]  # seconds in the queue, by lane
    commit_seconds: Distribution  # from a message's line to its commit
    delivery_seconds: Distribution  # from a commit to the last live subscriber
    lag_seconds: Distribution  # how late the reactor calls
    bus: BusNumbers | None = None  # there is none


async def snapshot(running: Running) -> Snapshot:
    """Looks at all connections and rooms in small steps, between which the reactor does other things: so one that comes
    or goes meanwhile may be missing, or counted as it was."""
    connections = await _connections(running)
    rooms, subscriptions, behind = await _rooms(running)
    processors, registry, counts = running.processors, running.registry, running.connections.counts
    return Snapshot(
        connections=connections,
        accounts=running.roster.accounts,
        rooms=rooms,
        subscriptions=subscriptions,
        behind=behind,
        unindexed=running.indexing.behind,
        queued=processors.queue_lengths(),
        pools={name: Load(*load) for name, load in running.store.load().items()},
        hashes_waiting=running.connections.handshake.passwords_waiting,
        certificates=_certificates(running),
        started=running.started,
        accepted=counts.accepted,
        turned_away=dict(counts.turned_away),
        endings=dict(counts.endings),
        commands=_commands(processors.counts.all(), counts.logins),
        refusals=dict(counts.refusals),
        stored=processors.takes.stored_messages,
        delivered=registry.order.delivered,
        caught_up=registry.subscriptions.caught_up,
        store_errors=dict(running.store.errors),
        bytes_received=counts.bytes_received,
        bytes_sent=counts.bytes_sent,
        takes=processors.takes.sizes.seen(),
        waits={lane: waits.seen() for lane, waits in processors.waits.items()},
        commit_seconds=processors.takes.commits.seen(),
        delivery_seconds=registry.order.delivery_seconds.seen(),
        lag_seconds=running.lag.seen(),
        bus=_bus(running),
    )


def door_of(connection: Connection) -> str:
    """The prefix that names its door in --listen; "line" for a door without one."""
    return _DOORS.get(type(connection.door), LINE)


_DOORS: Final[dict[type, str]] = {door: prefix or LINE for prefix, door in DOORS.items()}
DOOR_NAMES: Final = tuple(_DOORS.values())


async def _connections(running: Running) -> dict[tuple[str, str, str], int]:
    """Their number, by stage, dialect and door. Counts their bytes, too."""
    found: Counter[tuple[str, str, str]] = Counter()
    counts, is_open = running.connections.counts, running.connections.open
    async for connection in _slowly(running, is_open):
        if connection in is_open:
            session = connection.session
            found[session.stage.name.lower(), session.dialect.name, door_of(connection)] += 1
            counts.look(connection, connection.door.transport)
    return dict(found)


def _bus(running: Running) -> BusNumbers | None:
    cluster, registry = running.cluster, running.registry
    if cluster is None:
        return None
    bus, outgoing, incoming = cluster.bus, cluster.outgoing, cluster.incoming
    fates = (outgoing.frames, bus.dropped, incoming.frames, incoming.doubled, incoming.unreadable)
    return BusNumbers(
        nodes=len(cluster.peers.others),
        connected=bus.connected,
        lag=nan if cluster.lag is None else cluster.lag,
        reconnects=bus.reconnects,
        frames=dict(zip(FATES, fates, strict=True)),
        gaps=incoming.missing,
        bytes_sent=outgoing.bytes,
        bytes_received=incoming.bytes,
        entries={"bus": registry.order.from_bus, "store": registry.order.from_store},
    )


def _certificates(running: Running) -> dict[str, float]:
    """The certificate that expires first, where endpoints are shown alike."""
    found: dict[str, float] = {}
    for identity in (one.identity for one in running.connections.identities):
        where, until = shown(identity.endpoint), identity.until.timestamp()
        found[where] = min(until, found.get(where, until))
    return found


async def _rooms(running: Running) -> tuple[int, int, Behind]:
    """The number of rooms with subscribers and of these, and the backlog."""
    rooms = subscriptions = readers = entries = most = 0
    several: list[Room] = []
    async for room in _slowly(running, running.registry.rooms):
        if room.subscribers:
            rooms += 1
            subscriptions += room.subscribers
            if room.behind:
                several.append(room)
    for room in several:
        async for position in _slowly(running, room.behind.values()):
            lacks = room.head - position
            if lacks > 0:
                readers += 1
                entries += lacks
                most = max(most, lacks)
    return rooms, subscriptions, Behind(readers, entries, most)


async def _slowly(running: Running, several: Iterable[T]) -> AsyncIterator[T]:
    """Each of these as they are now, a slice in each turn of the reactor."""
    left = iter(list(several))
    while some := list(islice(left, SLICE)):
        for one in some:
            yield one
        if len(some) == SLICE:
            await pause(running.reactor, 0)


def _commands(
    outcomes: Mapping[tuple[type[Command], str], int], logins: Mapping[str, int]
) -> dict[tuple[str, str], int]:
    found = {(str(kind.__struct_config__.tag), outcome): count for (kind, outcome), count in outcomes.items()}
    return found | {(LOGIN, outcome): count for outcome, count in logins.items()}


class Lag(Quiet):
    """Measures how late the reactor calls: anything due waits while the reactor is busy."""

    def __init__(self, running: Running) -> None:
        self._clock = running.reactor
        self._seen = running.lag
        self._call: IDelayedCall | None = None

    def started(self) -> None:
        self._wait()

    def _wait(self) -> None:
        self._call = self._clock.callLater(PROBE_SECONDS, self._probe, self._clock.seconds() + PROBE_SECONDS)

    def _probe(self, due: float) -> None:
        self._seen.observe(max(self._clock.seconds() - due, 0.0))
        self._wait()

    def stopped(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
