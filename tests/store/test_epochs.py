"""Epochs: the last number that a client's log and the present one have in common, however the database was set back."""

from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from chatserver.store import Connection
from chatserver.store.db import epochs
from chatserver.store.db.database_clock import NOW
from chatserver.store.db.epochs import Epoch, begin_unless_begun, common
from chatserver.store.db.schema import EpochHeadRow, EpochRow, RoomRow
from tests.store.conftest import Tables

TABLES: tuple[Any, ...] = (RoomRow.__table__, EpochRow.__table__, EpochHeadRow.__table__)
Copy = dict[Any, list[dict[str, Any]]]


class Logs:
    """A database with rooms, of which only the heads matter."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.goes_to(general=1)

    def goes_to(self, **heads: int) -> None:
        """These rooms have this many entries now."""

        def work(db: Connection) -> None:
            for name, seq in heads.items():
                known = db.scalar(select(RoomRow.id).where(RoomRow.name == name))
                if known is None:
                    db.execute(insert(RoomRow).values(name=name, kind="public", created_at=NOW))
                db.execute(update(RoomRow).where(RoomRow.name == name).values(last_seq=seq))

        self._tables(work)

    def begin(self, **lost: int) -> Epoch:
        return self._tables(lambda db: epochs.begin(db, {self._ids(db)[name]: seq for name, seq in lost.items()}))

    def common(self, known: Epoch | str) -> dict[str, int]:
        """What an epoch has in common with the present log, by room."""
        token = known if isinstance(known, str) else known.token

        def work(db: Connection) -> dict[str, int]:
            ids = self._ids(db)
            found = common(db, token, list(ids.values()))
            return {name: found[id] for name, id in ids.items() if id in found}

        return self._tables(work)

    def copy(self) -> Copy:
        return self._tables(lambda db: {one: [dict(row._mapping) for row in db.execute(select(one))] for one in TABLES})

    def restore(self, copy: Copy) -> None:
        def work(db: Connection) -> None:
            for one in TABLES:
                db.execute(delete(one))
                if copy[one]:
                    db.execute(insert(one), copy[one])

        self._tables(work)

    @staticmethod
    def _ids(db: Connection) -> dict[str, int]:
        return {row.name: row.id for row in db.execute(select(RoomRow.name, RoomRow.id))}


@pytest.fixture
def logs(tables: Tables) -> Logs:
    return Logs(tables)


def test_nothing_is_lost(logs: Logs) -> None:
    """After a restart a client is cut at nothing that it can know, however many restarts ago that was."""
    first = logs.begin()
    assert logs.common(first) == {}
    logs.goes_to(general=7)
    second = logs.begin()
    logs.goes_to(general=9, books=2)
    third = logs.begin()
    logs.goes_to(general=10)
    found = {one.name: logs.common(one) for one in (first, second, third)}
    assert list(found.values()) == [{"general": 7, "books": 0}, {"general": 9, "books": 2}, {}]


def test_set_back_within_an_epoch(logs: Logs) -> None:
    """A client of an epoch that began before the copy was made is cut at the copy, also in a room that was quiet since
    that epoch began, however the log went on."""
    logs.goes_to(general=3, quiet=4)
    known = logs.begin()
    logs.goes_to(general=5)
    copy = logs.copy()
    logs.goes_to(general=20, quiet=6, lost=3)
    logs.restore(copy)
    logs.begin()
    logs.goes_to(general=30, quiet=9, lost=8)
    logs.begin()
    logs.goes_to(general=40)
    assert logs.common(known) == {"general": 5, "quiet": 4, "lost": 0}


def test_set_back_behind_an_epoch(logs: Logs) -> None:
    """A client of an epoch that the database has forgotten is cut where that epoch's log and the present one part."""
    logs.begin()
    logs.goes_to(general=5)
    copy = logs.copy()
    logs.goes_to(general=8)
    lost = logs.begin()
    logs.goes_to(general=20)
    later = logs.begin()
    logs.goes_to(general=30)
    logs.restore(copy)
    logs.begin()
    logs.goes_to(general=50)
    logs.begin()
    assert logs.common(lost) == {"general": 5}
    assert logs.common(later)["general"] <= 5  # the names before its own say so


def test_the_wrong_copy_first(logs: Logs) -> None:
    """An older copy is restored, then a newer one. Whoever has read in between is cut at no number of the newer one."""
    logs.goes_to(general=2)
    before = logs.begin()
    logs.goes_to(general=5)
    older = logs.copy()
    logs.goes_to(general=9)
    newer = logs.copy()
    logs.goes_to(general=12)
    logs.restore(older)
    wrong = logs.begin()
    logs.goes_to(general=11)
    logs.restore(newer)
    logs.begin()
    assert logs.common(wrong)["general"] <= 5
    assert logs.common(before) == {"general": 9}


def test_the_same_copy_twice(logs: Logs) -> None:
    """Both times it becomes another epoch."""
    logs.begin()
    logs.goes_to(general=5)
    copy = logs.copy()
    logs.restore(copy)
    first = logs.begin()
    logs.goes_to(general=9)
    logs.restore(copy)
    logs.begin()
    logs.goes_to(general=9)
    assert logs.common(first) == {"general": 5}


@pytest.mark.parametrize("token", ["", "0", "-", "....", "é", "9f3a77c1-zz.9f3a77c1-1"])
def test_the_epoch_of_another_database(logs: Logs, token: str) -> None:
    """It has nothing in common with this one."""
    logs.begin()
    assert logs.common(token) == {"general": 0}


def test_what_a_server_has_noticed(logs: Logs, tables: Tables) -> None:
    """A server that notices a lack begins an epoch once, whoever else notices it, with what the room has lost rather
    than with what was written since."""
    logs.goes_to(general=20)
    known = logs.begin()
    logs.goes_to(general=15)
    room_id = tables(lambda db: db.scalars(select(RoomRow.id)).one())
    one = tables(lambda db: begin_unless_begun(db, known.name, {room_id: 13}))
    assert logs.common(known) == {"general": 13}
    other = tables(lambda db: begin_unless_begun(db, known.name, {room_id: 12}))
    assert (one.name, one.before) == (other.name, (known.name,))
    assert logs.common(known) == {"general": 12}


def test_entries_that_were_taken_out(logs: Logs) -> None:
    """Somebody has removed the newest entries by hand. Clients of all epochs before learn it."""
    first = logs.begin()
    logs.goes_to(general=20)
    second = logs.begin()
    logs.goes_to(general=15)
    logs.begin()
    logs.goes_to(general=30)
    logs.begin()
    assert logs.common(first) == logs.common(second) == {"general": 15}
