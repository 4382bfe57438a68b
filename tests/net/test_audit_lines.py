"""The audit log while the server serves."""

from tests.net.conftest import OpenHall
from tests.support.hall import PASSWORD

SECRET = "between-us-two"


def test_acts(open_hall: OpenHall, audited: list[str]) -> None:
    """Acts of moderators and owners are logged once they are done, with the person concerned, without their words."""
    hall = open_hall()
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.post("create", room="books")
    bob.post("join", room="books")
    audited.clear()
    ana.post("role", room="books", name="bob", role="moderator")
    ana.post("kick", room="books", name="bob", reason=SECRET)
    ana.post("ban", room="books", name="bob", reason=SECRET)
    bob.post("kick", room="books", name="ana")
    assert [line for line in audited if line.startswith("act ")] == [
        "act address=local name=ana act=role room=books target=bob role=moderator",
        "act address=local name=ana act=kick room=books target=bob",
        "act address=local name=ana act=ban room=books target=bob",
    ]
    audited.clear()
    ana.post("token", label="ci", password=PASSWORD)
    ana.post("token", list=True)
    ana.post("token", revoke="ci")
    ana.post("password", old=PASSWORD, new=SECRET)
    assert audited == [
        "act address=local name=ana act=token",
        "act address=local name=ana act=token",
        "act address=local name=ana act=password",
    ]
    assert SECRET not in "".join(audited)
