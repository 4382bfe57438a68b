"""The world of a run: a database, one server or several nodes, relays in front of all of them, and the clients."""

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sqlalchemy import make_url

from chaos.badges import Badge
from chaos.clients import MENTIONED, PASSWORD, Client, Herald, Mover, Program, Reader, SlowReader, Stage, Writer
from chaos.database import GENERAL, Database
from chaos.relay import Address, Relay
from chaos.screen import Screen
from chaos.visitors import Guest, Newcomer
from tests.support import wallclock
from tests.support.client import JsonClient
from tests.support.postgres import PostgresServer
from tests.support.process import LOOPBACK, ChatServer, migrate
from tests.support.wallclock import WallClock

Kind = Literal["sqlite", "postgres"]

CONFIG = """
[server]
guests = true
[passwords]
memory_kib = 8
time_cost = 1
[limits]
strikes = 0
presence_seconds = 0.5
"""
BUS = '[bus]\nurl = "postgres"\n'
PRESENCE_SECONDS = 0.5
BOOKS, LOBBY = "books", "lobby"
DENS = [f"den-{number}" for number in range(8)]
HERALD = "herald"


class World:
    """Everything ends with the context: processes, threads, sockets and folders. `nodes`: that many servers work on the
    database, to which each client connects at random."""

    def __init__(self, kind: Kind, seed: str, pace: float, nodes: int = 1) -> None:
        self.kind = kind
        self.chance = random.Random(f"{seed}/{kind}")
        self.postgres: PostgresServer | None = None
        self.to_postgres: list[Relay] = []
        """All connections to the database, by node."""
        self.walls: list[WallClock] = []
        self._ending = ExitStack()
        self._seed = f"{seed}/{kind}"
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="chatserver-chaos-"))
            self._ending.callback(shutil.rmtree, self._folder, ignore_errors=True)
            served = self._open_database()
            endpoints = [LOOPBACK, f"ws:{LOOPBACK}"]
            self.servers: list[ChatServer] = []
            for node in range(nodes):
                config, env = (CONFIG, {}) if nodes == 1 else (CONFIG + BUS, self._environment(node))
                database = self._relayed(served, node)
                self.servers.append(ChatServer(database, config=config, listen=endpoints, env=env))
                self._ending.callback(self.servers[-1].close)
            self.doors = [[self._relay(one, number) for one in self.servers] for number in range(len(endpoints))]
            self.relays = [relay for door in self.doors for relay in door]
            line, websocket = ([relay.address for relay in door] for door in self.doors)
            self.stage = Stage({"line": line, "websocket": websocket}, pace)
            self.clients = list(self._clients())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Start the servers and the clients."""
        for server in self.servers:
            server.start()
        self._register_and_create()
        for client in self.clients:
            client.start()

    def close(self) -> None:
        for client in getattr(self, "clients", []):
            client.stop()
        self._ending.close()

    @property
    def running(self) -> list[ChatServer]:
        return [server for server in self.servers if server.running]

    def name(self, server: ChatServer) -> str:
        """The name of a node in the rows of its sessions; empty if there is only one."""
        return f"node-{self.servers.index(server) + 1}" if len(self.servers) > 1 else ""

    def of(self, server: ChatServer) -> str:
        return f" of {self.name(server)}" if len(self.servers) > 1 else ""

    def node_of(self, client: Client) -> int:
        """The number of the node to which a client connected last."""
        return next(n for n in range(len(self.servers)) if client.place in [door[n].address for door in self.doors])

    def any_server(self) -> ChatServer:
        return self.chance.choice(self.running)

    def revive(self) -> None:
        """Start what was killed and not started again."""
        for server in self.servers:
            if not server.running:
                server.start()

    @property
    def log(self) -> str:
        """The log lines of all servers."""
        return "".join(server.log for server in self.servers)

    @property
    def programs(self) -> list[Program]:
        return [client for client in self.clients if isinstance(client, Program)]

    @property
    def writers(self) -> list[Writer]:
        return [client for client in self.clients if isinstance(client, Writer)]

    @property
    def screens(self) -> list[Screen]:
        return [client for client in self.clients if isinstance(client, Screen)]

    def _open_database(self) -> str:
        """Makes an empty database; returns its URL."""
        if self.kind == "sqlite":
            url = f"sqlite:///{self._folder / 'chatserver.db'}"
            self.database = Database(url)
            return url
        postgres = self.postgres = PostgresServer()
        self._ending.callback(postgres.close)
        postgres.start()
        url = postgres.create_database()
        migrate(url)
        self.database = Database(url)
        return url

    def _environment(self, node: int) -> dict[str, str]:
        """The environment of a node among others. Its wall clock is its own where libfaketime is installed."""
        env = {"CHATSERVER_NODE": f"node-{node + 1}"}
        if wallclock.library() is None:
            return env
        folder = self._folder / f"clock-{node + 1}"
        folder.mkdir()
        self.walls.append(WallClock(folder))
        return env | self.walls[-1].env

    def _relayed(self, url: str, node: int) -> str:
        """The URL of the database for one node."""
        postgres = self.postgres
        if postgres is None:
            return url
        relay = Relay(lambda: ("127.0.0.1", postgres.port), self.chance_for(f"postgres {node}"))
        self._ending.callback(relay.close)
        self.to_postgres.append(relay)
        return make_url(url).set(port=relay.address[1]).render_as_string(hide_password=False)

    def _relay(self, server: ChatServer, endpoint: int) -> Relay:
        what = f"door {endpoint} of {self.servers.index(server)}"

        def target() -> Address:
            if not server.running:
                raise ConnectionRefusedError("The port may be another server's by now.")
            return server.addresses[endpoint]

        relay = Relay(target, self.chance_for(what))
        self._ending.callback(relay.close)
        return relay

    def chance_for(self, what: str) -> random.Random:
        """Random numbers that do not depend on how many others somebody else has drawn."""
        return random.Random(f"{self._seed}/{what}")

    def _register_and_create(self) -> None:
        for client in (*self.programs, *self.screens):
            with JsonClient(self.servers[0].address) as newcomer:
                newcomer.register(client.name, PASSWORD)
        with JsonClient(self.servers[0].address) as founder:
            founder.login(HERALD, PASSWORD)
            for room in (BOOKS, LOBBY, *DENS):
                founder.ok("create", room=room)

    def _clients(self) -> Iterator[Client]:
        stage, seed, movers = self.stage, self._seed, ["mia", "max"]
        everywhere = [GENERAL, BOOKS, *DENS]
        yield Writer(stage, "ana", seed, [GENERAL, BOOKS, "@bob"])
        yield Writer(stage, "bob", seed, [GENERAL, BOOKS, "@ana"], door="websocket")
        yield Writer(stage, "cai", seed, [GENERAL, "@bob"])
        yield Reader(stage, "rob", seed, [*everywhere, LOBBY])
        yield Reader(stage, "rea", seed, everywhere)
        yield Reader(stage, "web", seed, everywhere, door="websocket")
        yield Badge(stage, MENTIONED, seed, [GENERAL, BOOKS])
        yield SlowReader(stage, "sam", seed, [GENERAL, BOOKS])
        for name in movers:
            yield Mover(stage, name, seed, [GENERAL], lobby=LOBBY)
        yield Herald(stage, HERALD, seed, [GENERAL, LOBBY, *DENS], dens=DENS, lobby=LOBBY, movers=movers)
        yield Screen(stage, "tess", seed)
        yield Newcomer(stage, "new", seed)
        yield Guest(stage, "guest", seed)
