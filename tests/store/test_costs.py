"""Costs, counted in statements, which do not depend on the speed of the machine."""

from collections.abc import Callable
from typing import Any

import psycopg2.extensions
import pytest
from sqlalchemy import event

from chatserver.settings.tables import Retention
from chatserver.store import entries, logins, retention, search
from chatserver.store.messages import Draft
from chatserver.values.events import GAP
from tests.store.conftest import AT, Tables


class Statements:
    """The statements that an engine's connections execute in this context, through any cursor."""

    def __init__(self, tables: Tables) -> None:
        self._engine = tables.engine
        self._texts: list[str] = []
        self._listeners: dict[str, Callable[..., None]] = (
            {"checkout": self._observe, "checkin": self._stop}
            if tables.postgres
            else {"before_cursor_execute": lambda _db, _cursor, statement, *_: self._note(statement)}
        )

    def _note(self, statement: str) -> None:
        if not statement.startswith(("BEGIN", "PREPARE")):
            self._texts.append(statement)

    def _observe(self, connection: Any, *_: Any) -> None:
        note = self._note

        class Observed(psycopg2.extensions.cursor):  # type: ignore[misc]
            def execute(self, query: Any, parameters: Any = None) -> None:
                note(query)
                super().execute(query, parameters)

        connection.cursor_factory = Observed

    def _stop(self, connection: Any, *_: Any) -> None:
        connection.cursor_factory = None

    def __enter__(self) -> list[str]:
        for name, listener in self._listeners.items():
            event.listen(self._engine, name, listener)
        return self._texts

    def __exit__(self, *_: object) -> None:
        for name, listener in self._listeners.items():
            event.remove(self._engine, name, listener)


@pytest.mark.parametrize("size", [1, 120])
def test_a_take_is_a_few_statements(tables: Tables, size: int) -> None:
    """Storing messages takes one statement on PostgreSQL and three on SQLite, for any number of messages and rooms."""
    people = [tables.person(f"user{n}") for n in range(6)]
    books = [tables.room(f"room{n}", *people) for n in range(4)]
    drafts = [Draft(books[n % 4].id, people[n % 6].id, f"text {n}", f"id{n}") for n in range(size)]
    with Statements(tables) as statements:
        assert {verdict.outcome for verdict in tables.append(*drafts)} == {"stored"}
        assert len(statements) == (1 if tables.postgres else 3)
        statements.clear()
        assert {verdict.outcome for verdict in tables.append(*drafts)} == {"dup"}
        assert len(statements) == (2 if tables.postgres and size > 1 else 1)  # tried without judging each


@pytest.mark.parametrize("size", [1, 30])
def test_many_logins_are_a_few_statements(tables: Tables, size: int) -> None:
    """Looking up the facts of any number of concurrent logins takes two statements."""
    people = [tables.person(f"user{n}") for n in range(size)]
    tables.room("books", *people)
    with Statements(tables) as statements:
        found = tables(logins.look_up, [(person, 0) for person in people])
    assert [[membership.facts.name for membership in facts.memberships] for facts in found] == [["books"]] * size
    assert len(statements) == 2


def test_a_page_for_a_reader_is_one_statement(tables: Tables) -> None:
    """Reading on takes one statement a page, and another one only where entries were removed. A step that removes some
    takes a few, whatever there is to remove."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    tables.append(*(Draft(books.id, ana.id, f"text {n}", f"id{n}") for n in range(100)), at=AT.replace(year=2001))
    with Statements(tables) as statements:
        assert len(tables(entries.follow, books.id, 0, 50)[0]) == 50
        assert len(statements) == 1
        statements.clear()
        assert tables(retention.step, books.id, Retention(entries=10), 1_000_000).removed == 91
        assert len(statements) <= 14
        statements.clear()
        assert tables(entries.follow, books.id, 0, 50)[0][0].kind == GAP
        assert len(statements) == 2


def test_the_holes_of_many_rooms_are_one_statement(tables: Tables) -> None:
    """Reading what comes next in any number of rooms takes one statement on PostgreSQL, and another one only where
    entries were removed; each room has its own page."""
    ana = tables.person("ana")
    rooms = [tables.room(f"room{n}", ana) for n in range(50)]
    tables.append(*(Draft(room.id, ana.id, f"{n} in {room.name}", None) for n in range(3) for room in rooms))
    with Statements(tables) as statements:
        pages = tables(entries.follow_all, [(room.id, 1) for room in rooms], 2)
        assert len(statements) == (1 if tables.postgres else 50)
    assert [([entry.text for entry in page], more) for page, more in pages] == [
        ([f"0 in {room.name}", f"1 in {room.name}"], True) for room in rooms
    ]


def test_words_wait_for_nobodys_message(tables: Tables) -> None:
    """After `tidy` the pending list of PostgreSQL's index of words is empty, so that no message has to merge it."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    tables.append(*(Draft(books.id, ana.id, f"some words and number{n}", None) for n in range(200)))
    tables(search.tidy)
    if tables.postgres:
        assert tables(lambda db: db.exec_driver_sql("SELECT gin_clean_pending_list('ix_entry_search')").scalar()) == 0
    assert len(tables(entries.after, books.id, 0, 300)[0]) == 201
