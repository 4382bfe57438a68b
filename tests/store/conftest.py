"""A migrated database of each kind, and helpers that run one transaction for each call."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import pytest
from msgspec import structs
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import IntegrityError

from chatserver.store import accounts, entries, messages, rooms
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.store.db.schema import EntryRow
from chatserver.store.messages import Draft, Verdict
from chatserver.store.visibility import RoomAccess, find_room
from chatserver.values.events import PERSON, PUBLIC, AccountKind, Entry, Person, RoomFacts
from tests.support import postgres
from tests.support.process import wait_until

P = ParamSpec("P")
T = TypeVar("T")

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of another, empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'target.db'}"
        return
    url = postgres.empty_postgres_url()
    yield url
    postgres.drop_postgres(url)


class Tables:
    """Calls functions of the store, as the threads of `Store` do."""

    def __init__(self, engine: Engine, threads: ThreadPoolExecutor) -> None:
        self.engine = engine
        self.postgres = engine.dialect.name == "postgresql"
        self._auto = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._threads = threads

    def __call__(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self.engine.begin() as db:
            return work(db, *args, **kwargs)

    def append(self, *drafts: Draft, at: datetime = AT, lock_first: bool = False) -> list[Verdict]:
        """`lock_first`: as a node does that has just met another one in these rooms."""
        with (self._auto if self.postgres else self.engine).begin() as db:
            db.info["lock_first"] = int(lock_first)
            return messages.append(db, drafts, at)

    def say(self, room: RoomFacts, who: Person, said: str, id: str | None = None) -> Verdict:
        """Appends one message, and retries after a conflict."""
        for _ in range(2):
            try:
                return self.append(Draft(room.id, who.id, said, id))[0]
            except IntegrityError:
                pass
        raise AssertionError("The same id conflicts again.")

    def person(self, name: str, kind: AccountKind = PERSON) -> Person:
        return Person(self(accounts.create, name, "hash", AT, kind), name, kind)

    def room(self, name: str, *people: Person, kind: Literal["public", "private"] = PUBLIC) -> RoomFacts:
        """A room of these people, of whom the first is the owner. They can join a private room as if invited."""
        owner, *others = people
        facts, _ = self(rooms.create, owner, name, kind, "", AT)
        for person in others:
            self.join(facts, person, owner)
        return facts

    def find(self, who: Person, name: str) -> RoomAccess:
        """The room as this person sees it."""
        return self(find_room, who, name)

    def join(self, room: RoomFacts, who: Person, guide: Person | None = None) -> list[Entry]:
        """Adds a person to a room. For a private room `guide` is somebody who can find it."""

        def work(db: Connection) -> list[Entry]:
            access = find_room(db, guide or who, room.name, lock=True)
            if guide:
                access = structs.replace(access, role=None, floor=1 if access.past_open else access.seq + 1)
            return rooms.join(db, who, access, AT)

        return self(work)

    def log(self, room: RoomFacts) -> list[Entry]:
        return self(entries.after, room.id, 0, 10_000)[0]

    def entries(self) -> int:
        """How many entries there are in all rooms."""
        return self(lambda db: db.scalar(select(func.count()).select_from(EntryRow)) or 0)

    def at_once(self, *works: Callable[[], T]) -> list[T]:
        """Runs them concurrently."""
        return [future.result(30) for future in [self._threads.submit(work) for work in works]]

    @contextmanager
    def meanwhile(self, work: Callable[[], T]) -> Iterator[Callable[[], T]]:
        """A block in an open transaction. At its end another thread runs `work`, which waits for the transaction.

        Yields a function that returns the result of `work`; call it once the transaction is over.
        """
        future: Future[T] | None = None

        def result() -> T:
            assert future is not None
            return future.result(30)

        yield result
        future = self._threads.submit(work)
        if self.postgres:
            wait_until(self._is_waiting, what="the second transaction waits for the first")

    def _is_waiting(self) -> bool:
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
