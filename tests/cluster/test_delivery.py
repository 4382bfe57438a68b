"""Messages between people at different nodes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Air, NodeHall, never, nodes


@pytest.fixture(params=[False, True], ids=["one channel", "a channel for each room"])
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Air, list[NodeHall]]]:
    air, halls = nodes(tmp_path, "one", "two", by_room=request.param)
    yield air, halls
    halls[0].close()


def test_a_message_reaches_people_at_other_nodes(cluster: tuple[Air, list[NodeHall]]) -> None:
    """A message reaches members at every node, once, in the room's order."""
    _, (one, two) = cluster
    ana, bob = one.program("ana"), two.program("bob")
    one.passes(0.1)
    ana.say("hello")
    one.passes(0.1)
    bob.say("hello back")
    one.passes(0.1)
    assert ana.said == bob.said == ["hello", "hello back"]
    assert ana.heard()[-2:] == bob.heard() == [3, 4]


def test_the_last_message_is_seen_without_a_frame(cluster: tuple[Air, list[NodeHall]]) -> None:
    """If every frame is lost, the last message is there within 1.2 seconds all the same."""
    air, (one, two) = cluster
    ana, bob = one.program("ana"), two.program("bob")
    one.passes(1)
    air.fate = never
    ana.say("hello")
    one.passes(1.2)
    assert bob.said == ["hello"]


def test_joining_at_one_node_is_heard_at_the_other(cluster: tuple[Air, list[NodeHall]]) -> None:
    """A session at a node without subscribers of a room hears the room once its account joins at another node, with
    frames or without."""
    air, (one, two) = cluster
    here, there = one.program("ana"), two.client()
    there.post("login", name="ana", password="s3cret-words")
    air.fate = never
    here.post("create", room="books")
    one.passes(1.5)
    here.say("hello", "books")
    one.passes(1.5)
    assert there.said == ["hello"]
