"""Guesses at passwords: which sources wait, for how long, and which never do. The test moves the clock."""

from contextlib import suppress
from typing import Any

import pytest
from msgspec import structs
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from chatserver.login.address_quotas import FREE, MOST_SECONDS, Inquiries, Registrations
from chatserver.login.guess_delays import (
    AHEAD,
    MOST_PLACES,
    NAME_FAILURES,
    NAME_SECONDS,
    NETWORK_FAILURES,
    PLACES_SECONDS,
    SILENT_SECONDS,
    Guesses,
    Kind,
)
from chatserver.settings.tables import Limits
from chatserver.util.rates import HOUR_SECONDS
from chatserver.util.waiting import pause
from chatserver.values.errors import Refused
from chatserver.wire.addresses import counted
from tests.support.sentences import shown

THIEF, OWNER = "192.0.2.1", "198.51.100.1"
HASH_SECONDS = 0.03


class Guess:
    """An attempt: when its password was hashed, and what came of it."""

    def __init__(self) -> None:
        self.hashed_at: float | None = None
        self.result: bool | None = None
        self.refused: Refused | None = None
        self.here = True


class Homes(dict[str, set[str]]):
    """The addresses from which people have logged in, by name, as the database knows them; and how often it was
    asked."""

    asked = 0

    async def ask(self, name: str) -> set[str]:
        self.asked += 1
        return self.get(name, set())


class Street:
    """Attempts from all sides, each of which takes a moment to check."""

    def __init__(self, **limits: Any) -> None:
        self.clock = Clock()
        self.homes = Homes()
        self.guesses = Guesses(self.clock, Limits(**limits), self.homes)
        self.all: list[Guess] = []

    def begins(self, address: str, name: str = "ana", *, right: bool = False, kind: Kind = "password") -> Guess:
        guess = Guess()
        self.all.append(guess)

        async def check() -> bool:
            guess.hashed_at = self.clock.seconds()
            await pause(self.clock, HASH_SECONDS)
            return right

        async def run() -> None:
            try:
                guess.result = await self.guesses.check(kind, address, name, check, lambda: guess.here)
            except Refused as refused:
                guess.refused = refused

        ensureDeferred(run())
        return guess

    def passes(self, seconds: float) -> None:
        self.clock.pump([0.01] * round(seconds * 100))

    def guess(self, address: str, name: str = "ana", **fields: Any) -> Guess:
        """An attempt that is awaited."""
        guess = self.begins(address, name, **fields)
        for _ in range(1000):
            if guess.result is not None or guess.refused is not None:
                return guess
            self.passes(0.01)
        raise AssertionError("It never ends.")

    @property
    def hashed(self) -> int:
        return sum(guess.hashed_at is not None for guess in self.all)


@pytest.fixture
def street() -> Street:
    return Street()


def test_delays_that_double(street: Street) -> None:
    """After each wrong guess the next one has to wait twice as long, up to a limit: at first in silence, then it is
    refused before anything is hashed, with the seconds to wait."""
    waits = []
    for _ in range(12):
        began = street.clock.seconds()
        guess = street.guess(THIEF)
        if guess.refused is not None:
            assert guess.hashed_at is None
            assert guess.refused.error == "slow-down"
            assert guess.refused.retry is not None
            waits.append(guess.refused.retry)
            street.clock.advance(guess.refused.retry)
            guess = street.guess(THIEF)
        else:
            assert guess.hashed_at is not None
            waits.append(round(guess.hashed_at - began))
        assert guess.result is False
    assert waits[:6] == [0, 1, 2, 4, 8, 16]
    assert waits[-1] == 900 or waits[-2] < waits[-1] < 900


def test_a_pause_between_two_mistakes(street: Street) -> None:
    """A guesser who pauses for as long as the delay does not notice it."""
    for pause_seconds in (1, 2, 4, 8):
        street.guess(OWNER)
        street.clock.advance(pause_seconds)
    began = street.clock.seconds()
    guess = street.guess(OWNER, right=True)
    assert (guess.hashed_at, guess.result) == (began, True)


def test_guesses_at_the_same_time(street: Street) -> None:
    """A hundred connections of one address that guess at once get no more than a few guesses before the first counts;
    nor do they get more by coming back each second for an hour."""
    for _ in range(100):
        street.begins(THIEF)
    street.passes(SILENT_SECONDS + 1)
    assert street.hashed <= AHEAD
    assert all(guess.result is False or guess.refused is not None for guess in street.all)
    for _ in range(3600):
        street.begins(THIEF)
        street.clock.advance(1)
    assert street.hashed <= AHEAD + 12
    assert len(street.guesses._lines) <= 1


def test_right_passwords_at_the_same_time(street: Street) -> None:
    """Three hundred that are right come in, and none waits for longer than the hashes take."""
    for number in range(300):
        street.begins(OWNER, f"user{number}", right=True)
    street.passes(300 / AHEAD * (HASH_SECONDS + 0.01) + 0.1)
    assert [guess.result for guess in street.all] == [True] * 300
    assert street.guesses._lines == {}


def strangers(street: Street, seconds: int, address: str = "10.{a}.{b}.1", name: str = "ana") -> int:
    """Many addresses guess all the time. Returns how many of these passwords were hashed."""
    before = street.hashed
    for number in range(10 * seconds):
        street.begins(address.format(a=number % 250, b=number // 250, x=f"{number:x}"), name.format(n=number))
        street.clock.pump([0.05, 0.05])
    return street.hashed - before


@pytest.mark.parametrize("at_home", ["since the start", "as the database knows"])
def test_all_guess_at_one_name(at_home: str, street: Street) -> None:
    """From however many networks they come, strangers guess at one name no faster than a few times a minute. Its owner
    gets in at once from where they have logged in, and their own mistakes there delay nobody else."""
    if at_home == "since the start":
        street.guess(OWNER, right=True)
    else:
        street.homes["ana"] = {OWNER}
    assert strangers(street, 60) <= NAME_FAILURES + AHEAD + 60 / NAME_SECONDS + 4
    assert strangers(street, 180) <= 180 / NAME_SECONDS + 1
    began = street.clock.seconds()
    for name in ("ana", "ANA"):
        assert street.guess(OWNER, name, right=True).hashed_at == pytest.approx(began, abs=0.05)
    assert street.guess("198.51.100.2", "bob", right=True).result is True
    street.guess(OWNER)
    stranger = street.guess("172.16.0.1", right=True)
    assert stranger.refused is not None
    assert shown(stranger.refused.sentence).endswith("or from where you have logged in before.")
    street.passes(stranger.refused.retry or 0)
    assert street.guess("172.16.0.1", right=True).result is True


def test_a_network_of_guessers(street: Street) -> None:
    """All addresses of a /24 or a /48 together guess a few times as often as one address, whichever names they guess
    at, and passwords that are right wait for them only at an address where their owner is new."""
    alone = sum(street.guess(THIEF, f"user{number}").refused is None for number in range(100))
    times = Limits().network_times
    for around, home, new in (
        ("203.0.113.{a}", "203.0.113.7", "203.0.113.254"),
        ("2001:db8:0:{x}::1", "2001:db8:0:7::", "2001:db8:0:ffff::"),
    ):
        street.homes["bob"] = {counted(home)}
        here = strangers(street, 120, around, "user{n}")
        assert alone < here <= times * (alone + NETWORK_FAILURES + AHEAD)
        assert street.guess(home, "bob", right=True).result is True
        refused = street.guess(new, "bob", right=True).refused
        assert refused is not None
        assert shown(refused.sentence).startswith("Too many failed logins from your network.")
        assert street.guess(OWNER, "bob", right=True).result is True


def test_refusals_cost_no_query(street: Street) -> None:
    """However many guesses at a name are refused, and at however many names, the database is asked about each now and
    then, and little is remembered of that."""
    strangers(street, 60)
    assert street.homes.asked <= 60 / PLACES_SECONDS + 2
    for number in range(MOST_PLACES + 10):
        street.begins("10.0.0.1", f"user{number}")
    assert len(street.guesses._asked) <= MOST_PLACES


def test_one_bad_neighbour(street: Street) -> None:
    """What one address does delays nobody else of its network, for whatever time it goes on."""
    for _ in range(600):
        street.begins(THIEF, "cai")
        street.clock.advance(10)
    began = street.clock.seconds()
    assert street.guess("192.0.2.2", "bob", right=True).hashed_at == began


def test_a_company_comes_in(street: Street) -> None:
    """Three hundred people of one network, each at an address of their own, log in at the same time."""
    for number in range(300):
        street.begins(f"203.0.113.{number % 250}", f"user{number}", right=True)
    street.passes(300 / AHEAD / Limits().network_times * (HASH_SECONDS + 0.01) + 0.1)
    assert [guess.result for guess in street.all] == [True] * 300
    assert street.guesses._lines == {}


def test_others_names_wait_too(street: Street) -> None:
    """Failures count against the address, whichever names they were for, and whether or not those exist."""
    for number in range(5):
        street.guess(THIEF, f"user{number}")
        street.passes(SILENT_SECONDS)
    assert street.guess(THIEF, "another").refused is not None


def test_an_account_of_ones_own(street: Street) -> None:
    """Logging in with it between two guesses at another's does not help."""
    waits = 0
    for _ in range(8):
        street.guess(THIEF, "ana")
        street.guess(THIEF, "thief", right=True)
        waits += street.guess(THIEF, "ana").refused is not None
    assert waits >= 5


def test_a_name_that_has_logged_in_from_there(street: Street) -> None:
    """An address is trusted with a name that has logged in from it, even if a guesser shares the address."""
    street.guess(THIEF, "bob", right=True)
    for _ in range(20):
        street.guess(THIEF, "ana")
    assert street.guess(THIEF, "ana", right=True).refused is not None
    began = street.clock.seconds()
    assert street.guess(THIEF, "BOB", right=True).hashed_at == began
    for _ in range(4):
        street.guess(THIEF, "bob")
    assert street.guess(THIEF, "bob").refused is not None  # but its own failures count


def test_failures_fade(street: Street) -> None:
    """A day later the address begins anew."""
    for _ in range(4):
        street.guess(THIEF)
        street.passes(SILENT_SECONDS)
    street.clock.advance(24 * HOUR_SECONDS)
    began = street.clock.seconds()
    assert street.guess(THIEF).hashed_at == began
    assert street.guess(THIEF).hashed_at == pytest.approx(began + HASH_SECONDS + 1, abs=0.02)


def test_kinds_apart(street: Street) -> None:
    """Wrong tokens and codes do not delay passwords: one bad bot does not keep the people around it out."""
    for _ in range(30):
        street.begins(THIEF, "", kind="code")
        ensureDeferred(street.guesses.failed("token", THIEF)).addErrback(lambda _: None)
    street.passes(1)
    began = street.clock.seconds()
    assert street.guess(THIEF, right=True).hashed_at == began
    assert street.guess(THIEF, "", kind="code").refused is not None


def test_wrong_tokens(street: Street) -> None:
    """Tokens are looked up at once. The answer to a wrong one comes later each time, and then is a refusal with the
    seconds to wait."""
    told: list[float] = []
    refused: list[int | None] = []
    for _ in range(6):
        ensureDeferred(street.guesses.failed("token", THIEF)).addCallbacks(
            lambda _: told.append(round(street.clock.seconds())),
            lambda failure: refused.append(failure.value.retry),
        )
    street.passes(10)
    assert (told, refused) == ([0, 1, 2, 4], [9, 17])


def test_an_ipv6_address_is_its_customer(street: Street) -> None:
    """All addresses of a /64 are one."""
    for number in range(40):
        street.begins(f"2001:db8::{number:x}")
    street.passes(10)
    assert street.hashed <= AHEAD


@pytest.mark.parametrize("street", [Street(exempt=["192.0.2.0/24"]), Street(guess_seconds=0)])
def test_nothing_is_counted(street: Street) -> None:
    """For exempt addresses, and if the limit is off."""
    for _ in range(50):
        street.begins(THIEF)
    street.passes(HASH_SECONDS + 0.01)
    assert [guess.result for guess in street.all] == [False] * 50


def test_whoever_has_gone(street: Street) -> None:
    """Nothing is hashed for a connection that has ended while it waited, and nothing is counted."""
    street.guess(THIEF)
    gone = street.begins(THIEF)
    gone.here = False
    street.passes(2)
    assert (gone.hashed_at, gone.result) == (None, None)
    assert gone.refused is not None
    assert street.guess(THIEF).result is False


def test_a_fault_is_no_guess(street: Street) -> None:
    """A failure for another reason counts for nothing, and delays nobody."""
    failures: list[Any] = []

    async def fail() -> bool:
        raise RuntimeError("a bug")

    for _ in range(20):
        ensureDeferred(street.guesses.check("password", OWNER, "ana", fail)).addErrback(failures.append)
    assert len(failures) == 20
    assert street.guess(OWNER, right=True).hashed_at == 0


def test_a_delay_that_is_over_before_its_call(street: Street) -> None:
    """A guess at the very moment when the delay ends goes behind those that wait, and leaves no call."""
    street.guess(THIEF)
    waiting = street.begins(THIEF, right=True)
    street.clock.rightNow += 1
    done: list[bool] = []

    async def right() -> bool:
        done.append(waiting.hashed_at is not None)
        return True

    ensureDeferred(street.guesses.check("password", THIEF, "bob", right))
    street.passes(1)
    assert (waiting.result, done) == (True, [True])
    assert (street.guesses._lines, street.clock.getDelayedCalls()) == ({}, [])


@pytest.mark.parametrize("module", ["guess_delays", "address_quotas"])
def test_nobody_fills_the_memory(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses come, only the last ones are remembered."""
    monkeypatch.setattr(f"chatserver.login.{module}.MOST_KEYS", 3)
    street, inquiries = Street(), Inquiries(Limits())
    for number in range(5):
        street.guess(f"192.0.2.{number}", right=True)
        for _ in range(FREE + 1):
            inquiries.ask(f"{number}", 0)
    sizes = {
        "guess_delays": len(street.guesses._known),
        "address_quotas": len(inquiries._free_at),
    }
    assert sizes.pop(module) == 3
    assert set(sizes.values()) == {5}


# Names asked for, and registrations


def test_names_asked_for() -> None:
    """Some are answered at once; then each takes longer, and then it is refused with the seconds to wait."""
    inquiries = Inquiries(Limits())
    assert [inquiries.ask("a", 0) for _ in range(FREE + 1)] == [(0, False)] * FREE + [(0, True)]
    waits, now = [], 0.0
    while now < 3600:
        with suppress(Refused):
            waits.append(inquiries.ask("a", now)[0])
        now += 0.5
    assert max(waits) <= SILENT_SECONDS
    assert len(waits) <= 3600 / MOST_SECONDS + 40
    with pytest.raises(Refused, match="slow-down"):
        [inquiries.ask("a", now) for _ in range(2)]
    assert inquiries.ask("b", now) == (0, False)


def test_names_that_log_in_are_not_counted() -> None:
    """However many people come from one address, those who log in with their names wait for nothing."""
    inquiries = Inquiries(Limits())
    for _ in range(10 * FREE):
        assert inquiries.ask("a", 0) == (0, False)
        inquiries.settled("a", 0)


def test_so_many_an_hour() -> None:
    """Whatever is beyond the limit is refused until the first is an hour old; what was given back does not count."""
    registrations = Registrations(Limits(registrations_per_hour=2))
    registrations.take("a", 0)
    registrations.take("a", 10)
    registrations.give_back("a", 10)
    registrations.take("a", 20)
    with pytest.raises(Refused) as refused:
        registrations.take("a", 30)
    assert (refused.value.error, refused.value.retry) == ("slow-down", HOUR_SECONDS - 30 + 1)
    registrations.take("b", 30)
    registrations.take("a", HOUR_SECONDS)
    Registrations(Limits(registrations_per_hour=0)).take("a", 0)


def test_fewer_an_hour() -> None:
    """After the limit was lowered, it takes until no more than so many are younger than an hour."""
    limits = Limits(registrations_per_hour=3)
    registrations = Registrations(limits)
    for at in (0, 10, 20):
        registrations.take("a", at)
    structs.force_setattr(limits, "registrations_per_hour", 1)
    with pytest.raises(Refused) as refused:
        registrations.take("a", 30)
    assert refused.value.retry == HOUR_SECONDS + 20 - 30 + 1
    registrations.take("a", HOUR_SECONDS + 20)
