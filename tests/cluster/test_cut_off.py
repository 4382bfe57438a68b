"""A node that has lost the database and not the bus: nobody there is told anything while it cannot know who may be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatserver.store import accounts, change_rows
from chatserver.store.db.transactions import transact
from chatserver.store.nodes.lease import LAPSE_SECONDS
from chatserver.sync.change_feed import HURRY_SECONDS
from chatserver.values.errors import Unavailable
from tests.support.cluster import Air, NodeHall, at_once, never, nodes
from tests.support.hall import START


@pytest.fixture(params=[False, True], ids=["one channel", "a channel for each room"])
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Air, list[NodeHall]]]:
    air, halls = nodes(tmp_path, "one", "two", "three", by_room=request.param)
    yield air, halls
    halls[0].close()


def test_a_node_whose_lease_is_gone(cluster: tuple[Air, list[NodeHall]]) -> None:
    """From the time at which its lease has lapsed, a node that does not reach the database delivers nothing of others.
    When it reaches it, its sessions end as fenced, and have heard nothing more."""
    _, (one, two, _) = cluster
    ana, bob = one.program("ana"), two.program("bob")
    one.passes(1)
    two.inline.hold()
    ana.say("before")
    one.passes(LAPSE_SECONDS + 0.5)
    assert bob.said == ["before"]
    one.passes(2)
    transact(one.engine, lambda db: accounts.set_disabled(db, bob.session.who.account_id, START, disabled=True))
    for number in range(5):
        ana.say(f"secret {number}")
        one.passes(1)
    two.inline.release()
    one.passes(2)
    assert (bob.said, bob.closing) == (["before"], ["fenced"])


def test_a_node_that_keeps_its_lease(cluster: tuple[Air, list[NodeHall]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that reaches the database again before others have taken its lease away learns first what they have
    decided: who was disabled hears nothing more, and all others hear everything, once and in order."""
    air, (one, two, three) = cluster
    ana, bob, cai = one.program("ana"), two.program("bob"), two.program("cai")
    one.passes(1)
    for hall in (one, three):
        monkeypatch.setattr(hall.cluster._dead_nodes, "bury", lambda dead: None)
    air.fate = never
    ana.say("lost on its way")
    air.fate = at_once
    ana.say("waits for the one before it")
    one.passes(0.1)
    two.inline.hold()
    one.passes(LAPSE_SECONDS + 1)
    transact(one.engine, lambda db: accounts.set_disabled(db, bob.session.who.account_id, START, disabled=True))
    ana.say("after that")
    one.passes(1)
    look, away = change_rows.look, [True]

    def hangs(*arguments: Any) -> change_rows.Look:
        if away:
            raise Unavailable()
        return look(*arguments)

    monkeypatch.setattr(change_rows, "look", hangs)
    two.inline.release()
    one.passes(3)
    assert bob.said == cai.said == []
    away.clear()
    one.passes(2)
    assert (bob.said, bob.closing) == ([], ["disabled"])
    assert cai.said == ["lost on its way", "waits for the one before it", "after that"]
    assert cai.heard() == list(range(cai.heard()[0], cai.heard()[-1] + 1))
    ana.say("as ever")
    one.passes(0.1)
    assert cai.said[-1] == "as ever"


def test_soon(cluster: tuple[Air, list[NodeHall]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said meanwhile is delivered two polls of the table `change` after the database answers again."""
    _, (one, two, three) = cluster
    ana, cai = one.program("ana"), two.program("cai")
    one.passes(1)
    for hall in (one, three):
        monkeypatch.setattr(hall.cluster._dead_nodes, "bury", lambda dead: None)
    two.inline.hold()
    one.passes(LAPSE_SECONDS + 1)
    ana.say("after that")
    one.passes(1)
    assert cai.said == []
    two.inline.release()
    one.passes(2 * HURRY_SECONDS)
    assert cai.said == ["after that"]
