"""Nodes on a bus with a channel for each room: what was lost there is found, and nothing else is looked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatserver.cluster import frames
from chatserver.store.entries import heads
from tests.support.cluster import Air, NodeHall, nodes

Cluster = tuple[Air, list[NodeHall]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    air, halls = nodes(tmp_path, "one", "two", by_room=True)
    yield air, halls
    halls[0].close()


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of heads that each comparison read."""
    found: list[int] = []

    def counting(db: Any, room_ids: Any) -> dict[int, int]:
        found.append(len(room_ids))
        return heads(db, room_ids)

    monkeypatch.setattr("chatserver.sync.reconcile.heads", counting)
    return found


def test_a_lost_frame_of_a_room(cluster: Cluster, compared: list[int]) -> None:
    """The last message of a room, lost on its channel, is there a moment later, and no heads are compared for it."""
    air, (one, two) = cluster
    ana, bob = one.program("ana"), two.program("bob")
    one.passes(100)
    air.fate = lambda sender, receiver, data: [0.0] if frames.decode(data).channel == frames.ALL else []
    compared.clear()
    ana.say("hello")
    one.passes(0.3)
    assert bob.said == ["hello"]
    assert compared == []


def test_traffic_compares_nothing(cluster: Cluster, compared: list[int]) -> None:
    """While frames come, heads are compared every ten seconds, and at no other time."""
    _, (one, two) = cluster
    ana, bob = one.program("ana"), two.program("bob")
    one.passes(100)
    compared.clear()
    for number in range(40):
        ana.say(f"word {number}")
        one.passes(0.2)
    assert len(bob.said) == 40
    assert len(compared) <= 2


def test_a_login_compares_its_rooms(cluster: Cluster, compared: list[int]) -> None:
    """A login compares the heads of the rooms that its node did not hear before, and of no others."""
    _, (one, two) = cluster
    ana, bob = one.program("ana"), two.program("bob")
    for number in range(10):
        bob.post("create", room=f"room-{number}")
    ana.post("create", room="books")
    one.passes(100)
    compared.clear()
    there = two.client()
    there.post("login", name="ana", password="s3cret-words")
    one.passes(0.5)
    assert compared == [1]
    ana.say("hello", "books")
    one.passes(0.1)
    assert there.said == ["hello"]
