"""Concurrent commands: whichever is first, the database is consistent afterwards."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from chatserver.handlers import READS, WRITES
from chatserver.handlers.outcome import Ask
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.values import commands as c
from chatserver.values.errors import Refused
from tests.handlers.whole import check_whole
from tests.handlers.world import World

ROUNDS = 8
THREADS = 4


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Engine]:
    engine = open_ready(parse_url(postgres_url), migrate=True)
    yield engine
    engine.dispose()


class Races:
    """Runs rounds of commands in four threads at the same moment, each in its own transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._barrier = Barrier(THREADS, timeout=30)
        with engine.begin() as db:
            self.world = World(db)
            for name in ("ana", "bob", "cai", "dan"):
                self.world.person(name)

    def before(self, *steps: tuple[str, c.Command]) -> None:
        """The state when the round began."""
        with self._engine.begin() as db:
            self.world.db = db
            for who, command in steps:
                self.world.do(who, command)

    def run(self, *commands: tuple[str, c.Command]) -> list[str]:
        """Runs all commands at once. Returns for each `ok`, or the error word of its refusal."""
        self.world.at += timedelta(seconds=1)
        padded = [*commands, *[None] * (THREADS - len(commands))]
        with ThreadPoolExecutor(THREADS) as threads:
            words = [future.result(60) for future in [threads.submit(self._give, one) for one in padded]]
        with self._engine.connect() as db:
            check_whole(db)
        return words[: len(commands)]

    def _give(self, one: tuple[str, c.Command] | None) -> str:
        self._barrier.wait()
        if one is None:
            return ""
        who, command = one
        handler = {**WRITES, **READS}[type(command)]
        for last in (False, True):
            try:
                with self._engine.begin() as db:
                    handler(db, Ask(self.world.people[who], self.world.at), command)
                return "ok"
            except Refused as refused:
                return refused.error.value
            except IntegrityError:  # another command was first: retry, as `Store.write` does
                if last:
                    raise
        raise AssertionError


def room(n: int, *people: str, private: bool = False) -> list[tuple[str, c.Command]]:
    """A new room of these people, of whom the first is the owner."""
    name, owner = f"room{n}", people[0]
    steps: list[tuple[str, c.Command]] = [
        (owner, c.Create(room=name, visibility="private" if private else "public")),
    ]
    for other in people[1:]:
        steps += [(owner, c.Invite(room=name, name=other)), (other, c.Join(room=name))]
    return steps


Round = Callable[[str], list[tuple[str, c.Command]]]
RACES: dict[str, tuple[tuple[str, ...], Round, set[tuple[str, ...]]]] = {
    "invite and ban": (
        ("ana", "bob"),
        lambda r: [("bob", c.Invite(room=r, name="cai")), ("ana", c.Ban(room=r, name="cai")), ("cai", c.Join(room=r))],
        set(),
    ),
    "leave and kick": (
        ("ana", "bob", "cai"),
        lambda r: [("cai", c.Leave(room=r)), ("ana", c.Kick(room=r, name="cai"))],
        {("ok", "no-such-user"), ("no-such-room", "ok")},
    ),
    "two last owners leave": (
        ("ana", "bob", "cai"),
        lambda r: [("ana", c.Leave(room=r)), ("bob", c.Leave(room=r))],
        {("ok", "ok")},
    ),
    "two owners step down": (
        ("ana", "bob", "cai"),
        lambda r: [(who, c.Role(room=r, name=who, role="member")) for who in ("ana", "bob")],
        {("ok", "not-allowed"), ("not-allowed", "ok")},
    ),
    "join and delete": (
        ("ana", "bob"),
        lambda r: [("cai", c.Join(room=r)), ("ana", c.Delete(room=r)), ("dan", c.Join(room=r))],
        set(),
    ),
    "role and leave": (
        ("ana", "bob", "cai"),
        lambda r: [
            ("ana", c.Role(room=r, name="cai", role="owner")),
            ("cai", c.Leave(room=r)),
            ("bob", c.Leave(room=r)),
        ],
        {("ok", "ok", "ok"), ("no-such-user", "ok", "ok")},
    ),
    "all leave and one joins": (
        ("ana", "bob"),
        lambda r: [("ana", c.Leave(room=r)), ("bob", c.Leave(room=r)), ("cai", c.Join(room=r))],
        {("ok", "ok", "ok")},
    ),
    "two keep one out": (
        ("ana", "bob", "cai"),
        lambda r: [("ana", c.Ban(room=r, name="cai")), ("bob", c.Kick(room=r, name="cai")), ("cai", c.Leave(room=r))],
        set(),
    ),
    "one joins twice": (
        ("ana",),
        lambda r: [("cai", c.Join(room=r)), ("cai", c.Join(room=r)), ("cai", c.Join(room=r, since=0))],
        {("ok", "ok", "ok")},
    ),
    "delete and say": (
        ("ana", "bob"),
        lambda r: [("bob", c.Say(room=r, text="1")), ("ana", c.Delete(room=r)), ("bob", c.Say(room=r, text="2"))],
        set(),
    ),
}
PRIVATE = {"invite and ban", "leave and kick"}
OWNED_BY_TWO = {"two last owners leave", "two owners step down", "two keep one out"}


@pytest.mark.parametrize("race", RACES)
def test_races(postgres: Engine, race: str) -> None:
    """The answers and the resulting room are as if the commands had come one after the other, in some order."""
    people, commands, wanted = RACES[race]
    races = Races(postgres)
    for n in range(ROUNDS):
        races.before(*room(n, *people, private=race in PRIVATE))
        if race in OWNED_BY_TWO:
            races.before(("ana", c.Role(room=f"room{n}", name="bob", role="owner")))
        words = tuple(races.run(*commands(f"room{n}")))
        assert not wanted or words in wanted


def test_creating_at_once(postgres: Engine) -> None:
    """If four people create one room at once, one succeeds, and the others are refused with room-taken."""
    races = Races(postgres)
    for n in range(ROUNDS):
        words = races.run(*[(who, c.Create(room=f"room{n}")) for who in races.world.people])
        assert sorted(words) == ["ok", *["room-taken"] * 3]


@pytest.mark.parametrize("known", [False, True])
def test_blocking_and_saying(postgres: Engine, known: bool) -> None:
    """A person who is blocked while they write, for the first time or not, is refused from the next message on."""
    races = Races(postgres)
    for n in range(ROUNDS):
        with postgres.begin() as db:
            races.world.db = db
            for name in (f"x{n}", f"y{n}"):
                races.world.person(name)
        if known:
            races.before((f"x{n}", c.Say(room=f"@y{n}", text="before")))
        races.run(
            (f"x{n}", c.Say(room=f"@y{n}", text="1")),
            (f"y{n}", c.Block(name=f"x{n}")),
            (f"y{n}", c.Say(room=f"@x{n}", text="2")),
        )
        assert races.run((f"x{n}", c.Say(room=f"@y{n}", text="3"))) == ["blocked"]
