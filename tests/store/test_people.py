"""Accounts, people, and their sessions."""

from datetime import timedelta

import pytest
from msgspec import structs
from sqlalchemy import Connection, insert, select, update

from chatserver.store import accounts, members, moderation, people, rooms, sessions, visibility
from chatserver.store import unread as unread_of
from chatserver.store.db import database_clock
from chatserver.store.db.schema import AccountRow, IgnoreRow, NodeRow, SessionRow
from chatserver.store.sessions import Closed, Opened
from chatserver.values.errors import ErrorWord, Refused
from chatserver.values.events import Person, RoomFacts
from chatserver.values.seen import Seen
from chatserver.wire.dialect import NONE
from tests.store.conftest import AT, Tables

LATER = AT + timedelta(minutes=1)


def rows(tables: Tables) -> dict[str, tuple[object, ...]]:
    """The stored sessions, by id."""
    query = select(
        SessionRow.id, SessionRow.address, SessionRow.connected_at, SessionRow.disconnected_at, SessionRow.reason
    )
    return {row[0]: tuple(row[1:]) for row in tables(lambda db: db.execute(query).all())}


def test_names(tables: Tables) -> None:
    """A name is found in any case, keeps its spelling, and can be registered once."""
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
    """A disabled or erased account is found, and marked as disabled."""
    for name, column in (("ana", AccountRow.disabled_at), ("bob", AccountRow.erased_at)):
        tables.person(name)
        gone = update(AccountRow).where(AccountRow.name == name).values({column: AT})
        tables(Connection.execute, gone)
        found = tables(accounts.find, name)
        assert found is not None
        assert found.disabled


def test_passwords(tables: Tables) -> None:
    """Changing a password affects that account only."""
    ana, _ = tables.person("ana"), tables.person("bob")
    tables(accounts.set_password, ana.id, "other hash")
    assert [tables(accounts.find, name).password_hash for name in ("ana", "bob")] == ["other hash", "hash"]  # type: ignore[union-attr]


def test_last_seen(tables: Tables) -> None:
    """A person is found in any case. If a block keeps them apart, nothing tells whether or when they were online."""
    ana, bob = tables.person("Ana"), tables.person("bob")

    def seen(name: str) -> tuple[str, bool, bool] | None:
        here = frozenset({ana.id, bob.id})
        line = tables(people.last_seen, ana, name, here, {}, frozenset({bob.id}))
        return None if line is None else (line.name, line.online, line.last_seen is not None)

    assert [seen("ana"), seen("BOB"), seen("nobody")] == [("Ana", True, True), ("bob", False, False), None]


def mute(tables: Tables, room: RoomFacts, target: Person, seconds: int | None) -> None:
    def work(db: Connection) -> None:
        access = visibility.find_room(db, target, room.name, lock=True)
        moderation.mute(db, target, access, target, database_clock.until(db, seconds), AT)

    tables(work)


def test_the_away_text_of_somebody_who_is_muted(tables: Tables) -> None:
    """It is not shown to those who share only rooms with them where they are muted, by the database's clock."""
    ana, bob, cai, dan = (tables.person(name) for name in ("ana", "bob", "cai", "dan"))
    books, chess = tables.room("books", ana, bob, cai), tables.room("chess", ana, cai)

    def shown() -> list[bool]:
        away = {ana.id: "lunch"}
        lines = [tables(people.last_seen, one, "ana", frozenset({ana.id}), away, NONE) for one in (ana, bob, cai, dan)]
        return [line is not None and line.away == "lunch" for line in lines]

    assert (shown(), tables(people.mutes, [ana.id, bob.id])) == ([True] * 4, {ana.id: NONE, bob.id: NONE})
    mute(tables, books, ana, -1)
    assert (shown(), tables(people.mutes, [ana.id])) == ([True] * 4, {ana.id: NONE})
    mute(tables, books, ana, 60)
    assert (shown(), tables(people.mutes, [ana.id])) == ([True, False, True, True], {ana.id: frozenset({books.id})})
    both = {ana.id: frozenset({books.id, chess.id})}
    mute(tables, chess, ana, None)
    assert (shown(), tables(people.mutes, [ana.id])) == ([True, False, False, True], both)
    tables(rooms.leave, ana, "books", AT)
    assert (shown(), tables(people.mutes, [ana.id])) == ([True, True, False, True], both)


def test_logins(tables: Tables) -> None:
    """A session is stored when it begins and when it ends, with the reason; storing it twice changes nothing."""
    ana = tables.person("ana")
    changes: list[sessions.Change] = [
        Opened("s1", ana.id, "main", "127.0.0.1", AT),
        Opened("s2", ana.id, "main", "::1", AT),
        Closed("s1", ana.id, LATER, "quit"),
    ]
    for _ in range(2):
        tables(sessions.record, changes)
    assert rows(tables) == {"s1": ("127.0.0.1", AT, LATER, "quit"), "s2": ("::1", AT, None, None)}
    line = tables(people.last_seen, ana, "ana", frozenset(), {}, frozenset())
    assert line is not None
    assert line.last_seen == LATER


def test_marks_of_people(tables: Tables) -> None:
    """Read marks are added to those that are stored. A mark never moves back, jumps over what was seen
    behind it, and never moves beyond the room's last entry."""
    ana = tables.person("ana")
    books, chess = tables.room("books", ana), tables.room("chess", ana)
    for room in (books, chess):
        for n in range(9):
            tables.say(room, ana, f"text {n}")

    def seen() -> list[Seen]:
        return [structs.replace(one.seen, era=0) for one in tables(visibility.memberships, ana)]

    def store(*marks: Seen) -> list[Seen]:
        tables(sessions.mark, {ana.id: dict(zip((books.id, chess.id), marks, strict=True)), 99: {books.id: Seen(3)}})
        found = tables.find(ana, "books"), tables.find(ana, "chess")
        assert [structs.replace(one.seen, era=0) for one in found] == seen()
        return seen()

    assert seen() == [Seen(1), Seen(1)]
    assert store(Seen(3), Seen(0, ((5, 6),))) == [Seen(3), Seen(1, ((5, 6),))]
    assert store(Seen(2), Seen(0, ((8, 9),))) == [Seen(3), Seen(1, ((5, 6), (8, 9)))]
    assert store(Seen(99), Seen(4)) == [Seen(10), Seen(6, ((8, 9),))]
    tables(members.mark_read, ana, tables.find(ana, "chess"), 7)
    assert seen() == [Seen(10), Seen(9)]


def test_unread(tables: Tables) -> None:
    """Only what others wrote is unread, and not those whom the account ignores; of very many entries the newest are
    looked at."""
    ana, bob, cai = (tables.person(name) for name in ("ana", "bob", "cai"))
    books, chess = tables.room("books", ana, bob, cai), tables.room("chess", ana, bob)
    for who, room in ((bob, books), (ana, books), (cai, books), (bob, books), (bob, chess)):
        tables.say(room, who, "hello")

    def unread(who: Person) -> list[int]:
        return [one.entries for one in tables(unread_of.counts, who, tables(visibility.memberships, who))]

    assert [unread(who) for who in (ana, bob, cai)] == [[5, 2], [3, 0], [3]]
    tables(lambda db: db.execute(insert(IgnoreRow).values(account_id=ana.id, ignored_id=cai.id, at=AT)))
    tables(sessions.mark, {ana.id: {books.id: Seen(0, ((6, 6),))}})
    assert unread(ana) == [3, 2]


def test_logins_left_open(tables: Tables) -> None:
    """Sessions that a crash left open are closed with that reason, if they are of this node, or of one that nobody
    knows: in a copy of a database, or after a new `server.node`. Those of other living nodes stay."""
    ana = tables.person("ana")
    of = (("s1", "main"), ("s2", "main"), ("s3", "other"), ("s4", "former"))
    tables(
        sessions.record, [*(Opened(id, ana.id, node, "::1", AT) for id, node in of), Closed("s1", ana.id, AT, "quit")]
    )
    tables(Connection.execute, insert(NodeRow).values(
        name="other", boot="b", host="there", machine="", pid=7, started=0, beat=1, acquired_at=AT, heartbeat_at=AT,
    ))  # fmt: skip
    assert tables(sessions.close_left_open, "main", LATER) == 2
    assert rows(tables) == {
        "s1": ("::1", AT, AT, "quit"),
        "s2": ("::1", AT, LATER, "crash"),
        "s3": ("::1", AT, None, None),
        "s4": ("::1", AT, LATER, "crash"),
    }
    assert tables(sessions.close_left_open, "main", LATER) == 0


def test_where_people_have_logged_in(tables: Tables) -> None:
    """By name, in any case, an account's addresses as quotas count them; nothing of a name that nobody has."""
    ana, bob = tables.person("Ana"), tables.person("bob")
    tables(
        sessions.record,
        [
            Opened("s1", ana.id, "main", "192.0.2.7", AT),
            Opened("s2", ana.id, "main", "192.0.2.7", LATER),
            Opened("s3", ana.id, "main", "2001:db8::7", AT),
            Opened("s4", bob.id, "main", "", AT),
        ],
    )
    found = tables(sessions.places, ["aNA", "nobody", "bob"])
    assert found == [{"192.0.2.7", "2001:db8::/64"}, set(), {""}]
