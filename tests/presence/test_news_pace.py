"""However often people change something, others are told at a bounded pace."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import structs
from twisted.internet.task import Clock

from chatserver.presence.news_pace import GATHER_SECONDS, NewsPace
from chatserver.settings.tables import Limits
from tests.support.hall import PASSWORD, QUIET, Client, Hall

SECONDS = 5.0
DEFAULTS = structs.replace(QUIET, news_seconds=SECONDS, joins_per_minute=10)


class Told:
    """A pace whose news is told to somebody, unless the account is in `nobody`; `most` at a time."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.clock = Clock()
        self.limits = Limits(news_seconds=seconds)
        self.pace = NewsPace(self.clock, self.limits, self)
        self.told: list[tuple[float, list[int]]] = []
        self.nobody: set[int] = set()
        self.most = 100

    def send_news(self, account_ids: Sequence[int]) -> dict[int, bool]:
        taken = list(account_ids)[: self.most]
        self.told.append((self.clock.seconds(), taken))
        return {account_id: account_id not in self.nobody for account_id in taken}

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds * 8)):
            self.clock.advance(0.125)

    @property
    def new(self) -> list[tuple[float, list[int]]]:
        new, self.told = self.told, []
        return new


def test_one_account() -> None:
    """News comes at once after a quiet time; further news when the time is over, once."""
    one = Told()
    for _ in range(3):
        one.pace.add(1)
    one.passes(60)
    assert one.new == [(0, [1]), (5, [1])]
    assert one.clock.getDelayedCalls() == []


def test_many_accounts() -> None:
    """News of others waits for the end of the second, and comes together."""
    one = Told()
    for account in range(1, 6):
        one.pace.add(account)
    one.pace.add(2)
    one.passes(0.5)
    one.pace.add(6)
    one.passes(60)
    assert one.new == [(0, [1]), (1, [2, 3, 4, 5, 6])]
    one.pace.add(7)
    assert one.new == [(60.5, [7])]


def test_quiet_and_noisy_accounts() -> None:
    """An account that has to wait for long makes nobody else wait."""
    one = Told()
    one.pace.add(1)
    one.pace.add(1)
    one.passes(2)
    one.pace.add(2)
    one.passes(60)
    assert one.new == [(0, [1]), (2, [2]), (5, [1])]


def test_news_that_nobody_hears() -> None:
    """It makes neither its account nor others wait."""
    one = Told()
    one.nobody = {1}
    one.pace.add(1)
    one.pace.add(1)
    one.pace.add(2)
    assert one.new == [(0, [1]), (0, [1]), (0, [2])]


def test_more_than_is_told_in_one_turn() -> None:
    """The rest is told in the next turns, in order, also what comes meanwhile."""
    one = Told()
    one.most = 2
    for account in range(1, 7):
        one.pace.add(account)
    one.passes(GATHER_SECONDS)
    assert one.new == [(0, [1]), (1, [2, 3]), (1, [4, 5]), (1, [6])]


def test_off() -> None:
    """Without a pace all news is told at once."""
    one = Told(0)
    for account in (1, 1, 2):
        one.pace.add(account)
    assert (one.new, one.clock.getDelayedCalls()) == ([(0, [1]), (0, [1]), (0, [2])], [])


# The whole server


def name(n: int) -> str:
    """Names that do not look alike."""
    return "w" + str(n).translate(str.maketrans("0123456789", "abcdefghjk"))


def sent(clients: list[Client]) -> int:
    return sum(len(client.wire.taken) for client in clients)


@pytest.mark.parametrize("people", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_away_is_no_amplifier(tmp_path: Path, people: int) -> None:
    """Some people who change long away texts all the time, in a room of 200, make the server send few times the bytes
    that they send."""
    hall = Hall(tmp_path, DEFAULTS)
    room = [hall.program(name(n)) for n in range(200)]
    hall.passes(10)
    before, came = sent(room), 0
    for n in range(100):
        for one in room[:people]:
            line = json.dumps({"cmd": "away", "text": f"{n:03}" + "x" * 197}).encode() + b"\n"
            came += len(line)
            one.send(line)
        hall.passes(0.1)
    hall.passes(10)
    assert (sent(room) - before) / came < 10
    news = [event for event in room[-1].events if event["event"] == "presence" and "away" in event]
    assert {event["name"]: event["away"] for event in news} == {name(n): "099" + "x" * 197 for n in range(people)}
    hall.close()


def test_a_mass_return(tmp_path: Path) -> None:
    """Many who come back within a second after a restart are told to each recipient in one piece, but for the first; in
    a room with more people online than `presence_members` nobody is told anything."""
    hall = Hall(tmp_path, structs.replace(DEFAULTS, presence_members=50))
    here = hall.program("bob")
    names = [name(n) for n in range(60)]
    for client in [hall.program(one) for one in names]:
        client.cut()
    hall.passes(10)
    heard, sends = len(here.events), here.wire.sends
    hall.passes(10)
    for one in names[:40]:
        hall.client().post("login", name=one, password=PASSWORD)
        hall.clock.advance(0.01)
    hall.passes(10)
    news = [(event["name"], event["online"]) for event in here.events[heard:]]
    assert sorted(news) == sorted((one, True) for one in names[:40])
    assert here.wire.sends - sends == 2
    for one in names[40:]:
        hall.client().post("login", name=one, password=PASSWORD)
    hall.passes(10)
    assert len(here.events) - heard - 40 <= 10
    hall.close()


def test_an_away_text_of_somebody_who_is_muted(tmp_path: Path) -> None:
    """Where somebody is muted, their away text is neither told nor listed, in both dialects, until they are unmuted."""
    hall = Hall(tmp_path, DEFAULTS)
    eve, ana, bob = hall.program("eve"), hall.program("ana"), hall.program("bob")
    cai = hall.client().type(f"/register cai {PASSWORD}")
    eve.post("create", room="den")
    for client in (ana, bob):
        client.post("join", room="den")
    for client in (eve, ana, bob):
        client.post("leave", room="general")
    cai.type("/leave general", "/join den")
    hall.passes(10)
    eve.post("mute", room="den", name="ana")

    def shown() -> list[bool]:
        return ["secret" in client.seen.decode() for client in (bob, cai)]

    ana.post("away", text="secret")
    bob.post("who").post("who", name="ana")
    cai.type("/who", "/who ana")
    hall.passes(10)
    assert shown() == [False, False]
    assert {"name": "ana", "online": True} in [
        {key: user[key] for key in ("name", "online")} for user in bob.answers[-1]["users"]
    ]
    eve.post("unmute", room="den", name="ana")
    bob.post("who")
    cai.type("/who ana")
    assert shown() == [True, True]
    hall.close()


def test_joining_again_and_again(tmp_path: Path) -> None:
    """After ten joins of the same room within a minute the next one waits, and says for how long; joining a room that
    one is in is none, nor are other rooms and other people affected."""
    hall = Hall(tmp_path, DEFAULTS)
    ana, bob = hall.program("ana"), hall.program("bob")
    for _ in range(9):  # registering was the first join
        ana.post("leave", room="general").post("join", room="general").post("join", room="general")
        hall.passes(1)
    ana.post("leave", room="general")
    told = len(bob.events)
    ana.post("join", room="general")
    refused = ana.answers[-1]
    assert (refused["ok"], refused["error"], refused["retry"]) == (False, "slow-down", 51)
    bob.post("leave", room="general").post("join", room="general").post("create", room="den")
    ana.post("join", room="den")
    assert [answer["ok"] for answer in (bob.answers[-2], ana.answers[-1])] == [True, True]
    hall.passes(refused["retry"])
    ana.post("join", room="general")
    assert ana.answers[-1]["ok"]
    assert [event["event"] for event in bob.events[told:] if event.get("name") == "ana"] == ["joined", "joined"]
    hall.close()


def test_joining_as_often_as_one_likes(tmp_path: Path) -> None:
    """With the limit off nobody is slowed."""
    hall = Hall(tmp_path, structs.replace(DEFAULTS, joins_per_minute=0))
    ana = hall.program("ana")
    for _ in range(30):
        ana.post("leave", room="general").post("join", room="general")
    assert all(answer["ok"] for answer in ana.answers)
    hall.close()


def test_a_shorter_time() -> None:
    """News that waits is sent after the new time at the latest, in whatever order it was sent before."""
    told = Told(60)
    for account_id in (1, 2):
        told.pace.add(account_id)
        told.passes(2)
    told.new  # noqa: B018
    structs.force_setattr(told.limits, "news_seconds", 4.0)
    told.pace.add(1)
    told.pace.add(2)
    assert told.new == []
    told.passes(4)
    assert [account_ids for _, account_ids in told.new] == [[1, 2]]
    structs.force_setattr(told.limits, "news_seconds", 0.0)
    told.pace.add(2)
    assert [account_ids for _, account_ids in told.new] == [[2]]
    assert told.clock.getDelayedCalls() == []
