"""What a run works with: a database, a server, relays in front of both, and the clients."""

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sqlalchemy import make_url

from chaos.clients import PASSWORD, Client, Herald, Mover, Program, Reader, SlowReader, Stage, Writer
from chaos.database import GENERAL, Database
from chaos.relay import Relay
from chaos.screen import Screen
from chaos.visitors import Guest, Newcomer
from tests.support.client import JsonClient
from tests.support.postgres import PostgresServer
from tests.support.process import LOOPBACK, ChatServer, migrate

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
PRESENCE_SECONDS = 0.5
BOOKS, LOBBY = "books", "lobby"
DENS = [f"den-{number}" for number in range(8)]
HERALD = "herald"


class World:
    """Everything ends with the context: processes, threads, sockets and folders."""

    def __init__(self, kind: Kind, seed: str, pace: float) -> None:
        self.kind = kind
        self.chance = random.Random(f"{seed}/{kind}")
        self.postgres: PostgresServer | None = None
        self.to_postgres: Relay | None = None
        self._ending = ExitStack()
        self._seed = f"{seed}/{kind}"
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="chatserver-chaos-"))
            self._ending.callback(shutil.rmtree, self._folder, ignore_errors=True)
            served = self._open_database()
            endpoints = [LOOPBACK, f"ws:{LOOPBACK}"]
            self.server = ChatServer(served, config=CONFIG, listen=endpoints)
            self._ending.callback(self.server.close)
            self.relays = [self._relay(number) for number in range(len(endpoints))]
            line, websocket = (relay.address for relay in self.relays)
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
        """Start the server and the clients."""
        self.server.start()
        self._register_and_create()
        for client in self.clients:
            client.start()

    def close(self) -> None:
        for client in getattr(self, "clients", []):
            client.stop()
        self._ending.close()

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
        """Makes an empty database; returns the URL for the server."""
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
        relay = self.to_postgres = Relay(lambda: ("127.0.0.1", postgres.port), self.chance_for("postgres"))
        self._ending.callback(relay.close)
        return make_url(url).set(port=relay.address[1]).render_as_string(hide_password=False)

    def _relay(self, endpoint: int) -> Relay:
        relay = Relay(lambda: self.server.addresses[endpoint], self.chance_for(f"door {endpoint}"))
        self._ending.callback(relay.close)
        return relay

    def chance_for(self, what: str) -> random.Random:
        """Random numbers that do not depend on how many others somebody else has drawn."""
        return random.Random(f"{self._seed}/{what}")

    def _register_and_create(self) -> None:
        for client in (*self.programs, *self.screens):
            with JsonClient(self.server.address) as newcomer:
                newcomer.register(client.name, PASSWORD)
        with JsonClient(self.server.address) as founder:
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
        yield SlowReader(stage, "sam", seed, [GENERAL, BOOKS])
        for name in movers:
            yield Mover(stage, name, seed, [GENERAL], lobby=LOBBY)
        yield Herald(stage, HERALD, seed, [GENERAL, LOBBY, *DENS], dens=DENS, lobby=LOBBY, movers=movers)
        yield Screen(stage, "tess", seed)
        yield Newcomer(stage, "new", seed)
        yield Guest(stage, "guest", seed)
