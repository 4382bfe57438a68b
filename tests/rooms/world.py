"""People who do things to a real store, one command after another, with no sockets."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from chatserver import commands as c
from chatserver.errors import Refused
from chatserver.events import Answer, Person
from chatserver.handlers import READS, WRITES
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.store import accounts, rooms

START = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)


class World:
    """Everybody's commands on one connection, a second apart. A refused one leaves nothing behind."""

    def __init__(self, db: Connection, at: datetime = START) -> None:
        self.db = db
        self.at = at
        self.people: dict[str, Person] = {}

    def person(self, name: str, kind: str = "person") -> Person:
        """A new account, in no room."""
        if kind == "guest":
            guest, _ = rooms.register_guest(self.db, [], self.at)
            self.people[name] = guest
        else:
            self.people[name] = Person(accounts.create(self.db, name, "hash", self.at, kind), name, kind)
        return self.people[name]

    def outcome(self, who: str, command: c.Command) -> Outcome:
        """What comes of a command. Raises Refused."""
        self.at += timedelta(seconds=1)
        handler = {**WRITES, **READS}[type(command)]
        with self.db.begin_nested():
            return handler(self.db, Ask(self.people[who], self.at), command)

    def do(self, who: str, command: c.Command) -> Any:
        """Its answer. Raises Refused."""
        return self.outcome(who, command).answer

    def word(self, who: str, command: c.Command) -> str:
        """The word that it is refused with, or `ok`."""
        try:
            self.do(who, command)
        except Refused as refused:
            return refused.error.value
        return "ok"

    def told(self, who: str, command: c.Command) -> Answer | tuple[object, ...]:
        """All that somebody is told, good or bad, to be compared with what they are told at another time."""
        try:
            answer: Answer = self.do(who, command)
        except Refused as refused:
            return refused.args
        return answer


@contextmanager
def undone(engine: Engine) -> Iterator[Connection]:
    """A transaction of which nothing stays."""
    with engine.connect() as db, db.begin() as transaction:
        yield db
        transaction.rollback()
