"""A bus with a channel for each room: what says how far the rooms go may be lost, too."""

from pathlib import Path

from chatserver.cluster import frames
from tests.support.cluster import at_once, never, nodes


def test_the_next_frame_shows_it(tmp_path: Path) -> None:
    """A message is lost, and so is what says that there was one: the next frame for everybody shows that something is
    missing."""
    air, (one, two) = nodes(tmp_path, "one", "two", by_room=True)
    ana, bob = one.program("ana"), two.program("bob")
    one.passes(3)
    air.fate = never
    ana.say("hello")
    one.passes(0.1)  # how far the room goes has been told, but nobody has looked into the database yet
    air.fate = at_once
    one.cluster.outgoing.part(frames.Changed())
    one.passes(1.2)
    assert two.cluster.incoming.missing
    assert bob.said == ["hello"]
    one.close()
