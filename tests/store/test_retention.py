"""Retention: the oldest entries of a room are removed from the front, in steps, and nothing else changes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Connection, event, func, select, text, update

from chatserver.settings.tables import Retention
from chatserver.store import accounts, entries, erasure, export, messages, retention, rooms, search, sessions
from chatserver.store.db.database_file import empty_log
from chatserver.store.db.schema import EntryRow, RoomRow, SessionRow
from chatserver.store.messages import Draft
from chatserver.store.visibility import find_room
from chatserver.store.wanted import exactly
from chatserver.values.events import Entry, Person, RoomFacts
from tests.store.conftest import Tables, seqs

NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=400)
ENTRIES = 30
WHOLE = 1_000_000
"""Characters: more than a test's room has."""


@pytest.fixture
def ana(tables: Tables) -> Person:
    return tables.person("ana")


@pytest.fixture
def books(tables: Tables, ana: Person) -> RoomFacts:
    """A room of 30 entries: its creation, and a message a day with an id, but for every third one."""
    room = old_room(tables, "books", ana)
    for n in range(2, ENTRIES + 1):
        tables.append(draft(room, ana, n), at=LONG_AGO + timedelta(days=n))
    return room


def old_room(tables: Tables, name: str, owner: Person) -> RoomFacts:
    return tables(rooms.create, owner, name, "public", "", LONG_AGO)[0]


def draft(room: RoomFacts, who: Person, n: int) -> Draft:
    return Draft(room.id, who.id, f"word{n}", f"id{n}" if n % 3 else None)


def ends(tables: Tables, room: RoomFacts) -> tuple[int, int]:
    return tables(lambda db: tuple(db.execute(_ENDS.where(RoomRow.id == room.id)).one()))  # type: ignore[return-value]


_ENDS = select(RoomRow.first_seq, RoomRow.last_seq)


def check(tables: Tables, room: RoomFacts) -> None:
    """The rows of a room are those from its first to its last number, and so is the index of words."""
    first, last = ends(tables, room)
    assert seqs(tables.log(room)) == list(range(first, last + 1))
    for n in (2, first - 1, first, last):
        found = exactly(f"word{n}")
        hits = tables(search.search, Person(1, "ana"), tables.find(Person(1, "ana"), room.name), found, None, 10)[0]
        assert seqs([entry for _, entry in hits]) == ([n] if max(first, 2) <= n <= last else [])


def test_the_newest_are_kept(tables: Tables, ana: Person, books: RoomFacts) -> None:
    """A room keeps as many entries as it may, in steps of a bounded size; numbers go on, and the head never moves."""
    settings = Retention(entries=10)
    assert tables(retention.due, settings, 0) == [books.id]
    before = 0
    while (step := tables(retention.step, books.id, settings, 150)).more:
        assert 0 < step.removed <= 3
        check(tables, books)
        assert ends(tables, books)[0] > before
        before = ends(tables, books)[0]
    assert ends(tables, books) == (ENTRIES - 9, ENTRIES)
    assert tables(retention.due, settings, 0) == []
    assert tables.append(draft(books, ana, ENTRIES + 1))[0].seq == ENTRIES + 1
    check(tables, books)


def test_the_young_are_kept(tables: Tables, books: RoomFacts) -> None:
    """A room keeps what is young enough. One that has lost everything goes on with the next number."""
    days = (datetime.now(UTC) - LONG_AGO).total_seconds() / 86400 - 20.5
    assert tables(retention.due, Retention(days=days), 0) == [books.id]
    tables(retention.step, books.id, Retention(days=days), WHOLE)
    assert ends(tables, books) == (21, ENTRIES)
    tables(retention.step, books.id, Retention(days=1), WHOLE)
    assert ends(tables, books) == (ENTRIES + 1, ENTRIES)
    check(tables, books)
    assert tables(retention.due, Retention(days=1), 0) == []
    tables.append(draft(books, Person(1, "ana"), 31), at=NOW)
    assert ends(tables, books) == (ENTRIES + 1, ENTRIES + 1)
    assert tables(retention.step, books.id, Retention(days=1, entries=1), WHOLE).removed == 0


def test_nothing_is_removed_at_once(tables: Tables, ana: Person) -> None:
    """An entry stays for a minute whatever the limits are, and in a room with a pace for as long as the pace needs."""
    room = old_room(tables, "news", ana)
    now = datetime.now(UTC)
    for n, seconds in enumerate((3000, 300, 90, 30, 10, 0), 2):
        tables.append(draft(room, ana, n), at=now - timedelta(seconds=seconds))
    tables(lambda db: db.execute(update(RoomRow).values(pace_seconds=600)))
    tables(retention.step, room.id, Retention(entries=1), WHOLE)
    assert ends(tables, room) == (3, 7)
    tables(lambda db: db.execute(update(RoomRow).values(pace_seconds=0)))
    tables(retention.step, room.id, Retention(entries=1), WHOLE)
    assert ends(tables, room) == (5, 7)


def test_limits_of_its_own(tables: Tables, ana: Person, books: RoomFacts) -> None:
    """A room's own limits replace those of the settings, one by one, and 0 keeps everything."""
    other = old_room(tables, "other", ana)
    settings = Retention(entries=10)
    tables(retention.keep, books.id, 0.0, 0)
    assert tables(retention.due, Retention(days=1, entries=10), 0) == [other.id]
    tables(retention.keep, books.id, None, 25)
    assert tables(retention.due, settings, 0) == [books.id]
    assert tables(retention.due, settings, books.id) == []
    assert tables(retention.standing, books.id, settings, None).excess == 5
    assert tables(retention.standing, books.id, settings, (None, 0)).excess == 0
    assert tables(retention.standing, books.id, settings, (1.0, 0)).excess == ENTRIES
    tables(retention.step, books.id, settings, WHOLE)
    assert ends(tables, books) == (6, ENTRIES)
    tables(retention.keep, books.id, 1.0, None)
    assert tables(retention.due, Retention(), 0) == [books.id]
    assert tables(retention.due, Retention(days=1), 0) == [books.id, other.id]


def test_a_retry_of_a_removed_message(tables: Tables, ana: Person, books: RoomFacts) -> None:
    """It gets the first answer again, alone and among others, and is not stored; elsewhere its id is taken."""
    first = tables.append(*(draft(books, ana, n) for n in (2, 4, 5)))
    tables(retention.step, books.id, Retention(days=1), WHOLE)
    assert tables.append(draft(books, ana, 4)) == [first[1]]
    assert tables.append(*(draft(books, ana, n) for n in (2, 4, 5))) == first
    assert [verdict.outcome for verdict in first] == ["dup"] * 3
    assert tables.append(Draft(tables.room("other", ana).id, ana.id, "word4", "id4"))[0].outcome == "id-conflict"
    assert tables(messages.find_said, ana.id, "id4") == (books.id, 4)
    assert ends(tables, books) == (ENTRIES + 1, ENTRIES)
    said = tables(lambda db: list(db.scalars(select(EntryRow.text).where(EntryRow.room_id == -books.id))))
    assert set(said) == {""}


def test_the_ids_of_removed_messages_end(tables: Tables, ana: Person, books: RoomFacts) -> None:
    """They are kept, or for as long as the setting says, and then removed in steps as well."""
    tables(retention.step, books.id, Retention(days=1), WHOLE)
    ids = select(func.count()).where(EntryRow.room_id == -books.id)
    assert tables(lambda db: db.scalar(ids)) == 19
    assert tables(retention.spent, Retention(), 0) == []
    assert tables(retention.spent, Retention(id_days=500), 0) == []
    some = Retention(id_days=390)  # how many of them are older depends on the hour
    assert tables(retention.spent, some, 0) == [books.id]
    while (step := tables(retention.forget, books.id, some, 200)).more:
        assert step.removed <= 4
    assert 10 <= (tables(lambda db: db.scalar(ids)) or 0) <= 15
    assert tables(retention.spent, some, 0) == []
    assert tables(retention.forget, books.id, Retention(id_days=1), WHOLE).removed >= 10
    assert tables(lambda db: db.scalar(ids)) == 0
    assert tables.append(draft(books, ana, 4))[0].outcome == "stored"


class _Fault(Exception):
    pass


def failing(tables: Tables, number: int) -> Callable[..., None]:
    """Makes the statement of this number fail, once it was executed."""
    count = 0

    def fail(_db: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal count
        if statement.startswith(("UPDATE", "DELETE")):
            count += 1
            if count == number:
                raise _Fault

    event.listen(tables.engine, "after_cursor_execute", fail)
    return fail


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_fault_removes_nothing(tables: Tables, books: RoomFacts, number: int) -> None:
    """Whichever statement of a step fails, the room is as it was before."""
    fail = failing(tables, number)
    with pytest.raises(_Fault):
        tables(retention.step, books.id, Retention(entries=10), WHOLE)
    event.remove(tables.engine, "after_cursor_execute", fail)
    assert ends(tables, books) == (1, ENTRIES)
    assert tables(lambda db: db.scalar(select(func.count()).where(EntryRow.room_id < 0))) == 0
    check(tables, books)


def test_whoever_holds_the_room_is_not_waited_for(tables: Tables, ana: Person, books: RoomFacts) -> None:
    """On PostgreSQL a step that meets somebody who edits an old message gives up, and removes nothing."""
    if not tables.postgres:
        pytest.skip("SQLite has one writer at a time.")
    with tables.engine.begin() as db:
        db.execute(select(RoomRow.id).where(RoomRow.id == books.id).with_for_update())
        assert tables(retention.step, books.id, Retention(days=1), WHOLE).busy
        messages.edit(db, ana, tables.find(ana, "books"), 2, "anew", NOW)
    assert ends(tables, books) == (1, ENTRIES + 1)
    assert tables.log(books)[1].text == "anew"


def test_one_node_at_a_time(tables: Tables, books: RoomFacts) -> None:
    """On PostgreSQL a second node that removes something at the same moment does nothing."""
    if not tables.postgres:
        pytest.skip("SQLite has one server.")
    with tables.engine.begin() as db:
        assert retention.step(db, books.id, Retention(entries=10), WHOLE).removed == 20
        assert tables(retention.step, books.id, Retention(entries=10), WHOLE).busy
        assert tables(retention.end_sessions, Retention(), "", 10)[0].busy
    assert ends(tables, books) == (21, ENTRIES)


def test_what_an_account_wrote(tables: Tables, ana: Person, books: RoomFacts) -> None:
    """An account whose messages were removed can be exported and erased."""
    tables(retention.step, books.id, Retention(entries=3), WHOLE)
    assert seqs([entry for _, entry in tables(export.page, ana, "", 100)[0]]) == [28, 29, 30]
    tables(erasure.erase, ana, NOW, messages=True)
    while (places := tables(erasure.places, ana.id)) is not None:
        tables(erasure.step, ana.id, places, NOW)
    assert {entry.text for entry in tables.log(books)} == {""}


def undated(page: list[Entry]) -> list[Entry]:
    """Entries without the number as of which they were read: a page of several rooms may lack it."""
    return [structs.replace(entry, as_of=0) for entry in page]


def test_what_follows_a_reader(tables: Tables, books: RoomFacts, ana: Person) -> None:
    """A page for somebody who has everything up to a number begins with what was removed behind it, if anything was;
    also where pages of several rooms are read at once."""
    tables(retention.step, books.id, Retention(entries=10), WHOLE)
    chess = tables.room("chess", ana)

    def follow(seq: int, limit: int = 2) -> list[tuple[str, int, int]]:
        page = tables(entries.follow, books.id, seq, limit)
        positions = [(chess.id, 0), (books.id, seq), (999, 3), (chess.id, 1), (books.id, seq)]
        created = tables.log(chess)
        found = [(undated(some), more) for some, more in tables(entries.follow_all, positions, limit)]
        same = undated(page[0]), page[1]
        assert found == [(undated(created), False), same, ([], False), ([], False), same]
        return [(one.kind, one.begin, one.seq) for one in page[0]]

    kept = [("message", 21, 21), ("message", 22, 22)]
    assert follow(0) == [("gap", 1, 20), *kept]
    assert follow(19) == [("gap", 20, 20), *kept]
    assert follow(20) == kept
    assert follow(ENTRIES) == []
    tables(retention.step, books.id, Retention(days=1), WHOLE)
    assert follow(25) == [("gap", 26, ENTRIES)]
    assert follow(ENTRIES) == []


def session_id(at: datetime, n: int) -> str:
    return f"{round(at.timestamp() * 1000):012x}{n:020x}"


def test_old_sessions(tables: Tables, ana: Person) -> None:
    """Rows of sessions that ended long ago are removed in steps. Those that ended lately or are open stay, however long
    ago they began."""
    day = timedelta(days=1)
    opened = [session_id(NOW - n * day, n) for n in range(200)]
    for n, id in enumerate(opened):
        tables(sessions.record, [sessions.Opened(id, ana.id, "main", "192.0.2.7", NOW - n * day)])
        if n % 10:
            ended = NOW - n * day + (timedelta(hours=1) if n % 7 else n * day / 2)
            tables(sessions.record, [sessions.Closed(id, ana.id, ended, "logout")])

    def left() -> set[str]:
        return set(tables(lambda db: db.scalars(select(SessionRow.id)).all()))

    after, steps = "", 0
    assert tables(retention.end_sessions, Retention(session_days=0), "", 7)[0].removed == 0
    while True:
        step, after = tables(retention.end_sessions, Retention(session_days=50), after, 7)
        steps += 1
        assert step.removed <= 7
        if not step.more:
            break
    assert steps > 20
    assert left() == {id for n, id in enumerate(opened) if n % 10 == 0 or n <= 50 or (n % 7 == 0 and n / 2 <= 50)}
    assert tables(accounts.find, "ana") is not None


def test_a_removed_creation(tables: Tables, ana: Person) -> None:
    """A retry of `create` gets the first answer although the room's first entry was removed."""
    at = NOW - timedelta(minutes=5)
    facts, _ = tables(rooms.create, ana, "books", "public", "to read", at)
    tables(retention.step, facts.id, Retention(days=1 / 1440), WHOLE)
    assert ends(tables, facts) == (2, 1)

    def again(db: Connection, topic: str) -> bool:
        return rooms.find_created(db, ana, "books", "public", topic, NOW) is not None

    assert tables(again, "to read")
    assert not tables(again, "to burn")


def test_the_index_is_merged_now_and_then(tables: Tables, books: RoomFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's index of words is merged an hour after entries were removed, and not sooner; also after a restart."""
    if tables.postgres:
        pytest.skip("There, vacuum does it.")
    now = 1000.0
    monkeypatch.setattr(search, "monotonic", lambda: now)
    merged, mark = tables(search.anything_erased, search.MergeMark())
    tables(retention.step, books.id, Retention(entries=10), WHOLE)
    for seconds in (0, 1800, 1700):
        now += seconds
        merged, mark = tables(search.anything_erased, mark)
        assert not merged
    now += 200
    merged, after = tables(search.anything_erased, mark)
    assert merged
    now += 4000
    assert not tables(search.anything_erased, after)[0]
    _, restarted = tables(search.anything_erased, search.MergeMark())
    now += 4000
    assert tables(search.anything_erased, restarted)[0]


def test_the_first_text_is_gone_from_the_file(tables: Tables, ana: Person, books: RoomFacts) -> None:
    """On SQLite, what was said and removed is in no file any more once the index is merged and the log emptied."""
    if tables.postgres:
        pytest.skip("There, vacuum does it.")
    tables.append(Draft(books.id, ana.id, "unmistakable", "mark"), at=LONG_AGO + timedelta(days=31))
    tables(search.tune)
    tables(retention.step, books.id, Retention(days=1), WHOLE)
    first = True
    while tables(search.merge_index, first=first):
        first = False
    assert empty_log(tables.engine)
    file = tables(lambda db: db.scalar(text("SELECT file FROM pragma_database_list WHERE name = 'main'")))
    assert b"unmistakable" not in Path(str(file)).read_bytes()


def test_while_others_write(tables: Tables, ana: Person, books: RoomFacts) -> None:
    """Steps that run while messages are stored, edited and erased lose none of them, and nobody ends in a deadlock."""
    bob = tables.person("bob")
    tables.join(books, bob)

    def removing() -> int:
        return sum(tables(retention.step, books.id, Retention(entries=5), 200).removed for _ in range(40))

    def saying() -> list[int]:
        return [tables.say(books, bob, f"more{n}", f"more{n}").seq for n in range(40)]

    def changing() -> int:
        done = 0
        for seq in range(2, ENTRIES):
            with tables.engine.begin() as db:
                access = find_room(db, ana, "books", lock=True)
                if access.may_read(seq):
                    change: Callable[..., Any] = messages.edit if seq % 2 else messages.erase
                    change(db, ana, access, seq, *(["anew"] if seq % 2 else []), NOW)
                    done += 1
        return done

    removed, said, changed = tables.at_once(removing, saying, changing)
    assert isinstance(said, list)
    first, last = ends(tables, books)
    assert seqs(tables.log(books)) == list(range(first, last + 1))
    assert (first, last) == (1 + removed, ENTRIES + 1 + len(said) + changed)  # type: ignore[operator]
    assert [entry.seq for entry in tables.log(books) if entry.text.startswith("more")] == [
        seq for seq in said if seq >= first
    ]
