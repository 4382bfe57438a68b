"""Kept sessions at a login: a secret is replaced only for somebody who is let in, and the session stays in use."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from chatserver.store import accounts
from chatserver.store.db import database_clock
from chatserver.store.db.schema import TokenRow
from chatserver.store.db.transactions import transact
from tests.support.hall import PASSWORD, Hall


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    hall = Hall(tmp_path)
    yield hall
    hall.close()


def keep(hall: Hall, name: str = "ana") -> str:
    """Somebody has logged in on a device, and has gone. Returns the secret."""
    hall.program(name)
    client = hall.client().post("login", name=name, password=PASSWORD, keep="laptop")
    secret: str = client.answers[-1]["secret"]
    client.post("quit")
    return secret


def stored(hall: Hall) -> Any:
    return transact(hall.engine, lambda db: db.scalar(select(TokenRow.secret)))


def test_who_is_not_let_in(hall: Hall) -> None:
    """A login with a secret that is refused, for whatever reason, replaces nothing: the secret is as good as before."""
    secret = keep(hall)
    before = stored(hall)
    id = hall.program("bob").session.who.account_id - 1
    transact(hall.engine, lambda db: accounts.set_disabled(db, id, hall.now(), disabled=True))
    assert hall.client().post("login", secret=secret).answers[-1]["error"] == "bad-credentials"
    assert stored(hall) == before
    transact(hall.engine, lambda db: accounts.set_disabled(db, id, hall.now(), disabled=False))
    assert hall.client().post("login", secret=secret).answers[-1]["ok"]


def test_a_lost_answer(hall: Hall) -> None:
    """If the database does not say whether it has replaced a secret, the same one logs in once more."""
    secret = keep(hall)
    before = stored(hall)
    hall.inline.lost_answers = 1
    client = hall.client().post("login", secret=secret)
    assert client.answers[-1]["error"] == "unavailable"
    assert stored(hall) != before
    client.post("login", secret=secret)
    assert client.answers[-1]["ok"]
    again = hall.client().post("login", secret=secret)
    assert again.answers[-1]["secret"] == client.answers[-1]["secret"] != secret


def test_a_connection_that_stays_open(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session does not come to an end while its device is connected."""
    monkeypatch.setattr("chatserver.login.kept.TOUCH_SECONDS", 2.0)
    secret = keep(hall)
    client = hall.client().post("login", secret=secret)

    def soon(db: Any) -> None:
        db.execute(update(TokenRow).values(expires_at=database_clock.now(db) + timedelta(hours=1)))

    def days(db: Any) -> int:
        left: timedelta = db.scalar(select(TokenRow.expires_at)) - database_clock.now(db)
        return left.days

    for _ in range(2):
        transact(hall.engine, soon)
        hall.passes(2.5)
        assert transact(hall.engine, days) >= 29
    client.post("quit")
    transact(hall.engine, soon)
    hall.passes(5)
    assert transact(hall.engine, days) == 0
