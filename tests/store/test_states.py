"""What a login reads that asks for the state, on both databases."""

from typing import Any

from sqlalchemy import update

from chatserver.handlers.unread import Arriving, states
from chatserver.store import Connection, logins, rooms
from chatserver.store.db.engine import one_snapshot, open_reading
from chatserver.store.db.schema import AccountRow
from chatserver.store.db.transactions import transact
from chatserver.store.messages import Draft
from chatserver.store.visibility import find_room
from chatserver.values.commands import PAGE_LIMIT
from chatserver.values.events import About, Person, RoomFacts
from tests.store.conftest import AT, Tables
from tests.store.test_costs import Statements


def state(tables: Tables, who: Person) -> dict[str, About | None]:
    """By label, what the state says about each room besides its entries."""
    [(_, page, _)] = tables(states, [Arriving(who, 0, {})])
    return {one.facts.label(who.id): one.about for one in page}


def direct(tables: Tables, one: Person, other: Person) -> RoomFacts:
    def work(db: Connection) -> RoomFacts:
        return rooms.open_direct(db, one, find_room(db, one, f"@{other.name}", lock=True), AT)

    return tables(work)


def test_one_statement_more(tables: Tables) -> None:
    """With twenty rooms, direct ones among them, a login that asks for the state executes one statement more than one
    that does not, and several such logins at once one more each."""
    ana, bob, cai = (tables.person(name) for name in ("ana", "bob", "cai"))
    books = [tables.room(f"room{n}", ana, bob, cai) for n in range(20)]
    books += [direct(tables, ana, bob), direct(tables, bob, cai)]
    tables.append(*(Draft(room.id, bob.id, "ana, have you read it?", None) for room in books))
    with Statements(tables) as statements:
        tables(logins.look_up, [(ana, 0)])
        plain = len(statements)
        statements.clear()
        tables(states, [Arriving(ana, 0, {})])
        assert len(statements) == plain + 1
        statements.clear()
        tables(states, [Arriving(ana, 0, {}), Arriving(cai, 0, {})])
        assert len(statements) == plain + 2


def test_about(tables: Tables) -> None:
    """The topic, the number of members, and the time of the newest message are those of the room now; entries that are
    no messages do not count for that time."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, bob)
    silent = tables.room("silent", ana)
    tables.append(Draft(books.id, bob.id, "first", None))
    tables.append(Draft(books.id, bob.id, "last", None), at=AT.replace(hour=11))
    tables(lambda db: rooms.set_topic(db, bob, find_room(db, bob, "books"), "Reading", AT.replace(hour=12)))
    assert state(tables, ana) == {
        books.name: About("Reading", 2, AT.replace(hour=11)),
        silent.name: About("", 1, None),
    }


def test_a_direct_room(tables: Tables) -> None:
    """A direct room has the present display name of the other account, and neither a topic nor a number of members."""
    ana, bob = tables.person("ana"), tables.person("bob")
    facts = direct(tables, ana, bob)
    named = update(AccountRow).where(AccountRow.id == bob.id).values(display_name="Bob B.")
    tables(lambda db: db.execute(named) and None)
    tables.append(Draft(facts.id, ana.id, "hello", None))
    assert state(tables, ana) == {"@bob": About("", 0, AT, "Bob B.")}
    assert state(tables, bob) == {"@ana": About("", 0, AT)}


def test_a_closed_past(tables: Tables) -> None:
    """A member of a private room is not told when somebody spoke before they joined."""
    ana, bob = tables.person("ana"), tables.person("bob")
    secret = tables.room("secret", ana, kind="private")
    tables.append(Draft(secret.id, ana.id, "before", None))
    tables.join(secret, bob, ana)
    assert state(tables, bob)["secret"] == About("", 2, None)
    tables.append(Draft(secret.id, ana.id, "since", None), at=AT.replace(hour=11))
    assert state(tables, bob)["secret"] == About("", 2, AT.replace(hour=11))


def test_very_many_rooms(tables: Tables) -> None:
    """Somebody in more rooms than a page has is told about those of the first page, in the same snapshot."""
    ana = tables.person("ana")
    with tables.engine.begin() as db:
        for n in range(PAGE_LIMIT + 3):
            rooms.create(db, ana, f"room{n:04}", "public", f"topic {n}", AT)
    [(facts, page, counts)] = tables(states, [Arriving(ana, 0, {})])
    assert len(facts.memberships) == PAGE_LIMIT + 3
    assert all(one.about is None for one in facts.memberships)
    assert [one.about for one in page] == [About(f"topic {n}", 1, None) for n in range(PAGE_LIMIT)]
    assert len(counts) == PAGE_LIMIT


def test_one_snapshot(tables: Tables) -> None:
    """What is stored while the state is read is not half in it."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, bob)
    reading = one_snapshot(open_reading(tables.engine, 1, 5))

    def work(db: Connection) -> tuple[Any, Any]:
        before = logins.look_up(db, [(ana, 0)])
        tables.append(Draft(books.id, bob.id, "meanwhile", None))
        return before, logins.look_up(db, [(ana, 0)])

    before, after = transact(reading, work)
    assert before == after
    assert transact(reading, lambda db: logins.look_up(db, [(ana, 0)])) != before
    reading.dispose()
