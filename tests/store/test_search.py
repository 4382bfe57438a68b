"""Searching: what is found does not depend on how long it may take, only how much of it comes in one page."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, select

from chatserver.store import search, search_walk, words
from chatserver.store.db.schema import EntryRow
from chatserver.store.messages import Draft
from chatserver.store.search_walk import Deadline
from chatserver.store.wanted import Wanted, exactly, terms
from chatserver.values.errors import ErrorWord, Refused
from chatserver.values.events import Person, RoomFacts
from tests.store.conftest import AT, Tables

SAID = 60


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two messages are too many for the index, and a step covers four entries."""
    monkeypatch.setattr(search, "RARE", 1)
    monkeypatch.setattr(search, "MOST_BEHIND", (1, 1))
    monkeypatch.setattr(search_walk, "READ_STEP", 4)
    monkeypatch.setattr(search_walk, "STEPS", {"postgresql": (4, 4), "sqlite": (4, 4)})


class Steps(Deadline):
    """A deadline that passes after a number of steps."""

    def __init__(self, steps: int) -> None:
        self._left = iter(range(steps))

    def passed(self) -> bool:
        return next(self._left, None) is None


class Library:
    """Three rooms in which every message has one common word, and every seventh another one. Bob is in one of them."""

    def __init__(self, tables: Tables, indexed: int = 2 * SAID // 3) -> None:
        self.tables = tables
        self.ana, self.bob = tables.person("ana"), tables.person("bob")
        self.rooms: list[RoomFacts] = [
            tables.room("books", self.ana, self.bob),
            tables.room("films", self.ana),
            tables.room("diary", self.ana, kind="private"),
        ]
        for n in range(SAID):
            room = self.rooms[n % 5 % 3]
            text = f"common {n}" + (" seventh" if n % 7 == 0 else "")
            tables.append(Draft(room.id, self.ana.id, text, None), at=AT + timedelta(seconds=n))
            if n == indexed:
                while tables(words.step, "", None).behind:
                    pass

    def expected(self, who: Person, step: int, room: RoomFacts | None) -> list[int]:
        readable = self.rooms if who is self.ana else self.rooms[:2]
        return [
            n
            for n in range(SAID - 1, -1, -1)
            if n % step == 0 and self.rooms[n % 5 % 3] in ([room] if room else readable)
        ]

    def pages(
        self, who: Person, asked: list[str], room: RoomFacts | None, limit: int, steps: int
    ) -> Iterator[tuple[list[int], bool]]:
        """The pages of a search whose time is spent after `steps` steps."""
        before: int | None = None
        while True:
            access = None if room is None else self.tables.find(who, room.name)
            found, before = self.tables(
                search.search, who, access, Wanted(terms(" ".join(asked), prefix=False)), before, limit, Steps(steps)
            )
            yield [int(entry.text.split()[1]) for _, entry in found], before is not None
            if before is None:
                return


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("limit", "steps"), [(7, 1), (7, 1000), (50, 3), (500, 1000)])
@pytest.mark.parametrize("everywhere", [True, False])
def test_time_is_spent(tables: Tables, limit: int, steps: int, everywhere: bool) -> None:
    """A search that runs out of time answers with what it has found so far; its pages together have every message once,
    newest first."""
    library = Library(tables)
    room = None if everywhere else library.rooms[0]
    for who in (library.ana, library.bob):
        for asked, step in ((["common"], 1), (["seventh", "common"], 7), (["missing", "common"], 1000)):
            found: list[int] = []
            for page, more in library.pages(who, asked, room, limit, steps):
                assert len(page) == limit or not more or steps < 1000
                assert len(page) <= limit
                found += page
            assert found == (library.expected(who, step, room) if step < 1000 else [])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("everywhere", [True, False])
def test_the_newest_page_of_a_common_word(tables: Tables, everywhere: bool) -> None:
    """It takes a few steps at the ends of the logs, however many messages have the word."""
    library = Library(tables)
    looked: list[Any] = []
    event.listen(tables.engine, "before_cursor_execute", lambda *given: looked.append(given[2]))
    page, more = next(library.pages(library.ana, ["common"], None if everywhere else library.rooms[0], 5, 1000))
    assert page == library.expected(library.ana, 1, None if everywhere else library.rooms[0])[:5]
    assert more
    assert sum("entry.text" in statement for statement in looked) <= 9


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("everywhere", [True, False])
def test_no_time_at_all(tables: Tables, monkeypatch: pytest.MonkeyPatch, everywhere: bool) -> None:
    """A search whose first step the database gives up is refused, with what to do."""
    library = Library(tables)
    monkeypatch.setattr(search_walk.Walk, "_look", lambda *given: None)
    access = None if everywhere else tables.find(library.ana, "books")
    last = tables(lambda db: db.scalar(select(func.max(EntryRow.at)))) or AT
    stop = 10 if access else int((last - search.EPOCH) / timedelta(milliseconds=1)) + 1
    with pytest.raises(Refused, match="SEARCH_TOO_LONG") as refused:
        tables(search.search, library.ana, access, exactly("common"), stop, 5)
    assert refused.value.error is ErrorWord.SLOW_DOWN
