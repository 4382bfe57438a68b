"""Erasing a large account: short transactions, between which others have their turn, and which a crash may end."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from chatserver.store import accounts, change_rows, erasure, rooms, tokens
from chatserver.store.db import database_clock
from chatserver.store.db.schema import EntryRow, MembershipRow, SessionRow
from chatserver.store.messages import Draft
from chatserver.store.sessions import Opened, record
from chatserver.values.events import Person
from tests.store.conftest import AT, Tables

TEXTS = 100
ROOMS = 5


@pytest.fixture
def ana(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Somebody with many messages, rooms and sessions; a step does little."""
    for name, value in (("STEP_ROOMS", 2), ("STEP_SESSIONS", 10), ("STEP_TEXTS", 8), ("PAGE", 20)):
        monkeypatch.setattr(erasure, name, value)
    monkeypatch.setattr(erasure.places, "__defaults__", (20,))
    ana = tables.person("ana")
    bob = tables.person("bob")
    for n in range(ROOMS):
        room = tables.room(f"room{n}", bob, ana)
    tables.append(*(Draft(room.id, ana.id, f"secret{n}", None) for n in range(TEXTS)))
    tables.append(Draft(room.id, bob.id, "not ana's", None))
    tables(record, [Opened(f"s{n}", ana.id, "main", "192.0.2.7", AT) for n in range(25)])
    tables(tokens.create, ana.id, "ci", "0" * 64, AT)
    return ana


def left(tables: Tables, ana: Person) -> tuple[int, int, int]:
    """How many texts, memberships and addresses of hers there are."""
    texts = select(func.count()).where(EntryRow.author_id == ana.id, EntryRow.text != "")
    inside = select(func.count()).where(MembershipRow.account_id == ana.id, MembershipRow.left_seq.is_(None))
    known = select(func.count()).where(SessionRow.account_id == ana.id, SessionRow.address != "")
    return tables(lambda db: tuple(db.scalar(query) or 0 for query in (texts, inside, known)))  # type: ignore[return-value]


def go_on(tables: Tables, ana: Person, most: int = 1000) -> int:
    """Does up to so many steps. Returns how many there were."""
    count = 0
    while (found := tables(erasure.places, ana.id)) is not None:
        for places in erasure.steps(found):
            if count == most:
                return count
            assert len(places) <= erasure.STEP_TEXTS
            before = left(tables, ana)
            tables(erasure.step, ana.id, places, AT)
            after = left(tables, ana)
            assert all(
                was - now <= step
                for was, now, step in zip(before, after, (8, erasure.STEP_ROOMS, erasure.STEP_SESSIONS), strict=True)
            )
            count += 1
    return count


@pytest.mark.parametrize("messages", [True, False])
def test_in_steps(tables: Tables, ana: Person, messages: bool) -> None:
    """The account cannot be used from the first step on. Each step does a little; a crash between two of them loses
    nothing; others write meanwhile; the last one leaves nothing behind."""
    tables(erasure.erase, ana, AT, messages=messages)
    known = tables(accounts.find, "ana")
    assert known is not None
    assert (known.disabled, known.name, known.password_hash) == (True, f"erased-{ana.id}", "")
    assert tables(tokens.listing, ana.id) == []
    before = left(tables, ana)
    assert before[1] > 0
    assert go_on(tables, ana, 4) == 4
    assert left(tables, ana) < before
    bob = tables(accounts.find, "bob")
    assert bob is not None
    [verdict] = tables.append(Draft(tables.find(bob.person, "room0").facts.id, bob.id, "meanwhile", None))
    assert verdict.outcome == "stored"
    go_on(tables, ana)
    assert left(tables, ana) == (0 if messages else TEXTS, 0, 0)
    assert tables(erasure.places, ana.id) is None
    assert tables(lambda db: db.scalar(select(func.count()).where(EntryRow.text == "not ana's"))) == 1


def test_running_servers_learn_of_it(tables: Tables, ana: Person) -> None:
    """Each room that the account leaves is announced by the step that leaves it."""
    tables(erasure.erase, ana, AT, messages=False)
    seen = tables(change_rows.since, 0)
    assert [one.kind for one in seen] == ["account", "room", "room"]
    go_on(tables, ana)
    assert [one.kind for one in tables(change_rows.since, 0)].count("room") == ROOMS


def test_whose_turn_it_is(tables: Tables, ana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process works on an erasure, and another one only once it has done no step for a while."""
    tables(erasure.erase, ana, AT, messages=True)
    assert tables(erasure.pending) == [ana.id]
    assert [tables(erasure.claim, ana.id) for _ in range(2)] == [True, False]
    assert tables(erasure.pending) == []
    now = database_clock.now
    monkeypatch.setattr(database_clock, "now", lambda db: now(db) + 2 * erasure.ABANDONED)
    assert tables(erasure.pending) == [ana.id]
    assert tables(erasure.claim, ana.id)
    monkeypatch.undo()


def test_a_small_account(tables: Tables) -> None:
    """An account that is in no room and has said little is erased in one transaction."""
    cai = tables.person("cai")
    books = tables.room("books", cai)
    tables.append(Draft(books.id, cai.id, "secret", None))
    tables(rooms.leave_all, cai, AT + timedelta(seconds=1))
    tables(erasure.erase, cai, AT, messages=True)
    assert tables(erasure.places, cai.id) is None
    assert left(tables, cai) == (0, 0, 0)
