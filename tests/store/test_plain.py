"""Takes in which nothing stands against any message are stored without judging each: with the same result as if each
had been judged, and without two nodes waiting for each other."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Update, select, text, update

from chatserver.store import messages
from chatserver.store.db.schema import EntryRow, MembershipRow, RoomRow
from chatserver.store.messages import Draft, Verdict
from chatserver.store.saying import SPECIAL
from tests.store.conftest import AT, Tables

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite judges in memory

Said = tuple[int, int, str, str | None]
"""The room and the author, by their places in the world, the text and the id of a message."""

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    st.sampled_from(
        ["NULL", "null", "{}", '{"a"}', "a\\b", '\\"', "\\\\", "%s", "'; --", "\n\t", " ", "\\N", "$1", "😀"]
    ),
)
TAKES = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(0, 4),
        TEXTS,
        st.one_of(st.none(), st.sampled_from(["k1", "k2", 'k"\\', "NULL"])),
    ),
    min_size=2,
    max_size=8,
)


def outcomes(verdicts: list[Verdict]) -> list[str]:
    return [one.outcome for one in verdicts]


def of(room_id: int, account_id: int) -> Update:
    return update(MembershipRow).where(MembershipRow.room_id == room_id, MembershipRow.account_id == account_id)


class World:
    """Five people and five rooms, with all that can stand against a message. `plain`: takes are tried without judging
    each message."""

    def __init__(self, tables: Tables, number: int, *, plain: bool) -> None:
        self._tables = tables
        self._plain = plain
        self.people = [tables.person(f"{name}{number}") for name in ("ana", "bob", "cai", "dee", "eve")]
        _, bob, cai, dee, _ = self.people
        self.rooms = [
            tables.room(f"{name}{number}", *self.people[:4]) for name in ("open", "more", "slow", "gone", "few")
        ]
        slow, gone, few = (room.id for room in self.rooms[2:])
        for change in (
            update(RoomRow).where(RoomRow.id == slow).values(pace_seconds=90),
            update(RoomRow).where(RoomRow.id == gone).values(deleted_at=AT),
            of(few, bob.id).values(muted_until=AT + timedelta(days=9_999)),
            of(few, cai.id).values(blocked=True),
            of(few, dee.id).values(left_seq=9),
        ):
            tables(Connection.execute, change)

    def append(self, db: Connection, take: list[Said], at: datetime) -> list[tuple[Any, ...]]:
        drafts = [Draft(self.rooms[room].id, self.people[who].id, said, id) for room, who, said, id in take]
        if "special" in db.info:
            db.info["special"] = {} if self._plain else {room.id: SPECIAL for room in self.rooms}
        return [(one.outcome, one.seq, one.at) for one in messages.append(db, drafts, at)]

    def log(self) -> list[tuple[Any, ...]]:
        authors: dict[int | None, int] = {who.id: place for place, who in enumerate(self.people)}
        columns = (EntryRow.room_id, EntryRow.seq, EntryRow.author_id, EntryRow.text, EntryRow.client_id, EntryRow.at)
        places = {room.id: place for place, room in enumerate(self.rooms)}
        query = select(*columns).where(EntryRow.room_id.in_(places)).order_by(EntryRow.room_id, EntryRow.seq)
        rows = self._tables(Connection.execute, query)
        return [(places[room_id], seq, authors[author_id], *rest) for room_id, seq, author_id, *rest in rows]


def test_the_same_verdicts(tables: Tables) -> None:
    """Whatever stands against messages of a take, its verdicts and rows are those of messages judged one by one."""
    one, other = World(tables, 1, plain=True), World(tables, 2, plain=False)
    minutes = itertools.count()

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(TAKES, min_size=1, max_size=4))
    def check(takes: list[list[Said]]) -> None:
        example = next(minutes)
        for take in takes:
            at = AT + timedelta(minutes=next(minutes))
            said = [(room, who, words, id and f"{id}{example}") for room, who, words, id in take]
            assert one.append(first, said, at) == other.append(second, said, at)
        assert one.log() == other.log()

    engine = tables.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as first, engine.connect() as second:
        for db in (first, second):
            messages.append(db, [Draft(0, 0, "prepares the statements", None)], AT)
        check()


def test_what_is_special(tables: Tables) -> None:
    """A room in which something stood against a message costs a second statement once, not in the next takes."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books, chess = tables.room("books", ana), tables.room("chess", ana, bob)
    take = [Draft(books.id, ana.id, "a", None), Draft(chess.id, ana.id, "b", None), Draft(books.id, bob.id, "c", None)]
    engine = tables.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        sent: list[str] = []

        def append() -> list[Verdict]:
            sent.clear()
            return messages.append(db, take, AT)

        append()
        db.info["special"].clear()
        cursor, prepared = db.info["append"]

        class Observed:
            def execute(self, query: str, values: Any) -> None:
                sent.append(query.split("EXECUTE ")[-1].split()[0])
                cursor.execute(query, values)

            fetchall = cursor.fetchall

        db.info["append"] = Observed(), prepared
        for statements in (["append_plain", "append"], *[["append"]] * SPECIAL, ["append_plain", "append"]):
            assert outcomes(append()) == ["stored", "stored", "not-a-member"]
            assert sent == statements


def test_two_nodes(tables: Tables) -> None:
    """Two nodes that write to the same rooms, in opposite orders, store everything without a hole and without waiting
    for each other."""
    people = [tables.person(f"user{number}") for number in range(4)]
    rooms = [tables.room(f"room{number}", *people) for number in range(12)]
    engine = tables.engine.execution_options(isolation_level="AUTOCOMMIT")
    count = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"

    def node(order: int) -> None:
        with engine.connect() as db:
            for turn in range(60):
                drafts = [Draft(room.id, people[turn % 4].id, f"{turn}", None) for room in rooms[::order]]
                assert set(outcomes(messages.append(db, drafts, AT))) == {"stored"}

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(node, (1, -1)))
    for room in rooms:
        assert [entry.seq for entry in tables.log(room)] == list(range(1, len(tables.log(room)) + 1))
        assert len(tables.log(room)) >= 120
    assert tables(lambda db: db.execute(text(count)).scalar()) == 0
