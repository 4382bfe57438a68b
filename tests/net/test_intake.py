"""The pace at which commands and bytes are taken from one connection, and from all connections of an account."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from chatserver.net.limits.intake import UNLIMITED, Pace, Rates, rates_of_account, rates_of_connection
from chatserver.values.commands import ENTRY_COST
from chatserver.values.events import AccountLimits
from tests.net.conftest import OpenHall
from tests.support.hall import PASSWORD, QUIET, Client, Hall
from tests.support.sentences import written

SAY = b'{"cmd":"say","room":"general","text":"%d","tag":%d}\n'
PING = b'{"cmd":"ping"}\n'


def limits(**changes: Any) -> dict[str, Any]:
    """The keyword of a hall for limits that differ from QUIET."""
    return {"limits": structs.replace(QUIET, **changes)}


def says(first: int, last: int) -> bytes:
    return b"".join(SAY % (n, n) for n in range(first, last))


def logged_in(hall: Hall, name: str) -> Client:
    """Another connection of an account."""
    return hall.client().post("login", name=name, password=PASSWORD)


# Buckets


def test_a_burst_then_a_steady_rate() -> None:
    """A burst of commands may come at once; after that each waits for its turn, and an idle client gets its burst
    back."""
    pace = Pace(Rates(2, 3), 0.0)
    assert pace.permits(0.0) == 3
    pace.commands -= 3
    assert pace.permits(0.0) == 0
    assert pace.wait() == pytest.approx(0.5)
    assert pace.permits(0.25) == 0
    assert pace.wait() == pytest.approx(0.25)
    assert pace.permits(0.5) == 1
    pace.commands -= 1
    assert pace.permits(100.0) == 3


def test_bytes() -> None:
    """A chunk may be longer than the rest of the burst: the next command waits until that is paid off."""
    pace = Pace(Rates(bytes_per_second=100, byte_burst=1000), 0.0)
    assert pace.permits(5.0, 900) == UNLIMITED
    assert pace.permits(5.0, 300) == 0
    assert pace.wait() == pytest.approx(2.0)
    assert pace.permits(7.0) == UNLIMITED
    assert pace.refill_seconds() == pytest.approx(10.0)


@given(st.floats(0.1, 1000), st.integers(0, 100), st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_never_above_the_rate(per_second: float, burst: int, gaps: list[float]) -> None:
    """However a client spreads its commands, no more are taken than the burst (or one) and the time allow; a client
    that waits as long as it is told need not wait again."""
    pace, now, taken = Pace(Rates(per_second, burst), 0.0), 0.0, 0
    for number, gap in enumerate(gaps):
        now += gap
        permitted = pace.permits(now)
        if not permitted and number % 2:
            now += pace.wait() * (1 + 1e-9) + 1e-9
            permitted = pace.permits(now)
            assert permitted
        if permitted:
            pace.commands -= 1
            taken += 1
        assert taken <= max(burst, 1) + now * per_second + 0.001


def test_limits_of_its_own() -> None:
    """The limits that an operator has set for an account hold for its connections together and for each. 0 is no limit,
    and the settings hold where none is set."""
    own = AccountLimits(commands_per_second=100, bytes_per_second=0)
    for rates in (rates_of_account, rates_of_connection):
        assert rates(QUIET, own) == Rates(100, 1000, 0, 0)
        assert rates(structs.replace(QUIET, bytes_per_second=5, account_bytes_per_second=5), AccountLimits(1)) == (
            Rates(1, 10, 5, rates(QUIET).byte_burst)
        )


# One connection


@pytest.fixture
def client(open_hall: OpenHall) -> Client:
    """A program that may send two commands at once and ten a second."""
    return open_hall(**limits(commands_per_second=10, command_burst=2)).program("ana")


def test_above_the_rate(client: Client) -> None:
    """A client that sends too fast is slowed, and not refused: meanwhile it is not read, and everything is done."""
    client.hall.passes(1)
    client.send(says(0, 10))
    assert client.said == ["0", "1"]
    assert not client.wire.reading
    client.hall.passes(0.5)
    assert 6 <= len(client.said) <= 7
    client.hall.passes(0.5)
    assert client.said == [f"{n}" for n in range(10)]
    assert [answer["tag"] for answer in client.answers[1:]] == list(range(10))
    client.hall.passes(0.1)
    assert client.wire.reading


def test_above_the_rate_and_gone(client: Client) -> None:
    """The pace holds for what is still to be done after a half-close, too; then the connection ends."""
    client.hall.passes(1)
    client.send(says(0, 5))
    client.half_close()
    assert not client.wire.lost
    client.hall.passes(0.5)
    assert [answer["tag"] for answer in client.answers[1:]] == list(range(5))
    assert client.wire.lost


def test_above_the_rate_and_lost(client: Client) -> None:
    """Of a connection that is lost, nothing is done any more that has to wait for its pace."""
    bob = client.hall.program("bob")
    client.hall.passes(1)
    client.send(says(0, 9))
    said = list(bob.said)
    client.cut()
    client.hall.passes(5)
    assert said
    assert bob.said == said
    assert client.hall.connections.open == {bob.connection}


def test_entries_cost_more(open_hall: OpenHall) -> None:
    """A change that all members are told of counts as several commands, for its connection and its account."""
    hall = open_hall(**limits(commands_per_second=1, command_burst=3 * ENTRY_COST, turn_lines=64))
    ana = hall.program("ana")
    hall.passes(60)
    before = len(ana.answers)
    ana.send(b'{"cmd":"topic","room":"general","text":"%d"}\n' * 5 % tuple(range(5)))
    done = [len(ana.answers) - before]
    for seconds in (ENTRY_COST / 2, ENTRY_COST):
        hall.passes(seconds)
        done.append(len(ana.answers) - before)
    assert done == [3, 4, 5]


def test_the_end_while_it_waits(client: Client) -> None:
    """A connection that is lost while its next command waits for its turn leaves no clock behind."""
    hall = client.hall
    client.send(says(0, 5))
    client.session.link.hang_up("kicked", written("Go away."))
    client.cut()
    hall.passes(5)
    assert hall.clock.getDelayedCalls() == []


def test_stopping_does_not_wait_for_the_pace(client: Client) -> None:
    """Input that waits for its pace counts as not read: a server that stops does not wait for it."""
    client.hall.passes(1)
    client.send(says(0, 5))
    assert client.door.pending
    assert not client.hall.connections.busy


@pytest.mark.parametrize("flood", [b"\r\n", b"\xff\xf1"], ids=["blank lines", "telnet"])
def test_what_is_no_command(flood: bytes, client: Client) -> None:
    """Blank lines and telnet's commands are taken no faster than commands, before the login too."""
    hall = client.hall
    stranger, person = hall.client(), hall.client().type(f"/register dan {PASSWORD}")
    for one in (stranger, person):
        hall.passes(1)
        one.send(flood * 100)
        assert not one.wire.reading
        hall.passes(9.5)
        assert not one.wire.reading
        hall.passes(1)
        assert (one.door.pending, one.wire.reading) == (0, True)


@pytest.mark.parametrize("frame", [b"\x89\x80\0\0\0\0", b"\x81\x80\0\0\0\0", b"\x01\x80\0\0\0\0\x80\x80\0\0\0\0"])
def test_frames_without_a_line(frame: bytes, open_hall: OpenHall) -> None:
    """Pings, empty messages and empty fragments are taken no faster than commands."""
    hall = open_hall(**limits(commands_per_second=10, command_burst=2))
    browser = hall.browser().upgrade().come_in("ana")
    hall.passes(1)
    browser.raw(frame * 50)
    hall.passes(4)
    assert not browser.wire.reading
    hall.passes(10)
    assert browser.wire.reading
    assert browser.post("ping", tag=1).answers[-1] == {"ok": True, "tag": 1, "cmd": "ping"}


def test_too_many_bytes(open_hall: OpenHall) -> None:
    """A client that sends too many bytes is read later, whatever is in them."""
    hall = open_hall(**limits(bytes_per_second=1000, byte_burst=2000))
    ana = hall.program("ana")
    hall.passes(2)
    ana.send(b'{"cmd":"say","room":"general","text":"%s"}\n' % (b"x" * 3960))
    assert (ana.said, ana.wire.reading) == ([], False)
    hall.passes(1.9)
    assert ana.said == []
    hall.passes(0.2)
    assert (len(ana.said), ana.wire.reading) == (1, True)


def test_crumbs(open_hall: OpenHall) -> None:
    """A client that sends single bytes is slowed too, since each read takes its time."""
    hall = open_hall(**limits(bytes_per_second=1000, byte_burst=2000))
    ana = hall.program("ana")
    hall.passes(2)
    for _ in range(100):
        ana.send(b"{")
    assert len(ana.wire.unread) > 80


def test_who_is_honest_never_waits(open_hall: OpenHall) -> None:
    """With the settings of a newcomer, five messages a second and a burst of two hundred are done at once."""
    hall = open_hall(limits=structs.replace(QUIET, **NEWCOMERS))
    ana, bot = hall.program("ana"), hall.program("bot")
    bot.send(says(0, 195))
    assert bot.said == [f"{n}" for n in range(195)]
    for n in range(100):
        ana.send(SAY % (n, n))
        assert ana.said[-1] == f"{n}"
        hall.passes(0.2)


NEWCOMERS: dict[str, Any] = {
    field.name: field.default
    for field in structs.fields(QUIET)
    if field.name.endswith(("_per_second", "_burst")) or field.name.startswith("turn_")
}


# All connections of an account


def test_an_account_has_one_pace(open_hall: OpenHall) -> None:
    """All connections of an account share its pace, and each gets part of it; other accounts are not slowed by them."""
    hall = open_hall(**limits(account_commands_per_second=10, account_command_burst=4))
    bob = hall.program("bob")
    anas = [hall.program("ana"), *[logged_in(hall, "ana") for _ in range(3)]]
    for ana in anas:
        ana.send(PING * 100)
    answered = [len(ana.answers) for ana in anas]
    assert sum(answered) <= len(anas) + 4
    hall.passes(10)
    assert 90 <= sum(len(ana.answers) for ana in anas) - sum(answered) <= 101
    assert min(len(ana.answers) for ana in anas) > 5
    bob.post("ping", tag=1)
    assert bob.answers[-1]["tag"] == 1


def test_an_account_has_one_pace_for_bytes(open_hall: OpenHall) -> None:
    """When one connection of an account sends too fast, the others wait, too."""
    hall = open_hall(**limits(account_bytes_per_second=1000, account_byte_burst=2000))
    ana = hall.program("ana")
    also = logged_in(hall, "ana")
    ana.say("x" * 3960)
    also.post("ping")
    assert len(also.answers) == 1
    hall.passes(3)
    assert len(also.answers) == 2


def test_connecting_again_does_not_help(open_hall: OpenHall) -> None:
    """An account whose connections are gone is as slow as before when it comes back, and is forgotten once that would
    make no difference."""
    hall = open_hall(**limits(account_commands_per_second=1, account_command_burst=10))
    ana, bob = hall.program("ana"), hall.program("bob")
    ana.send(PING * 30)
    assert len(ana.answers) == 11
    ana.cut()
    ana = logged_in(hall, "ana").send(PING * 30)
    assert len(ana.answers) <= 2
    ana.cut()
    hall.passes(60)
    bob.cut()
    hall.program("cai")
    assert len(hall.connections.allowances) == 1  # cai


def test_limits_that_are_changed(open_hall: OpenHall) -> None:
    """Limits that an operator sets for an account hold for its connections from their next turn on."""
    hall = open_hall(
        **limits(commands_per_second=1, command_burst=2, account_commands_per_second=1, account_command_burst=2)
    )
    ana = hall.program("ana")
    ana.session.who = structs.replace(ana.session.who, limits=AccountLimits(commands_per_second=100))
    hall.passes(1)
    ana.send(PING * 1000)
    assert len(ana.answers) == 1001
    ana.session.who = structs.replace(ana.session.who, limits=AccountLimits(commands_per_second=0))
    hall.passes(1)
    ana.send(PING * 5000)
    assert len(ana.answers) == 6001


def test_exempt_networks(open_hall: OpenHall) -> None:
    """Clients from a network that the operators trust are not counted by any rate or number of connections."""
    slow = limits(
        commands_per_second=1, command_burst=2, account_commands_per_second=1, account_command_burst=2,
        connections_per_account=1, exempt=["192.0.2.0/24"],
    )  # fmt: skip
    hall = open_hall(**slow)
    address: Any = SimpleNamespace(host="192.0.2.1")
    bots = [hall.client(address=address).come_in("bot")]
    bots.append(hall.client(address=address).post("login", name="bot", password=PASSWORD))
    for bot in bots:
        bot.send(PING * 50)
        assert len(bot.answers) == 51
    assert [bot.closing for bot in bots] == [[], []]
