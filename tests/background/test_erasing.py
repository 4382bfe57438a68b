"""The server finishes erasures that were begun by a client, by `chatctl`, or before a crash."""

from pathlib import Path

import pytest
from twisted.internet.task import Clock

from chatserver.background.erasing import POLL_SECONDS, ErasingJob
from chatserver.store import erasure
from chatserver.store.db.transactions import transact
from tests.support.hall import START, Hall


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hall:
    """Ana has said ten things; her account is erased, except for most of them."""
    hall = Hall(tmp_path)
    monkeypatch.setattr(erasure, "STEP_TEXTS", 2)
    ana = hall.program("ana")
    for n in range(10):
        ana.say(f"secret{n}")
    transact(hall.engine, lambda db: erasure.erase(db, ana.session.who.person, START, messages=True))
    return hall


def secrets(hall: Hall) -> int:
    """How many of the texts are left."""
    query = "SELECT count(*) FROM entry WHERE text LIKE 'secret%'"
    return transact(hall.engine, lambda db: int(db.exec_driver_sql(query).scalar_one()))


def test_step_by_step(begun: Hall) -> None:
    """There is a pause after each step, and a server that stops does no further one; the next one goes on."""
    clock = Clock()
    one = ErasingJob(clock, begun.inline, begun.now)  # type: ignore[arg-type]
    one.start()
    counts = [secrets(begun)]
    clock.advance(erasure.PAUSE_SECONDS)
    counts.append(secrets(begun))
    assert counts[0] > counts[1] > 0
    one.stop()
    clock.advance(60)
    assert secrets(begun) == counts[1]
    transact(begun.engine, lambda db: db.exec_driver_sql("UPDATE erasure SET taken_at = '2020-01-01 00:00:00.000000'"))
    other = ErasingJob(clock, begun.inline, begun.now)  # type: ignore[arg-type]
    other.start()
    for _ in range(20):
        clock.advance(erasure.PAUSE_SECONDS)
    assert secrets(begun) == 0
    other.stop()
    assert not clock.getDelayedCalls()
    begun.close()


def test_one_that_begins_later(begun: Hall) -> None:
    """A running server finds it within seconds."""
    transact(begun.engine, lambda db: db.exec_driver_sql("UPDATE erasure SET taken_at = '2999-01-01 00:00:00.000000'"))
    clock = Clock()
    erasures = ErasingJob(clock, begun.inline, begun.now)  # type: ignore[arg-type]
    erasures.start()
    before = secrets(begun)
    transact(begun.engine, lambda db: db.exec_driver_sql("UPDATE erasure SET taken_at = NULL"))
    assert secrets(begun) == before
    clock.advance(POLL_SECONDS)
    assert secrets(begun) < before
    erasures.stop()
    begun.close()
