"""The twistd plugin: its options, and the only place that wires the parts together."""

import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec
from twisted.application.service import IService
from twisted.python import usage

from chatserver.background.maintenance import Upkeep
from chatserver.background.read_marks import MarkLog
from chatserver.background.retention import Removals
from chatserver.background.session_rows import SessionLog
from chatserver.delivery.registry import Registry
from chatserver.handlers.immediate import Online
from chatserver.handlers.outcome import Outcome
from chatserver.login.guests import Guests
from chatserver.login.handshake import Handshake
from chatserver.login.hashing import Hasher
from chatserver.net.connection.connections import REWOUND, Connections
from chatserver.net.listening.ports import Inherited
from chatserver.operation.companion import Companion
from chatserver.operation.control.control import Control
from chatserver.operation.control.reload import Reload
from chatserver.operation.log.logs import Logs
from chatserver.operation.monitoring.lag import Lag
from chatserver.operation.running import Running
from chatserver.operation.systemd.notify import SystemdNotify, notify
from chatserver.operation.systemd.watchdog import Watchdog
from chatserver.pipeline.lanes import Lanes
from chatserver.pipeline.processor import Processors
from chatserver.pipeline.search_slots import Searches
from chatserver.presence.roster import Roster
from chatserver.presence.telling import Presence
from chatserver.service import ChatService, retries
from chatserver.session.session import Session
from chatserver.settings import file
from chatserver.settings.tables import ConfigProblem, Log, Settings
from chatserver.store import Engine, entries, people, quotes, sessions
from chatserver.store.db.engine import DatabaseProblem, Unreachable, open_engine, open_ready, parse_url
from chatserver.store.db.threads import Store
from chatserver.store.moderation import NetworkBan
from chatserver.store.nodes.lease import Held, awake_seconds, this_process
from chatserver.sync.change_feed import Watch
from chatserver.sync.lease import Lease
from chatserver.sync.reconcile import Reconciler
from chatserver.util.batcher import Batcher
from chatserver.util.clock import Clock
from chatserver.util.exits import MISCONFIGURED, CannotStart, ending
from chatserver.util.waiting import turns
from chatserver.values import commands
from chatserver.values.endings import FENCED
from chatserver.values.errors import Unavailable
from chatserver.values.events import GUEST, Entry, Person

CATCH_UP_ENTRIES = 200
CATCH_UP_CHARACTERS = 64 * 1024
MOST_HOLES = 100
"""Of so many rooms what was not announced is read in one statement: HOLE_ENTRIES of each, or more of a few."""
HOLE_ENTRIES = 20
SPARE_THREADS = 2


_DATABASE = (
    "sqlite:///FILE (default: chatserver.db) or postgresql+psycopg2://USER@HOST/NAME; "
    "also CHATSERVER_DATABASE in the environment."
)


def log_choice(key: str) -> Callable[[str], str]:
    """What twistd calls with a value for `--log-KEY`. Raises ValueError, whose text twistd shows."""

    def choose(value: str) -> str:
        return str(getattr(msgspec.convert({key: value}, Log), key))

    return choose


class Options(usage.Options):
    """What `twistd chatserver` can be told. Command line over environment over settings file over defaults."""

    synopsis = (
        "twistd [-n] chatserver [--listen ENDPOINT]... [--database URL] [--config FILE] [--metrics ENDPOINT] "
        "[--log-format text|json] [--log-level LEVEL] [--migrate]"
    )
    optParameters: ClassVar = [
        ["database", None, None, _DATABASE],
        ["config", None, None, "A TOML file of settings; also CHATSERVER_CONFIG in the environment."],
        ["metrics", None, None, "An endpoint for monitoring: /metrics, /health/live and /health/ready."],
        ["log-format", None, None, "text or json.", log_choice("format")],
        ["log-level", None, None, "debug, info, warn or error.", log_choice("level")],
    ]
    optFlags: ClassVar = [["migrate", None, "Upgrade the database's schema to this version, then start."]]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """A Twisted endpoint to listen on, with "ws:" in front for WebSocket clients, or "telnet:" for telnet; may be
        given more than once. Default tcp:4000:interface=127.0.0.1."""
        self["listen"].append(endpoint)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """A wrong option ends the program with one line, and a status that says so."""
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as problem:
            text = f"{str(problem).rstrip('.')}. Run twistd chatserver --help for the options."
            raise ending(CannotStart(text, MISCONFIGURED)) from None

    def settings(self) -> Settings:
        """All settings, from all their sources. Raises ConfigProblem."""
        log = {key: self[f"log-{key}"] for key in ("format", "level") if self[f"log-{key}"]}
        return file.chosen(self["config"], self["database"], self["listen"], self["metrics"], log)


def makeService(options: Options) -> IService:
    """The server, ready to start. Where it cannot, ends the program with one line that says what to do."""
    from twisted.internet import reactor

    inherited = Inherited.from_environment()
    try:
        settings = options.settings()
        url = parse_url(settings.server.database)
        notify("STATUS=Opening the database")
        open_ready(url, migrate=options["migrate"]).dispose()
    except Unreachable as problem:
        raise CannotStart(str(problem)) from None
    except (ConfigProblem, DatabaseProblem) as problem:
        raise ending(CannotStart(str(problem), MISCONFIGURED)) from None
    use_monotonic_clock(reactor)
    logs = Logs(settings.log, reactor)
    engine = open_engine(url, connection_count(settings))
    service = wire(reactor, settings, engine, logs, options.settings, inherited)
    service.adopted = partial(logs.attach, options=options.parent or {})
    return service


def use_monotonic_clock(reactor: Any) -> None:
    """Makes a reactor time its calls by the monotonic clock. Call this before anything is scheduled.

    Twisted's reactors use the wall clock, so that after a step back by an hour every pending call would come an hour
    late. They read the time only by their method `seconds`, and hand it to the calls they schedule.
    """
    assert not reactor.getDelayedCalls(), "Calls are scheduled already, by the wall clock."
    reactor.seconds = time.monotonic


def connection_count(settings: Settings) -> int:
    """One for each of the store's threads."""
    return sum(thread_counts(settings))


def thread_counts(settings: Settings) -> tuple[int, int]:
    """Threads for writing and for reading: one a lane and a search, and some for logging in and catching up."""
    pipeline = settings.pipeline
    return pipeline.write_lanes + SPARE_THREADS, pipeline.read_lanes + search_count(settings) + SPARE_THREADS


def search_count(settings: Settings) -> int:
    """How many searches run at the same time: half as many as there are lanes for other reading."""
    return max(settings.pipeline.read_lanes // 2, 1)


def wire(
    reactor: Any,
    settings: Settings,
    engine: Engine,
    logs: Logs,
    read_settings: Callable[[], Settings],
    inherited: Inherited | None = None,
) -> ChatService:
    """Makes every part, and hands it what it uses."""
    limits, pipeline, now = settings.limits, settings.pipeline, Clock(seconds=awake_seconds)
    store = Store(
        engine, reactor, *thread_counts(settings), pipeline.database_seconds, pipeline.read_seconds,
        settings.log.slow_seconds,
    )  # fmt: skip

    async def read_page(room_id: int, seq: int) -> tuple[list[Entry], bool]:
        return await store.read(entries.follow, room_id, seq, CATCH_UP_ENTRIES, CATCH_UP_CHARACTERS)

    async def fill_pages(positions: list[tuple[int, int]]) -> list[tuple[list[Entry], bool]]:
        each = max(CATCH_UP_ENTRIES // len(positions), HOLE_ENTRIES)
        return await store.read(entries.follow_all, positions, each, CATCH_UP_CHARACTERS)

    holes: Batcher[tuple[int, int], tuple[list[Entry], bool]] = Batcher(fill_pages, MOST_HOLES, turns(reactor))

    async def fill_page(room_id: int, seq: int) -> tuple[list[Entry], bool]:
        return await holes.ask((room_id, seq))

    async def quoted(who: Person, room_id: int, page: Sequence[Entry]) -> list[Entry]:
        return await store.read(quotes.quoted, who, room_id, page)

    roster = Roster()

    def rewound(room_id: int, head: int, last: int) -> None:
        connections.rewound(room_id, head, last)
        forget()
        registry.elsewhere.rewound()

    def start_over() -> None:
        connections.start_over(*REWOUND)
        forget()

    def forget() -> None:  # what was read of a database that was set back
        lease.forget_beat()
        watch.start_over()

    def missed(room_id: int) -> None:
        reconciler.missed(room_id)

    registry = Registry(reactor, read_page, roster, rewound, missed=missed, quoted=quoted, fill_page=fill_page)
    reconciler = Reconciler(reactor, store, registry, roster, now, rewound)

    async def mutes(account_ids: Collection[int]) -> Mapping[int, frozenset[int]]:
        return await store.read(people.mutes, account_ids)

    presence = Presence(reactor, roster, limits, mutes)
    session_log = SessionLog(reactor, store)
    marks = MarkLog(reactor, roster, session_log)
    hasher = Hasher(reactor, settings.passwords)
    guests = Guests(reactor, store, registry, now, reconciler.suspect)
    handshake = Handshake(
        settings, reactor, now, store, hasher, registry, roster, presence, session_log, marks,
        guests.not_admitted, guests.lost, reconciler.suspect,
    )  # fmt: skip

    def set_bans(bans: list[NetworkBan]) -> None:
        connections.set_bans(bans)

    def fenced() -> None:
        connections.start_over(*FENCED)
        if cluster is not None:
            cluster.restarted()

    def set_back(known: int, found: int) -> None:
        start_over()
        if cluster is not None and cluster.outgoing.boot != lease.me.boot:
            cluster.restarted()
        registry.elsewhere.rewound()

    def lost(held: Held) -> None:
        service.fail(CannotStart(str(held)))

    follow = now.follow if settings.bus.url else None
    lease = Lease(reactor, store, this_process(settings.server.node), fenced, set_back, lost, follow=follow)

    watch = Watch(reactor, store, registry, roster, now, set_bans, reconciler.entered, session_log.unrecorded)
    upkeep = Upkeep(reactor, store, now, Removals(reactor, store, settings.retention))
    searches = Searches(search_count(settings))

    async def search(session: Session, command: commands.Search | commands.Mentions) -> Outcome:
        async def work() -> Outcome:
            if not lease.check():  # all connections are being ended
                raise Unavailable()
            return await processors.ask(session, command)

        return await searches.run(session.account_id, work)

    lanes = Lanes(settings.pipeline.write_lanes)
    processors = Processors(
        turns(reactor),
        lanes,
        store,
        registry,
        Online(roster, presence, now, limits),
        settings.pipeline.take,
        {
            commands.Password: handshake.sensitive.change_password,
            commands.Token: handshake.sensitive.token,
            commands.Forget: handshake.sensitive.forget,
            commands.Search: search,
            commands.Mentions: search,
        },
        watch.reload_bans,
        upkeep.stored,
        reconciler.suspect,
        lease.check,
        limits,
        reserved=lambda: settings.server.reserved_names,
        marks=marks,
    )

    def left(session: Session, reason: str) -> None:
        if connections.parting is None:  # else nobody is left who could be told
            presence.going(session)
        registry.remove(session)
        roster.remove(session)
        watch.left(session)
        marks.ended(session)
        session_log.add(sessions.Closed(session.id, session.account_id, now(), reason))
        if session.kind == GUEST:
            guests.dismiss(session)

    connections = Connections(
        reactor, limits, settings.shutdown, handshake, processors, registry, now, left,
        marks, may_serve=lease.check,
    )  # fmt: skip
    store.answers_again = connections.answered
    cluster = None
    if settings.bus.url:
        from chatserver.cluster.bus.table import open_bus  # one node alone needs none of that
        from chatserver.cluster.limits import counts_of
        from chatserver.cluster.node import Cluster

        cluster = Cluster(
            reactor, open_bus(settings, reactor, engine, lambda: lease.me.node), store, lambda: lease.me, registry,
            roster, presence, marks, reconciler, watch, start_over,
            lambda: len(connections.open), guests.not_admitted,
        )  # fmt: skip
        cluster.counts = counts_of(reactor, cluster.outgoing, limits, connections)
    running = Running(
        reactor=reactor, settings=settings, store=store, registry=registry, roster=roster, hasher=hasher,
        processors=processors, lanes=lanes, connections=connections, lease=lease, logs=logs, now=now,
        read_settings=read_settings, cluster=cluster,
    )  # fmt: skip
    service = ChatService(
        reactor, settings, store, hasher, session_log, watch, processors, connections, lease, reconciler, guests,
        upkeep,
        new_id, now, companions(running), inherited, cluster,
    )  # fmt: skip
    if cluster is not None:
        from chatserver.cluster.drain import Drain

        cluster.asked = Drain(
            reactor, cluster, connections, store, lambda: lease.me, service.withdraw, retries
        ).asked  # fmt: skip
    return service


def companions(running: Running) -> list[Companion]:
    """In the order in which they are started and stopped."""
    reload = Reload(running)
    found: list[Companion] = [
        running.logs, SystemdNotify(running), Watchdog(running), reload, Control(running, reload.reload), Lag(running),
    ]  # fmt: skip
    if running.settings.server.metrics:
        from chatserver.operation.monitoring.web import Web  # without it, nobody needs an HTTP server in memory

        found.append(Web(running))
    return found


def new_id() -> str:
    """A session's id: rises with time, as UUIDv7 (RFC 9562) does, so that rows of one time lie together."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
