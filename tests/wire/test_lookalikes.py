"""Names that mislead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.values.errors import Refused
from chatserver.wire.hygiene.lookalikes import RESERVED, check_new, skeleton


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", "AL1CE"), ("alice", "aIice"), ("bob", "B0b"), ("bob_s", "bob-s"), ("bob", "bob_"), ("a--b", "a-b"),
        ("barney", "bamey"), ("walt", "vvalt"), ("wally", "VvaIIy"), ("vwv", "wvV"), ("user10", "userlO"),
    ],
)  # fmt: skip
def test_names_that_look_alike(one: str, other: str) -> None:
    """Characters that are drawn alike are the same; how a name is capitalised does not matter."""
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize(
    ("one", "other"), [("ana", "anna"), ("user1", "user2"), ("bob", "bobs"), ("a-b", "ab"), ("mia", "nia")]
)
def test_names_that_do_not(one: str, other: str) -> None:
    """Names that anybody can tell apart stay apart."""
    assert skeleton(one) != skeleton(other)


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,31}", fullmatch=True))
def test_skeletons(name: str) -> None:
    """A skeleton fits into its column, is its own skeleton, and does not depend on case."""
    like = skeleton(name)
    assert len(like) <= 64
    assert like == skeleton(like) == skeleton(name.upper()) == skeleton(name.lower())


@pytest.mark.parametrize(
    "name",
    [
        *RESERVED,
        "Adm1n",
        "ADMIN_",
        "r00t",
        "Systern",
        "SERVER",
        "0perator",
        "owner-",
        "erased-5",
        "Erased_x",
        "server-notice",
        "the_adm1n",
    ],
)
def test_names_that_nobody_may_register(name: str) -> None:
    """Those of the server and its staff, those that look like them, and those of erased accounts."""
    with pytest.raises(Refused, match="bad-name"):
        check_new(name)


def test_names_that_a_server_reserves() -> None:
    """A setting adds to the list; other names are free."""
    check_new("boss")
    check_new("serverfan", ["boss"])
    check_new("build-server")
    with pytest.raises(Refused, match="bad-name"):
        check_new("B0SS", ["Boss"])
