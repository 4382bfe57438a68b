"""Logins that have read who is in a room before another node told that there is more."""

from pathlib import Path

from tests.support.cluster import never, nodes
from tests.support.hall import PASSWORD


def test_left_meanwhile(tmp_path: Path) -> None:
    """A login reads that an account is in a room which nobody hears there. Before it is over, the account leaves at
    another node, of which this one hears nothing but how far the room goes: the session is soon out of the room."""
    air, (one, two) = nodes(tmp_path, "one", "two")
    ana = one.program("ana").post("create", room="books")
    bob = one.program("bob").post("join", room="books")
    visitor = two.client().post("login", name="bob", password=PASSWORD)
    one.passes(1)
    visitor.cut()
    air.fate = never
    read = two.registry.subscribe

    def late(*arguments: object) -> None:
        bob.post("leave", room="books")
        ana.say("behind his back", "books")
        [books] = [room for room in two.registry.rooms if room.facts.name == "books"]
        two.registry.reaches(books.facts.id, 4)
        read(*arguments)  # type: ignore[arg-type]

    two.registry.subscribe = late  # type: ignore[method-assign]
    again = two.client().post("login", name="bob", password=PASSWORD)
    two.registry.subscribe = read  # type: ignore[method-assign]
    one.passes(0.3)
    ana.say("later", "books")
    one.passes(2)
    assert "later" not in again.said
    one.close()
