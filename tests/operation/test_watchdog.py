"""systemd's watchdog is fed while the server moves, and only then."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chatserver.operation.systemd import watchdog
from chatserver.operation.systemd.watchdog import Watchdog
from chatserver.session.session import Identity
from chatserver.settings.tables import Pipeline, Settings
from tests.support.hall import Hall

WAITS = 30.0
ENVIRONMENT = {"WATCHDOG_USEC": str(round(WAITS * 1e6))}


class Threads:
    """The pools of a store. A call is answered in the reactor's next turn, unless they hang."""

    def __init__(self, hall: Hall) -> None:
        self._clock = hall.clock
        self.hang = False
        self.away = False

    def knock(self, answered: Any) -> int:
        for _ in range(2):
            if not self.hang:
                self._clock.callLater(0, answered)
        return 2


class Watched:
    """A hall with a watchdog, and how often it was fed."""

    def __init__(self, hall: Hall, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline) -> None:
        self.hall = hall
        self.threads = Threads(hall)
        self.fed: list[float] = []
        self.lanes = hall.processors._lanes
        hall.clock.callWhenRunning = lambda call: call()  # type: ignore[attr-defined]
        running: Any = SimpleNamespace(
            reactor=hall.clock, settings=Settings(pipeline=pipeline), store=self.threads, lanes=self.lanes
        )
        monkeypatch.setattr(watchdog, "notify", lambda *_: self.fed.append(hall.clock.seconds()))
        self.dog = Watchdog(running, dict(ENVIRONMENT), 7)
        self.dog.started()
        self.waits(1)

    def waits(self, seconds: float) -> None:
        self.hall.clock.pump([0.2] * round(seconds / 0.2))

    def feedings(self, seconds: float) -> int:
        """How often it is fed in this time."""
        before = len(self.fed)
        self.waits(seconds)
        return len(self.fed) - before


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    hall = Hall(tmp_path)
    yield Watched(hall, monkeypatch, Pipeline())
    hall.close()


def test_a_server_at_rest(watched: Watched) -> None:
    """Three times within the time that systemd waits."""
    assert watched.feedings(10 * WAITS + 1) >= 29


def test_a_server_at_work(watched: Watched) -> None:
    """Probes disturb nobody: they are no commands, and nobody is told of them."""
    ana, bob = watched.hall.program("ana"), watched.hall.program("bob")
    for number in range(5):
        ana.say(f"{number}")
        assert watched.feedings(WAITS + 1) >= 3
    assert bob.said == ana.said == ["0", "1", "2", "3", "4"]


class Deadly:
    """A command that ends the processor that takes it."""

    address = "::1"
    who = Identity()
    inbox = ()

    @property
    def due_since(self) -> float:
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["write", "read"])
def test_a_processor_that_died(watched: Watched, kind: str) -> None:
    lane = watched.lanes.reads if kind == "read" else watched.lanes.writes[0]
    deadly: Any = Deadly()
    lane.put(deadly)
    watched.waits(WAITS / 3)
    assert watched.feedings(10 * WAITS) == 0


def test_one_processor_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One dead processor of the read lane is noticed, although the others serve every client."""
    hall = Hall(tmp_path, readers=3)
    watched = Watched(hall, monkeypatch, Pipeline())
    ana = hall.program("ana")
    assert watched.feedings(WAITS + 1) >= 3
    deadly: Any = Deadly()
    watched.lanes.reads.put(deadly)
    watched.waits(WAITS / 3)
    assert ana.post("rooms").answers[-1]["ok"]
    assert watched.feedings(10 * WAITS) == 0
    hall.close()


def test_one_processor_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that waits in vain is noticed, too; once it goes on, all is well again."""
    hall = Hall(tmp_path, readers=3)
    watched = Watched(hall, monkeypatch, Pipeline())
    ana, bob = hall.program("ana"), hall.program("bob")
    hall.inline.hold()
    gate = hall.inline._gate
    ana.post("rooms")
    hall.inline._gate = None  # others are served
    watched.waits(WAITS / 3)
    assert bob.post("rooms").answers[-1]["ok"]
    assert watched.feedings(10 * WAITS) == 0
    assert gate is not None
    gate.callback(None)
    assert watched.feedings(WAITS) >= 3
    hall.close()


@pytest.mark.parametrize("word", ["say", "rooms"])
def test_a_lane_that_hangs(watched: Watched, word: str) -> None:
    """Its processor waits for something that does not come, although the database answers others."""
    ana = watched.hall.program("ana")
    watched.hall.inline.hold()
    ana.post(word, **({"room": "general", "text": "hi"} if word == "say" else {}))
    watched.waits(WAITS / 3)
    assert watched.feedings(10 * WAITS) == 0
    watched.hall.inline.release()
    assert watched.feedings(WAITS) >= 3


def test_threads_that_hang(watched: Watched) -> None:
    watched.threads.hang = True
    watched.waits(WAITS / 3)
    assert watched.feedings(10 * WAITS) == 0


def test_a_database_that_is_away(watched: Watched) -> None:
    """A restart would not help: commands wait for it and are refused, one after the other."""
    ana = watched.hall.program("ana")
    watched.hall.inline.hold()
    ana.say("hi")
    watched.threads.away = True
    assert watched.feedings(10 * WAITS) >= 29


def test_a_lane_with_much_to_do(watched: Watched) -> None:
    """A probe may wait for long behind others, as long as these are served."""
    people = [watched.hall.program(f"user{number}") for number in range(12)]
    watched.hall.inline.hold()
    for one in people:
        one.post("rooms")
    watched.waits(WAITS / 3)
    before = len(watched.fed)
    for _ in people[2:]:
        watched.hall.inline.release()
        watched.hall.inline.hold()  # before the next one is served
        watched.waits(WAITS / 3)
    assert len(watched.fed) - before >= 9
    watched.hall.inline.release()


def test_without_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `database_seconds` 0 nothing tells a database that hangs from threads that hang: only the reactor counts."""
    hall = Hall(tmp_path)
    watched = Watched(hall, monkeypatch, Pipeline(database_seconds=0))
    watched.threads.hang = True
    assert watched.feedings(WAITS + 1) >= 3
    hall.close()


def test_until_the_end(watched: Watched) -> None:
    """While the server stops, which may take a while, it is fed; then no longer."""
    watched.dog.stopping()
    watched.threads.hang = True
    assert watched.feedings(2 * WAITS) >= 5
    watched.dog.stopped()
    assert watched.feedings(2 * WAITS) == 0


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "1500000"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "7"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "8"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
    ],
)
def test_who_is_watched(variables: dict[str, str], seconds: float) -> None:
    """As systemd says in the environment, from which it is taken, so that no child feeds it."""
    environ = {"HOME": "/", **variables}
    assert Watchdog(SimpleNamespace(reactor=None), environ, 7).seconds == seconds  # type: ignore[arg-type]
    assert environ == {"HOME": "/"}
