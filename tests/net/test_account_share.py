"""The share of an account: how many connections it may have, and how much may wait for them."""

from typing import Any

import pytest
from msgspec import structs

from chatserver.net.limits.account_share import RETRY_SECONDS
from chatserver.session.link import FULL_BYTES
from chatserver.store import accounts
from chatserver.store.db.transactions import transact
from chatserver.values.events import AccountLimits
from tests.net.conftest import OpenHall
from tests.support.hall import PASSWORD, QUIET, START, Client, Hall


def limits(**changes: Any) -> dict[str, Any]:
    """The keyword of a hall for limits that differ from QUIET."""
    return {"limits": structs.replace(QUIET, **changes)}


def logged_in(hall: Hall, name: str) -> Client:
    """Another connection of an account."""
    return hall.client().post("login", name=name, password=PASSWORD)


# How many connections


def test_too_many_connections(open_hall: OpenHall) -> None:
    """A login beyond the limit ends the account's oldest connection, and says when to come back. Connections of others
    stay, whatever other nodes report of the account."""
    hall = open_hall(**limits(connections_per_account=2))
    bob, first = hall.program("bob"), hall.program("ana")
    others = [logged_in(hall, "ana") for _ in range(2)]
    assert [client.closing for client in (first, *others, bob)] == [["too-many-connections"], [], [], []]
    closing = first.events[-1]
    assert RETRY_SECONDS[0] <= closing["retry"] <= RETRY_SECONDS[1]
    assert "2 connections" in closing["text"]
    assert hall.left == [("ana", "too-many-connections")]
    bob.say("hello")
    assert [client.said for client in others] == [["hello"]] * 2
    others[0].cut()
    last = logged_in(hall, "ana")
    assert (others[1].closing, last.closing) == ([], [])


def test_an_account_with_a_number_of_its_own(open_hall: OpenHall) -> None:
    """The number that an operator has set for an account replaces the one in the settings: fewer, more, or any."""
    hall = open_hall(**limits(connections_per_account=2))
    anas = [hall.program("ana"), logged_in(hall, "ana")]

    def set_limit(connections: int) -> None:
        own, id = AccountLimits(connections=connections), anas[0].session.who.account_id
        transact(hall.engine, lambda db: accounts.set_limits(db, id, own, START))
        for one in hall.roster.sessions(id):  # as `ChangeFeed` does
            one.who = structs.replace(one.who, limits=own)
        for ana in anas:
            ana.post("ping")

    set_limit(0)
    anas += [logged_in(hall, "ana") for _ in range(5)]
    assert [ana.closing for ana in anas] == [[]] * 7
    set_limit(3)
    assert [ana.closing for ana in anas] == [[]] * 7  # they may stay
    anas.append(logged_in(hall, "ana"))
    assert [bool(ana.closing) for ana in anas] == [True] * 5 + [False] * 3


def test_limits_at_login(open_hall: OpenHall) -> None:
    """A session has the limits that an operator has set for its account from the first moment on."""
    hall = open_hall(**limits(connections_per_account=1))
    ana = hall.program("ana")
    ana.cut()
    own = AccountLimits(commands_per_second=7, connections=2)
    transact(hall.engine, lambda db: accounts.set_limits(db, ana.session.who.account_id, own, START))
    anas = [logged_in(hall, "ana") for _ in range(3)]
    assert [one.session.who.limits for one in anas] == [own] * 3
    assert [bool(one.closing) for one in anas] == [True, False, False]


def test_connections_that_do_not_take_their_last_words(open_hall: OpenHall) -> None:
    """Connections that have ended and wait to be read are limited in the same way: the first of them is cut."""
    hall = open_hall(**limits(connections_per_account=2, stalled_seconds=300))
    stuck = [hall.program("ana")]
    for _ in range(4):
        stuck.append(logged_in(hall, "ana"))
    for ana in stuck:
        ana.wire.room = 0
    for _ in range(5):
        logged_in(hall, "ana").wire.room = 0
    open_connections = hall.connections.open
    assert len(open_connections) <= 4
    hall.passes(310)
    assert len(open_connections) <= 2


def test_commands_of_a_lost_connection(open_hall: OpenHall) -> None:
    """Commands that wait for their pace on lost connections do not pile up."""
    hall = open_hall(**limits(connections_per_account=2, commands_per_second=1, command_burst=5))
    clients = []
    for number in range(6):
        client = hall.program("ana") if number == 0 else logged_in(hall, "ana")
        clients.append(client)
        client.send(b'{"cmd":"ping"}\n' * 100)
        client.cut()
    hall.passes(1)
    assert [client.session.stage.name for client in clients] == ["ENDING"] * 6


# How much waits


@pytest.mark.parametrize("crowded", [True, False])
def test_what_waits_for_an_account(crowded: bool, open_hall: OpenHall) -> None:
    """However many connections of an account read nothing, a limited number of bytes waits for them in memory. Later
    entries wait in the store, and are sent complete and in order once they read."""
    most = 3 * FULL_BYTES
    hall = open_hall(**limits(unsent_bytes_per_account=most if crowded else 0))
    bob = hall.program("bob")
    anas = [hall.program("ana"), *[logged_in(hall, "ana") for _ in range(19)]]
    reading, stuck = anas[0], anas[1:]
    for ana in stuck:
        ana.wire.room = 0
    for _ in range(150):
        bob.say("x" * 200)
    waiting = sum(len(ana.wire.queue) for ana in stuck)
    assert (waiting < most + len(stuck) * 1000) == crowded
    assert len(reading.said) == 150  # a connection that reads is not held up
    for ana in stuck:
        ana.read()
        assert ana.said == ["x" * 200] * 150
        assert ana.heard() == list(range(ana.heard()[0], ana.heard()[0] + 150))
    hall.passes(1)
    assert {ana.connection._outbox._pending for ana in stuck} == {0}
    stuck[0].wire.room = 0
    bob.say("x" * 200)
    assert stuck[0].connection.writable  # no bytes wait any more


def test_answers_of_an_account_that_reads_nothing(open_hall: OpenHall) -> None:
    """Commands of a crowded account are served one at a time: the next one once the last answer is read."""
    hall = open_hall(**limits(unsent_bytes_per_account=20_000))
    anas = [hall.program("ana"), *[logged_in(hall, "ana") for _ in range(4)]]
    for _ in range(60):
        anas[0].say("x" * 200)
    for ana in anas:
        ana.wire.room = 0
        for _ in range(30):
            ana.post("history", room="general", limit=50)
    sizes = [len(ana.wire.queue) for ana in anas]
    answer = max(sizes)
    assert sum(sizes) < 20_000 + 5 * answer
    assert sizes[-1] <= answer
    for ana in anas:
        ana.read()
        assert len([one for one in ana.answers if "entries" in one]) == 30
