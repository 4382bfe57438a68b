"""A ready database of each kind, and people who use it, one transaction a call."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest
from msgspec import structs
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import IntegrityError

from chatserver.events import PUBLIC, Entry, Person, RoomFacts
from chatserver.store import accounts, messages, rooms
from chatserver.store.database import open_ready, parse_url
from chatserver.store.messages import Draft, Verdict
from chatserver.store.places import Place, find_room
from chatserver.store.schema import EntryRow
from tests.support.process import wait_until

P = ParamSpec("P")
T = TypeVar("T")

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)


class Tables:
    """Calls functions of the store as its threads do."""

    def __init__(self, engine: Engine, threads: ThreadPoolExecutor) -> None:
        self.engine = engine
        self.postgres = engine.dialect.name == "postgresql"
        self._auto = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._threads = threads

    def __call__(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self.engine.begin() as db:
            return work(db, *args, **kwargs)

    def append(self, *drafts: Draft, at: datetime = AT) -> list[Verdict]:
        with (self._auto if self.postgres else self.engine).begin() as db:
            return messages.append(db, drafts, at)

    def say(self, room: RoomFacts, who: Person, said: str, id: str | None = None) -> Verdict:
        """Appends one message, as often as it takes."""
        for _ in range(2):
            try:
                return self.append(Draft(room.id, who.id, said, id))[0]
            except IntegrityError:
                pass
        raise AssertionError("The same id conflicts again and again.")

    def person(self, name: str) -> Person:
        return Person(self(accounts.create, name, "hash", AT), name)

    def room(self, name: str, *people: Person, kind: str = PUBLIC) -> RoomFacts:
        """A room of these people; the first is its owner. They are let into a private one as if invited."""
        owner, *others = people
        facts, _ = self(rooms.create, owner, name, kind, "", AT)
        for person in others:
            self.join(facts, person, owner)
        return facts

    def place(self, who: Person, name: str) -> Place:
        """How this person stands towards the room that they call so."""
        return self(find_room, who, name, AT)

    def join(self, room: RoomFacts, who: Person, guide: Person | None = None) -> list[Entry]:
        """Lets somebody in; `guide` is somebody who knows the room, where it is private."""

        def work(db: Connection) -> list[Entry]:
            place = find_room(db, guide or who, room.name, AT, lock=True)
            return rooms.join(db, who, structs.replace(place, role=None) if guide else place, AT)

        return self(work)

    def log(self, room: RoomFacts) -> list[Entry]:
        return self(messages.after, room.id, 0, 10_000)[0]

    def entries(self) -> int:
        """How many entries there are in all rooms."""
        return self(lambda db: db.scalar(select(func.count()).select_from(EntryRow)) or 0)

    def at_once(self, *works: Callable[[], T]) -> list[T]:
        """Runs them side by side."""
        return [future.result(30) for future in [self._threads.submit(work) for work in works]]

    @contextmanager
    def meanwhile(self, work: Callable[[], T]) -> Iterator[Callable[[], T]]:
        """Around an open transaction: at the end of the block another thread runs `work` into it, and waits there.

        Gives a function for its result, to be called once the transaction is over.
        """
        future: Future[T] | None = None

        def result() -> T:
            assert future is not None
            return future.result(30)

        yield result
        future = self._threads.submit(work)
        if self.postgres:
            wait_until(self._somebody_waits, what="the second transaction waits for the first")

    def _somebody_waits(self) -> bool:
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
        with self._auto.connect() as db:
            return bool(db.scalar(text(query)))


@pytest.fixture
def tables(database_url: str) -> Iterator[Tables]:
    engine = open_ready(parse_url(database_url), migrate=True)
    with ThreadPoolExecutor(4) as threads:
        yield Tables(engine, threads)
    engine.dispose()


def seqs(found: Sequence[Any]) -> list[int]:
    return [one.seq for one in found]
