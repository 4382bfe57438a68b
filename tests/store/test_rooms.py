"""Rooms: who is in them, who may know of them, what is new in them."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError

from chatserver.errors import ErrorWord, Refused
from chatserver.events import CREATED, JOINED, LEFT, PRIVATE, PUBLIC, TOPIC, Person, RoomFacts
from chatserver.store import places, rooms
from chatserver.store.places import find_room
from chatserver.store.schema import Account
from tests.store.conftest import AT, Tables, seqs


def refused(work: Callable[[], object]) -> ErrorWord:
    with pytest.raises(Refused) as refusal:
        work()
    return refusal.value.error


def standing(tables: Tables, who: Person, label: str) -> tuple[int, int]:
    """How far the room is, and how far this person has read."""
    [one] = [s for s in tables(places.standings, who) if s.facts.label(who.id) == label]
    return one.seq, one.read


# Making


def test_creating(tables: Tables) -> None:
    """Who makes a room owns it; its first entry says so; its name is taken from then on."""
    ana, bob = tables.person("ana"), tables.person("bob")
    facts, entries = tables(rooms.create, ana, "books", PUBLIC, "what we read", AT)
    assert [(e.seq, e.kind, e.author, e.text) for e in entries] == [(1, CREATED, "ana", "what we read")]
    assert tables.log(facts) == entries
    place = tables.place(ana, "books")
    assert (place.role, place.topic, place.seq, place.read) == ("owner", "what we read", 1, 1)
    assert refused(lambda: tables(rooms.create, bob, "books", PRIVATE, "", AT)) is ErrorWord.ROOM_TAKEN


def test_creating_at_the_same_moment(tables: Tables) -> None:
    """Of two who make one room at once, one has it, and the other is told that it is taken."""
    ana, bob = tables.person("ana"), tables.person("bob")

    def second() -> ErrorWord:
        return refused(lambda: tables(rooms.create, bob, "books", PUBLIC, "", AT))

    with tables.engine.begin() as db, tables.meanwhile(second) as word:
        rooms.create(db, ana, "books", PUBLIC, "", AT)
    assert word() is ErrorWord.ROOM_TAKEN
    assert [line.name for line in tables(rooms.members, tables.place(ana, "books").facts, frozenset())] == ["ana"]


def test_the_first_rooms(tables: Tables) -> None:
    """The default rooms are made once, and whoever registers is in them, with nothing unread."""
    for _ in range(2):
        tables(rooms.ensure, ["general", "lobby"], AT)
    bob, _ = tables(rooms.register, "bob", "hash", ["general"], AT)
    ana, joined = tables(rooms.register, "ana", "hash", ["lobby", "general"], AT)
    assert [(facts.name, [(e.kind, e.seq, e.author) for e in entries]) for facts, entries in joined] == [
        ("general", [(JOINED, 2, "ana")]),
        ("lobby", [(JOINED, 1, "ana")]),
    ]
    assert [(s.facts.name, s.seq, s.read, s.role) for s in tables(places.standings, ana)] == [
        ("general", 2, 2, "member"),
        ("lobby", 1, 1, "member"),
    ]
    assert standing(tables, bob, "general") == (2, 1)


# Coming and going


def test_joining(tables: Tables) -> None:
    """A newcomer has missed nothing; joining a room one is in already changes nothing."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana)
    tables.say(books, ana, "hello")
    [entry] = tables.join(books, bob)
    assert (entry.kind, entry.seq, entry.author) == (JOINED, 3, "bob")
    assert standing(tables, bob, "books") == (3, 3)
    assert tables.join(books, bob) == []
    assert seqs(tables.log(books)) == [1, 2, 3]


def test_coming_again(tables: Tables) -> None:
    """Who comes again finds their read mark where it was, and what they missed unread."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, bob)
    tables(rooms.leave, bob, "books", AT)
    for n in range(3):
        tables.say(books, ana, f"text {n}")
    tables.join(books, bob)
    assert standing(tables, bob, "books") == (7, 2)


def test_leaving(tables: Tables) -> None:
    """Who leaves is out, the log says so, and leaving again is refused."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, bob)
    facts, [entry] = tables(rooms.leave, bob, "books", AT)
    assert (facts, entry.kind, entry.seq, entry.author) == (books, LEFT, 3, "bob")
    assert tables(places.standings, bob) == []
    assert tables(rooms.member_count, books.id) == 1
    assert refused(lambda: tables(rooms.leave, bob, "books", AT)) is ErrorWord.NOT_A_MEMBER


def test_an_empty_room(tables: Tables) -> None:
    """A room that all have left is listed no more; who joins it then owns it, with all its past, and it is back."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana)

    def listed() -> list[str]:
        return [line.room for line in tables(rooms.listing, bob, "", 10, mine=False)[0]]

    assert listed() == ["books"]
    tables(rooms.leave, ana, "books", AT)
    assert listed() == []
    [entry] = tables.join(books, bob)
    assert (listed(), entry.seq) == (["books"], 3)
    assert tables.place(bob, "books").role == "owner"


# Direct rooms


def test_a_direct_room(tables: Tables) -> None:
    """Two people have one room, made by its first message; each calls it by the other's name, in any case."""

    def opened(who: Person, name: str) -> RoomFacts:
        return tables(rooms.open_direct, who, tables.place(who, name), AT)

    ana, bob = tables.person("Ana"), tables.person("bob")
    place = tables.place(ana, "@BOB")
    assert (place.facts.id, place.seq) == (0, 0)
    assert tables(places.standings, ana) == []
    facts = opened(ana, "@bob")
    assert tables.say(facts, ana, "hi").seq == 1
    assert tables.say(facts, bob, "hello").seq == 2
    assert tables.place(bob, "@ana").facts == facts
    assert opened(bob, "@ana") == facts
    assert standing(tables, ana, "@bob") == (2, 0)
    assert standing(tables, bob, "@Ana") == (2, 0)
    assert [line.name for line in tables(rooms.members, facts, frozenset({bob.id}))] == ["Ana", "bob"]


def test_a_direct_room_opened_by_both_at_once(tables: Tables) -> None:
    """Where both speak first at the same moment, it is one room, and both messages are in it."""
    ana, bob = tables.person("ana"), tables.person("bob")

    def open_it(db: Connection, who: Person, name: str) -> RoomFacts:
        return rooms.open_direct(db, who, find_room(db, who, name, AT), AT)

    def open_for_bob() -> RoomFacts:
        try:
            return tables(open_it, bob, "@ana")
        except IntegrityError:  # once more, and it is seen
            return tables(open_it, bob, "@ana")

    with tables.engine.begin() as db, tables.meanwhile(open_for_bob) as second:
        first = open_it(db, ana, "@bob")
    assert second() == first
    assert [tables.say(first, who, "hi").seq for who in (ana, bob)] == [1, 2]


def test_what_a_direct_room_is_not(tables: Tables) -> None:
    """It cannot be left; it needs somebody else, who exists and is not disabled."""
    ana, bob, cai = tables.person("ana"), tables.person("bob"), tables.person("cai")
    tables(lambda db: rooms.open_direct(db, ana, find_room(db, ana, "@bob", AT), AT))
    assert refused(lambda: tables(rooms.leave, ana, "@bob", AT)) is ErrorWord.DIRECT_ROOM
    assert refused(lambda: tables.place(ana, "@ana")) is ErrorWord.NOT_ALLOWED
    assert refused(lambda: tables.place(ana, "@nobody")) is ErrorWord.NO_SUCH_USER
    tables(lambda db: db.execute(update(Account).where(Account.id == cai.id).values(disabled_at=AT)))
    assert refused(lambda: tables.place(ana, "@cai")) is ErrorWord.NO_SUCH_USER
    assert tables(rooms.listing, bob, "", 10, mine=True) == ([], False)


# Who may know of what

ASK_FOR: dict[str, Callable[[Connection, Person], object]] = {
    "find": lambda db, who: find_room(db, who, "cellar", AT),
    "join": lambda db, who: find_room(db, who, "cellar", AT, lock=True, joining=True),
    "leave": lambda db, who: rooms.leave(db, who, "cellar", AT),
}


@pytest.mark.parametrize("ask", ASK_FOR)
def test_a_private_room_from_outside(tables: Tables, ask: str) -> None:
    """Whoever is not in a private room is told just what they are told of a room that does not exist."""
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
    """It has the public rooms and one's own, in pages in the order of names, each with its people, head and topic."""
    ana, bob = tables.person("ana"), tables.person("bob")
    for name in ("go", "books", "chess"):
        tables.room(name, ana, *([bob] if name == "go" else []))
    tables.room("attic", bob, kind=PRIVATE)
    tables.room("cellar", ana, kind=PRIVATE)
    tables(rooms.set_topic, ana, tables.place(ana, "go"), "19x19", AT)

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


def test_what_one_may_read(tables: Tables) -> None:
    """A public room is open from its first entry on, a private one from one's joining on."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books, cellar = tables.room("books", ana), tables.room("cellar", ana, kind=PRIVATE)
    for room in (books, cellar):
        tables.say(room, ana, "before")
        tables.join(room, bob, ana)
    floors = {s.facts.name: s.floor for s in tables(places.standings, bob)}
    assert floors == {"books": 1, "cellar": 3}
    assert [tables.place(bob, name).floor for name in floors] == [1, 3]


# Topics and marks


def test_topics(tables: Tables) -> None:
    """A topic is set by an entry that has it, and is seen by whoever finds the room."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana)
    [entry] = tables(rooms.set_topic, ana, tables.place(ana, "books"), "what we read", AT)
    assert (entry.kind, entry.seq, entry.text) == (TOPIC, 2, "what we read")
    assert tables.log(books)[-1] == entry
    assert tables.place(bob, "books").topic == "what we read"


def test_read_marks(tables: Tables) -> None:
    """A mark never moves back, and never beyond the head."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    for n in range(3):
        tables.say(books, ana, f"text {n}")
    marks = [tables(rooms.mark_read, ana, tables.place(ana, "books"), seq) for seq in (2, 3, 1, 0, 99, 2)]
    assert marks == [2, 3, 3, 3, 4, 4]
    assert standing(tables, ana, "books") == (4, 4)


def test_who_is_in_a_room(tables: Tables) -> None:
    """Its members in the order of names with their roles and presence; some names, those first who came first."""
    bob, ana, cai, dan = (tables.person(name) for name in ("Bob", "ana", "cai", "dan"))
    books = tables.room("books", bob, cai, ana, dan)
    tables(rooms.leave, dan, "books", AT)
    lines = tables(rooms.members, books, frozenset({ana.id, dan.id}))
    assert [(line.name, line.role, line.online) for line in lines] == [
        ("ana", "member", True),
        ("Bob", "owner", False),
        ("cai", "member", False),
    ]
    assert tables(rooms.member_count, books.id) == 3
    assert tables(rooms.member_names, books.id, ana.id, 10) == ["Bob", "cai"]
    assert tables(rooms.member_names, books.id, ana.id, 1) == ["Bob"]
