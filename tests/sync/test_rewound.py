"""A database that was set back, by a restored backup or a standby that lacked the last commits, is noticed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from twisted.internet.defer import Deferred

from chatserver.store.db.transactions import transact
from chatserver.values.events import Entry, RoomFacts
from tests.support.hall import Hall
from tests.support.memory import logged_failures


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path)
    yield one
    one.close()


def set_back(hall: Hall, seq: int) -> None:
    """The database forgets all entries of `general` behind that one."""
    with hall.engine.begin() as db:
        db.execute(text("DELETE FROM entry WHERE room_id = 1 AND seq > :seq"), {"seq": seq})
        db.execute(text("UPDATE room SET last_seq = :seq WHERE id = 1"), {"seq": seq})


def test_a_number_that_is_given_again(hall: Hall) -> None:
    """A message whose number was delivered before is not swallowed: all connections end, and clients then read it."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    for number in range(5):
        ana.say(f"text {number}")
    head = bob.heard()[-1]
    set_back(hall, head - 3)
    ana.say("a new one", id="k1")
    assert (ana.closing, bob.closing) == (["rewound"], ["rewound"])

    again = hall.client().post("login", name="bob", password="s3cret-words", resume={"general": head - 3})
    hall.passes(0.5)
    assert (again.said, again.heard()) == (["a new one"], [head - 2])
    other = hall.client().post("login", name="ana", password="s3cret-words")
    other.say("a new one", id="k1", tag=7)
    assert other.answers[-1]["dup"]


def test_nobody_speaks(hall: Hall) -> None:
    """After an outage it is noticed without a new message, within two seconds."""
    ana = hall.client().come_in("ana")
    ana.say("one"), ana.say("two")
    set_back(hall, 2)
    hall.reconciler.suspect()
    hall.passes(2.0)
    assert ana.closing == ["rewound"]


def test_a_comparison_that_began_before(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who logs in after it was noticed stays, though a comparison with what was known before ends only now."""
    store, end = hall.inline, Deferred[None]()

    class Late:
        async def read(self, work: Any, *given: Any) -> Any:
            found = await store.read(work, *given)
            await end
            return found

    ana = hall.client().come_in("ana")
    for number in range(5):
        ana.say(f"text {number}")
    set_back(hall, 3)
    monkeypatch.setattr(hall.reconciler, "_store", Late())
    hall.reconciler.compare()
    hall.passes(0.5)
    ana.say("a new one")
    assert ana.closing == ["rewound"]
    hall.passes(0.5)
    again = hall.client().post("login", name="ana", password="s3cret-words")
    assert again.answers[-1]["ok"]
    end.callback(None)
    hall.passes(0.5)
    assert again.closing == []


def test_what_was_read_from_the_store_first(hall: Hall) -> None:
    """An entry delivered from the store before it was announced is no sign of that, nor is what a login has read."""
    ana, bob = hall.client().come_in("ana"), hall.client().come_in("bob")
    room = hall.registry.rooms.find(1)
    assert room is not None
    announce = hall.registry.order._announce
    held: list[tuple[RoomFacts, Sequence[Entry]]] = []
    for _ in range(3):
        hall.registry.order._announce = lambda facts, entries: held.append((facts, entries))  # type: ignore[method-assign]
        ana.say("late")
        hall.registry.order._announce = announce  # type: ignore[method-assign]
        hall.registry.order.doubt(room)
        hall.settle()
        hall.client().post("login", name="bob", password="s3cret-words")
        hall.registry.order.announce(*held.pop())
    assert (ana.closing, bob.closing, bob.said) == ([], [], ["late"] * 3)


def test_it_says_so(hall: Hall) -> None:
    """The log names the room, and from where to where it went."""
    with logged_failures():
        ana = hall.client().come_in("ana")
        ana.say("one"), ana.say("two")
        head = ana.heard()[-1]
        set_back(hall, head - 2)
        assert hall.registry.rooms.heads() == {1: head}
        ana.say("three")
    assert hall.registry.rooms.heads() == {}
    assert transact(hall.engine, lambda db: db.execute(text("SELECT last_seq FROM room")).scalar()) == head - 1
