"""Makes every part of the server, and hands it the parts that it uses: one function for each group of parts."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from msgspec import Struct

from chatserver.background.indexing import IndexJob
from chatserver.background.maintenance import Maintenance
from chatserver.background.mentions import MentionsJob
from chatserver.background.new_entries import NewEntriesJob
from chatserver.background.read_marks import ReadMarks
from chatserver.background.retention import RetentionJob
from chatserver.background.session_rows import SessionRows
from chatserver.delivery.pages import Pages
from chatserver.delivery.registry import Registry
from chatserver.handlers.outcome import Online
from chatserver.login.entrance import Departures
from chatserver.login.guests import Guests
from chatserver.login.handshake import Handshake
from chatserver.login.hashing import Hasher
from chatserver.login.parts import LoginParts
from chatserver.net.connection.connections import Connections, SessionIds
from chatserver.net.connection.log import ConnectionLog
from chatserver.net.connection.parting import Parting
from chatserver.net.connection.parts import Parts
from chatserver.net.counts import ConnectionCounts
from chatserver.net.limits.account_share import Allowances
from chatserver.net.limits.admission import Admission
from chatserver.operation.companion import Companion, Running
from chatserver.operation.control.control import Control
from chatserver.operation.control.reload import Reload
from chatserver.operation.log.logs import Logs
from chatserver.operation.monitoring.counters import Lag
from chatserver.operation.systemd.notify import SystemdNotify
from chatserver.operation.systemd.watchdog import Watchdog
from chatserver.pipeline.lanes import Lanes
from chatserver.pipeline.parts import PipelineParts
from chatserver.pipeline.processor import Processors, search_count
from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.settings.tables import Settings
from chatserver.store import Engine, people
from chatserver.store.db.threads import Store
from chatserver.store.nodes.lease import this_process
from chatserver.sync.change_feed import ChangeFeed
from chatserver.sync.epochs import Epochs
from chatserver.sync.lease import Lease
from chatserver.sync.reconcile import Reconciler
from chatserver.sync.rewind import Rewind
from chatserver.util.clock import Clock
from chatserver.util.times import awake_seconds
from chatserver.util.waiting import turns

SPARE_THREADS = 2
"""Number of threads of each pool for logging in and catching up."""


class StoreParts(Struct, frozen=True):
    """The parts that all groups use."""

    reactor: Any
    settings: Settings
    now: Clock
    store: Store
    session_rows: SessionRows


class DeliveryParts(Struct, frozen=True):
    rewind: Rewind
    epochs: Epochs
    registry: Registry
    roster: Roster
    presence: Presence
    marks: ReadMarks
    reconciler: Reconciler
    lease: Lease
    change_feed: ChangeFeed


class WiredLogin(Struct, frozen=True):
    parts: LoginParts
    handshake: Handshake


class WiredPipeline(Struct, frozen=True):
    lanes: Lanes
    processors: Processors
    maintenance: Maintenance
    indexing: IndexJob


def wire(
    reactor: Any, settings: Settings, engine: Engine, logs: Logs, read_settings: Callable[[], Settings]
) -> Running:
    """Makes every part."""
    base = wire_store(reactor, settings, engine)
    delivery = wire_delivery(base)
    login = wire_login(base, delivery)
    pipeline = wire_pipeline(base, delivery, login)
    connections = wire_net(base, delivery, login, pipeline)
    cluster = wire_cluster(base, delivery, login, connections, engine) if settings.bus.url else None
    return Running(
        reactor=reactor, settings=settings, store=base.store, registry=delivery.registry, roster=delivery.roster,
        hasher=login.parts.hasher, processors=pipeline.processors, lanes=pipeline.lanes, connections=connections,
        lease=delivery.lease, logs=logs, now=base.now, read_settings=read_settings, session_rows=base.session_rows,
        change_feed=delivery.change_feed, reconciler=delivery.reconciler, guests=login.parts.guests,
        maintenance=pipeline.maintenance, indexing=pipeline.indexing, cluster=cluster,
    )  # fmt: skip


def wire_store(reactor: Any, settings: Settings, engine: Engine) -> StoreParts:
    pipeline = settings.pipeline
    store = Store(
        engine, reactor, *thread_counts(settings), pipeline.database_seconds, pipeline.read_seconds,
        settings.log.slow_seconds,
    )  # fmt: skip
    return StoreParts(reactor, settings, Clock(seconds=awake_seconds), store, SessionRows(reactor, store))


def wire_delivery(base: StoreParts) -> DeliveryParts:
    reactor, settings, store, now = base.reactor, base.settings, base.store, base.now
    rewind, roster = Rewind(), Roster()

    async def mutes(account_ids: Collection[int]) -> Mapping[int, frozenset[int]]:
        return await store.read(people.mutes, account_ids)

    registry = Registry(reactor, Pages(reactor, store, roster.nodes), roster, rewind)
    reconciler = Reconciler(reactor, store, registry, roster, now, rewind)
    registry.rooms.follow(reconciler)
    epochs = Epochs(reactor, store, registry, roster, rewind)
    store.watch(rewind)
    me = this_process(settings.server.node, bus=bool(settings.bus.url))
    lease = Lease(reactor, store, me, rewind, now=now if me.bus else None)
    change_feed = ChangeFeed(reactor, store, registry, roster, reconciler, base.session_rows, rewind)
    presence = Presence(reactor, roster, settings.limits, mutes)
    return DeliveryParts(
        rewind, epochs, registry, roster, presence, ReadMarks(reactor, roster, base.session_rows), reconciler, lease,
        change_feed,
    )  # fmt: skip


def wire_login(base: StoreParts, delivery: DeliveryParts) -> WiredLogin:
    parts = LoginParts(
        settings=base.settings, clock=base.reactor, now=base.now, store=base.store,
        hasher=Hasher(base.reactor, base.settings.passwords), registry=delivery.registry, roster=delivery.roster,
        presence=delivery.presence, session_rows=base.session_rows, marks=delivery.marks,
        guests=Guests(base.reactor, base.store, delivery.registry, base.now, delivery.reconciler),
        epochs=delivery.epochs, reconciler=delivery.reconciler,
    )  # fmt: skip
    return WiredLogin(parts, Handshake(parts))


def wire_pipeline(base: StoreParts, delivery: DeliveryParts, login: WiredLogin) -> WiredPipeline:
    reactor, settings, store = base.reactor, base.settings, base.store
    lanes = Lanes(settings.pipeline.write_lanes, reactor, settings.limits)
    indexing = IndexJob(reactor, store, base.now, settings.search.language, delivery.registry.order)
    jobs = (
        RetentionJob(reactor, store, settings.retention),
        NewEntriesJob(reactor, store, delivery.registry.order),
        indexing,
        MentionsJob(reactor, store, delivery.roster),
    )
    maintenance = Maintenance(reactor, store, base.now, *jobs)
    online = Online(delivery.roster, delivery.presence, base.now, settings)
    parts = PipelineParts(
        settings=settings, turn=turns(reactor), store=store, registry=delivery.registry, online=online,
        marks=delivery.marks, reconciler=delivery.reconciler, lease=delivery.lease,
        bans=delivery.change_feed,
    )  # fmt: skip
    return WiredPipeline(lanes, Processors(parts, lanes, login.handshake.sensitive.handlers), maintenance, indexing)


def wire_net(base: StoreParts, delivery: DeliveryParts, login: WiredLogin, pipeline: WiredPipeline) -> Connections:
    reactor, limits, counts = base.reactor, base.settings.limits, ConnectionCounts()
    parts = Parts(
        clock=reactor, limits=limits, shutdown=base.settings.shutdown, handshake=login.handshake,
        processors=pipeline.processors, registry=delivery.registry, marks=delivery.marks, lease=delivery.lease,
        departures=Departures(login.parts, delivery.change_feed), admission=Admission(reactor, limits, counts),
        allowances=Allowances(reactor, limits),
        counts=counts, log=ConnectionLog(reactor), parting=Parting(reactor),
    )  # fmt: skip
    connections = Connections(parts, SessionIds())
    for part in (delivery.lease, delivery.change_feed, connections):
        base.store.notify(part)
    delivery.epochs.follow(connections)
    delivery.change_feed.follow_bans(connections)
    return connections


def wire_cluster(
    base: StoreParts, delivery: DeliveryParts, login: WiredLogin, connections: Connections, engine: Engine
) -> Any:
    """Imports here, since one node alone needs none of that in memory."""
    from chatserver.cluster.bus.opening import open_bus
    from chatserver.cluster.node import Local, Node

    local = Local(
        registry=delivery.registry, roster=delivery.roster, presence=delivery.presence, marks=delivery.marks,
        reconciler=delivery.reconciler, change_feed=delivery.change_feed, rewind=delivery.rewind,
    )  # fmt: skip
    bus = open_bus(base.settings, base.reactor, engine, delivery.lease)
    cluster = Node(base.reactor, bus, base.store, delivery.lease, local, connections, login.parts.guests)
    delivery.rewind.follow(cluster)
    return cluster


def connection_count(settings: Settings) -> int:
    """Number of database connections: one for each of the store's threads."""
    return sum(thread_counts(settings))


def thread_counts(settings: Settings) -> tuple[int, int]:
    """Number of threads for writing and for reading: one for each lane and search, and spare ones."""
    pipeline = settings.pipeline
    return pipeline.write_lanes + SPARE_THREADS, pipeline.read_lanes + search_count(settings) + SPARE_THREADS


def companions(running: Running) -> list[Companion]:
    """In the order in which they are started and stopped."""
    reload = Reload(running)
    found: list[Companion] = [
        running.logs, SystemdNotify(running), Watchdog(running), reload, Control(running, reload), Lag(running),
    ]  # fmt: skip
    if running.settings.server.metrics:
        from chatserver.operation.monitoring.web import Web  # without it, nobody needs an HTTP server in memory

        found.append(Web(running))
    return found
