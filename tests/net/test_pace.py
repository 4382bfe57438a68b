"""How fast commands of one connection are taken."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from chatserver.net.pace import Pace
from tests.net.conftest import OpenHall
from tests.support.hall import QUIET, Client

SAY = b'{"cmd":"say","room":"general","text":"%d","tag":%d}\n'


def test_a_burst_then_a_steady_rate() -> None:
    """So many commands may come at once; after that each waits for its turn, and an idle client gets its burst back."""
    pace = Pace(2, 3, 0.0)
    for _ in range(3):
        assert pace.wait(0.0) == 0
        pace.take()
    assert pace.wait(0.0) == pytest.approx(0.5)
    assert pace.wait(0.25) == pytest.approx(0.25)
    assert pace.wait(0.5) == 0
    pace.take()
    for _ in range(3):
        assert pace.wait(100.0) == 0
        pace.take()
    assert pace.wait(100.0) > 0


@given(st.floats(0.1, 1000), st.integers(1, 100), st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_never_above_the_rate(per_second: float, burst: int, gaps: list[float]) -> None:
    """However a client spreads its commands, no more are taken than the burst and what the time allows; and who waits
    as long as they are told need not wait again."""
    pace, now, taken = Pace(per_second, burst, 0.0), 0.0, 0
    for number, gap in enumerate(gaps):
        now += gap
        seconds = pace.wait(now)
        if seconds and number % 2:
            now += seconds * (1 + 1e-9) + 1e-9
            seconds = pace.wait(now)
            assert seconds == 0
        if not seconds:
            pace.take()
            taken += 1
        assert taken <= burst + now * per_second + 0.001


def test_a_burst_below_one() -> None:
    """A burst of nothing still lets one command through at a time."""
    assert Pace(1, 0, 0.0).wait(0.0) == 0


@pytest.fixture
def client(open_hall: OpenHall) -> Client:
    """A program that may send two commands at once and ten a second."""
    limits: Any = structs.replace(QUIET, commands_per_second=10, command_burst=2)
    return open_hall(limits=limits).program("ana")


def test_above_the_rate(client: Client) -> None:
    """A client that sends too fast is slowed, and not refused: meanwhile it is not read, and everything is done."""
    client.hall.passes(1)
    client.send(b"".join(SAY % (n, n) for n in range(10)))
    assert client.said == ["0", "1"]
    assert not client.wire.reading
    client.hall.passes(0.5)
    assert 6 <= len(client.said) <= 7
    client.hall.passes(0.5)
    assert client.said == [f"{n}" for n in range(10)]
    assert [answer["tag"] for answer in client.answers[1:]] == list(range(10))
    assert client.wire.reading


def test_above_the_rate_and_gone(client: Client) -> None:
    """The pace holds for what is still to be done after a half-close, too; then the connection ends."""
    client.hall.passes(1)
    client.send(b"".join(SAY % (n, n) for n in range(5)))
    client.half_close()
    assert not client.wire.lost
    client.hall.passes(0.5)
    assert [answer["tag"] for answer in client.answers[1:]] == list(range(5))
    assert client.wire.lost


def test_the_end_while_it_waits(client: Client) -> None:
    """A connection that is lost while its next command waits for its turn leaves no clock behind."""
    hall = client.hall
    client.send(b"".join(SAY % (n, n) for n in range(5)))
    client.session.link.hang_up("kicked", "Go away.")
    client.cut()
    hall.passes(5)
    assert hall.clock.getDelayedCalls() == []
