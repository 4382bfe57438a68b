"""The epoch of the logs changes while clients are connected: what they are told, at once and when they resume."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from chatserver.store.db import epochs
from chatserver.store.db.epochs import Epoch
from chatserver.store.db.transactions import transact
from tests.support.hall import Hall
from tests.sync.test_rewound import set_back


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path)
    one.rewind.epoch_found(begin(one))
    yield one
    one.close()


def begin(hall: Hall) -> Epoch:
    """Another process begins an epoch."""
    return transact(hall.engine, epochs.begin)


def test_the_end_names_what_still_holds(hall: Hall) -> None:
    """Programs are told the epoch, and by the labels of their own rooms the last numbers that still hold, at the end of
    the connection and whenever they resume from an earlier epoch; never for rooms that have lost nothing."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    ana.say("psst", room="@bob")
    former = hall.epochs.token
    for number in range(5):
        ana.say(f"text {number}")
    head = bob.heard()[-1]
    set_back(hall, head - 3)
    ana.say("a new one", id="k1")
    token = hall.epochs.token
    assert token != former
    assert [event["epoch"] for event in bob.events if event["event"] == "closing"] == [token]
    for client in (ana, bob):
        assert client.events[-1]["common"] == {"general": head - 3}

    where = {"general": head, "@ANA": 1}
    later = hall.client().post("login", name="bob", password="s3cret-words", resume=where, epoch=former)
    hall.settle()
    assert (later.answers[-1]["epoch"], later.answers[-1]["common"]) == (token, {"general": head - 3})
    assert (later.said, later.heard()) == (["a new one"], [head - 2])
    joined = hall.client().post("login", name="bob", password="s3cret-words")
    joined.post("join", room="general", since=head, epoch=former)
    hall.settle()
    assert (joined.answers[-1]["common"], joined.said) == (head - 3, ["a new one"])
    present = hall.client().post(
        "login", name="bob", password="s3cret-words", resume={"general": head - 2}, epoch=token
    )
    hall.settle()
    assert ("common" in present.answers[-1], present.heard()) == (False, [])


def test_a_position_that_the_room_does_not_have(hall: Hall) -> None:
    """Without an epoch the server can tell only what the room does not have now."""
    ana = hall.client().come_in("ana")
    head = ana.say("one").heard()[-1]
    later = hall.client().post("login", name="ana", password="s3cret-words", resume={"general": head + 5})
    joined = hall.client().post("login", name="ana", password="s3cret-words")
    joined.post("join", room="general", since=head + 5)
    assert (later.answers[-1]["common"], joined.answers[-1]["common"]) == ({"general": head}, head)


def test_nothing_was_lost(hall: Hall) -> None:
    """Connections stay open. Programs receive the epoch before the first entry that is of it; people and scripts do
    not."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    person = hall.client().send(b"/register cai s3cret-words\r\n")
    quiet = hall.client().post("login", name="bob", password="s3cret-words", quiet=True)
    former = hall.epochs.token
    ana.say("one")
    epoch = begin(hall)
    hall.rewind.epoch_found(epoch)
    ana.say("two")
    order = [event["event"] for event in bob.events if event["event"] in ("message", "epoch", "closing")]
    assert order == ["message", "epoch", "message"]
    assert hall.epochs.token == epoch.token != former
    assert (str(person.lines[-1])[-3:], quiet.events, ana.closing) == ("two", [], [])
    assert not [line for line in person.lines if epoch.name in line]


def test_an_epoch_that_lacks_what_was_delivered(hall: Hall) -> None:
    """A server that finds another epoch compares it with what it has delivered, although the room has already gone on
    beyond that."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    for number in range(5):
        ana.say(f"text {number}")
    head = bob.heard()[-1]
    set_back(hall, head - 3)
    epoch = begin(hall)
    with hall.engine.begin() as db:
        db.execute(text("UPDATE room SET last_seq = :seq WHERE id = 1"), {"seq": head + 10})
    hall.rewind.epoch_found(epoch)
    assert [client.events[-1]["common"] for client in (ana, bob)] == [{"general": head - 3}] * 2
    assert hall.epochs.token == epoch.token


def test_the_database_goes_away(hall: Hall) -> None:
    """If the epoch cannot begin, the connections end all the same. Who comes back waits until it has begun, or is
    refused."""
    ana = hall.client().come_in("ana")
    ana.say("one"), ana.say("two")
    former, head = hall.epochs.token, ana.heard()[-1]
    set_back(hall, head - 1)
    hall.inline.refusals = 10_000
    hall.rewind.room_rewound(1, head, head - 1)
    assert ana.closing == []
    hall.passes(3.5)
    assert (ana.closing, "epoch" in ana.events[-1]) == (["rewound"], False)
    again = hall.client().post("login", name="ana", password="s3cret-words", resume={"general": head}, epoch=former)
    refused = hall.client().post("login", name="ana", password="s3cret-words")
    hall.passes(1)
    assert (again.answers, refused.answers) == ([], [])
    hall.passes(3)
    assert [answer["error"] for answer in refused.answers] == ["unavailable"]
    hall.inline.refusals = 0
    hall.passes(1)
    later = hall.client().post("login", name="ana", password="s3cret-words", resume={"general": head}, epoch=former)
    hall.settle()
    assert later.answers[-1]["common"] == {"general": head - 1}
    assert later.answers[-1]["epoch"] == hall.epochs.token != former


@pytest.mark.parametrize(("most", "left_out"), [(9, 0), (3, 0), (2, 1), (0, 3)])
def test_the_last_entries_of_another_epoch(hall: Hall, most: int, left_out: int) -> None:
    """A client that wants only so many entries gets those behind the last number in common, and is told from there on
    what is left out."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    for number in range(5):
        ana.say(f"text {number}")
    head, former = bob.heard()[-1], hall.epochs.token
    kept = head - 3
    set_back(hall, kept)
    hall.reconciler.suspect()
    hall.passes(2.0)
    other = hall.client().post("login", name="ana", password="s3cret-words")
    for number in range(3):
        other.say(f"another {number}")
    wanted = {"general": {"seq": head, "most": most}}
    again = hall.client().post("login", name="bob", password="s3cret-words", resume=wanted, epoch=former)
    assert again.answers[-1]["common"] == {"general": kept}
    assert again.said == [f"another {number}" for number in range(left_out, 3)]
    skipped = [(event["from"], event["first"]) for event in again.events if event["event"] == "skipped"]
    assert skipped == ([(kept + 1, kept + 1 + left_out)] if left_out else [])
