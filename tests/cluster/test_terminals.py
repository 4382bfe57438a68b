"""People at terminals of several nodes."""

from pathlib import Path

from tests.support.cluster import never, nodes
from tests.support.hall import PASSWORD


def test_what_an_answer_has_shown(tmp_path: Path) -> None:
    """A message that somebody has read in an answer before their node heard of it is not shown to them again."""
    air, (one, two) = nodes(tmp_path, "one", "two")
    ana, bob = one.program("ana"), two.client()
    two.program("bob").cut()
    bob.type(f"/login bob {PASSWORD}")
    one.passes(1)
    air.fate = never
    ana.say("hello")
    bob.type("/history")
    assert bob.seen.count(b"ana: hello") == 1
    one.passes(2)
    ana.say("and goodbye")
    one.passes(2)
    assert bob.seen.count(b"ana: hello") == 1
    assert bob.seen.count(b"ana: and goodbye") == 1
    one.close()
