"""Databases and servers that the tests of a module share, because creating one takes as long as all its tests."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import pytest
from sqlalchemy import Engine

from chatserver.store import accounts
from chatserver.store.db.engine import open_engine, open_ready, parse_url
from tests.support import postgres
from tests.support.client import JsonClient, Raw
from tests.support.process import ChatServer, migrate


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A migrated database of each kind. Tests must undo what they do in it."""
    if request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("rooms")
        url = f"sqlite:///{folder / 'chatserver.db'}"
    else:
        url = postgres.postgres_url()
    migrate(url)
    one = open_ready(parse_url(url))
    yield one
    one.dispose()
    if request.param == "postgres":
        postgres.drop_postgres(url)


class House:
    """A server that the tests of a module share, or several nodes, to which clients connect in turn. Each test uses
    people and rooms with new names."""

    def __init__(self, *servers: ChatServer) -> None:
        self.server = servers[0]
        self.servers = servers
        self.nodes = len(servers)
        self._doors = cycle(servers)
        self._count = 0
        self._clients: list[Raw] = []

    def name(self, word: str) -> str:
        """A name that was not used before."""
        self._count += 1
        return f"{word}{self._count}"

    def stranger(self) -> JsonClient:
        client = JsonClient(next(self._doors).address)
        self._clients.append(client)
        return client

    def person(self, word: str) -> "Resident":
        """A new person, logged in."""
        return Resident(self, self.name(word))

    def operator(self, word: str) -> "Resident":
        """A new operator of the server, logged in."""
        one = Resident(self, self.name(word))
        engine = open_engine(parse_url(self.server.database))
        with engine.begin() as db:
            found = accounts.find(db, one.name)
            assert found is not None
            accounts.set_kind(db, found.id, "operator", datetime.now(UTC))
        engine.dispose()
        one.again()
        return one

    def close(self) -> None:
        for client in self._clients:
            client.close()


class Resident:
    """A person on the server of a house. `link` is their newest connection."""

    def __init__(self, house: House, name: str) -> None:
        self.house = house
        self.name = name
        self.link = house.stranger()
        self.link.register(name)
        self.cmd, self.ok, self.refused = self.link.cmd, self.link.ok, self.link.refused

    def again(self) -> JsonClient:
        """Logs in on another connection."""
        self.link = self.house.stranger()
        self.welcome = self.link.login(self.name)
        self.cmd, self.ok, self.refused = self.link.cmd, self.link.ok, self.link.refused
        return self.link

    def room(self, word: str, *others: "Resident", private: bool = False) -> str:
        """A new room that this person owns and the others join."""
        name = self.house.name(word)
        self.ok("create", room=name, visibility="private" if private else "public")
        for other in others:
            if private:
                self.ok("invite", room=name, name=other.name)
            other.ok("join", room=name)
        return name


CONFIG = """
[server]
default_rooms = []
guests = true
[passwords]
memory_kib = 8
time_cost = 1
[limits]
strikes = 0
presence_seconds = 0.05
"""


BUS = '[bus]\nurl = "postgres"\n'


@pytest.fixture(scope="module", params=["one node", pytest.param("two nodes", marks=pytest.mark.slow)])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server with fast password hashes and guests, without default rooms; or two nodes on one PostgreSQL."""
    with ExitStack() as stack:
        if request.param == "one node":
            database = f"sqlite:///{tmp_path_factory.mktemp('house') / 'chatserver.db'}"
            servers = [stack.enter_context(ChatServer(database, config=CONFIG))]
        else:
            database = postgres.postgres_url()
            stack.callback(postgres.drop_postgres, database)
            servers = [
                stack.enter_context(ChatServer(database, config=CONFIG + BUS, env={"CHATSERVER_NODE": node}))
                for node in ("one", "two")
            ]
            for server in servers:
                server.wait_log("Node (one|two) is there")
        one = House(*servers)
        yield one
        one.close()
        for server in servers:
            assert "Traceback" not in server.log, server.log
