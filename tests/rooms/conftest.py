"""Databases and servers that the tests of a file share: they are as dear to make as all that is tested on them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from chatserver.store import accounts
from chatserver.store.database import open_engine, open_ready, parse_url
from tests.support import postgres
from tests.support.client import JsonClient, Raw
from tests.support.process import ChatServer


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A ready database of each kind. What a test does there it undoes."""
    if request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("rooms")
        url = f"sqlite:///{folder / 'chatserver.db'}"
    else:
        url = postgres.postgres_url()
    one = open_ready(parse_url(url), migrate=True)
    yield one
    one.dispose()
    if request.param == "postgres":
        postgres.drop_postgres(url)


class House:
    """A server that the tests of a file share: each has people and rooms of its own, with names that it makes."""

    def __init__(self, server: ChatServer) -> None:
        self.server = server
        self._count = 0
        self._clients: list[Raw] = []

    def name(self, word: str) -> str:
        """A name that nobody else has."""
        self._count += 1
        return f"{word}{self._count}"

    def stranger(self) -> JsonClient:
        client = JsonClient(self.server.address)
        self._clients.append(client)
        return client

    def person(self, word: str) -> "Resident":
        """Somebody new, logged in."""
        return Resident(self, self.name(word))

    def operator(self, word: str) -> "Resident":
        """Somebody new who may do everything."""
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
    """A person of a house. `link` is their newest connection."""

    def __init__(self, house: House, name: str) -> None:
        self.house = house
        self.name = name
        self.link = house.stranger()
        self.link.register(name)
        self.cmd, self.ok, self.refused = self.link.cmd, self.link.ok, self.link.refused

    def again(self) -> JsonClient:
        """Another connection."""
        self.link = self.house.stranger()
        self.welcome = self.link.login(self.name)
        self.cmd, self.ok, self.refused = self.link.cmd, self.link.ok, self.link.refused
        return self.link

    def room(self, word: str, *others: "Resident", private: bool = False) -> str:
        """A new room of this person's and the others."""
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


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server with quick passwords, without default rooms, that lets guests in."""
    database = f"sqlite:///{tmp_path_factory.mktemp('house') / 'chatserver.db'}"
    with ChatServer(database, config=CONFIG) as server:
        one = House(server)
        yield one
        one.close()
        assert "Traceback" not in server.log, server.log
