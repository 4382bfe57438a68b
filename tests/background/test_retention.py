"""The server removes what is old step by step, while others have their turn."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import force_setattr
from sqlalchemy import func, select, update
from twisted.internet.task import Clock

from chatserver.background import retention as removals
from chatserver.background.retention import LEAST_PAUSE_SECONDS, MOST_SIZE, POLL_SECONDS, STEPS, RetentionJob
from chatserver.settings.tables import Retention
from chatserver.store import retention
from chatserver.store.db.schema import EntryRow, RoomRow
from chatserver.store.db.transactions import transact
from chatserver.store.retention import Step
from chatserver.values.errors import Unavailable
from tests.support.hall import START, Hall


class Steps:
    """A store of two rooms with so much to remove, each of whose steps takes as long as the test says."""

    def __init__(self, *left: int) -> None:
        self.left = dict(enumerate(left, 1))
        self.done: list[tuple[int, int]] = []
        """The room and the size of each step."""
        self.seconds = 0.0
        self.away = False

    async def read(self, find: Any, settings: Retention, after: int) -> list[int]:
        if self.away:
            raise Unavailable()
        return [room for room, left in self.left.items() if left and room > after] if find is retention.due else []

    async def write(self, work: Any, room: int, settings: Retention, size: int) -> Step:
        self.done.append((room, size))
        self.left[room] -= 1
        return Step(10, bool(self.left[room]), self.seconds)


def going(store: Any, settings: Retention | None = None) -> tuple[Clock, RetentionJob]:
    clock = Clock()
    one = RetentionJob(clock, store, settings or Retention(entries=1, session_days=0))
    one.start()
    return clock, one


def test_pauses() -> None:
    """Each step is followed by a pause three times as long as itself, and the next one is as large as it may be to be
    short enough."""
    steps = Steps(1000)
    steps.seconds = removals.STEP_SECONDS * 4
    clock, one = going(steps)
    pause = steps.seconds * removals.PAUSE
    assert len(steps.done) == 1
    clock.advance(pause - 0.001)
    assert len(steps.done) == 1
    clock.advance(0.001)
    assert [size for _, size in steps.done] == [removals.FIRST_SIZE, removals.LEAST_SIZE]
    steps.seconds = 0.0
    clock.pump([pause, *[LEAST_PAUSE_SECONDS] * 3])
    sizes = [size for _, size in steps.done[3:]]
    assert sizes == [sizes[0], sizes[0] * 2, sizes[0] * 4][: len(sizes)]
    assert all(size <= MOST_SIZE for size in sizes)
    one.stop()


def test_turns() -> None:
    """A room that has much to remove leaves turns to others, and is gone on with at once."""
    steps = Steps(3 * STEPS, 2)
    clock, one = going(steps)
    clock.pump([LEAST_PAUSE_SECONDS] * (3 * STEPS + 10))
    rooms = [room for room, _ in steps.done]
    assert rooms == [1] * STEPS + [2] * 2 + [1] * (2 * STEPS)
    assert one.removed == 10 * len(rooms)
    one.stop()
    assert not clock.getDelayedCalls()


def test_stopping_and_outages() -> None:
    """A server that stops begins no further step. One that cannot reach its database tries again."""
    steps = Steps(1000)
    clock, one = going(steps)
    one.stop()
    clock.pump([LEAST_PAUSE_SECONDS] * 10)
    assert len(steps.done) == 1
    steps.away = True
    clock, one = going(steps)
    steps.away = False
    clock.advance(POLL_SECONDS)
    assert len(steps.done) == 2
    one.stop()
    clock.pump([LEAST_PAUSE_SECONDS] * 10)
    assert not clock.getDelayedCalls()


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path)
    yield one
    one.close()


def test_settings_that_change(hall: Hall) -> None:
    """A changed setting, or limit of a room, needs no restart: surplus entries are removed within seconds."""
    ana = hall.program("ana")
    for n in range(20):
        ana.say(str(n))
    transact(hall.engine, lambda db: db.execute(update(EntryRow).values(at=START.replace(year=2000))))
    settings = Retention()
    clock, one = going(hall.inline, settings)

    def left() -> int:
        count = select(func.count()).where(EntryRow.room_id > 0)
        return transact(hall.engine, lambda db: db.scalar(count) or 0)

    assert left() == 21
    force_setattr(settings, "entries", 10)  # as a reload does
    clock.pump([POLL_SECONDS, *[LEAST_PAUSE_SECONDS] * 10])
    assert left() == 10
    transact(hall.engine, lambda db: db.execute(update(RoomRow).values(keep_entries=3)))
    clock.pump([POLL_SECONDS, *[LEAST_PAUSE_SECONDS] * 10])
    assert left() == 3
    assert one.removed == 18
    one.stop()
