"""Bans, mutes and tokens end by the database's clock, whatever the server's clock says; and times of entries."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, insert, select, update

from chatserver.store import accounts, change_rows, entries, moderation, rooms
from chatserver.store.db import database_clock
from chatserver.store.db.database_clock import NOW
from chatserver.store.db.schema import BanRow, MembershipRow
from chatserver.store.messages import Draft
from chatserver.store.visibility import find_room
from chatserver.values.errors import Refused
from chatserver.values.events import FOREVER, JOINED, Person, RoomFacts
from tests.store.conftest import AT, Tables

HOST = Person(0, "")
STEPS = (timedelta(days=-365), timedelta(0), timedelta(days=365))
"""How far the server's clock is from the database's."""


def server_times() -> list[datetime]:
    return [datetime.now(UTC) + step for step in STEPS]


def mute(tables: Tables, room: RoomFacts, target: Person, seconds: int | None) -> None:
    def work(db: Connection) -> None:
        access = find_room(db, target, room.name, lock=True)
        moderation.mute(db, HOST, access, target, database_clock.until(db, seconds), AT)

    tables(work)


def ban(tables: Tables, room: RoomFacts, target: Person, seconds: int | None) -> None:
    def work(db: Connection) -> None:
        access = find_room(db, HOST, room.name, lock=True)
        moderation.ban(db, HOST, access, target, database_clock.until(db, seconds), "", AT)

    tables(work)


def ban_from_server(tables: Tables, target: Person | None, network: str | None, seconds: int | None) -> None:
    def work(db: Connection) -> None:
        moderation.ban_from_server(db, None, target, network, database_clock.until(db, seconds), "spam", AT)

    tables(work)


def pass_time(tables: Tables, seconds: float) -> None:
    """Moves all ends to so many seconds before."""

    def work(db: Connection) -> None:
        for row, column in ((MembershipRow, "muted_until"), (BanRow, "until")):
            for id, end in db.execute(select(row.id, getattr(row, column))).all():
                if end is not None and end != FOREVER:
                    earlier = end - timedelta(seconds=seconds)
                    db.execute(update(row).where(row.id == id).values(**{column: earlier}))

    tables(work)


def test_the_time(tables: Tables) -> None:
    """The database's time is a time in UTC, in whole milliseconds; `until` is so many seconds later."""
    before = datetime.now(UTC)
    time = tables(database_clock.now)
    assert before - timedelta(milliseconds=2) <= time <= datetime.now(UTC)
    assert time.tzinfo is not None
    assert time.microsecond % 1000 == 0
    end = tables(database_clock.until, 60)
    assert end is not None
    assert timedelta(seconds=60) <= end - time < timedelta(seconds=90)
    assert tables(database_clock.until, None) is None


def test_its_precision(tables: Tables) -> None:
    """A stored time is compared with the database's to the millisecond, not by the length of its text."""

    def work(db: Connection) -> None:
        ana = accounts.create(db, "ana", "hash", AT)
        db.execute(insert(BanRow).values(account_id=ana, at=AT))
        for _ in range(100):
            for seconds, lasting in ((0, False), (5, True)):
                db.execute(update(BanRow).values(until=database_clock.until(db, seconds)))
                assert db.scalar(select(BanRow.until > NOW)) is lasting

    tables(work)


def test_a_mute(tables: Tables) -> None:
    """A mute ends by the database's clock, for messages that come alone or together, and for what members are told."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, bob)
    draft = Draft(books.id, bob.id, "hi", None)

    def outcomes() -> set[str]:
        return {
            verdict.outcome
            for at in server_times()
            for drafts in ([draft], [draft, draft])
            for verdict in tables.append(*drafts, at=at)
        }

    mute(tables, books, bob, 60)
    assert (outcomes(), tables.find(bob, "books").muted) == ({"muted"}, True)
    pass_time(tables, 59)
    assert outcomes() == {"muted"}
    pass_time(tables, 1)
    assert (outcomes(), tables.find(bob, "books").muted) == ({"stored"}, False)
    mute(tables, books, bob, None)
    assert (outcomes(), tables.find(bob, "books").muted) == ({"muted"}, True)
    assert tables.find(ana, "books").muted is False


def test_a_ban_from_a_room(tables: Tables) -> None:
    """A ban from a room ends by the database's clock, and is listed until then."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, bob)

    def is_banned() -> bool:
        banned = tables(moderation.is_banned_from_room, bob.id, books.id)
        assert [line.name for line in tables(moderation.bans, books.id)] == (["bob"] if banned else [])
        with pytest.raises(Refused, match="BANNED_FROM_ROOM") if banned else nullcontext():
            tables.find(bob, "books")
        return banned

    ban(tables, books, bob, 60)
    assert is_banned()
    pass_time(tables, 60)
    assert not is_banned()
    ban(tables, books, bob, None)
    assert is_banned()


def test_a_ban_from_the_server(tables: Tables) -> None:
    """A ban of an account ends by the database's clock."""
    ana = tables.person("ana")

    def reason() -> str | None:
        reasons = {account.ban for account in tables(change_rows.accounts, [(ana.id, 0)])}
        return reasons.pop()

    assert reason() is None
    ban_from_server(tables, ana, None, 60)
    assert reason() == "spam"
    pass_time(tables, 60)
    assert reason() is None


def test_a_banned_network(tables: Tables) -> None:
    """A ban of a network comes with the seconds that are left by the database's clock."""
    ban_from_server(tables, None, "192.0.2.0/24", 60)
    ban_from_server(tables, None, "198.51.100.0/24", None)
    timed, forever = tables(moderation.banned_networks)
    assert timed.seconds_left == pytest.approx(60, abs=20)
    assert forever.seconds_left is None
    pass_time(tables, 60)
    assert tables(moderation.banned_networks) == [forever]


def test_the_newest_time(tables: Tables) -> None:
    """The newest time of all rooms' entries is found by their last entries. A deleted room does not count."""
    assert tables(entries.newest_at) is None
    ana = tables.person("ana")
    books, gone = tables.room("books", ana), tables.room("gone", ana)
    tables.room("chess", ana)
    tables.append(Draft(books.id, ana.id, "hi", None), at=AT + timedelta(seconds=5))
    tables.append(Draft(gone.id, ana.id, "hi", None), at=AT + timedelta(seconds=9))
    assert tables(entries.newest_at) == AT + timedelta(seconds=9)
    tables(lambda db: rooms.delete(db, ana, find_room(db, ana, "gone", lock=True), AT))
    assert tables(entries.newest_at) == AT + timedelta(seconds=5)


def test_an_entry_is_not_before_the_last_one(tables: Tables) -> None:
    """An entry that a process adds with a clock that is behind gets the time of the room's last entry."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books, chess = tables.room("books", ana), tables.room("chess", ana)
    late = AT + timedelta(hours=1)
    draft, other = Draft(books.id, ana.id, "hi", "k1"), Draft(chess.id, ana.id, "hi", "k2")
    assert [verdict.at for verdict in tables.append(draft, at=late)] == [late]
    [joined] = tables.join(books, bob)
    assert (joined.kind, joined.at) == (JOINED, late)
    again = Draft(books.id, ana.id, "hi", None)
    assert [verdict.at for verdict in tables.append(again)] == [late]
    assert [verdict.at for verdict in tables.append(other, again, again)] == [AT, late, late]
    later = late + timedelta(seconds=1)
    assert [verdict.at for verdict in tables.append(draft, again, at=later)] == [late, later]
    assert [entry.at for entry in tables.log(books)] == [AT, *[late] * 5, later]
    assert [entry.at for entry in tables.log(chess)] == [AT, AT]


@pytest.mark.parametrize("size", [1, 2])
def test_a_message_that_waits(tables: Tables, size: int) -> None:
    """Nor is a message that waits for a transaction with a later time before that transaction's entry."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana)
    drafts = [Draft(books.id, ana.id, "hi", None)] * size
    late = AT + timedelta(milliseconds=3)
    with tables.engine.begin() as db, tables.meanwhile(lambda: tables.append(*drafts)) as waiting:
        rooms.join(db, bob, find_room(db, bob, "books", lock=True), late)
    assert [verdict.at for verdict in waiting()] == [late] * size
    assert [entry.at for entry in tables.log(books)] == [AT, late, *[late] * size]
