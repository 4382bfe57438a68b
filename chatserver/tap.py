"""The twistd plugin: its options, and the service that twistd starts."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec
from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python import usage

from chatserver.net.listening.ports import Inherited
from chatserver.operation.log.logs import Logs
from chatserver.operation.systemd.notify import notify
from chatserver.service import ChatService
from chatserver.settings import file
from chatserver.settings.tables import ConfigProblem, Log, Settings
from chatserver.store.db.engine import DatabaseProblem, Unreachable, open_engine, open_ready, parse_url, put_log_aside
from chatserver.util.exits import MISCONFIGURED, CannotStart, ending
from chatserver.wiring import companions, connection_count, wire

_DATABASE = (
    "sqlite:///FILE (default: chatserver.db) or postgresql://USER@HOST/NAME; "
    "also CHATSERVER_DATABASE in the environment."
)


def log_choice(key: str) -> Callable[[str], str]:
    """Returns the function with which twistd checks a value of `--log-KEY`. It raises ValueError, whose text twistd
    shows."""

    def choose(value: str) -> str:
        return str(getattr(msgspec.convert({key: value}, Log), key))

    return choose


class Options(usage.Options):
    """The options of `twistd chatserver`. The command line overrides the environment, which overrides the settings
    file."""

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
        """A Twisted endpoint to listen on, with "ws:" in front for WebSocket, "web:" for the page, or "telnet:"; may be
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
        put_aside = put_log_aside(url)
        if put_aside:
            Logger().warn("{what}", what=put_aside)
        open_ready(url, migrate=options["migrate"]).dispose()
    except Unreachable as problem:
        raise CannotStart(str(problem)) from None
    except (ConfigProblem, DatabaseProblem) as problem:
        raise ending(CannotStart(str(problem), MISCONFIGURED)) from None
    use_monotonic_clock(reactor)
    logs = Logs(settings.log, reactor)
    engine = open_engine(url, connection_count(settings))
    running = wire(reactor, settings, engine, logs, options.settings)
    service = ChatService(running, companions(running), inherited)
    if running.cluster is not None:
        from chatserver.cluster.drain import Drain

        running.cluster.follow(Drain(reactor, running.cluster, running.connections, running.store, service))
    service.adopted = partial(logs.attach, options=options.parent or {})
    return service


def use_monotonic_clock(reactor: Any) -> None:
    """Makes a reactor time its calls by the monotonic clock. Call this before anything is scheduled.

    Twisted's reactors use the wall clock, so that after a step back by an hour every pending call would come an hour
    late. They read the time only by their method `seconds`, and hand it to the calls they schedule.
    """
    assert not reactor.getDelayedCalls(), "Calls are scheduled already, by the wall clock."
    reactor.seconds = time.monotonic
