"""The twistd plugin: options, and the only place that wires the parts together."""

import secrets
import time
from datetime import UTC, datetime
from typing import Any, ClassVar

from twisted.application.service import IService
from twisted.python import usage

from chatserver import commands, config
from chatserver.config import ConfigProblem, Settings
from chatserver.events import Entry
from chatserver.handlers.local import Here
from chatserver.handshake import Handshake
from chatserver.ledger import Ledger
from chatserver.net.factory import ChatFactory
from chatserver.passwords import Hasher
from chatserver.presence import Presence
from chatserver.processor import Processors
from chatserver.queue import Lanes
from chatserver.registry import Registry
from chatserver.service import ChatService
from chatserver.session import Dialect, Session
from chatserver.store import Engine, messages, sessions
from chatserver.store.database import DatabaseProblem, open_engine, open_ready, parse_url
from chatserver.store.moderation import NetworkBan
from chatserver.store.places import GUEST
from chatserver.store.threads import Store
from chatserver.turns import turns
from chatserver.upkeep import Upkeep
from chatserver.watch import Watch

CATCH_UP_ENTRIES = 200
CATCH_UP_CHARACTERS = 64 * 1024
SPARE_THREADS = 2


_DATABASE = (
    "sqlite:///FILE (default: chatserver.db) or postgresql+psycopg2://USER@HOST/NAME; "
    "also CHATSERVER_DATABASE in the environment."
)


class Options(usage.Options):
    """What `twistd chatserver` can be told. Command line over environment over settings file over defaults."""

    synopsis = "twistd [-n] chatserver [--listen ENDPOINT]... [--database URL] [--config FILE] [--migrate]"
    optParameters: ClassVar = [
        ["database", None, None, _DATABASE],
        ["config", None, None, "A TOML file of settings; also CHATSERVER_CONFIG in the environment."],
    ]
    optFlags: ClassVar = [["migrate", None, "Bring the database's schema to this version's, then start."]]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """A Twisted endpoint to listen on; may be given more than once. Default tcp:4000:interface=127.0.0.1."""
        self["listen"].append(endpoint)

    def settings(self) -> Settings:
        """All settings, from all their sources. Raises ConfigProblem."""
        return config.chosen(self["config"], self["database"], self["listen"])


def makeService(options: Options) -> IService:
    """The server, ready to start. Where it cannot, ends the program with one line that says what to do."""
    from twisted.internet import reactor

    try:
        settings = options.settings()
        url = parse_url(settings.server.database)
        open_ready(url, migrate=options["migrate"]).dispose()
    except (ConfigProblem, DatabaseProblem) as problem:
        raise SystemExit(f"chatserver: {problem}") from None
    return wire(reactor, settings, open_engine(url, connections(settings)))


def connections(settings: Settings) -> int:
    """One for each of the store's threads."""
    return sum(thread_counts(settings))


def thread_counts(settings: Settings) -> tuple[int, int]:
    """Threads for writing and for reading: one a lane, and some for logging in and catching up."""
    pipeline = settings.pipeline
    return pipeline.write_lanes + SPARE_THREADS, pipeline.read_lanes + SPARE_THREADS


def wire(reactor: Any, settings: Settings, engine: Engine) -> ChatService:
    """Makes every part, and hands it what it uses."""
    limits = settings.limits
    store = Store(engine, reactor, *thread_counts(settings))

    async def read_page(room_id: int, seq: int) -> tuple[list[Entry], bool]:
        return await store.read(messages.after, room_id, seq, CATCH_UP_ENTRIES, CATCH_UP_CHARACTERS)

    registry = Registry(reactor, read_page)
    presence = Presence(reactor, registry, limits.presence_seconds, limits.presence_members)
    ledger = Ledger(reactor, store)
    hasher = Hasher(
        reactor,
        memory_kib=settings.passwords.memory_kib,
        time_cost=settings.passwords.time_cost,
        parallelism=settings.passwords.parallelism,
        threads=settings.passwords.threads,
        queue=settings.passwords.queue,
    )
    turn = turns(reactor)
    handshake = Handshake(
        store, hasher, registry, presence, ledger, now, settings.server, limits, settings.passwords.min_length, turn
    )

    def set_bans(bans: list[NetworkBan]) -> None:
        factory.set_bans(bans)

    watch = Watch(reactor, store, registry, now, set_bans)
    processors = Processors(
        turn,
        Lanes(settings.pipeline.write_lanes),
        store,
        registry,
        now,
        settings.pipeline.take,
        Here(registry, presence, now),
        {commands.Password: handshake.change_password, commands.Forget: handshake.forget},
        watch.reload_bans,
        Upkeep(store).stored,
    )

    def left(session: Session, reason: str) -> None:
        presence.going(session)
        read = session.read if session.dialect is Dialect.TEXT else {}
        registry.depart(session)
        ledger.add(sessions.Closed(session.id, session.account_id, now(), reason, read))
        if session.kind == GUEST:
            processors.dismiss(session)

    factory = ChatFactory(
        reactor, limits, settings.shutdown.flush_seconds, handshake, processors, registry, new_id, now, left
    )
    return ChatService(reactor, settings, store, hasher, ledger, watch, processors, factory, now)


def now() -> datetime:
    """The time, in UTC and in whole milliseconds: what is stored is what is shown."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def new_id() -> str:
    """A session's id: rises with time, as UUIDv7 (RFC 9562) does, so that rows of one time lie together."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
