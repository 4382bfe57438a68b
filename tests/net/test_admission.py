"""Admission: quotas and rates decide who may connect, how soon, and who makes way, before anything is read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from chatserver.net.counts import ConnectionCounts
from chatserver.net.limits.admission import LOG_LINES, SPARED_SECONDS, THINNING_SECONDS, Admission
from chatserver.net.limits.crowd import Rank
from chatserver.settings.tables import NO_LIMITS, Limits
from chatserver.util.rates import REFUSED_TIMES, STEP_SECONDS
from chatserver.wire.addresses import neighbourhood
from tests.support.hall import Stranger
from tests.support.sentences import shown

ONE, TWO, ELSEWHERE = "192.0.2.1", "192.0.2.2", "198.51.100.1"


class Visitor:
    """A connection, which has come as far as its rank says."""

    def __init__(self, gate: "Gate", address: str, rank: Rank) -> None:
        self.gate = gate
        self.address = address
        self.rank = rank
        self.made_way = False
        self.is_member = False

    def logs_in(self) -> None:
        self.is_member = True
        self.gate.admission.logged_in(self.address, self)

    def make_way(self) -> bool:
        assert not self.made_way
        self.made_way = True
        return False

    def abort(self) -> None:
        pass

    def leaves(self) -> None:
        self.gate.admission.closed(self.address, self, pending=not self.is_member)


class Gate:
    """Admission with its visitors, on a clock that the test moves."""

    def __init__(self, limits: Any = None, **settings: Any) -> None:
        self.clock = Clock()
        self.visitors: list[Visitor] = []
        self.admission = Admission(
            self.clock,
            limits or Limits(**({"pending_connections": 0, "connections": 0, **NO_LIMITS} | settings)),
            ConnectionCounts(),
        )

    def comes(self, address: str, rank: Rank = Rank.SILENT) -> Visitor:
        refusal = self.admission.refusal(address)
        assert refusal is None, refusal
        visitor = Visitor(self, address, rank)
        self.admission.opened(address, visitor)
        self.visitors.append(visitor)
        return visitor

    def come(self, count: int, address: str, rank: Rank = Rank.SILENT) -> list[Visitor]:
        return [self.comes(address, rank) for _ in range(count)]

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / THINNING_SECONDS) + 1):
            self.clock.advance(THINNING_SECONDS)

    @property
    def gone(self) -> list[int]:
        """The numbers of those who made way."""
        return [number for number, visitor in enumerate(self.visitors) if visitor.made_way]


@contextmanager
def audited() -> Iterator[list[str]]:
    """The lines of the security log."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"] == "chatserver.audit":
            lines.append(formatEvent(event))

    observer: Any = observe
    globalLogPublisher.addObserver(observer)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observer)


# Who makes way


@pytest.mark.parametrize(("limit", "key"), [("pending_per_address", ONE), ("pending_per_network", TWO)])
def test_the_oldest_make_way(limit: str, key: str) -> None:
    """Above the quota of an address or a network the newcomer is admitted, and the oldest connections there end;
    others' do not."""
    gate = Gate(**{limit: 3})
    gate.come(3, ELSEWHERE)
    gate.come(3, ONE)
    gate.passes(SPARED_SECONDS)
    assert gate.gone == []
    gate.come(2, key)
    gate.passes(SPARED_SECONDS)
    assert gate.gone == [3, 4]


@pytest.mark.parametrize("limit", ["pending_per_address", "pending_per_network"])
def test_the_first_second(limit: str) -> None:
    """A connection of the same burst does not make way at once: its login may not have been read yet."""
    gate = Gate(**{limit: 1})
    gate.come(3, ONE)
    gate.passes(SPARED_SECONDS / 2)
    assert gate.gone == []
    gate.passes(SPARED_SECONDS / 2)
    assert gate.gone == [0, 1]


def test_the_address_with_the_most() -> None:
    """In a network the addresses with the most connections make way, however old those of others are."""
    gate = Gate(pending_per_network=5)
    gate.comes(ONE)
    gate.come(3, TWO)
    gate.come(4, "192.0.2.3")
    gate.passes(SPARED_SECONDS)
    assert gate.gone == [1, 4, 5]


def test_all_strangers() -> None:
    """Above the quota of all, a connection of the address with the most makes way at once."""
    gate = Gate(pending_connections=4)
    gate.comes(ELSEWHERE)
    gate.come(3, ONE)
    gate.comes(TWO)
    assert gate.gone == [1]
    gate.comes("203.0.113.1")
    assert gate.gone == [1, 2]
    gate.comes("203.0.113.2")  # all have one now: the address that has had it longest
    assert gate.gone == [0, 1, 2]


def test_members_before_strangers() -> None:
    """Strangers cannot use up the connections of the server or of an address, and never push out members."""
    for settings in ({"connections": 3}, {"connections_per_address": 3}):
        gate = Gate(**settings)
        gate.come(2, ONE)
        gate.comes(ONE).logs_in()
        for _ in range(2):
            gate.comes(ONE).logs_in()
        assert gate.gone == [0, 1]
        assert "too many connections" in shown(gate.admission.refusal(ONE))
        assert "Try again in 10 seconds." in shown(gate.admission.refusal(ONE))
        assert (gate.admission.refusal(TWO) is None) is ("connections" not in settings)
        gate.visitors[2].leaves()
        gate.comes(ONE)


@pytest.mark.parametrize("limit", ["pending_per_address", "pending_per_network", "connections_per_address"])
def test_whose_login_is_checked(limit: str) -> None:
    """Connections whose login is being checked do not make way for others of their address, and leave room for them."""
    gate = Gate(**{limit: 4})
    busy = gate.come(4, ONE, Rank.CHECKED)
    if limit == "connections_per_address":
        assert gate.admission.refusal(ONE) is not None
        return
    gate.come(300, ONE, Rank.CHECKED)
    silent, started = gate.come(3, ONE), gate.come(3, ONE, Rank.STARTED)
    gate.passes(SPARED_SECONDS)
    assert [visitor.made_way for visitor in silent] == [True, True, False]
    assert not any(visitor.made_way for visitor in busy + started)


def test_a_server_full_of_logins() -> None:
    """If all are being checked, one of the address with the most makes way for another address, not for its own."""
    gate = Gate(pending_connections=4)
    gate.come(3, ONE, Rank.CHECKED)
    gate.comes(TWO, Rank.CHECKED)
    assert gate.admission.refusal(ONE) is not None
    gate.comes(TWO)
    assert gate.gone == [0]
    gate = Gate(connections=4)  # members have the others: the one that is logging in stays
    gate.come(3, ONE, Rank.CHECKED)
    gate.comes(TWO).logs_in()
    assert gate.admission.refusal(TWO) is not None


def test_floods_of_four_addresses() -> None:
    """With the default limits, thousands of silent connections of a network keep out no other client, even of one of
    their addresses, and few of them stay."""
    gate = Gate(Limits())
    flooders = [f"192.0.2.{n}" for n in range(1, 5)]
    for _ in range(500):
        for flooder in flooders:
            gate.comes(flooder)
    members = [gate.comes(address) for address in (*flooders, "192.0.2.5", ELSEWHERE)]
    assert max(gate.admission.delay(flooder) for flooder in flooders) < 1
    for member in members:
        member.rank = Rank.STARTED
    gate.passes(SPARED_SECONDS + THINNING_SECONDS)
    assert not any(member.made_way for member in members)
    assert len(gate.visitors) - len(gate.gone) <= Limits().pending_per_network + 1
    for member in members:
        member.logs_in()
    for flooder in flooders:
        gate.come(100, flooder)
    gate.passes(2 * SPARED_SECONDS)
    assert not any(member.made_way for member in members)


def test_three_hundred_logins_at_once() -> None:
    """With the default limits no connection is refused or makes way merely because others of the address wait too."""
    gate = Gate(Limits())
    logins = gate.come(300, ONE)
    for login in logins:
        login.rank = Rank.CHECKED
    gate.passes(30)
    for login in logins:
        login.logs_in()
    assert gate.gone == []


def test_exempt_networks() -> None:
    """Exempt networks are not counted at all, in whatever form a socket shows their addresses; bans hold."""
    gate = Gate(
        Limits(
            exempt=["192.0.2.0/24", "2001:db8::/32"], connections=1, connections_per_address=1, pending_per_address=1,
            pending_connections=1, connections_per_minute=1, offences_per_address=1,
        )
    )  # fmt: skip
    for address in (ONE, "::ffff:192.0.2.7", "2001:db8::1%eth0"):
        assert gate.admission.exempt(address)
        for visitor in gate.come(50, address):
            gate.admission.offence(address)
            visitor.logs_in()
        assert gate.admission.delay(address) == 0
    for visitor in gate.visitors:
        visitor.leaves()
    assert not gate.admission.exempt(ELSEWHERE)
    assert not gate.admission.exempt("local")
    gate.comes(ELSEWHERE)
    gate.passes(SPARED_SECONDS)
    assert gate.gone == []


def test_no_limits() -> None:
    """0 means no limit."""
    gate = Gate()
    for _ in range(1000):
        gate.comes(ONE)
        gate.admission.offence(ONE)
    gate.passes(SPARED_SECONDS)
    assert (gate.gone, gate.admission.delay(ONE), gate.clock.getDelayedCalls()) == ([], 0, [])


@given(
    acts=st.lists(
        st.tuples(
            st.sampled_from(["comes", "logs_in", "leaves", "passes", "starts", "waits"]),
            st.integers(0, 50),
            st.sampled_from([ONE, TWO, ELSEWHERE, "2001:db8::1", "2001:db8:0:1::1", "local"]),
        ),
        max_size=60,
    )
)
def test_any_history(acts: list[tuple[str, int, str]]) -> None:
    """After any history the quotas hold, members are never pushed out, and nothing is left of connections that are
    gone."""
    limits = Limits(
        connections=9, connections_per_address=4, pending_connections=6, pending_per_address=2, pending_per_network=3,
        connections_per_minute=0,
    )  # fmt: skip
    gate = Gate(limits)
    here: list[Visitor] = []
    for act, number, address in acts:
        one = here[number % len(here)] if here else None
        if act == "comes" and gate.admission.refusal(address) is None:
            here.append(gate.comes(address))
        elif act == "passes":
            gate.passes(2 * SPARED_SECONDS)
        elif one is not None and act == "leaves":
            one.leaves()
            here.remove(one)
        elif one is not None and not one.is_member:
            if act == "logs_in":
                one.logs_in()
            elif act in ("starts", "waits"):
                one.rank = Rank.STARTED if act == "starts" else Rank.CHECKED
        for visitor in [visitor for visitor in here if visitor.made_way]:
            assert not visitor.is_member
            visitor.leaves()
            here.remove(visitor)
        assert len(here) <= limits.connections
        pending = [visitor for visitor in here if not visitor.is_member]
        assert len(pending) <= limits.pending_connections
    gate.passes(2 * SPARED_SECONDS)
    for count, limit in ((lambda v: v.address, 2), (lambda v: neighbourhood(v.address), 3)):
        check_quota([v for v in here if not (v.made_way or v.is_member) and v.rank < Rank.CHECKED], count, limit)
    for visitor in here:
        visitor.leaves()
    gate.passes(2 * SPARED_SECONDS)
    assert not gate.clock.getDelayedCalls()
    assert (gate.admission._opens, len(gate.admission._open), len(gate.admission._pending)) == (0, 0, 0)


def check_quota(visitors: list[Visitor], group: Callable[[Visitor], str], limit: int) -> None:
    groups = [group(visitor) for visitor in visitors]
    assert all(groups.count(one) <= limit for one in groups)


# Rates


@pytest.mark.parametrize("limit", ["connections_per_minute", "offences_per_address"])
def test_slower_and_slower(limit: str) -> None:
    """At the limit an address is slowed, more and more. Only at many times the limit it is refused, and told until
    when. Others are not."""
    gate = Gate(**{limit: 6})
    act: Any = gate.comes if limit == "connections_per_minute" else gate.admission.offence
    delays = []
    for _ in range(6 * int(REFUSED_TIMES)):
        delays.append(gate.admission.delay(ONE))
        assert gate.admission.refusal(ONE) is None
        act(ONE)
    assert not any(delays[:6])
    assert delays[6] == STEP_SECONDS
    assert delays == sorted(delays)
    assert max(delays) < 3
    assert "Try again in 10 seconds. (too-many-connections)" in shown(gate.admission.refusal(ONE))
    assert (gate.admission.delay(TWO), gate.admission.refusal(TWO)) == (0, None)
    gate.clock.advance(10)
    assert gate.admission.refusal(ONE) is None
    gate.clock.advance(60 * REFUSED_TIMES)
    assert gate.admission.delay(ONE) == 0


def test_refusals_in_the_log() -> None:
    """Each refused address has a line per second in the log at most, and a few lines are written in all."""
    gate = Gate(connections_per_minute=1, network_times=0)
    for n in range(1, 250):
        gate.come(int(REFUSED_TIMES), f"192.0.2.{n}")
    with audited() as lines:
        for _ in range(3):
            for _ in range(5):
                gate.admission.refusal("192.0.2.9")
            gate.admission.opened("192.0.2.9", Stranger())
            gate.clock.advance(1)
        assert lines == ["audit: refused address=192.0.2.9 why=rate"] * 3
        for n in range(1, 250):
            gate.admission.opened(f"192.0.2.{n}", Stranger())
            gate.admission.opened(f"192.0.2.{n}", Stranger())
            gate.admission.refusal(f"192.0.2.{n}")
    assert 3 < len(lines) <= 3 + LOG_LINES


# Networks


@pytest.mark.parametrize("around", ["192.0.2.{}", "2001:db8:0:{:x}::1"])
def test_a_whole_network(around: str) -> None:
    """All addresses of a network together may have a few times as many connections as one of them, and open them a few
    times as fast; strangers there make way for one another, and other networks have their own share."""
    gate = Gate(connections_per_address=2, network_times=3)
    for number in range(6):
        gate.comes(around.format(number)).logs_in()
    refused = gate.admission.refusal(around.format(7))
    assert "too many connections from your network" in shown(refused)
    assert gate.admission.refusal(ELSEWHERE) is None
    gate.visitors[0].leaves()
    stranger = gate.comes(around.format(8))
    gate.comes(around.format(9))
    assert stranger.made_way
    fast = Gate(connections_per_minute=2, network_times=3)
    delays = []
    for number in range(3 * 2 * int(REFUSED_TIMES)):
        delays.append(fast.admission.delay(around.format(200)))
        fast.comes(around.format(number))
    assert (delays[5], delays[6]) == (0, STEP_SECONDS)
    assert "Your network opens too many" in shown(fast.admission.refusal(around.format(201)))
    assert fast.admission.refusal(ELSEWHERE) is None


def test_one_address_alone() -> None:
    """Whatever one address does, its neighbours are neither slowed nor refused."""
    gate = Gate(connections_per_minute=6, connections_per_address=6)
    for _ in range(5):
        gate.comes(ONE).logs_in()
    for _ in range(5 * int(REFUSED_TIMES)):
        gate.comes(ONE)
    assert gate.admission.delay(ONE) > 0
    assert (gate.admission.delay(TWO), gate.admission.refusal(TWO)) == (0, None)
