"""Admission: quotas decide who may connect, before anything is read."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from chatserver.config import Limits
from chatserver.net.admission import OFFENCE_SECONDS, Admission


def admission(limits: dict[str, int], clock: Clock | None = None) -> Admission:
    settings: Any = limits
    return Admission(Limits(**settings), (clock or Clock()).seconds)


@pytest.mark.parametrize(
    ("limit", "others_too"),
    [
        ("connections", True),
        ("connections_per_address", False),
        ("pending_connections", True),
        ("pending_per_address", False),
    ],
)
def test_quotas(limit: str, others_too: bool) -> None:
    """At the limit the next connection is refused, from that address or from all; a closed one makes room again."""
    gate = admission({limit: 2})
    for _ in range(2):
        assert gate.refusal("10.0.0.1") is None
        gate.opened("10.0.0.1")
    assert gate.refusal("10.0.0.1") is not None
    assert (gate.refusal("10.0.0.2") is not None) is others_too
    gate.closed("10.0.0.1", pending=True)
    assert gate.refusal("10.0.0.1") is None


@pytest.mark.parametrize("limit", ["pending_connections", "pending_per_address"])
def test_a_login_is_no_longer_pending(limit: str) -> None:
    """A login makes room for another pending connection, and its end does not do so again."""
    gate = admission({limit: 1})
    gate.opened("10.0.0.1")
    gate.logged_in("10.0.0.1")
    assert gate.refusal("10.0.0.1") is None
    gate.closed("10.0.0.1", pending=False)
    gate.opened("10.0.0.1")
    assert gate.refusal("10.0.0.1") is not None


def test_no_limits() -> None:
    """0 means no limit."""
    names = (
        "connections",
        "connections_per_address",
        "pending_connections",
        "pending_per_address",
        "offences_per_address",
    )
    gate = admission(dict.fromkeys(names, 0))
    for _ in range(1000):
        gate.opened("10.0.0.1")
        gate.offence("10.0.0.1")
    assert gate.refusal("10.0.0.1") is None


def test_offences() -> None:
    """After too many offences within a minute only that address is kept out, until the first one is a minute old."""
    clock = Clock()
    gate = admission({"offences_per_address": 3}, clock)
    for _ in range(3):
        assert gate.refusal("10.0.0.1") is None
        gate.offence("10.0.0.1")
        clock.advance(10)
    assert gate.refusal("10.0.0.1") is not None
    assert gate.refusal("10.0.0.2") is None
    clock.advance(OFFENCE_SECONDS - 29)
    assert gate.refusal("10.0.0.1") is None
    gate.offence("10.0.0.1")
    assert gate.refusal("10.0.0.1") is not None
    gate.sweep()
    assert gate.refusal("10.0.0.1") is not None
    clock.advance(OFFENCE_SECONDS + 1)
    gate.sweep()
    assert gate.refusal("10.0.0.1") is None
