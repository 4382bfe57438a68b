"""Accounts and their logins."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, select, update

from chatserver.errors import ErrorWord, Refused
from chatserver.store import accounts, places, rooms, sessions
from chatserver.store.schema import Account, SessionRow
from chatserver.store.sessions import Closed, Opened
from tests.store.conftest import AT, Tables

LATER = AT + timedelta(minutes=1)


def rows(tables: Tables) -> dict[str, tuple[object, ...]]:
    """What is written of each session."""
    query = select(
        SessionRow.id, SessionRow.address, SessionRow.connected_at, SessionRow.disconnected_at, SessionRow.reason
    )
    return {row[0]: tuple(row[1:]) for row in tables(lambda db: db.execute(query).all())}


def test_names(tables: Tables) -> None:
    """A name is found in any case, as it was registered, and given out once."""
    ana = tables.person("Ana")
    found = tables(accounts.find, "aNA")
    assert found is not None
    assert (found.id, found.name, found.disabled) == (ana.id, "Ana", False)
    assert tables(accounts.find, "an") is None
    with pytest.raises(Refused) as refusal:
        tables.person("ANA")
    assert refusal.value.error is ErrorWord.NAME_TAKEN
    assert found.password_hash not in repr(found)


def test_a_disabled_account(tables: Tables) -> None:
    """Who is disabled or erased is known, and may not come in."""
    for name, column in (("ana", Account.disabled_at), ("bob", Account.erased_at)):
        tables.person(name)
        gone = update(Account).where(Account.name == name).values({column: AT})
        tables(Connection.execute, gone)
        found = tables(accounts.find, name)
        assert found is not None
        assert found.disabled


def test_passwords(tables: Tables) -> None:
    """A changed password is that account's alone."""
    ana, _ = tables.person("ana"), tables.person("bob")
    tables(accounts.set_password, ana.id, "other hash")
    assert [tables(accounts.find, name).password_hash for name in ("ana", "bob")] == ["other hash", "hash"]  # type: ignore[union-attr]


def test_last_seen(tables: Tables) -> None:
    """A name is looked up in any case; of those who are to be kept apart, it is not shown when they were here."""
    ana, bob = tables.person("Ana"), tables.person("bob")

    def seen(name: str) -> tuple[str, bool, bool] | None:
        here = frozenset({ana.id, bob.id})
        line = tables(accounts.last_seen, name, here, {}, frozenset({bob.id}))
        return None if line is None else (line.name, line.online, line.last_seen is not None)

    assert [seen("ana"), seen("BOB"), seen("nobody")] == [("Ana", True, True), ("bob", False, False), None]


def test_logins(tables: Tables) -> None:
    """A login is written down when it begins and when it ends, with the reason; doing so twice does no harm."""
    ana = tables.person("ana")
    changes: list[sessions.Change] = [
        Opened("s1", ana.id, "main", "127.0.0.1", AT),
        Opened("s2", ana.id, "main", "::1", AT),
        Closed("s1", ana.id, LATER, "quit"),
    ]
    for _ in range(2):
        tables(sessions.record, changes)
    assert rows(tables) == {"s1": ("127.0.0.1", AT, LATER, "quit"), "s2": ("::1", AT, None, None)}
    line = tables(accounts.last_seen, "ana", frozenset(), {}, frozenset())
    assert line is not None
    assert line.last_seen == LATER


def test_read_marks_of_a_login(tables: Tables) -> None:
    """What a person saw before they went is read, but no mark moves back."""
    ana = tables.person("ana")
    books, chess = tables.room("books", ana), tables.room("chess", ana)
    for room in (books, chess):
        for n in range(4):
            tables.say(room, ana, f"text {n}")
    tables(rooms.mark_read, ana, tables.place(ana, "chess"), 4)
    tables(sessions.record, [Closed("s1", ana.id, LATER, "quit", {books.id: 3, chess.id: 2})])
    assert {s.facts.name: s.read for s in tables(places.standings, ana)} == {"books": 3, "chess": 4}


def test_logins_left_open(tables: Tables) -> None:
    """What a crash left open is closed with that reason: of this node only, and only what was open."""
    ana = tables.person("ana")
    opened = [Opened(id, ana.id, node, "::1", AT) for id, node in (("s1", "main"), ("s2", "main"), ("s3", "other"))]
    tables(sessions.record, [*opened, Closed("s1", ana.id, AT, "quit")])
    assert tables(sessions.close_left_open, "main", LATER) == 1
    assert rows(tables) == {
        "s1": ("::1", AT, AT, "quit"),
        "s2": ("::1", AT, LATER, "crash"),
        "s3": ("::1", AT, None, None),
    }
    assert tables(sessions.close_left_open, "main", LATER) == 0
