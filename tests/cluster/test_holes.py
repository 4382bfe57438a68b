"""Entries that were lost in many rooms at once are read together."""

from pathlib import Path

from tests.support.cluster import never, nodes


def test_many_rooms_with_a_hole_cost_one_read(tmp_path: Path) -> None:
    """If frames about fifty rooms are lost, what is missing in them is read from the store in one statement."""
    air, (one, two) = nodes(tmp_path, "one", "two")
    ana, bob = one.program("ana"), two.program("bob")
    names = [f"room{n}" for n in range(50)]
    for name in names:
        ana.post("create", room=name)
        bob.post("join", room=name)
    one.passes(1)
    air.fate = never
    two.holes.clear()
    for name in names:
        ana.say(f"hello {name}", name)
    one.passes(1.2)
    assert sorted(bob.said) == sorted(f"hello {name}" for name in names)
    assert sum(two.holes) == 50
    assert len(two.holes) <= 2
    one.close()
