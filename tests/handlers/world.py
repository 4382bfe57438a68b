"""People who run commands on a real store, one after another, without sockets."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from chatserver.handlers import READS, WRITES
from chatserver.handlers.accounts import rename
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.settings.tables import NO_LIMITS, Limits
from chatserver.store import accounts, rooms
from chatserver.values import commands as c
from chatserver.values.answers import Answer
from chatserver.values.errors import Refused
from chatserver.values.events import GUEST, PERSON, AccountKind, Person
from chatserver.wire.sentences import english

OFF = Limits(**NO_LIMITS)
START = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)


class World:
    """Runs everybody's commands on one connection, a second apart. A refused command changes nothing. No limits
    hold unless a test sets some."""

    def __init__(self, db: Connection, at: datetime = START, limits: Limits = OFF) -> None:
        self.db = db
        self.at = at
        self.limits = limits
        self.people: dict[str, Person] = {}

    def person(self, name: str, kind: AccountKind = PERSON) -> Person:
        """Creates an account, in no room."""
        if kind == GUEST:
            guest, _ = rooms.register_guest(self.db, [], self.at)
            self.people[name] = guest
        else:
            self.people[name] = Person(accounts.create(self.db, name, "hash", self.at, kind), name, kind)
        return self.people[name]

    def outcome(self, who: str, command: c.Command) -> Outcome:
        """Runs a command and returns its outcome. Raises Refused."""
        self.at += timedelta(seconds=1)
        handlers: dict[type[c.Command], Any] = {**WRITES, **READS, c.Rename: rename}
        with self.db.begin_nested():
            outcome: Outcome = handlers[type(command)](
                self.db, Ask(self.people[who], self.at, limits=self.limits), command
            )
        return outcome

    def do(self, who: str, command: c.Command) -> Any:
        """Runs a command and returns its answer. Raises Refused."""
        return self.outcome(who, command).answer

    def word(self, who: str, command: c.Command) -> str:
        """Runs a command and returns `ok`, or the error word of its refusal."""
        try:
            self.do(who, command)
        except Refused as refused:
            return refused.error.value
        return "ok"

    def told(self, who: str, command: c.Command) -> Answer | tuple[object, ...]:
        """Runs a command and returns its answer, or the refusal in full, for comparison with another."""
        try:
            answer: Answer = self.do(who, command)
        except Refused as refused:
            return refused.error, english(refused.sentence)
        return answer


@contextmanager
def undone(engine: Engine) -> Iterator[Connection]:
    """A transaction that is rolled back at the end."""
    with engine.connect() as db, db.begin() as transaction:
        yield db
        transaction.rollback()
