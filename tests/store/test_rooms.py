"""Rooms: their members, who can find them, and what is unread in them."""

from collections.abc import Callable

import pytest
from msgspec import structs
from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError

from chatserver.store import members, rooms, visibility
from chatserver.store.db.schema import AccountRow
from chatserver.store.visibility import find_room
from chatserver.values.errors import ErrorWord, Refused
from chatserver.values.events import CREATED, JOINED, LEFT, PRIVATE, PUBLIC, TOPIC, Person, RoomFacts
from tests.store.conftest import AT, Tables, seqs


def refused(work: Callable[[], object]) -> ErrorWord:
    with pytest.raises(Refused) as refusal:
        work()
    return refusal.value.error


def membership(tables: Tables, who: Person, label: str) -> tuple[int, int]:
    """The room's last seq and the person's read mark."""
    [one] = [s for s in tables(visibility.memberships, who) if s.facts.label(who.id) == label]
    return one.seq, one.read


# Creating


def test_creating(tables: Tables) -> None:
    """The creator of a room is its owner; its first entry says so; its name is taken from then on."""
    ana, bob = tables.person("ana"), tables.person("bob")
    facts, entries = tables(rooms.create, ana, "books", PUBLIC, "what we read", AT)
    assert [(e.seq, e.kind, e.author, e.text) for e in entries] == [(1, CREATED, "ana", "what we read")]
    assert tables.log(facts) == [structs.replace(entry, as_of=1) for entry in entries]
    access = tables.find(ana, "books")
    assert (access.role, access.topic, access.seq, access.read) == ("owner", "what we read", 1, 1)
    assert refused(lambda: tables(rooms.create, bob, "books", PRIVATE, "", AT)) is ErrorWord.ROOM_TAKEN


def test_creating_at_the_same_moment(tables: Tables) -> None:
    """If two people create a room with the same name at once, the second is refused."""
    ana, bob = tables.person("ana"), tables.person("bob")

    def second() -> ErrorWord:
        return refused(lambda: tables(rooms.create, bob, "books", PUBLIC, "", AT))

    with tables.engine.begin() as db, tables.meanwhile(second) as word:
        rooms.create(db, ana, "books", PUBLIC, "", AT)
    assert word() is ErrorWord.ROOM_TAKEN
    assert [line.name for line in tables(members.listing, tables.find(ana, "books").facts, frozenset())] == ["ana"]


def test_the_first_rooms(tables: Tables) -> None:
    """Default rooms are created once. New accounts are in them, with nothing unread."""
    for _ in range(2):
        tables(rooms.ensure, ["general", "lobby"], AT)
    bob, _ = tables(rooms.register, "bob", "hash", ["general"], AT)
    ana, joined = tables(rooms.register, "ana", "hash", ["lobby", "general"], AT)
    assert [(facts.name, [(e.kind, e.seq, e.author) for e in entries]) for facts, entries in joined] == [
        ("general", [(JOINED, 2, "ana")]),
        ("lobby", [(JOINED, 1, "ana")]),
    ]
    assert [(s.facts.name, s.seq, s.read, s.role) for s in tables(visibility.memberships, ana)] == [
        ("general", 2, 2, "member"),
        ("lobby", 1, 1, "member"),
    ]
    assert membership(tables, bob, "general") == (2, 1)


# Joining and leaving


def test_joining(tables: Tables) -> None:
    """A new member has nothing unread. Joining a room again without leaving changes nothing."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana)
    tables.say(books, ana, "hello")
    [entry] = tables.join(books, bob)
    assert (entry.kind, entry.seq, entry.author) == (JOINED, 3, "bob")
    assert membership(tables, bob, "books") == (3, 3)
    assert tables.join(books, bob) == []
    assert seqs(tables.log(books)) == [1, 2, 3]


def test_coming_again(tables: Tables) -> None:
    """A member who leaves and joins again has the old read mark, and what happened meanwhile is unread."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, bob)
    tables(rooms.leave, bob, "books", AT)
    for n in range(3):
        tables.say(books, ana, f"text {n}")
    tables.join(books, bob)
    assert membership(tables, bob, "books") == (7, 2)


def test_leaving(tables: Tables) -> None:
    """Leaving ends the membership and is an entry in the log. Leaving again is refused."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, bob)
    facts, [entry] = tables(rooms.leave, bob, "books", AT)
    assert (facts, entry.kind, entry.seq, entry.author) == (books, LEFT, 3, "bob")
    assert tables(visibility.memberships, bob) == []
    assert tables(members.count, books.id) == 1
    assert refused(lambda: tables(rooms.leave, bob, "books", AT)) is ErrorWord.NOT_A_MEMBER


def test_an_empty_room(tables: Tables) -> None:
    """A room that everybody has left is not listed. The first person to join it then is the owner, and it is listed
    again."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana)

    def listed() -> list[str]:
        return [line.room for line in tables(rooms.listing, bob, "", 10, mine=False)[0]]

    assert listed() == ["books"]
    tables(rooms.leave, ana, "books", AT)
    assert listed() == []
    [entry] = tables.join(books, bob)
    assert (listed(), entry.seq) == (["books"], 3)
    assert tables.find(bob, "books").role == "owner"


# Direct rooms


def test_a_direct_room(tables: Tables) -> None:
    """Two people have one direct room, created by its first message; each finds it by the other's name, in any case."""

    def opened(who: Person, name: str) -> RoomFacts:
        return tables(rooms.open_direct, who, tables.find(who, name), AT)

    ana, bob = tables.person("Ana"), tables.person("bob")
    access = tables.find(ana, "@BOB")
    assert (access.facts.id, access.seq) == (0, 0)
    assert tables(visibility.memberships, ana) == []
    facts = opened(ana, "@bob")
    assert tables.say(facts, ana, "hi").seq == 1
    assert tables.say(facts, bob, "hello").seq == 2
    assert tables.find(bob, "@ana").facts == facts
    assert opened(bob, "@ana") == facts
    assert membership(tables, ana, "@bob") == (2, 0)
    assert membership(tables, bob, "@Ana") == (2, 0)
    assert [line.name for line in tables(members.listing, facts, frozenset({bob.id}))] == ["Ana", "bob"]


def test_a_direct_room_opened_by_both_at_once(tables: Tables) -> None:
    """If both people write first at the same moment there is one room with both messages."""
    ana, bob = tables.person("ana"), tables.person("bob")

    def open_it(db: Connection, who: Person, name: str) -> RoomFacts:
        return rooms.open_direct(db, who, find_room(db, who, name), AT)

    def open_for_bob() -> RoomFacts:
        try:
            return tables(open_it, bob, "@ana")
        except IntegrityError:  # retry, which finds the room
            return tables(open_it, bob, "@ana")

    with tables.engine.begin() as db, tables.meanwhile(open_for_bob) as second:
        first = open_it(db, ana, "@bob")
    assert second() == first
    assert [tables.say(first, who, "hi").seq for who in (ana, bob)] == [1, 2]


def test_what_a_direct_room_is_not(tables: Tables) -> None:
    """A direct room cannot be left, and needs another person who exists and is not disabled."""
    ana, bob, cai = tables.person("ana"), tables.person("bob"), tables.person("cai")
    tables(lambda db: rooms.open_direct(db, ana, find_room(db, ana, "@bob"), AT))
    assert refused(lambda: tables(rooms.leave, ana, "@bob", AT)) is ErrorWord.DIRECT_ROOM
    assert refused(lambda: tables.find(ana, "@ana")) is ErrorWord.NOT_ALLOWED
    assert refused(lambda: tables.find(ana, "@nobody")) is ErrorWord.NO_SUCH_USER
    tables(lambda db: db.execute(update(AccountRow).where(AccountRow.id == cai.id).values(disabled_at=AT)))
    assert refused(lambda: tables.find(ana, "@cai")) is ErrorWord.NO_SUCH_USER
    assert tables(rooms.listing, bob, "", 10, mine=True) == ([], False)


# Who can find what (see also tests/handlers/test_visibility.py)

ASK_FOR: dict[str, Callable[[Connection, Person], object]] = {
    "find": lambda db, who: find_room(db, who, "cellar"),
    "join": lambda db, who: find_room(db, who, "cellar", lock=True, joining=True),
    "leave": lambda db, who: rooms.leave(db, who, "cellar", AT),
}


@pytest.mark.parametrize("ask", ASK_FOR)
def test_a_private_room_from_outside(tables: Tables, ask: str) -> None:
    """The refusal for a private room is the same as for a room that does not exist."""
    ana, bob, cai = tables.person("ana"), tables.person("bob"), tables.person("cai")

    def answer(who: Person) -> tuple[object, ...]:
        with pytest.raises(Refused) as refusal:
            tables(ASK_FOR[ask], who)
        return refusal.value.args

    nothing = answer(bob)
    assert nothing[0] is ErrorWord.NO_SUCH_ROOM
    tables.room("cellar", ana, cai, kind=PRIVATE)
    tables(rooms.leave, cai, "cellar", AT)
    assert answer(bob) == answer(cai) == nothing


def test_the_list_of_rooms(tables: Tables) -> None:
    """The list has public rooms and those the person is in, by name, in pages, with members, last seq and topic."""
    ana, bob = tables.person("ana"), tables.person("bob")
    for name in ("go", "books", "chess"):
        tables.room(name, ana, *([bob] if name == "go" else []))
    tables.room("attic", bob, kind=PRIVATE)
    tables.room("cellar", ana, kind=PRIVATE)
    tables(rooms.set_topic, ana, tables.find(ana, "go"), "19x19", AT)

    def listed(who: Person, after: str = "", limit: int = 10, *, mine: bool = False) -> tuple[list[str], bool]:
        lines, more = tables(rooms.listing, who, after, limit, mine=mine)
        return [line.room for line in lines], more

    assert listed(ana) == (["books", "cellar", "chess", "go"], False)
    assert listed(bob) == (["attic", "books", "chess", "go"], False)
    assert listed(bob, mine=True) == (["attic", "go"], False)
    assert listed(ana, "books", 2) == (["cellar", "chess"], True)
    assert listed(ana, "cellar", 2) == (["chess", "go"], False)
    line = tables(rooms.listing, bob, "chess", 10, mine=False)[0][0]
    assert (line.members, line.seq, line.topic, line.role) == (2, 3, "19x19", "member")


def test_where_reading_begins(tables: Tables) -> None:
    """A public room can be read from its first entry on, a private one from where the person joined."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books, cellar = tables.room("books", ana), tables.room("cellar", ana, kind=PRIVATE)
    for room in (books, cellar):
        tables.say(room, ana, "before")
        tables.join(room, bob, ana)
    floors = {s.facts.name: s.floor for s in tables(visibility.memberships, bob)}
    assert floors == {"books": 1, "cellar": 3}
    assert [tables.find(bob, name).floor for name in floors] == [1, 3]


# Topics and marks


def test_topics(tables: Tables) -> None:
    """Setting a topic is an entry in the log, and everybody who finds the room sees the topic."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana)
    [entry] = tables(rooms.set_topic, ana, tables.find(ana, "books"), "what we read", AT)
    assert (entry.kind, entry.seq, entry.text) == (TOPIC, 2, "what we read")
    assert tables.log(books)[-1] == structs.replace(entry, as_of=2)
    assert tables.find(bob, "books").topic == "what we read"


def test_read_marks(tables: Tables) -> None:
    """A read mark never moves back, and never beyond the last entry."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    for n in range(3):
        tables.say(books, ana, f"text {n}")
    marks = [tables(members.mark_read, ana, tables.find(ana, "books"), seq) for seq in (2, 3, 1, 0, 99, 2)]
    assert marks == [2, 3, 3, 3, 4, 4]
    assert membership(tables, ana, "books") == (4, 4)


def test_who_is_in_a_room(tables: Tables) -> None:
    """Members are listed by name with their roles and presence; `names` has the longest-standing first."""
    bob, ana, cai, dan = (tables.person(name) for name in ("Bob", "ana", "cai", "dan"))
    books = tables.room("books", bob, cai, ana, dan)
    tables(rooms.leave, dan, "books", AT)
    lines = tables(members.listing, books, frozenset({ana.id, dan.id}))
    assert [(line.name, line.role, line.online) for line in lines] == [
        ("ana", "member", True),
        ("Bob", "owner", False),
        ("cai", "member", False),
    ]
    assert tables(members.count, books.id) == 3
    assert tables(members.names, books.id, ana.id, 10) == ["Bob", "cai"]
    assert tables(members.names, books.id, ana.id, 1) == ["Bob"]
