"""Rates: how they are forgotten, in how much memory, and what several nodes count together."""

import pytest

from chatserver.util.rates import (
    HALF_LIFE_SECONDS,
    HOUR_SECONDS,
    MINUTE_SECONDS,
    MOST_ADDRESSES,
    Draining,
    Fading,
    Sliding,
)


def test_what_fades() -> None:
    """Half of it is forgotten in an hour. What was counted longest ago goes first where there are too many keys."""
    rates = Fading(3)
    for key in ("a", "b", "a", "c", "d"):
        rates.add(key, 0)
    assert ([rates.much(key, 0) for key in "abcd"], len(rates)) == ([2, 0, 1, 1], 3)
    assert rates.much("a", HALF_LIFE_SECONDS) == 1
    assert rates.much("a", 3 * HALF_LIFE_SECONDS) == 0


def test_what_drains() -> None:
    """Somebody with a whole IPv6 /32 fills no table: those that were counted longest ago are forgotten."""
    rates = Draining(lambda key: 1)
    for n in range(MOST_ADDRESSES + 1000):
        rates.count(f"2001:db8:{n >> 16:x}:{n & 0xFFFF:x}::/64", 0)
    assert len(rates) == MOST_ADDRESSES
    rates.sweep(MINUTE_SECONDS + 1)
    assert len(rates) == 0


def test_what_is_an_hour_old() -> None:
    """Times of a key count for an hour; if there are too many keys, the newest are remembered."""
    rates = Sliding(lambda key: 1, 3)
    for key in "abcd":
        assert rates.take(key, 0) == 0
    assert len(rates) == 3
    assert [rates.take(key, 10) for key in "bcd"] == [HOUR_SECONDS - 10] * 3
    assert rates.take("a", 10) == 0
    assert rates.take("d", HOUR_SECONDS) == 0


# Several nodes


def test_what_two_nodes_count_is_the_same() -> None:
    """Whatever a node merges twice, or after it has learnt of it, counts once."""
    mine, theirs = Fading(), Fading()
    for at in (10, 20, 30):
        theirs.add("a", at)
        mine.learn("a", 1, at)
    assert not mine.news
    for _ in range(2):
        mine.merge("a", theirs.latest(9, 40)["a"], 40)
        assert mine.much("a", 40) == pytest.approx(theirs.much("a", 40), abs=0.01)
    count = mine.get("a")
    assert count is not None
    assert count.at == 30
    theirs.add("a", 50, 2)
    mine.merge("a", theirs.latest(9, 60)["a"], 60)
    assert mine.much("a", 60) == pytest.approx(theirs.much("a", 60), abs=0.01)
    theirs.news = {}
    theirs.forget("a")
    mine.learn("a", theirs.news["a"], 60)
    assert mine.get("a") is None


def test_rates_are_merged() -> None:
    """A bucket is as full as the fuller one says, and never fuller than a refusal needs."""
    mine, theirs = (Draining(lambda key: 60) for _ in range(2))
    for _ in range(30):
        theirs.count("a", 100)
    mine.learn("a", 10, 100)
    for _ in range(2):
        mine.merge("a", theirs.latest(9, 100)["a"], 100)
        assert mine.latest(9, 100) == {"a": (30,)}
    mine.learn("a", 10_000, 100)
    assert mine.retry("a", 100) == 61


def test_what_happens_in_an_hour_is_merged() -> None:
    """The times of the node that knows more of them count, and end an hour later."""
    mine, theirs = (Sliding(lambda key: 4) for _ in range(2))
    mine.news = {}
    for at in (0.0, 1000.0, 2000.0):
        theirs.take("a", at)
    mine.take("a", 1500)
    mine.merge("a", theirs.latest(9, 2000)["a"], 2000)
    assert mine.latest(9, 2000) == {"a": (0, 1000, 2000)}
    mine.learn("a", -1, 2000)
    mine.learn("a", 1, 2100)
    mine.take("a", 3601)
    assert mine.latest(9, 3601) == {"a": (0, 1501, 2601)}
    assert mine.news == {"a": 2}
